"""What a store keeps of snapshots and of failed builds, and which of it goes."""

from __future__ import annotations

import dataclasses
import errno
import functools
import json
import os
import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from alembic_snapshot import MigrationError
from alembic_snapshot.errors import StoreError
from alembic_snapshot.key.layers import State
from alembic_snapshot.key.observed import Change, Observed
from alembic_snapshot.sqlite import files
from alembic_snapshot.sqlite.store import FileStore
from alembic_snapshot.store.manifest import Manifest, different_options, write_whole
from alembic_snapshot.store.store import Lookup, run_id

MANIFEST = Manifest(
    digest="a" * 64, family="a" * 64, project="shop", created=1.0, size=100, sha256="",
    heads=("2",), revisions={"1": "x", "2": "y"}, seeds=(), layers={"base": {}},
)  # fmt: skip
HOUR = 3600.0
MAIN, OTHER = ({"scope": scope, "signer": "0" * 16} for scope in ("main", "pr/1"))


@pytest.fixture
def store(tmp_path):
    made = FileStore(tmp_path / "store")
    made.prepare()
    return made


@pytest.fixture
def put(store):
    """Publishes into the store."""
    return functools.partial(published, store)


def published(store, letter="a", *, age=None, replace=True, **fields):
    """A small database, published under a manifest with these fields, last asked for then."""
    digest = letter * 64
    workspace = store.workspace(digest)
    path = workspace.database.path
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("create table t (a)")
    fields.setdefault("revisions", {"1": letter, "2": letter})
    manifest = dataclasses.replace(
        MANIFEST, digest=fields.pop("digest", digest), family=fields.pop("family", digest),
        sha256=workspace.database.content_hash(), **fields,
    )  # fmt: skip
    entry = store.publish(workspace.database, manifest, replace=replace)
    workspace.close()
    if age is not None:
        now = entry.used - age
        os.utime(Path(entry.database.name).parent, (now, now))
    return entry


def names(entries):
    return [entry.manifest.digest[0] for entry in entries]


class TestASnapshot:
    def test_is_a_folder_that_all_may_read_who_may_read_its_manifest(self, store, put):
        umask = os.umask(0o027)
        try:
            entry = put(observed=Observed({"a": "1"}))
        finally:
            os.umask(umask)

        folder = Path(entry.database.name).parent
        assert entry.name == folder.name == f"{'a' * 32}-{entry.manifest.observed.digest[:8]}"
        assert folder.parent == store.snapshots
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}
        assert modes == {"snapshot.db": 0o440, "manifest.json": 0o640, "verified.json": 0o640}
        assert stat.S_IMODE(folder.stat().st_mode) == 0o750
        assert list(store.building.iterdir()) == []
        assert store.entries() == [entry]

    def test_of_which_nothing_was_observed_has_its_digest_as_its_name(self, put):
        assert put().name == "a" * 32

    def test_is_listed_the_latest_made_first(self, store, put):
        put("a", created=2.0)
        put("b", created=3.0)
        put("c", created=1.0)

        assert names(store.entries()) == ["b", "a", "c"]
        assert FileStore(store.root / "none").entries() == []

    def test_of_another_format_is_none(self, store, put):
        put("a", format=MANIFEST.format - 1)
        put("b")

        assert names(store.entries()) == ["b"]

    @pytest.mark.parametrize(
        ("fields", "replace", "is_kept"),
        [
            ({}, True, False),
            ({}, False, True),
            ({"options": {"compare_type": "x"}}, False, False),
            ({"created": 9.0}, False, True),
        ],
    )
    def test_is_kept_only_if_it_is_the_same_and_may_be(self, put, fields, replace, is_kept):
        first = put()
        inode = os.stat(first.database.name).st_ino

        second = put(replace=replace, **fields)

        assert (os.stat(second.database.name).st_ino == inode) is is_kept
        assert (second.manifest == first.manifest) is (is_kept or not fields)

    def test_that_is_damaged_is_not_kept(self, store, put):
        first = put()
        os.chmod(first.database.name, 0o600)
        Path(first.database.name).write_bytes(b"")

        second = put(replace=False)

        assert store.is_intact(second)

    def test_whose_file_was_touched_is_looked_into_once_more(self, store, put):
        entry = put()
        verified = Path(entry.database.name).with_name("verified.json")
        before = verified.read_text()
        os.utime(entry.database.name, (1, 1))

        assert store.is_intact(entry)
        assert verified.read_text() != before
        size, inode, modified = json.loads(verified.read_text())
        found = os.stat(entry.database.name)
        assert (size, inode, modified) == (found.st_size, found.st_ino, found.st_mtime_ns)

    def test_that_is_known_to_be_whole_is_not_read_again(self, store, put):
        entry = put()
        other = dataclasses.replace(entry, manifest=dataclasses.replace(MANIFEST, sha256="other"))

        assert store.is_intact(other)
        os.utime(entry.database.name, (1, 1))
        assert not store.is_intact(other)

    @pytest.mark.parametrize("content", ["", "{", "[1]"])
    def test_whose_verification_can_not_be_read_is_verified(self, store, put, content):
        entry = put()
        Path(entry.database.name).with_name("verified.json").write_text(content)

        assert store.is_intact(entry)

    def test_whose_file_is_gone_is_not_intact(self, store, put):
        entry = put()
        os.unlink(entry.database.name)

        assert not store.is_intact(entry)

    def test_has_its_manifest_replaced_and_its_database_left(self, store, put):
        entry = put()
        checked = dataclasses.replace(entry.manifest, checks={"drift": ["x"]})

        updated = store.update(entry, checked)

        assert updated.manifest == checked
        assert store.entries()[0].manifest == checked
        assert updated.database == entry.database

    def test_that_is_gone_can_be_updated_and_touched_without_an_error(self, store, put):
        entry = put()
        store.prune(keep=0)

        store.touch(entry)
        assert store.update(entry, entry.manifest).manifest == entry.manifest
        with store.in_use(entry):
            pass

    def test_counts_as_asked_for_when_it_is_touched(self, store, put):
        entry = put(age=HOUR)
        before = store.entries()[0].used

        store.touch(entry)

        assert store.entries()[0].used > before

    def test_is_on_the_disk_before_it_has_its_name(self, store, put, monkeypatch):
        done = []
        sync, rename, replace = os.fsync, os.rename, os.replace

        def fsync(descriptor):
            path = os.readlink(f"/proc/self/fd/{descriptor}")
            done.append(("sync", Path(path).name, os.fstat(descriptor).st_size > 0))
            sync(descriptor)

        def renamed(source, target):
            done.append(("rename", Path(target).name, True))
            rename(source, target)

        def replaced(source, target):
            if not str(source).endswith(str(os.getpid())):
                done.append(("rename", Path(target).name, True))
            replace(source, target)

        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(os, "rename", renamed)
        monkeypatch.setattr(os, "replace", replaced)
        put()

        pid = os.getpid()
        assert done == [
            ("rename", "snapshot.db", True),
            ("sync", f".verified.json.{pid}", True),
            ("sync", f".manifest.json.{pid}", True),
            ("rename", "a" * 32, True),
            ("sync", "snapshots", True),
        ]

    def test_that_another_process_put_there_meanwhile_stays(self, store, put, monkeypatch):
        rename = os.rename

        def late(source, target):
            if Path(target).name == "a" * 32:
                Path(target).mkdir()
                (Path(target) / "manifest.json").write_text("theirs")
            rename(source, target)

        monkeypatch.setattr(os, "rename", late)
        entry = put()

        assert (Path(entry.database.name).parent / "manifest.json").read_text() == "theirs"
        assert [path.name for path in store.snapshots.iterdir()] == ["a" * 32]
        assert list(store.building.iterdir()) == []

    def test_that_can_not_be_put_there_is_an_error(self, store, put, monkeypatch):
        rename = os.rename

        def refused(source, target):
            if Path(target).parent == store.snapshots:
                raise OSError(errno.EROFS, os.strerror(errno.EROFS))
            rename(source, target)

        monkeypatch.setattr(os, "rename", refused)
        with pytest.raises(StoreError) as failed:
            put()

        assert failed.value.message == (
            f"can't write to the store {store.root}: Read-only file system"
        )
        assert failed.value.hint == (
            "make it writable, or choose another with ALEMBIC_SNAPSHOT_DIR"
        )


class Now:
    """What is there now: for each of these digests of what was read, something has changed."""

    def __init__(self, **changed):
        self.changed = changed

    def changes(self, observed, _salt):
        return [Change(text) for name in observed.files for text in self.changed.get(name, ())]


class TestLookingForASnapshot:
    STATE = State({}, (), (), "a" * 64)

    def test_finds_none_where_there_is_none_or_only_one_of_another_digest(self, store, put):
        assert store.find(self.STATE, Now()) == Lookup(None, [])
        put("a", digest="a" * 32 + "b" * 32)
        assert store.find(self.STATE, Now()) == Lookup(None, [])

    def test_finds_the_one_for_which_nothing_has_changed(self, store, put):
        put("a", observed=Observed({"x": "1"}))
        second = put("a", observed=Observed({"y": "1"}))

        assert store.find(self.STATE, Now(x=["x changed"])) == Lookup(second)

    @pytest.mark.parametrize("names", ["xy", "yx"])
    def test_says_how_the_one_that_is_most_alike_differs(self, store, put, names):
        for name in names:
            put("a", observed=Observed({name: "1"}))

        now = Now(x=["x changed", "z too"], y=["y changed"])

        assert store.find(self.STATE, now) == Lookup(None, [Change("y changed")])

    @pytest.mark.parametrize("name", ["foo", "{} (1)", "b" * 32, ".."])
    def test_is_not_what_somebody_has_renamed_or_copied(self, store, put, name):
        entry = put("a")
        own = Path(entry.database.name).parent
        shutil.copytree(own, own.with_name(name.format(own.name).replace("..", own.name[:31])))

        intact = {one.name: store.is_intact(one) for one in store.entries()}

        assert sorted(intact.values()) == [False, True]
        assert intact[own.name]

    def test_finds_no_damaged_one_and_says_so(self, store, put):
        entry = put("a")
        os.chmod(entry.database.name, 0o600)
        Path(entry.database.name).write_bytes(b"")

        assert store.find(self.STATE, Now()) == Lookup(
            None, [Change(f"{entry.database} is damaged or was changed")]
        )


class TestItsFolder:
    def test_is_made_whole_and_marked_for_git_and_for_backups(self, store):
        assert sorted(path.name for path in store.root.iterdir()) == [
            ".gitignore", "CACHEDIR.TAG", "building", "failed", "locks", "snapshots", "stairways",
        ]  # fmt: skip
        assert (store.root / ".gitignore").read_text() == "*\n"
        assert (store.root / "CACHEDIR.TAG").read_text() == (
            "Signature: 8a477f597d28d172789f06886806bc55\n"
        )
        assert store.parse_cache == store.root / "facts.json"
        store.prepare()

    def test_that_is_a_file_is_an_error(self, tmp_path):
        (tmp_path / "store").write_text("")
        store = FileStore(tmp_path / "store")

        for write in (store.prepare, lambda: store.workspace("a")):
            with pytest.raises(StoreError) as failed:
                write()
            assert failed.value.message.startswith(f"can't write to the store {store.root}: ")

    def test_has_a_workspace_of_its_own_for_each_build_and_none_of_a_dead_one(self, store):
        first, other = store.workspace("a" * 64), store.workspace("b" * 64)
        for name in ("database.db", "state-0.db", "state-1.db", "output.txt"):
            (first.folder / name).touch()

        assert first.state(3).path == first.folder / "state-3.db"
        first.clear()
        assert [path.name for path in first.folder.iterdir()] == ["output.txt"]

        again = store.workspace("a" * 64)
        assert not first.folder.exists()
        assert other.folder.exists()
        assert again.folder.parent == store.building
        assert again.folder.name.startswith(f"{'a' * 32}.")
        again.close()
        again.close()
        assert not again.folder.exists()

    def test_says_why_where_the_system_has_no_word_for_it(self, store):
        assert store.unwritable(OSError("why")).message.endswith(": why")


def failed(hint):
    return MigrationError("revision 2 failed", hint=hint, details="Traceback")


class TestAFailedBuild:
    @pytest.fixture
    def database(self, store):
        database = store.workspace("a" * 64).database
        for path in (database.path, *files.side_files(database.path)):
            path.write_text(path.name)
        return database

    def test_is_kept_with_its_error_and_its_database(self, store, database):
        store.keep_failure("a" * 64, failed("so"), database, "ada")

        identity, error, is_same_run = store.failure("a" * 64)
        assert (type(error), error.message, error.hint) == (
            MigrationError, "revision 2 failed", "so"
        )  # fmt: skip
        assert error.details == "Traceback"
        assert identity > 0
        assert not is_same_run
        record = json.loads((store.failed / f"{'a' * 32}.json").read_text())
        assert record.keys() == {"id", "run", "owner", "error"}
        assert record["owner"] == "ada"
        kept = store.failed_database("a" * 64).path
        assert kept == store.failed / f"{'a' * 32}.db"
        for path, name in zip(
            (kept, *files.side_files(kept)),
            ("database.db", "database.db-journal", "database.db-wal", "database.db-shm"),
            strict=True,
        ):
            assert path.read_text() == name
        assert list(database.path.parent.iterdir()) == []

    def test_takes_the_place_of_the_one_before_with_all_that_was_beside_it(self, store, database):
        store.keep_failure("a" * 64, failed("so"), database)
        first = store.failure("a" * 64)[0]
        database.path.write_text("second")
        store.keep_failure("a" * 64, failed("so"), database)

        kept = store.failed_database("a" * 64).path
        assert kept.read_text() == "second"
        assert not any(side.exists() for side in files.side_files(kept))
        assert store.failure("a" * 64)[0] > first

    def test_is_of_this_run_only_if_it_has_the_same_id(self, store, database, monkeypatch):
        monkeypatch.delenv("PYTEST_XDIST_TESTRUNUID", raising=False)
        assert run_id() is None
        store.keep_failure("a" * 64, failed("so"), database)
        assert not store.failure("a" * 64)[2]
        monkeypatch.setenv("PYTEST_XDIST_TESTRUNUID", "one")
        assert not store.failure("a" * 64)[2]
        store.keep_failure("a" * 64, failed("so"), database)
        assert store.failure("a" * 64)[2]
        monkeypatch.setenv("PYTEST_XDIST_TESTRUNUID", "two")
        assert not store.failure("a" * 64)[2]

    @pytest.mark.parametrize("record", [None, "", "{", "{}", '{"run": null}'])
    def test_that_can_not_be_read_is_none(self, store, record):
        if record is not None:
            (store.failed / f"{'a' * 32}.json").write_text(record)

        assert store.failure("a" * 64) is None

    def test_is_forgotten_with_all_that_was_beside_it(self, store, database):
        store.keep_failure("a" * 64, failed("so"), database)

        store.forget_failure("a" * 64)
        store.forget_failure("a" * 64)

        assert list(store.failed.iterdir()) == []

    def test_of_which_only_the_database_is_there_is_forgotten_too(self, store, database):
        store.keep_failure("a" * 64, failed("so"), database)
        (store.failed / f"{'a' * 32}.json").unlink()

        store.forget_failure("a" * 64)

        assert list(store.failed.iterdir()) == []

    def test_that_can_not_be_forgotten_is_no_error(self, store):
        store.failed.rmdir()
        store.failed.write_text("")

        store.forget_failure("a" * 64)

    def test_that_left_no_database_says_so_where_it_was_to_be(self, store):
        kept = store.failed_database("a" * 64)
        gone = store.workspace("a" * 64).database

        for database in (None, gone):
            error = failed(f"it is at {kept}")
            store.keep_failure("a" * 64, error, database)
            said = f"the half-built database is lost: it can't be kept at {kept}: it is gone"
            assert error.hint == said
            assert store.failure("a" * 64)[1].hint == said

    @pytest.mark.parametrize("hint", ["correct it", None])
    def test_whose_hint_is_about_something_else_keeps_it(self, store, hint):
        error = failed(hint)

        store.keep_failure("a" * 64, error, None)

        assert error.hint == hint

    def test_that_can_not_be_kept_says_why(self, store, database, monkeypatch):
        def full(_source, _target):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "replace", full)
        error = failed(f"it is at {store.failed_database('a' * 64)}")
        store.keep_failure("a" * 64, error, database)

        assert error.hint.endswith(": No space left on device")


class TestPruning:
    def test_of_nothing_deletes_nothing(self, store, put):
        put("a", age=HOUR)

        assert store.prune() == []

    @pytest.mark.parametrize(
        ("keep", "older_than", "gone"),
        [
            (0, None, "abc"),
            (1, None, "bc"),
            (2, None, "c"),
            (3, None, ""),
            (None, 0.5 * HOUR, "bc"),
            (None, 1.5 * HOUR, "c"),
            (1, 1.5 * HOUR, "c"),
            (2, 0.5 * HOUR, "c"),
            (0, 9 * HOUR, ""),
        ],
    )
    def test_deletes_what_is_too_many_and_too_old(self, store, put, keep, older_than, gone):
        put("a", age=0)
        put("b", age=HOUR)
        put("c", age=2 * HOUR)

        deleted = store.prune(keep, older_than)

        assert "".join(sorted(names(deleted))) == gone
        assert "".join(sorted(names(store.entries()))) == "".join(sorted({*"abc"} - {*gone}))
        assert list(store.building.iterdir()) == []

    def test_counts_each_project_by_itself_and_leaves_who_is_not_meant(self, store, put):
        put("a", age=0)
        put("b", age=HOUR)
        put("c", age=HOUR, project="other")
        put("d", age=2 * HOUR, project="other")

        assert names(store.prune(1, is_meant=lambda project: project == "other")) == ["d"]
        assert names(store.prune(1)) == ["b"]

    def test_leaves_what_a_snapshot_that_stays_stands_on_and_not_what_a_mere_state_does(
        self, store, put
    ):
        history = {"1": "x", "2": "y"}
        put("a", age=0, revisions=history, heads=("2",))
        put("b", age=HOUR, revisions={"1": "x"}, heads=("1",))
        put("c", age=0, family="a" * 64, revisions={"9": "z"}, heads=("9",))
        put("d", age=2 * HOUR, revisions={"9": "z"}, heads=("9",))

        assert names(store.prune(keep=1)) == ["d"]

    def test_leaves_what_is_in_use(self, store, put):
        entry = put("a")

        with store.in_use(entry):
            assert store.prune(keep=0) == []
        assert names(store.prune(keep=0)) == ["a"]

    def test_sweeps_what_dead_builds_left_and_the_owner_s_failed_ones(self, store):
        (store.workspace("d" * 64).folder / "database.db").touch()
        alive = store.workspace("e" * 64)
        for letter, owner in (("a", "ada"), ("b", "bob")):
            store.keep_failure(letter * 64, failed("so"), None, owner)
        (store.failed / f"{'c' * 32}.json").write_text("[")

        with store.lock("e" * 64):
            store.prune(owner="ada")

        assert list(store.building.iterdir()) == [alive.folder]
        assert sorted(path.name[0] for path in store.failed.iterdir()) == ["b", "c"]
        store.prune()
        assert list(store.building.iterdir()) == []
        assert list(store.failed.iterdir()) == []


class TestTrimming:
    @pytest.mark.parametrize(
        ("limit", "gone", "left"),
        [
            (300, "", 300),
            (299, "c", 200),
            (200, "c", 200),
            (199, "bc", 100),
            (100, "bc", 100),
            (0, "bc", 100),
        ],
    )
    def test_deletes_what_was_not_asked_for_longest_until_the_rest_fits(
        self, store, put, limit, gone, left
    ):
        put("a", age=0)
        put("b", age=HOUR)
        put("c", age=2 * HOUR)

        deleted, rest = store.trim(limit)

        assert ("".join(sorted(names(deleted))), rest) == (gone, left)

    @pytest.mark.parametrize(("age", "gone"), [(590, ""), (600, "a")])
    def test_leaves_what_was_asked_for_in_the_last_ten_minutes(self, store, put, age, gone):
        put("a", age=age)

        deleted, left = store.trim(0)

        assert "".join(names(deleted)) == gone
        assert left == (0 if gone else 100)

    def test_leaves_what_stands_below_what_it_leaves(self, store, put):
        put("a", age=0, revisions={"1": "x", "2": "y"}, heads=("2",))
        put("b", age=HOUR, revisions={"1": "x"}, heads=("1",))

        assert store.trim(0) == ([], 200)

    def test_takes_what_one_build_published_together(self, store, put):
        put("a", age=HOUR)
        put("b", age=3 * HOUR, family="a" * 64)
        put("c", age=2 * HOUR)

        assert names(store.trim(299)[0]) == ["c"]

    def test_leaves_what_is_in_use_and_counts_it(self, store, put):
        entry = put("a", age=HOUR)

        with store.in_use(entry):
            assert store.trim(0) == ([], 100)


class TestAManifest:
    def test_is_read_as_it_was_written(self):
        whole = dataclasses.replace(
            MANIFEST, observed=Observed({"f": "1"}, {"d": "2"}, {"s": "3"}, {"e": "4"}),
            through_env=Observed({"g": "1"}), seeds=("s",), warnings=("w",), received=True,
            databases=({"kind": "sqlite"},), origins=({"scope": "x"},), handover="url",
        )  # fmt: skip

        assert Manifest.from_json(whole.to_json()) == whole

    def test_that_was_edited_is_none(self):
        text = MANIFEST.to_json()

        for edited in (text.replace('"shop"', '"shap"'), text + " ", text[:-2], "{}", ""):
            with pytest.raises(ValueError, match="edited"):
                Manifest.from_json(edited)

    @pytest.mark.parametrize(
        ("fields", "seeds", "is_part"),
        [
            ({"revisions": {"1": "x", "2": "y"}}, (), True),
            ({"revisions": {"1": "x"}}, (), True),
            ({"revisions": {}}, (), False),
            ({"revisions": {"1": "z"}}, (), False),
            ({"revisions": {"1": "x", "2": "y"}, "seeds": ("s",)}, ("s", "t"), True),
            ({"revisions": {"1": "x", "2": "y"}, "seeds": ("t",)}, ("s", "t"), False),
            ({"revisions": {"1": "x", "2": "y"}, "seeds": ("s", "t")}, ("s",), False),
            ({"revisions": {"1": "x"}, "seeds": ("s",)}, ("s",), False),
            ({"revisions": {"1": "x"}, "layers": {"base": {"a": "b"}}}, (), False),
        ],
    )
    def test_is_of_a_state_on_the_way_to_another(self, fields, seeds, is_part):
        later = dataclasses.replace(MANIFEST, seeds=seeds)

        assert dataclasses.replace(MANIFEST, **fields).is_published_with(later) is is_part

    def test_is_like_another_of_the_same_digest_and_options(self):
        assert MANIFEST.is_like(dataclasses.replace(MANIFEST, created=2.0))
        assert not MANIFEST.is_like(dataclasses.replace(MANIFEST, digest="b"))
        assert not MANIFEST.is_like(dataclasses.replace(MANIFEST, options={"a": "b"}))

    @pytest.mark.parametrize(
        ("rests_on", "other_rests_on", "stands"),
        [
            ((), (), True),
            ((), (MAIN,), True),
            ((MAIN,), (MAIN,), True),
            ((MAIN,), (), False),
            ((MAIN,), (OTHER,), False),
            ((MAIN, OTHER), (MAIN,), False),
        ],
    )
    def test_stands_for_another_that_rests_on_as_much(self, rests_on, other_rests_on, stands):
        other = dataclasses.replace(MANIFEST, origins=other_rests_on)

        assert dataclasses.replace(MANIFEST, origins=rests_on).stands_for(other) is stands
        assert not dataclasses.replace(MANIFEST, digest="b").stands_for(other)

    def test_tells_what_revisions_asked_for_of_env_py(self):
        options = {"<argument x>": "1", "compare_type": "2", "<value y>": "3"}

        assert dataclasses.replace(MANIFEST, options=options).asked_of_env == [
            "<argument x>", "<value y>"
        ]  # fmt: skip

    def test_says_which_options_are_others_now(self):
        before = {"a": "1", "b": "2", "<argument x>": "3", "c": "4"}
        now = {"a": "1", "b": "3", "<argument y>": "5", "d": "6"}
        given = "which env.py gives to context.configure(), changed"

        assert different_options(before, now) == [
            f"b, {given}",
            "the argument x that env.py leaves to the revisions changed",
            f"c, {given}",
            f"d, {given}",
        ]
        assert different_options(before, before) == []


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    path.write_text("before")

    def full(_descriptor):
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="full"):
            write_whole(path, "ä")
    assert path.read_text() == "before"
    write_whole(path, "ä")
    assert path.read_bytes() == "ä".encode()
