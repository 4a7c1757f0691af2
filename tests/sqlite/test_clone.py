"""A test's clone by itself: when it is made, what it refuses, and its checkpoints."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import types

import pytest

from alembic_snapshot.database.recording import EXECUTE, Position, Recording, Step
from alembic_snapshot.errors import CloneError
from alembic_snapshot.sqlite import database as databases
from alembic_snapshot.sqlite.clone import FileClone, ReadOnlyFile
from alembic_snapshot.sqlite.database import DatabaseFile

WHILE = "db_clone, and what clone_fixture() makes, have checkpoints while their tests run"


class Users:
    """The engines of a test, which write down what they are asked."""

    def __init__(self):
        self.lines, self.lost, self.asked = [], [], []

    def busy(self):
        return list(self.lines)

    def lost_objects(self):
        return list(self.lost)

    def let_go(self):
        self.asked.append("let go")

    def read_again(self):
        self.asked.append("read again")


class Processes:
    """The child processes of a test, of which each environment is looked at."""

    def __init__(self):
        self.seen = []

    def variables(self):
        return {"OTHER_URL": "other", "SHOP_URL": "not this"}

    def check(self, clone, environ):
        self.seen.append((clone, environ))


class Snapshot:
    """A snapshot, or a checkpoint, of a file."""

    title = "the snapshot"

    def __init__(self, path):
        self.path = path
        self.entry = types.SimpleNamespace(database=DatabaseFile(path)) if path else None
        self.project = types.SimpleNamespace(environment={"SHOP_URL": "{url}"})
        self.begun, self.upgraded = [], []

    def checkpoints(self):
        return iter(self.begun)

    def upgrade(self, target, revision):
        self.upgraded.append((target.path, revision))


@pytest.fixture
def snapshot(tmp_path):
    path = tmp_path / "snapshot.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript("CREATE TABLE notes (id INTEGER); INSERT INTO notes VALUES (1);")
    return Snapshot(path)


@pytest.fixture
def clone(snapshot, tmp_path):
    """A clone that is a test's."""
    made = FileClone(snapshot, tmp_path / "clone.db")
    made.users, made.recording = Users(), Recording()
    yield made
    made.close()


def ids(clone):
    with contextlib.closing(sqlite3.connect(clone.path)) as connection:
        return [row[0] for row in connection.execute("SELECT id FROM notes ORDER BY id")]


def add(clone, number):
    with contextlib.closing(sqlite3.connect(clone.path)) as connection, connection:
        connection.execute(f"INSERT INTO notes VALUES ({number})")
    clone.recording.add(Step(1, EXECUTE, f"INSERT INTO notes VALUES ({number})"))


def refused(call, *arguments):
    with pytest.raises(CloneError) as caught:
        call(*arguments)
    return caught.value.message, caught.value.hint


def test_it_is_made_once_when_it_is_needed(snapshot, tmp_path):
    seconds = []
    clone = FileClone(snapshot, tmp_path / "clone.db", seconds.append)
    assert (repr(clone), clone.made, clone.size) == (
        "<FileClone clone.db, not made yet>", False, 0
    )  # fmt: skip
    assert not clone.was_told

    clone.make()
    assert not clone.was_told
    clone.make()
    assert ids(clone) == [1]

    assert (repr(clone), clone.made) == ("<FileClone clone.db>", True)
    assert clone.was_told
    assert clone.size == (tmp_path / "clone.db").stat().st_size
    assert len(seconds) == 1
    assert 0 <= seconds[0] < 60


def test_one_that_was_not_made_is_not_made_when_its_test_is_over(clone):
    clone.close()

    assert refused(clone.make) == (
        "the test that had the clone clone.db is over",
        "ask for what you need of a clone while its test runs",
    )
    assert not clone.place.exists()


def test_its_engines_are_closed_with_it_and_made_no_more(clone):
    engine = clone.engine(echo=False, pool_size=3)
    assert engine.pool.size() == 3
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 0
    pool = engine.pool

    clone.close()

    assert engine.pool is not pool
    assert refused(clone.engine)[0] == "the test that had the clone clone.db is over"


@pytest.mark.parametrize("is_durable", [False, True])
def test_only_one_that_is_durable_waits_for_the_disk(clone, is_durable):
    clone.durable = is_durable

    with clone.engine().connect() as connection:
        assert (connection.exec_driver_sql("PRAGMA synchronous").scalar() != 0) is is_durable


def test_one_of_no_test_has_engines_after_it_was_closed(clone):
    clone.make()
    clone.users = None
    clone.close()

    with clone.engine().connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM notes").scalar() == 1


@pytest.mark.parametrize("is_known", [True, False])
def test_its_environment_is_that_of_this_process_with_its_url(clone, monkeypatch, is_known):
    monkeypatch.setenv("DATABASE_URL", "elsewhere")
    monkeypatch.setenv("OTHER_URL", "elsewhere")
    clone.processes = Processes() if is_known else None

    environ = clone.environ

    url = f"sqlite:///{clone.place}"
    assert environ == {
        **os.environ,
        "DATABASE_URL": url,
        "SHOP_URL": url,
        "OTHER_URL": "other" if is_known else "elsewhere",
    }
    if is_known:
        assert clone.processes.seen == [(clone, environ)]


def test_a_checkpoint_is_what_restore_puts_back(clone):
    assert refused(clone.restore, "x") == (
        "there is no checkpoint 'x' in this test",
        "make one with checkpoint() before; without a name, restore() goes back to what the test "
        "began with",
    )
    add(clone, 2)
    clone.checkpoint()
    add(clone, 3)
    clone.checkpoint("b")
    add(clone, 4)
    assert clone.users.asked == ["let go"] * 2
    assert len(list(clone.place.parent.glob("*-state-*"))) == 2

    clone.restore()
    assert ids(clone) == [1, 2, 3]
    assert clone.recording.position == Position(2)
    clone.restore("checkpoint")
    assert (ids(clone), len(clone.recording.steps)) == ([1, 2], 1)
    assert clone.users.asked == ["let go"] * 2 + ["let go", "read again"] * 2

    assert refused(clone.restore, "x") == (
        "there is no checkpoint 'x' in this test",
        "there is 'checkpoint', 'b'; without a name, restore() goes back to the newest",
    )
    add(clone, 5)
    clone.checkpoint("checkpoint")
    clone.restore()
    assert ids(clone) == [1, 2, 5]
    clone.restore("b")
    assert ids(clone) == [1, 2, 3]
    assert clone.recording.obstacle is None

    clone.close()
    assert not list(clone.place.parent.glob("*-state-*"))


def test_without_a_checkpoint_it_is_put_back_to_its_beginning(clone):
    add(clone, 2)
    clone.recording.migrations = 1

    clone.restore()

    assert ids(clone) == [1]
    assert (clone.recording.position, clone.recording.obstacle) == (Position(), None)
    assert clone.users.asked == ["let go", "read again"]


def test_one_that_began_empty_is_put_back_to_nothing(tmp_path):
    clone = FileClone(Snapshot(None), tmp_path / "clone.db")
    clone.users = Users()
    with contextlib.closing(sqlite3.connect(clone.path)) as connection:
        connection.execute("CREATE TABLE notes (id INTEGER)")

    clone.restore()

    with contextlib.closing(sqlite3.connect(clone.path)) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    clone.checkpoint()
    clone.restore("checkpoint")


def test_what_the_test_began_from_is_restored_by_its_name(clone, snapshot, tmp_path):
    other = tmp_path / "other.db"
    with contextlib.closing(sqlite3.connect(other)) as connection:
        connection.executescript("CREATE TABLE notes (id INTEGER); INSERT INTO notes VALUES (9);")
    snapshot.begun = [
        types.SimpleNamespace(name="here", entry=snapshot.entry),
        types.SimpleNamespace(name="before", entry=Snapshot(other).entry),
    ]
    add(clone, 2)

    clone.restore("here")
    assert (ids(clone), clone.recording.obstacle) == ([1], None)
    clone.restore("before")
    assert ids(clone) == [9]
    assert clone.recording.obstacle == "the database was put back to what was before its checkpoint"
    assert refused(clone.restore, "x")[1].startswith("there is 'here', 'before'; without")
    clone.checkpoint("here")
    add(clone, 10)
    clone.restore("here")
    assert ids(clone) == [9]


@pytest.mark.parametrize("name", ["", None, 3, ["x"]])
def test_a_checkpoint_has_a_name(clone, name):
    assert refused(clone.checkpoint, name) == (
        f"{name!r} is no name of a checkpoint", "give it one in quotes"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("method", "what"),
    [("checkpoint", "make a checkpoint of"), ("restore", "restore"), ("upgrade", "upgrade")],
)
def test_what_is_at_work_is_refused_and_named(clone, snapshot, method, what):
    clone.users.lines = ["a", "b"]
    engine = clone.engine()
    connection = engine.connect()

    found = refused(getattr(clone, method))
    clone.users.lines = []
    alone = refused(getattr(clone, method))
    connection.close()
    getattr(clone, method)()

    hint = "commit or roll back, and close what is open, before"
    used = "a connection of its engine() is in use"
    assert found == (f"can't {what} the clone: a; b; {used}", hint)
    assert alone == (f"can't {what} the clone: {used}", hint)
    assert engine.pool.checkedin() == 0

    clone.close()
    if method != "upgrade":
        clone.users.lines = ["a"]
        assert refused(getattr(clone, method)) == (
            f"can't {what} clone.db: its test is over",
            WHILE,
        )


@pytest.mark.parametrize("method", ["checkpoint", "restore"])
def test_one_of_no_test_has_no_checkpoints(clone, method):
    clone.users = None
    what = {"checkpoint": "make a checkpoint of", "restore": "restore"}[method]

    assert refused(getattr(clone, method)) == (
        f"can't {what} clone.db: it is not the clone of a test", WHILE
    )  # fmt: skip


@pytest.mark.parametrize("method", ["checkpoint", "restore", "upgrade"])
def test_one_that_only_reads_is_left_as_it_is(snapshot, method):
    clone = ReadOnlyFile(snapshot)
    what = {"checkpoint": "make a checkpoint of"}.get(method, method)

    assert refused(getattr(clone, method)) == (
        f"can't {what} the clone, which is read-only",
        "remove readonly=True from the test's db_clone marker",
    )
    assert snapshot.upgraded == []


def test_an_upgrade_is_counted_and_runs_on_it(clone, snapshot):
    clone.upgrade()
    clone.upgrade("abc")

    assert snapshot.upgraded == [(clone.place, "heads"), (clone.place, "abc")]
    assert clone.recording.migrations == 2
    clone.users = clone.recording = None
    clone.upgrade("+1")
    assert snapshot.upgraded[2:] == [(clone.place, "+1")]


def test_an_upgrade_waits_for_no_raw_connection(clone, snapshot):
    with contextlib.closing(sqlite3.connect(clone.path)) as connection:
        connection.execute("INSERT INTO notes VALUES (2)")

        found = refused(clone.upgrade)

    assert found == (
        "can't upgrade the clone: a transaction is open in which something was written",
        "commit or roll back what a raw connection, a thread or a process wrote",
    )
    assert (snapshot.upgraded, clone.recording.migrations) == ([], 0)


def test_its_difference_is_named_by_what_it_began_from(clone, snapshot):
    snapshot.title = "the checkpoint ada (a.py line 3)"
    with contextlib.closing(sqlite3.connect(clone.path)) as connection:
        connection.executescript(
            "CREATE TABLE more (id INTEGER); INSERT INTO notes VALUES (2), (3), (4);"
        )

    found = clone.diff(2)

    assert str(found) == (
        "table more: not in the checkpoint ada (a.py line 3)\nnotes: 3 added\n  + id=2\n  + id=3\n"
        "  … 1 more"
    )


# What somebody does whom a test left at its file, before the last row is committed and afterwards.
AT_WORK = {
    "reads the log": (["pragma journal_mode=wal", "begin", "select * from notes"], []),
    "has the log open": (["pragma journal_mode=wal"], []),
    "keeps a journal": (["pragma journal_mode=persist"], []),
    "empties a journal": (["pragma journal_mode=truncate"], []),
    "has the log to itself": (["pragma journal_mode=wal"], ["begin immediate"]),
    "has begun to write": ([], ["begin immediate", "insert into notes values (9)"]),
    "does nothing": ([], []),
}


@pytest.mark.parametrize("who", AT_WORK)
def test_what_is_kept_has_all_that_was_committed_whoever_is_at_work(clone, tmp_path, who):
    before, afterwards = AT_WORK[who]
    with contextlib.closing(sqlite3.connect(clone.path, isolation_level=None)) as other:
        for statement in before:
            other.execute(statement).fetchall()
        add(clone, 7)
        for statement in afterwards:
            other.execute(statement)

        kept = clone.keep(tmp_path / "kept" / "kept.db")
        alone = tmp_path / "alone.db"
        alone.write_bytes(kept.read_bytes())

    assert not [file for file in tmp_path.iterdir() if file.name.startswith("clone")]
    with contextlib.closing(sqlite3.connect(alone)) as connection:
        assert (7,) in connection.execute("select * from notes").fetchall()
        assert (9,) not in connection.execute("select * from notes").fetchall()


@pytest.mark.parametrize("method", ["keep", "checkpoint"])
def test_one_that_stays_locked_is_an_error_and_no_copy(clone, tmp_path, monkeypatch, method):
    monkeypatch.setattr(databases, "_PATIENCE", 0.05)
    kept = tmp_path / "kept.db"
    with contextlib.closing(sqlite3.connect(clone.path, isolation_level=None)) as other:
        other.execute("pragma cache_size=1")
        other.execute("begin exclusive")
        other.execute("insert into notes select 10")

        with pytest.raises(CloneError, match=" stays locked: a connection is in use") as caught:
            getattr(clone, method)(*([kept] if method == "keep" else []))

    assert caught.value.hint == "does a thread or a child process still write to it?"
    assert not kept.exists()
