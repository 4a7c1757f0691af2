"""A store whose folders can't be renamed: in a layer of an image (overlayfs), on another disk."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from alembic_snapshot.errors import StoreError
from alembic_snapshot.sqlite.database import DatabaseFile
from alembic_snapshot.sqlite.store import FileStore
from alembic_snapshot.store.archives import Archives
from alembic_snapshot.store.manifest import move_whole

from .test_records import HOUR, MANIFEST, failed, names, published
from .test_store import as_nobody_special


class StoreOfAnImage(FileStore):
    """As overlayfs has it: what the layer below holds can't be renamed, and what is new can be."""

    def __init__(self, root):
        super().__init__(root)
        self.below = set()

    def seal_layer(self):
        self.below = {folder.stat().st_ino for folder in self.snapshots.iterdir()}

    def rename_folder(self, folder, target):
        if folder.stat().st_ino in self.below:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        super().rename_folder(folder, target)


@pytest.fixture
def other_disk(tmp_path):
    """A folder on another disk than the tests' own."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK) or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no /dev/shm, or it is the disk of the tests")
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


@pytest.fixture(params=["in an image", "snapshots on another disk", "building on another disk"])
def store(request, tmp_path):
    made = StoreOfAnImage(tmp_path / "store")
    if request.param != "in an image":
        disk = request.getfixturevalue("other_disk")
        made.root.mkdir()
        (made.root / request.param.partition(" ")[0]).symlink_to(disk)
    made.prepare()
    return made


@pytest.fixture
def put(store):
    def put_below(*arguments, **fields):
        entry = published(store, *arguments, **fields)
        store.seal_layer()
        return entry

    return put_below


def lying_in(store):
    """Whatever is in the folders of snapshots and of builds."""
    return sorted(path.name for path in (*store.snapshots.iterdir(), *store.building.iterdir()))


class TestASnapshot:
    def test_is_deleted_whole_the_one_that_is_meant(self, store, put):
        put("a", age=0)
        put("b", age=HOUR)
        put("c", age=2 * HOUR)

        assert names(store.prune(keep=2)) == ["c"]
        assert names(store.prune(keep=1)) == ["b"]
        assert lying_in(store) == ["a" * 32]
        assert names(store.trim(0)[0]) == []
        assert names(store.prune(keep=0)) == ["a"]
        assert lying_in(store) == []

    def test_is_deleted_for_room(self, store, put):
        put("a", age=HOUR)

        deleted, left = store.trim(0)

        assert (names(deleted), left) == (["a"], 0)
        assert lying_in(store) == []

    def test_is_replaced_as_often_as_it_is_built(self, store, put):
        for tables in (1, 2, 3):
            put("a", tables=tables)

            (entry,) = store.entries()
            assert entry.manifest.tables == tables
            assert store.is_intact(entry)
            assert lying_in(store) == ["a" * 32]

    def test_that_is_damaged_is_replaced(self, store, put):
        entry = put("a")
        os.chmod(entry.database.name, 0o600)
        Path(entry.database.name).write_bytes(b"")
        assert not store.is_intact(entry)

        assert store.is_intact(put("a"))

    def test_stays_while_it_is_in_use(self, store, put):
        entry = put("a")

        with store.in_use(entry):
            assert store.prune(keep=0) == []
        assert store.is_intact(entry)

    def test_loses_its_manifest_first_and_the_rest_is_swept(self, store, put, monkeypatch):
        put("a", age=HOUR)
        kept = put("b")
        store.below = {folder.stat().st_ino for folder in store.snapshots.iterdir()}

        def cut_off(folder, **_how):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        with monkeypatch.context() as patched:
            patched.setattr(shutil, "rmtree", cut_off)
            with pytest.raises(StoreError, match="Input/output error"):
                store.prune(keep=1)

        assert names(store.entries()) == ["b"]
        assert "a" * 32 in lying_in(store)
        with store.lock("a" * 64):
            store.prune(keep=1)
            assert "a" * 32 in lying_in(store), "somebody may be at work there"
        store.prune(keep=1)
        assert lying_in(store) == ["b" * 32]
        assert store.is_intact(kept)

    def test_that_was_on_its_way_is_swept_and_is_none(self, store, put):
        put("a")
        (store.snapshots / f"{'a' * 32}").rename(store.snapshots / f".{'a' * 32}.publish.x")

        assert store.entries() == []
        store.workspace("b" * 64).close()
        assert len(lying_in(store)) == 1
        store.workspace("a" * 64).close()
        assert lying_in(store) == []


class TestAFileOnItsWayToAnotherDisk:
    def test_is_there_whole_and_no_longer_here(self, tmp_path, other_disk):
        (tmp_path / "file").write_text("new")
        (other_disk / "file").write_text("old")

        move_whole(tmp_path / "file", other_disk / "file")

        assert (other_disk / "file").read_text() == "new"
        assert [path.name for path in (*tmp_path.iterdir(), *other_disk.iterdir())] == ["file"]

    def test_that_does_not_arrive_is_here(self, tmp_path, other_disk):
        (tmp_path / "file").write_text("new")
        (other_disk / "file" / "in the way").mkdir(parents=True)

        with pytest.raises(OSError, match="directory"):
            move_whole(tmp_path / "file", other_disk / "file")

        assert (tmp_path / "file").read_text() == "new"
        assert [path.name for path in other_disk.iterdir()] == ["file"]

    def test_is_an_archive_or_the_database_of_a_failed_build(self, tmp_path, other_disk):
        file = tmp_path / "file"
        file.write_bytes(b"x" * 100)
        archives = Archives(other_disk)
        archives.publish("one", file, MANIFEST)
        assert archives.all()[0].file.read_bytes() == b"x" * 100

        store = FileStore(tmp_path / "store")
        store.root.mkdir()
        store.failed.symlink_to(other_disk)
        store.prepare()
        file.write_bytes(b"half")
        store.keep_failure("a" * 64, failed("so"), DatabaseFile(file))
        assert store.failed_database("a" * 64).path.read_bytes() == b"half"
        assert not file.exists()


def test_what_can_not_be_deleted_for_room_is_a_warning_of_the_build(project):
    project.history(1)
    old = project.ensure().path.parent
    os.utime(old, (1, 1))
    old.chmod(0o555)
    project.configure('max_size = "1 B"')
    project.revision("0001", upgrade="op.execute('create table last (x)')")

    done = as_nobody_special(project)

    old.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(project.ensure().path)
    assert "warning: the store may have more than 1 B (max_size): can't write to the" in done.stderr
    assert old.exists()


# What a developer does in a container whose image has the store.
IN_THE_CONTAINER = """
import os, pathlib
from alembic_snapshot import ensure, load_project
from alembic_snapshot.sqlite.store import FileStore

project = load_project()
store = FileStore(project.store)
def keys():
    return {entry.manifest.digest for entry in store.entries()}

(below,) = keys()
hit = ensure(project)
assert not hit.built
try:
    os.rename(hit.path.parent, project.store / "moved")
except OSError as error:
    print("renamed:", error.strerror)
else:
    raise SystemExit("not an overlay that refuses")

ensure(project, rebuild=True)
assert ensure(project).digest == below
os.chmod(hit.path, 0o600)
hit.path.write_bytes(b"damaged")
assert ensure(project).built
assert not ensure(project).built

script = next(pathlib.Path("migrations/versions").glob("0001*.py"))
script.write_text(script.read_text() + "changed = 1\\n")
new = ensure(load_project()).digest
assert keys() == {below, new}
assert [entry.manifest.digest for entry in store.prune(keep=1)] == [below]
assert keys() == {new}
assert [entry.manifest.digest for entry in store.prune(keep=0)] == [new]
assert keys() == set()
print("done", os.listdir(store.snapshots), os.listdir(store.building))
"""


def test_in_a_mounted_overlay_everything_is_as_elsewhere(project, tmp_path):
    project.history(1)
    project.ensure()
    for name in ("up", "work", "merged"):
        (tmp_path / name).mkdir()
    is_root = os.getuid() == 0
    layers = f"lowerdir={project.root},upperdir=up,workdir=work{'' if is_root else ',userxattr'}"
    enter = ["unshare", "-m"] if is_root else ["unshare", "-rm"]
    mount = ["mount", "-t", "overlay", "overlay", "-o", layers, "merged"]
    if (
        not shutil.which("unshare")
        or subprocess.run(
            [*enter, *mount], cwd=tmp_path, capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("no overlay may be mounted here")
    shell = '"$1" -t overlay overlay -o "$2" merged && cd merged && exec "$3" -c "$4"'
    arguments = ["mount", layers, sys.executable, IN_THE_CONTAINER]

    done = subprocess.run(
        [*enter, "sh", "-ec", shell, "sh", *arguments],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.stderr == ""
    assert done.stdout == "renamed: Invalid cross-device link\ndone [] []\n"
