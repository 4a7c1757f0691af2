"""Whatever is done with a connection directly leaves it to nobody else."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest

from alembic_snapshot.sqlite.reset.connections import (
    FileConnections,
    Watched,
    is_as_it_was,
    is_watchable,
    state_of,
    watched,
)

# What leaves nothing in a connection that the next test could find, and executes no SQL of its own.
HARMLESS = {
    "backup", "blobopen", "close", "commit", "cursor", "getconfig", "getlimit", "interrupt",
    "iterdump", "rollback", "serialize",
}  # fmt: skip
METHODS = [
    name
    for name in dir(sqlite3.Connection)
    if not name.startswith("_") and callable(getattr(sqlite3.Connection, name))
]


@pytest.mark.parametrize("name", [n for n in METHODS if n[0].islower() and n not in HARMLESS])
def test_a_method_that_may_leave_something_makes_it_nobody_elses(name):
    connection = sqlite3.connect(":memory:", factory=Watched)
    assert not connection.is_dirty

    with contextlib.closing(connection), contextlib.suppress(Exception):
        getattr(connection, name)()

    assert connection.is_dirty


@pytest.mark.parametrize(
    "statement", ["SELECT 1", "UPDATE t SET a = 1", "INSERT INTO t VALUES (1)"]
)
@pytest.mark.parametrize("how", ["execute", "executemany"])
def test_rows_that_a_cursor_changes_leave_nothing_in_the_connection(statement, how):
    connection = sqlite3.connect(":memory:", factory=Watched)
    sqlite3.Connection.execute(connection, "CREATE TABLE t (a)")

    with contextlib.closing(connection), contextlib.suppress(sqlite3.Error):
        getattr(connection.cursor(), how)(statement, *([[()]] if how == "executemany" else []))

        assert not connection.is_dirty


def test_a_cursor_of_another_class_is_heard_by_nobody_and_so_are_its_statements():
    connection = sqlite3.connect(":memory:", factory=Watched)

    with contextlib.closing(connection):
        connection.cursor(sqlite3.Cursor)

        assert connection.is_dirty


class Listener:
    was_told = False


@pytest.fixture
def connection():
    made = sqlite3.connect(":memory:", factory=Watched, isolation_level=None)
    yield made
    made.close()


HARMLESS_STATEMENTS = """
    SELECT 1|INSERT INTO t VALUES (1)|UPDATE t SET a = 1|DELETE FROM t|REPLACE INTO t VALUES (1)|
    WITH x AS (SELECT 1) SELECT * FROM x|VALUES (1)|BEGIN|COMMIT|BEGIN IMMEDIATE|END|BEGIN|ROLLBACK|
    SAVEPOINT s|RELEASE s
"""
COMPARED = ("foreign_keys", "query_only", "recursive_triggers", "defer_foreign_keys")


class TestAStatementOnACursor:
    def test_that_changes_rows_leaves_nothing_to_compare(self, connection):
        sqlite3.Connection.execute(connection, "CREATE TABLE t (a)")

        for statement in HARMLESS_STATEMENTS.split("|"):
            connection.cursor().execute(statement)
        connection.cursor().executemany("INSERT INTO t VALUES (?)", [(1,), (2,)])

        assert (connection.is_dirty, connection.needs_compare) == (False, False)

    def test_is_what_it_is_behind_a_comment(self, connection):
        sqlite3.Connection.execute(connection, "CREATE TABLE t (a)")

        for statement in HARMLESS_STATEMENTS.split("|"):
            connection.cursor().execute(f"/* SELECT; /* */ -- c\n {statement.strip()} /* c */")
        assert (connection.is_dirty, connection.needs_compare) == (False, False)
        connection.cursor().execute("-- c\n/**/pragma foreign_keys=1")
        assert (connection.is_dirty, connection.needs_compare) == (False, True)
        # SQLite's comments end at the first end, whatever comes later.
        connection.cursor().execute("/* /* */ CREATE TEMP TABLE u (a) /* */ -- */ SELECT 1")
        assert connection.is_dirty

    @pytest.mark.parametrize("name", COMPARED)
    def test_that_sets_what_can_be_asked_for_is_compared(self, connection, name):
        state = state_of(connection)
        connection.cursor().execute(f"pragma {name}=1")
        assert (connection.is_dirty, connection.needs_compare) == (False, True)
        assert not is_as_it_was(connection, state)

        connection.cursor().execute(f"PRAGMA {name}=0")

        assert is_as_it_was(connection, state)

    @pytest.mark.parametrize(
        "statement", ["PRAGMA cache_size=5", "CREATE TEMP TABLE t (a)", "ATTACH ':memory:' AS b"]
    )
    def test_that_does_more_leaves_it_to_nobody_else(self, connection, statement):
        state = state_of(connection)

        connection.cursor().execute(statement)

        assert (connection.is_dirty, connection.needs_compare) == (True, False)
        assert not is_as_it_was(connection, state)

    def test_of_many_is_noted_too(self, connection):
        sqlite3.Connection.execute(connection, "CREATE TEMP TABLE t (a)")

        with contextlib.suppress(sqlite3.Error):
            connection.cursor().executemany("CREATE TABLE u (a)", [()])

        assert connection.is_dirty

    def test_that_is_no_text_is_an_error_of_the_drivers(self, connection):
        with pytest.raises(TypeError):
            connection.cursor().execute(5)

        assert not connection.is_dirty


@pytest.mark.parametrize(
    ("statement", "is_telling"),
    [
        ("PRAGMA database_list", True),
        ("PRAGMA writable_schema = 1", True),
        ("pragma schema_version", True),
        ("ATTACH ':memory:' AS x", True),
        ("vacuum", True),
        ("SELECT file FROM pragma_database_list", True),
        ("WITH f AS (SELECT file FROM Pragma_Database_List) SELECT * FROM f", True),
        ('VALUES ((SELECT file FROM "pragma_database_list"))', True),
        ("PRAGMA foreign_keys", False),
        ("SELECT * FROM pragma_foreign_keys", False),
        ("CREATE TEMP TABLE t (a)", False),
        ("SELECT 'VACUUM'", False),
    ],
)
@pytest.mark.parametrize("how", ["connection", "cursor", "script", "cursor's script"])
def test_who_listens_hears_of_what_tells_where_the_file_is(connection, statement, is_telling, how):
    listener = connection.listener = Listener()

    {
        "connection": connection.execute,
        "cursor": connection.cursor().execute,
        "script": connection.executescript,
        "cursor's script": connection.cursor().executescript,
    }[how](statement)

    # What only reads is not looked at, if a cursor executes it by itself.
    assert listener.was_told is (is_telling or ("VACUUM" in statement and how != "cursor"))


class TestAnAttachedFile:
    @pytest.mark.parametrize("how", ["execute", "executemany", "executescript"])
    @pytest.mark.parametrize("by", ["connection", "cursor"])
    def test_is_asked_for_whoever_attaches_it(self, connection, by, how):
        asked = []
        connection.on_attach = asked.append
        executing = connection if by == "connection" else connection.cursor()

        with contextlib.suppress(sqlite3.Error):
            more = [[()]] if how == "executemany" else []
            getattr(executing, how)("ATTACH ':memory:' AS other", *more)

        assert set(asked) == {":memory:"}
        assert connection.is_dirty

    def test_is_asked_for_by_its_parameter(self, connection):
        asked = []
        connection.on_attach = asked.append

        connection.execute("ATTACH ? AS one", (":memory:",))
        connection.cursor().execute("ATTACH ? AS two", (":memory:",))

        assert asked == [":memory:"] * 2


class TestAState:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("isolation_level", "IMMEDIATE"),
            ("row_factory", sqlite3.Row),
            ("text_factory", bytes),
        ],
    )
    def test_has_what_the_driver_keeps_in_a_connection(self, connection, name, value):
        state = state_of(connection)
        before = getattr(connection, name)
        setattr(connection, name, value)
        assert not is_as_it_was(connection, state)

        setattr(connection, name, before)

        assert is_as_it_was(connection, state)

    def test_is_asked_for_past_what_the_application_set(self, connection):
        def refuse(*_):
            raise AssertionError

        connection.row_factory = refuse
        state = state_of(connection)
        connection.needs_compare = True

        assert is_as_it_was(connection, state)
        assert not connection.is_dirty

    def test_is_clean_from_when_it_is_asked_for(self, connection):
        connection.is_dirty = connection.needs_compare = True

        state_of(connection)

        assert (connection.is_dirty, connection.needs_compare) == (False, False)

    @pytest.mark.parametrize(
        ("there", "is_kept"),
        [
            ("CREATE TEMP TABLE own (a)", False),
            ("CREATE TEMP TABLE own AS SELECT 1 AS a", False),
            ("CREATE VIRTUAL TABLE temp.own USING fts5(a)", False),
            ("ATTACH ':memory:' AS own", False),
            ("ATTACH '' AS own", False),
            ("CREATE TEMP VIEW own AS SELECT 1", True),
            ("SELECT 1", True),
        ],
    )
    def test_with_a_place_of_its_own_for_rows_is_never_the_same(self, connection, there, is_kept):
        sqlite3.Connection.execute(connection, there)

        assert is_as_it_was(connection, state_of(connection)) is is_kept

    def test_of_a_closed_connection_is_another_one(self, connection):
        state = state_of(connection)
        connection.close()
        connection.needs_compare = True

        assert not is_as_it_was(connection, state)

    @pytest.mark.parametrize("left", ["CREATE TEMP TABLE t (a)", "ATTACH ':memory:' AS other"])
    def test_has_what_is_there_beside_the_file(self, connection, left):
        state = state_of(connection)
        sqlite3.Connection.execute(connection, left)
        connection.needs_compare = True

        assert not is_as_it_was(connection, state)


class Outer:
    """A connection of an async driver's, or of SQLAlchemy's."""

    def __init__(self, **names):
        vars(self).update(names)


class TestWhoseConnection:
    def test_it_is_is_found_below_other_layers(self, connection):
        assert watched(connection) is connection
        assert watched(Outer(driver_connection=connection)) is connection
        assert watched(Outer(driver_connection=Outer(_conn=connection))) is connection
        with contextlib.closing(sqlite3.connect(":memory:")) as plain:
            assert watched(plain) is None
            assert watched(Outer(driver_connection=Outer(_conn=plain))) is None

    def test_that_we_did_not_make_has_no_state(self, connection):
        known, listener = FileConnections(), Listener()

        with contextlib.closing(sqlite3.connect(":memory:")) as plain:
            assert known.state_of(plain, listener) is None
            assert not known.is_as_it_was(plain, state_of(connection))

    def test_that_we_made_has_one(self, connection):
        known, listener = FileConnections(), Listener()
        outer = Outer(driver_connection=connection)

        state = known.state_of(outer, listener)

        assert connection.listener is listener
        assert known.is_as_it_was(outer, state)
        connection.execute("PRAGMA foreign_keys=ON")
        assert not known.is_as_it_was(outer, state)
        assert known.keeps_async
        assert known.if_unknown == "the connections are not those of Python's sqlite3"

    @pytest.mark.parametrize(
        ("dbapi", "is_ours"),
        [
            (sqlite3, True),
            (sqlite3.dbapi2, True),
            (Outer(sqlite=sqlite3), True),
            (Outer(sqlite=sqlite3.dbapi2), True),
            (Outer(sqlite=Outer()), False),
            (Outer(), False),
            (None, False),
        ],
    )
    def test_is_made_by_the_driver_that_we_know(self, dbapi, is_ours):
        assert is_watchable(Outer(dbapi=dbapi)) is is_ours
        assert not is_watchable(Outer())


@pytest.mark.parametrize("name", ["execute", "create_function", "executescript"])
def test_a_method_is_called_as_ever(name):
    original = getattr(sqlite3.Connection, name)
    method = getattr(Watched, name)

    assert (method.__name__, method.__doc__) == (name, original.__doc__)


def test_a_cursor_of_ones_own_class_is_that(connection):
    class Own(sqlite3.Cursor):
        pass

    assert isinstance(connection.cursor(Own), Own)
    assert type(connection.cursor()).__name__ == "WatchedCursor"
