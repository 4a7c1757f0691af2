"""A test's own file: where it is, how connections are led to it, and what becomes of it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from types import SimpleNamespace

import pytest

from alembic_snapshot.errors import CloneError
from alembic_snapshot.sqlite.clone import (
    FileClone,
    FileClones,
    ReadOnlyFile,
    named_clone,
    refuse_taken,
)

GONE = "was the store emptied while the tests ran? Run them again"


@pytest.fixture
def snapshot(tmp_path):
    """A snapshot with one table, as far as a clone asks for it."""
    path = tmp_path / "a snapshot.db"
    script(path, "CREATE TABLE t (a); INSERT INTO t VALUES (1)")
    return SimpleNamespace(path=path, entry=object())


@pytest.fixture
def clone(snapshot, tmp_path):
    made = FileClone(snapshot, tmp_path / "clone.db")
    yield made
    made.close()


def script(path, sql):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(sql)


def rows(path):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute("SELECT a FROM t")]


def rewritten(clone, *cargs, **cparams):
    arguments = list(cargs)
    clone.rewrite_connect_args(None, arguments, cparams)
    return arguments, cparams


class TestAClone:
    def test_is_made_when_it_is_first_needed(self, snapshot, tmp_path):
        seconds = []
        clone = FileClone(snapshot, tmp_path / "clone.db", seconds.append)
        assert (clone.label, clone.place) == ("clone.db", tmp_path / "clone.db")
        assert (clone.size, clone.made, clone.place.exists(), clone.was_told) == (
            0,
            False,
            False,
            False,
        )

        clone.make()
        assert (clone.made, clone.was_told) == (True, False)
        assert clone.path == tmp_path / "clone.db"

        assert clone.was_told
        assert clone.size == clone.path.stat().st_size > 0
        assert (rows(clone.path), len(seconds)) == ([1], 1)
        assert clone.target.path == clone.path
        assert clone.suffix == ".db"

    def test_of_nothing_is_an_empty_file(self, tmp_path):
        clone = FileClone(SimpleNamespace(entry=None), tmp_path / "clone.db")

        assert clone.path.read_bytes() == b""

    def test_of_a_snapshot_that_is_gone_is_an_error(self, snapshot, clone):
        snapshot.path.unlink()

        with pytest.raises(CloneError) as caught:
            clone.make()

        assert str(caught.value) == f"the snapshot {snapshot.path} is gone\nhint: {GONE}"

    def test_that_was_deleted_has_no_size(self, clone):
        clone.path.unlink()

        assert clone.size == 0

    def test_is_deleted_with_all_that_is_beside_it(self, clone, snapshot):
        clone.path.with_name("clone.db-wal").touch()

        clone.delete()

        assert [path.name for path in snapshot.path.parent.iterdir()] == ["a snapshot.db"]

    def test_that_was_never_made_deletes_nothing(self, clone):
        clone.place.write_text("of somebody else")

        clone.delete()

        assert clone.place.exists()

    @pytest.mark.parametrize("name", ["kept.db", "it's kept.db"])
    def test_is_kept_as_one_plain_file(self, clone, tmp_path, name):
        script(clone.path, "PRAGMA journal_mode=WAL")
        wal = sqlite3.connect(clone.path)
        wal.execute("INSERT INTO t VALUES (2)")
        wal.commit()
        wal.close()
        path = tmp_path / "deep" / "folder" / name
        quoted = str(path) if name == "kept.db" else str(path).replace("'", "'\"'\"'")
        assert clone.kept_as(path)[0] == str(path)
        assert clone.kept_as(path)[1] in (
            f"open it: sqlite3 {path}",
            f"open it: sqlite3 '{quoted}'",
        )

        assert clone.keep(path) == path

        assert (rows(path), clone.place) == ([1, 2], path)
        assert path.read_bytes()[18:20] == b"\1\1"
        assert not (tmp_path / "clone.db").exists()

    def test_that_is_kept_replaces_what_was_there(self, clone, tmp_path):
        path = tmp_path / "kept.db"
        path.write_text("of an earlier run")
        path.with_name("kept.db-wal").write_text("of an earlier run")
        clone.make()

        clone.keep(path)

        assert rows(path) == [1]
        assert not path.with_name("kept.db-wal").exists()

    def test_has_open_writes_while_a_transaction_has_written(self, clone):
        with contextlib.closing(sqlite3.connect(clone.path)) as connection:
            assert not clone.has_open_writes()
            connection.execute("INSERT INTO t VALUES (2)")
            assert clone.has_open_writes()
            connection.commit()
            assert not clone.has_open_writes()


class TestAConnection:
    @pytest.mark.parametrize("name", [[], [":memory:"], ["shop.db"], [None], ["file:shop.db"]])
    def test_leads_to_the_clone(self, clone, name):
        arguments, options = rewritten(clone, *name, timeout=3)

        assert arguments == [str(clone.place)]
        assert options == {"uri": False, "check_same_thread": False, "timeout": 3}
        assert clone.made

    @pytest.mark.parametrize(
        ("name", "options"),
        [
            ("file:shop.db?mode=ro", "mode=ro"),
            ("file:shop.db?mode=ro&cache=shared#x?y", "mode=ro&cache=shared"),
            ("file:shop.db?immutable=1&mode=ro", "mode=ro"),
            ("file:shop.db?&mode=ro&", "mode=ro"),
            ("file:shop.db?mode=rwc&mode=ro", "mode=ro"),
            ("file:m1?mode=memory&cache=shared", "cache=shared"),
            ("file:m1?mode=ro&cache=private&mode=mem%6Fry", "cache=private"),
            ("file:m1?mode=memory&mode=ro", "mode=ro"),
            ("file:/m1?vfs=memdb&cache=private", "cache=private"),
            ("file:shop.db?nolock=1&vfs=unix-none&psow=0", "psow=0"),
        ],
    )
    def test_stays_what_its_uri_says(self, snapshot, tmp_path, name, options):
        (tmp_path / "a ?folder").mkdir()
        clone = FileClone(snapshot, tmp_path / "a ?folder" / "clone.db")

        arguments, given = rewritten(clone, name, 5.0)

        assert arguments == [f"file:{tmp_path}/a%20%3Ffolder/clone.db?{options}", 5.0]
        assert given["uri"] is True
        with contextlib.closing(sqlite3.connect(arguments[0], **given)) as connection:
            assert connection.execute("SELECT a FROM t").fetchall() == [(1,)]

    @pytest.mark.parametrize(
        "options",
        ["immutable=1", "nolock=1", "vfs=unix-excl", "vfs=memdb", "m%6fde=memory", "", "&"],
    )
    def test_has_no_uri_for_what_is_said_of_another_file(self, clone, options):
        assert rewritten(clone, f"file:shop.db?{options}") == (
            [str(clone.place)],
            {"uri": False, "check_same_thread": False},
        )

    def test_that_leads_elsewhere_is_named(self, clone, tmp_path, snapshot):
        os.symlink(clone.path, tmp_path / "link.db")
        seen = {}
        for name in (clone.path, tmp_path / "link.db", snapshot.path, ":memory:"):
            with contextlib.closing(sqlite3.connect(name)) as connection:
                seen[str(name)] = clone.other_database(connection)

        assert seen == {
            str(clone.path): None,
            str(tmp_path / "link.db"): None,
            str(snapshot.path): str(snapshot.path),
            ":memory:": "memory",
        }

    def test_does_not_wait_for_the_disk(self, clone):
        with contextlib.closing(sqlite3.connect(clone.path)) as connection:
            clone.disable_fsync(connection)

            assert connection.execute("PRAGMA synchronous").fetchone() == (0,)


class TestTheSnapshotItself:
    def test_is_read_by_whoever_asks_for_it_so(self, snapshot):
        clone = FileClones(lambda: None, "x", None).take(snapshot, read_only=True)

        arguments, options = rewritten(clone, "file:shop.db?mode=rwc")

        assert isinstance(clone, ReadOnlyFile)
        uri = f"file:{snapshot.path.parent}/a%20snapshot.db?mode=ro&immutable=1"
        assert arguments == [uri]
        assert options == {"uri": True, "check_same_thread": False}
        assert (clone.size, clone.made, clone.is_read_only, clone.was_told) == (
            0,
            True,
            True,
            False,
        )
        with contextlib.closing(sqlite3.connect(*arguments, **options)) as connection:
            assert clone.other_database(connection) is None
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                connection.execute("DELETE FROM t")

    def test_has_a_url_that_an_engine_takes(self, snapshot):
        import sqlalchemy as sa

        clone = ReadOnlyFile(snapshot)
        engine = sa.create_engine(clone.url)
        with engine.connect() as connection:
            assert connection.execute(sa.text("SELECT a FROM t")).scalars().all() == [1]
        engine.dispose()
        assert clone.was_told
        assert clone.url.endswith("immutable=1&uri=true")

    def test_stays_when_the_test_is_over(self, snapshot, tmp_path):
        clone = ReadOnlyFile(snapshot)

        assert clone.keep(tmp_path / "kept.db") == snapshot.path
        clone.delete()

        assert rows(snapshot.path) == [1]
        assert not (tmp_path / "kept.db").exists()


class TestPaths:
    def test_are_counted_and_none_comes_twice(self, snapshot, tmp_path):
        seconds = []
        clones = FileClones(lambda: tmp_path, "default", seconds.append)

        first, second = (clones.take(snapshot, read_only=False) for _ in range(2))
        first.make()

        assert [first.place, second.place, clones.next_path()] == [
            tmp_path / f"default-{number}.db" for number in (1, 2, 3)
        ]
        assert len(seconds) == 1

    def test_of_a_forked_process_are_its_own(self, tmp_path):
        clones = FileClones(lambda: tmp_path, "default", None)
        child = os.fork()
        if child == 0:
            os._exit(0 if clones.next_path().name == f"default-1-{os.getpid()}.db" else 1)

        assert os.waitpid(child, 0)[1] == 0
        assert clones.next_path().name == "default-1.db"


class TestAPathThatOneChose:
    def test_has_the_clone_at_once(self, snapshot, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)

        clone = named_clone(snapshot, "here.db")

        assert rows(tmp_path / "here.db") == [1]
        assert clone.path == tmp_path / "here.db"

    def test_that_is_taken_or_impossible_is_an_error(self, snapshot, tmp_path):
        (tmp_path / "folder").mkdir()
        (tmp_path / "file").touch()
        os.symlink(tmp_path / "nowhere", tmp_path / "link")
        other, make = "choose another path", "make it, or choose another"
        told = {
            "folder": (f"there is already a folder {tmp_path / 'folder'}", other),
            "file": (f"there is already a file {tmp_path / 'file'}", other),
            "link": (f"there is already a file {tmp_path / 'link'}", other),
            "none/x.db": (f"there is no folder {tmp_path / 'none'}", make),
            "file/x.db": (f"there is no folder {tmp_path / 'file'}", make),
            "x" * 300: (f"{tmp_path / ('x' * 300)} can't be: File name too long", other),
        }

        for name, message in told.items():
            with pytest.raises(CloneError) as caught:
                refuse_taken(tmp_path / name)
            assert (caught.value.message, caught.value.hint) == message
            with pytest.raises(CloneError):
                named_clone(snapshot, str(tmp_path / name))

        refuse_taken(tmp_path / "new.db")


class TestAState:
    def test_is_another_file_and_the_clone_goes_on_in_it(self, clone, tmp_path):
        old = clone.path

        state = clone.freeze()

        assert clone.place == state.path == tmp_path / "clone-state-1.db"
        assert (rows(state.path), old.exists()) == ([1], False)

    def test_is_a_copy_with_what_is_in_the_log(self, clone, tmp_path):
        with contextlib.closing(sqlite3.connect(clone.path)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("INSERT INTO t VALUES (2)")
            connection.commit()
            state = clone._save()
            connection.execute("INSERT INTO t VALUES (3)")
            connection.commit()

            clone._restore(state)

            assert connection.execute("SELECT a FROM t").fetchall() == [(1,), (2,)]
        assert state.path == tmp_path / "clone-state-1.db"
        clone._forget(state)
        assert not state.path.exists()

    def test_that_can_not_be_made_is_an_error_and_leaves_nothing(self, clone, tmp_path):
        clone.path.write_bytes(b"x" * 5000)

        with pytest.raises(CloneError) as caught:
            clone._save()

        assert str(caught.value) == (
            "can't make a checkpoint of clone.db: file is not a database\n"
            "hint: does a thread or a child process still write to it?"
        )
        assert not list(tmp_path.glob("*state*"))

    def test_that_can_not_be_put_back_is_an_error(self, clone):
        state = clone._save()
        state.path.write_bytes(b"x" * 5000)

        with pytest.raises(CloneError) as caught:
            clone._restore(state)

        assert str(caught.value) == (
            "can't restore clone.db: file is not a database\n"
            "hint: does a thread or a child process still use it?"
        )
