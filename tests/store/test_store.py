"""The store: G1 (races and kills), G10 (tampering), prune."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from alembic_snapshot import SnapshotError, StoreError, ensure, load_project
from alembic_snapshot.postgres.store import ServerStore
from alembic_snapshot.project.places import STORE_ENTRIES
from alembic_snapshot.remote import shared as remote
from alembic_snapshot.sqlite.store import FileStore
from alembic_snapshot.store.manifest import Manifest
from tests.waiting import until

MAKE = """
    from alembic import command
    from alembic.config import Config

    def make(url):
        config = Config("alembic.ini")
        config.set_main_option("sqlalchemy.url", url)
        command.upgrade(config, "heads")
"""

# Each waits for the starting signal with everything imported, so that all of them ask at once.
CONTENDER = """
import pathlib, sys
from alembic_snapshot import SnapshotError, ensure, load_project
import alembic_snapshot.build.steps, filelock, os

def hear(event, arguments):
    # The lock is asked for when it is known what failed before.
    if event == "open" and str(arguments[0]).endswith(".lock"):
        pathlib.Path(sys.argv[2], f"{os.getpid()}").touch()

project = load_project(pathlib.Path(sys.argv[1]))
project.alembic
print("ready", flush=True)
sys.stdin.readline()
if len(sys.argv) > 2:
    sys.addaudithook(hear)
try:
    print(ensure(project).path)
except SnapshotError as error:
    print("error", error.message)
"""


# A migration that waits until all of them have asked.
WAITS = """
import os, time
until = time.monotonic() + 60
while len(os.listdir({folder!r})) < {count}:
    assert time.monotonic() < until, "they have not all asked"
    time.sleep(0.01)
"""


def contend(root, count, *told):
    """What that many processes print that all ask at once; ``told`` is a folder for marks."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", CONTENDER, str(root), *map(str, told)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]
    for process in started:
        assert process.stdout.readline() == "ready\n"
    for process in started:
        process.stdin.write("go\n")
        process.stdin.flush()
    return [process.communicate(timeout=120)[0].strip() for process in started]


class TestManyAtOnce:
    def test_twenty_processes_make_one_build(self, project):
        marks = project.root / "builds.txt"
        project.revision("a", upgrade=f"open({str(marks)!r}, 'a').write('x')")
        project.revision("b", "a")

        printed = contend(project.root, 20)

        assert set(printed) == {str(project.ensure().path)}
        assert marks.read_text() == "x"

    def test_twenty_processes_on_a_failing_migration_make_one_attempt(self, project, tmp_path):
        marks = project.root / "builds.txt"
        asked = tmp_path / "asked"
        asked.mkdir()
        waits = WAITS.format(folder=str(asked), count=20)
        project.revision("a", upgrade=f"open({str(marks)!r}, 'a').write('x')\n{waits}\n1 / 0")

        printed = contend(project.root, 20, asked)

        assert len(set(printed)) == 1
        assert printed[0].startswith("error revision a failed")
        assert marks.read_text() == "x"

    def test_a_later_call_tries_a_failed_build_again(self, project):
        marks = project.root / "builds.txt"
        project.revision("a", upgrade=f"open({str(marks)!r}, 'a').write('x')\n1 / 0")

        for _ in range(2):
            project.command("build")

        assert marks.read_text() == "xx"

    def test_the_workers_of_one_test_run_make_one_attempt_however_late_they_come(self, project):
        marks = project.root / "builds.txt"
        project.revision("a", upgrade=f"open({str(marks)!r}, 'a').write('x')\n1 / 0")

        outcomes = [
            project.command("build", variables={"PYTEST_XDIST_TESTRUNUID": "one"}) for _ in range(2)
        ]

        assert marks.read_text() == "x"
        assert outcomes[0].stderr.splitlines()[-2:] == outcomes[1].stderr.splitlines()[-2:]


class TestKills:
    """SIGKILL at random instants: never half a snapshot, never a lock left, the next builds."""

    def kill_somewhere(self, project, whom, instant):
        parent = subprocess.Popen(
            [sys.executable, "-m", "alembic_snapshot", "build", "-q"],
            cwd=project.root,
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        time.sleep(instant)
        victim = parent.pid if whom == "parent" else child_of(parent.pid)
        if victim:
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        parent.wait(timeout=60)

    @pytest.mark.parametrize("whom", ["parent", "builder"])
    def test_leave_nothing_that_is_used(self, project, whom, tables, rows):
        rounds = int(os.environ.get("SNAPSHOT_TEST_KILLS", "8"))
        dice = random.Random(20)
        for round_ in range(rounds):
            project.revision("a", upgrade=f"op.execute('create table r{round_} (x)')")
            project.revision("b", "a")
            self.kill_somewhere(project, whom, dice.uniform(0.05, 0.9))

            store = FileStore(project.root / ".alembic-snapshot")
            for entry in store.entries():
                assert rows(entry.database.name, "pragma integrity_check") == [("ok",)]
            snapshot = project.ensure()
            if not snapshot.built:
                # Killed when it had published: no later build of it sweeps.
                assert store.prune(keep=rounds) == []

            assert {f"r{round_}", "t_b"} <= set(tables(snapshot.path))
            building = project.root / ".alembic-snapshot/building"
            assert [p for p in building.iterdir() if p.name.startswith(snapshot.digest[:32])] == []

    @pytest.mark.parametrize("name", ["snapshot.db", "manifest.json"])
    def test_during_the_publication_leave_nothing_to_sweep_by_hand(self, project, name):
        project.history(2)
        code = (
            "import os, signal; from alembic_snapshot import ensure, load_project\n"
            "real = {'rename': os.rename, 'replace': os.replace}\n"
            "def killing(kind):\n    def move(a, b):\n        real[kind](a, b)\n"
            f"        if 'publish' in str(b) and str(b).endswith({name!r}):\n"
            "            os.kill(os.getpid(), signal.SIGKILL)\n    return move\n"
            "os.rename, os.replace = killing('rename'), killing('replace')\n"
            "ensure(load_project())\n"
        )
        killed = subprocess.run([sys.executable, "-c", code], cwd=project.root, check=False)
        building = project.root / ".alembic-snapshot/building"
        assert killed.returncode == -signal.SIGKILL
        assert list(building.iterdir())

        snapshot = project.ensure()
        assert snapshot.built

        assert list(building.iterdir()) == []
        names = {entry.name for entry in FileStore(project.root / ".alembic-snapshot").entries()}
        assert {path.name for path in snapshot.path.parent.parent.iterdir()} == names

    def test_of_the_parent_ends_the_builder(self, project):
        pid_file = project.root / "pid"
        project.revision(
            "a",
            upgrade=f"import os, time\nopen({str(pid_file)!r}, 'w').write(str(os.getpid()))\n"
            "time.sleep(60)",
        )
        parent = subprocess.Popen(
            [sys.executable, "-m", "alembic_snapshot", "build", "-q"], cwd=project.root
        )
        until(lambda: pid_file.exists() and pid_file.read_text(), "the builder runs")
        builder = int(pid_file.read_text())

        parent.kill()
        parent.wait()

        until(lambda: not is_running(builder), "the builder ends")


def child_of(pid):
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return None
    return int(children[0]) if children else None


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class TestTampering:
    """G10: what is not what was published is reported and built again."""

    @pytest.fixture
    def built(self, project):
        project.history(2)
        snapshot = project.ensure()
        os.chmod(snapshot.path, 0o644)
        return snapshot

    def test_a_truncated_snapshot_is_not_used(self, project, built):
        with open(built.path, "r+b") as file:
            file.truncate(1000)

        assert project.look_up().reasons == (f"{built.path} is damaged or was changed",)
        assert project.ensure().built

    def test_a_snapshot_whose_file_is_gone_is_not_used(self, project, built):
        built.path.unlink()

        assert project.look_up().reasons == (f"{built.path} is damaged or was changed",)
        assert project.ensure().built

    def test_an_edited_snapshot_is_not_used(self, project, built, rows):
        connection = sqlite3.connect(built.path)
        connection.execute("insert into t_0001 values (1)")
        connection.commit()
        connection.close()

        again = project.ensure()

        assert again.built
        assert rows(again.path, "select * from t_0001") == []

    def test_a_foreign_file_in_its_place_is_not_used(self, project, built):
        other = built.path.with_name("other")
        other.write_bytes(bytes(built.path.stat().st_size))
        os.replace(other, built.path)

        assert project.ensure().built

    def test_a_snapshot_without_a_manifest_does_not_exist(self, project, built):
        (built.path.parent / "manifest.json").unlink()

        assert project.ensure().built

    @pytest.mark.parametrize(
        "content",
        [b"", b"{}", b"[]", b"null", b"7", b'"text"', b"[" * 9999, b"not json", b"\xff{}",
         b'{"format": 1}', b'{"format": 3, "revisions": null}'],
    )  # fmt: skip
    def test_a_snapshot_with_a_broken_manifest_does_not_exist(self, project, built, content):
        (built.path.parent / "manifest.json").write_bytes(content)

        assert project.ensure().built

    def test_a_snapshot_with_a_folder_as_its_manifest_does_not_exist(self, project, built):
        (built.path.parent / "manifest.json").unlink()
        (built.path.parent / "manifest.json").mkdir()

        assert project.ensure().built

    @pytest.mark.parametrize(
        ("before", "after"),
        [('"handover": "url"', '"handover": "engine"'), ('"checks": {', '"checks": {"a": 1, ')],
    )
    def test_a_snapshot_with_an_edited_manifest_does_not_exist(self, project, built, before, after):
        path = built.path.parent / "manifest.json"
        assert before in path.read_text()
        path.write_text(path.read_text().replace(before, after))

        assert project.look_up().entry is None
        assert project.ensure().built

    def test_an_older_snapshot_under_a_newer_name_is_not_believed(self, project, built):
        older = shutil.copytree(built.path.parent, project.root / "older")
        project.revision("0003", "0002")
        newer = project.ensure()
        shutil.rmtree(newer.path.parent)

        shutil.copytree(older, newer.path.parent)

        assert project.ensure().built
        assert project.ensure().manifest.heads == ("0003",)

    def test_a_damaged_ancestor_is_not_built_upon(self, project, built):
        with open(built.path, "r+b") as file:
            file.truncate(1000)
        project.revision("0003", "0002")

        assert project.build()[1] == ["0002", "0003"]

    def test_a_restored_store_is_verified_and_then_used(self, project, built, monkeypatch):
        from alembic_snapshot.sqlite import database as databases

        store = project.root / ".alembic-snapshot"
        shutil.copytree(store, project.root / "restored")
        shutil.rmtree(store)
        os.rename(project.root / "restored", store)
        hashed = []
        real = databases.content_hash
        monkeypatch.setattr(
            databases, "content_hash", lambda path: hashed.append(path) or real(path)
        )

        assert not project.ensure().built
        assert not project.ensure().built
        assert len(hashed) == 1

    def test_a_manifest_is_read_back_as_it_was_written(self, built):
        read = Manifest.from_json((built.path.parent / "manifest.json").read_text())
        lists = [f.name for f in dataclasses.fields(Manifest) if f.type.startswith("Sequence[")]
        full = dataclasses.replace(read, **dict.fromkeys(lists, ("a", "b")))

        assert len(lists) > 3
        assert Manifest.from_json(full.to_json()) == full

    def test_a_manifest_keeps_the_facts_of_the_snapshot(self, built):
        manifest = json.loads((built.path.parent / "manifest.json").read_text())

        assert manifest["heads"] == ["0002"]
        assert manifest["sha256"]
        assert manifest["layers"]["0002"].keys() == {"migrations/versions/0002_made.py"}


class TestPrune:
    def test_keeps_the_builds_that_were_used_last(self, project):
        project.history(2)
        first = project.ensure()
        project.revision("0003", "0002")
        project.revision("0004", "0003")
        second = project.ensure()
        os.utime(first.path.parent, (1, 1))

        deleted = FileStore(project.root / ".alembic-snapshot").prune(keep=1)

        assert first.path.parent in {Path(entry.database.name).parent for entry in deleted}
        assert second.path.exists()
        assert not project.ensure().built

    def test_keeps_together_what_one_build_published(self, project):
        project.history(3)
        project.ensure()
        project.revision("0003", "0002", "op.execute('select 1')")

        FileStore(project.root / ".alembic-snapshot").prune(keep=1)

        assert project.build()[1] == ["0003"]

    def test_keeps_what_editing_the_newest_revision_starts_from_whoever_published_it(self, project):
        project.history(2)
        project.ensure()
        project.revision("0003", "0002")
        project.ensure()
        project.revision("0003", "0002", "op.execute('select 1')")

        FileStore(project.root / ".alembic-snapshot").prune(keep=1)

        assert project.build()[1] == ["0003"]

    def test_keeps_no_older_build_of_a_project_of_one_layer(self, project):
        project.configure('migrate = "made:make"')
        project.write("made.py", MAKE)
        project.history(1)
        project.ensure()
        project.append("made.py", "# changed\n")
        second = project.ensure()

        (deleted,) = FileStore(project.root / ".alembic-snapshot").prune(keep=1)

        assert deleted.database.name != str(second.path)

    def test_needs_only_the_snapshots(self, project):
        project.history(1)
        project.ensure()
        shutil.rmtree(project.root / ".alembic-snapshot/building")

        assert len(FileStore(project.root / ".alembic-snapshot").prune(keep=0)) == 1

    @pytest.mark.parametrize(
        ("keep", "age", "left"), [(2, 0, 2), (0, 3600, 2), (1, 3600, 2), (1, None, 1), (9, 0, 3)]
    )
    def test_deletes_what_is_one_too_many_and_too_old_if_both_are_asked_for(
        self, project, keep, age, left
    ):
        project.configure('migrate = "made:make"')
        project.write("made.py", MAKE)
        project.history(1)
        oldest = project.ensure()
        for _ in range(2):
            project.append("made.py", "# changed\n")
            project.ensure()
        os.utime(oldest.path.parent, (1, 1))
        store = FileStore(project.root / ".alembic-snapshot")

        store.prune(keep=keep, older_than=age)

        assert len(store.entries()) == left

    def test_deletes_by_age(self, project):
        project.history(1)
        snapshot = project.ensure()
        store = FileStore(project.root / ".alembic-snapshot")

        assert store.prune(older_than=3600) == []
        os.utime(snapshot.path.parent, (1, 1))
        (deleted,) = store.prune(older_than=3600)
        assert deleted.database.name == str(snapshot.path)

    def test_leaves_a_snapshot_that_another_process_uses(self, project):
        project.history(1)
        snapshot = project.ensure()
        code = (
            "import pathlib, sys; from alembic_snapshot import ensure, load_project\n"
            f"snapshot = ensure(load_project(pathlib.Path({str(project.root)!r})))\n"
            "with snapshot.in_use():\n    print('in', flush=True)\n    sys.stdin.read()\n"
        )
        user = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert user.stdout.readline() == "in\n"

        kept = FileStore(project.root / ".alembic-snapshot").prune(keep=0)
        user.communicate("")

        assert kept == []
        assert snapshot.path.exists()
        assert len(FileStore(project.root / ".alembic-snapshot").prune(keep=0)) == 1

    def test_sweeps_what_killed_and_failed_builds_left(self, project):
        project.revision("a", upgrade="1 / 0")
        project.command("build")
        store = FileStore(project.root / ".alembic-snapshot")
        leftover = store.building / ("0" * 32 + ".abc")
        leftover.mkdir()
        (failed,) = store.failed.glob("*.json")
        no_folder = store.building / (failed.stem + ".abc")
        no_folder.touch()

        store.prune(keep=5)

        assert list(store.failed.iterdir()) == []
        no_folder.unlink()

        assert list(store.building.iterdir()) == []
        assert list(store.failed.iterdir()) == []


class TestItsFolder:
    def test_is_ignored_by_git_and_backups_as_its_owner_likes(self, project):
        project.history(1)
        project.ensure()
        ignored, tag = (
            project.root / ".alembic-snapshot" / n for n in (".gitignore", "CACHEDIR.TAG")
        )
        assert ignored.read_text() == "*\n"
        assert tag.read_text().startswith("Signature: ")

        ignored.write_text("# mine\n")
        tag.unlink()
        project.history(2)
        project.ensure()

        assert ignored.read_text() == "# mine\n"
        assert tag.exists()

    @pytest.mark.parametrize("where", ["data", "data/deep"])
    def test_may_have_what_the_project_reads_in_it(self, project, where):
        project.write("data/deep/roles.txt", "1")
        name = "'/'.join(['data', 'deep', 'roles' + '.txt'])"
        project.revision(
            "0001", upgrade=f"op.execute('create table t' + open({name}).read() + ' (x)')"
        )
        loaded = project.load(store=project.root / where)
        assert ensure(loaded).built
        project.write("data/deep/roles.txt", "2")

        again = ensure(loaded)

        assert again.built
        assert "t2" in again.entry.database.tables()
        assert not ensure(loaded).built
        assert [*project.root.rglob(".gitignore"), *project.root.rglob("CACHEDIR.TAG")] == []

    def test_has_nothing_but_what_is_known_to_be_its_own(self, project):
        project.history(1)
        project.ensure()
        project.revision("0002", "0001", upgrade="raise ValueError")
        with pytest.raises(SnapshotError):
            project.ensure()
        assert project.command("check").returncode == 2

        made = {entry.name for entry in (project.root / ".alembic-snapshot").iterdir()}

        assert made < {*STORE_ENTRIES}
        known = {*made, "archives", "opened", remote._SENT, remote._OFF}
        assert known == {*STORE_ENTRIES}


class TestAFolderWithOtherThings:
    @pytest.mark.parametrize("where", [".", "..", "../..", "/", "migrations/.."])
    def test_is_no_store_where_the_project_is_in_it(self, project, monkeypatch, where):
        monkeypatch.setenv("ALEMBIC_SNAPSHOT_DIR", where)

        with pytest.raises(StoreError, match="the project is in it") as failed:
            load_project(project.root)

        assert "a folder for the store alone" in failed.value.hint
        assert not (project.root / ".gitignore").exists()

    @pytest.mark.parametrize("kind", [FileStore, ServerStore])
    def test_has_no_part_of_a_store_that_is_not_known(self, tmp_path, kind):
        store = kind(tmp_path)
        paths = [path for path in vars(store).values() if isinstance(path, Path)]
        parts = {path.relative_to(tmp_path).parts[0] for path in paths if path != tmp_path}

        assert {"building", "failed"} <= parts <= {*STORE_ENTRIES}
        assert {remote._OFF, remote._SENT} <= {*STORE_ENTRIES}


class TestAnUnwritableStore:
    def test_is_one_error_with_a_hint(self, project, tmp_path):
        project.history(1)
        (tmp_path / "file").touch()

        with pytest.raises(StoreError, match="can't write to the store") as failed:
            ensure(load_project(project.root, store=tmp_path / "file" / "store"))

        assert "ALEMBIC_SNAPSHOT_DIR" in failed.value.hint

    def test_can_not_be_pruned_in_silence(self, project):
        project.history(1)
        snapshot = project.ensure()
        store = FileStore(project.root / ".alembic-snapshot")
        store.building.rmdir()
        store.building.touch()

        with pytest.raises(StoreError, match="can't write to the store"):
            store.prune(keep=0)
        assert snapshot.path.exists()

    def test_that_has_the_snapshot_is_enough(self, project):
        project.history(1)
        first = project.ensure()
        paths = [project.root, *project.root.rglob("*")]
        for path in paths:
            path.chmod(0o555 if path.is_dir() else 0o444)

        done = as_nobody_special(project)

        for path in paths:
            path.chmod(0o755)
        assert done.stdout.strip() == str(first.path), done.stderr

    @pytest.mark.parametrize("ending", ["db", "json"])
    def test_says_whether_the_database_of_a_failed_build_is_kept(self, project, ending):
        project.revision("a", upgrade="1 / 0")
        first = project.command("build")
        (kept,) = (project.root / ".alembic-snapshot/failed").glob(f"*.{ending}")
        kept.unlink()
        (kept / "in the way").mkdir(parents=True)

        failed = project.command("build")

        for one in (first, failed):
            assert "error: revision a failed at migrations/versions/a_" in one.stderr
            assert one.returncode == 2
        assert f"hint: the half-built database is kept at {kept.with_suffix('.db')}" in first.stderr
        is_lost = "hint: the half-built database is lost: it can't be kept at" in failed.stderr
        assert is_lost == (ending == "db")
        assert ("Is a directory" in failed.stderr) == is_lost

    def test_says_that_a_failed_build_has_deleted_its_database(self, project):
        deletes = "import os; os.unlink(op.get_bind().engine.url.database)\n1 / 0"
        project.revision("a", upgrade=deletes)

        failed = project.command("build")

        assert "hint: the half-built database is lost: it can't be kept at" in failed.stderr
        assert failed.stderr.endswith(".db: it is gone\n")

    def test_that_has_it_not_is_one_error(self, project):
        project.history(1)
        project.root.chmod(0o555)

        done = as_nobody_special(project)

        project.root.chmod(0o755)
        assert done.returncode == 2
        assert done.stderr.startswith("error: can't write to the store")


def as_nobody_special(project):
    """Build without the right to write where the permissions say no, which root has."""
    command = [sys.executable, "-m", "alembic_snapshot", "build", "-q"]
    if os.getuid() == 0:
        if not shutil.which("setpriv"):
            pytest.skip("root can write everywhere, and there is no setpriv to give that up")
        command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", *command]
    return subprocess.run(command, cwd=project.root, capture_output=True, text=True, check=False)
