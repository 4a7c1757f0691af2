"""A SQLite file's difference from its snapshot: carried, not carried, refused."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import sqlite3

import pytest

from alembic_snapshot.errors import CommandError
from alembic_snapshot.sqlite import changeset
from alembic_snapshot.sqlite.catalog import fingerprint
from alembic_snapshot.sqlite.changeset import apply, capture
from alembic_snapshot.tokens.changeset import (
    Changeset,
    Fingerprint,
    NotCarried,
    RawText,
    RowChanges,
    SchemaObject,
)

SNAPSHOT = """
CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT UNIQUE);
CREATE TABLE plain (a, b);
CREATE TABLE log (line TEXT);
CREATE TRIGGER noted AFTER INSERT ON t BEGIN INSERT INTO log VALUES (new.name); END;
INSERT INTO t VALUES (1, 'one'), (2, 'two');
INSERT INTO plain VALUES (1, 1.0), (1, 1.0), (x'00', NULL);
"""


@pytest.fixture
def files(tmp_path):
    """A snapshot, the test's file, and a copy elsewhere."""
    paths = [tmp_path / name for name in ("snapshot.db", "test.db", "copy.db")]
    script(paths[0], SNAPSHOT)
    for path in paths[1:]:
        shutil.copy(paths[0], path)
    return paths


SAME_FILES = ["copy.db", "snapshot.db", "test.db"]


def script(path, sql):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(sql)


def rows(path, query):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.text_factory = bytes
        return connection.execute(query).fetchall()


def carry(files, sql):
    snapshot, test, copy = files
    script(test, sql)
    changes, was, now = capture(snapshot, test)
    assert fingerprint(copy).whole == was
    apply(copy, changes)
    assert fingerprint(copy) == now == fingerprint(test)
    return changes


ROW_NUMBERS = ("rowid", "_rowid_", "oid")
CARRIED = {
    "a swap of unique values": "UPDATE t SET name = 'x' WHERE id = 1; UPDATE t SET name = 'one' "
    "WHERE id = 2; UPDATE t SET name = 'two' WHERE id = 1",
    "a type that compares as equal": "UPDATE plain SET b = 1",
    "text that is no UTF-8": "UPDATE t SET name = CAST(x'ff00fe' AS TEXT) WHERE id = 1",
    "infinity": "INSERT INTO plain VALUES (9e999, -9e999)",
    "one of two same rows": "DELETE FROM plain WHERE rowid = 1",
    "foreign keys that are broken": "CREATE TABLE c (t REFERENCES t); INSERT INTO c VALUES (99)",
    "checks that are broken": "CREATE TABLE c (x CHECK (x > 0)); PRAGMA "
    "ignore_check_constraints = ON; INSERT INTO c VALUES (-1)",
    "everything gone": "DROP TABLE t; DROP TABLE plain; DROP TABLE log",
    "a trigger whose table is gone": "DROP TABLE log; ALTER TABLE t ADD COLUMN x",
    "a trigger alone": "DROP TRIGGER noted",
    "numbers that count on": "CREATE TABLE n (id INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO n "
    "VALUES (41); DELETE FROM n",
    "generated columns": "CREATE TABLE g (a, b AS (a + 1), c AS (a * 2) STORED); INSERT INTO g "
    "(a) VALUES (3)",
    "a new column": "ALTER TABLE t ADD COLUMN extra DEFAULT 'x'",
    "names that need quotes": 'CREATE TABLE "a ""b" ("c d" PRIMARY KEY, "select") WITHOUT ROWID; '
    'INSERT INTO "a ""b" VALUES (1, 2)',
    "a version": "PRAGMA user_version = 7",
    "an application's number": "PRAGMA application_id = 9",
    "nothing": "",
    "a new index on an expression": "CREATE UNIQUE INDEX i ON t (lower(name))",
    "a new view": "CREATE VIEW v AS SELECT upper(name) AS n FROM t",
    "a new trigger": "CREATE TRIGGER d AFTER DELETE ON t BEGIN DELETE FROM log; END",
    "a default that is computed": "CREATE TABLE d (a DEFAULT (abs(-1)))",
    **{
        f"columns that hide two names of a row's number, and not {free}": "CREATE TABLE h ("
        + ", ".join(name for name in ROW_NUMBERS if name != free)
        + f"); INSERT INTO h ({free}) VALUES (7), (9)"
        for free in ROW_NUMBERS
    },
}


@pytest.mark.parametrize("sql", CARRIED.values(), ids=CARRIED)
def test_it_is_carried(files, sql):
    carry(files, sql)


OTHER_SNAPSHOTS = {
    "a key that its collation takes for the same": (
        "CREATE TABLE q (a TEXT PRIMARY KEY COLLATE NOCASE, b) WITHOUT ROWID; "
        "INSERT INTO q VALUES ('a', 1)",
        "UPDATE q SET a = 'A'",
    ),
    "rows with a key of two columns": (
        "CREATE TABLE q (a, b, c, PRIMARY KEY (b, a)) WITHOUT ROWID; "
        "INSERT INTO q VALUES (1, 2, 3), (1, 3, 4), (2, 3, 5)",
        "UPDATE q SET c = 7 WHERE b = 3 AND a = 1; DELETE FROM q WHERE b = 2",
    ),
    "numbers that count on in a table that was changed": (
        "CREATE TABLE n (id INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO n VALUES (41); "
        "DELETE FROM n",
        "ALTER TABLE n ADD COLUMN a",
    ),
    "rows beside a view with a function of the application's own": (
        "CREATE TABLE q (a); CREATE VIEW v AS SELECT own(a) FROM q",
        "INSERT INTO q VALUES (1)",
    ),
    "an index and a view that are gone": (
        "CREATE TABLE q (a); CREATE INDEX i ON q (a); CREATE VIEW v AS SELECT 1",
        "DROP INDEX i; DROP VIEW v",
    ),
    "an index and a view that are others": (
        "CREATE TABLE q (a); CREATE INDEX i ON q (a); CREATE VIEW v AS SELECT 1",
        "DROP INDEX i; DROP VIEW v; CREATE INDEX i ON q (a DESC); CREATE VIEW v AS SELECT 2",
    ),
    "rows beside a virtual table": (
        "CREATE TABLE q (a); CREATE VIRTUAL TABLE words USING fts5(x); "
        "INSERT INTO words VALUES ('a')",
        "INSERT INTO q VALUES (1)",
    ),
    "keys that are text": (
        "CREATE TABLE q (a TEXT PRIMARY KEY, b); "
        "INSERT INTO q VALUES ('a', 1), ('b', 2), (NULL, 3)",
        "UPDATE q SET a = 'c' WHERE b = 2; DELETE FROM q WHERE a IS NULL",
    ),
    "a key in the other order": (
        "CREATE TABLE q (a INTEGER PRIMARY KEY DESC, b); INSERT INTO q VALUES (NULL, 1), (NULL, 2)",
        "UPDATE q SET b = 3 WHERE b = 1",
    ),
    "a key without a type": (
        "CREATE TABLE q (a int PRIMARY KEY); INSERT INTO q VALUES (NULL), (NULL)",
        "DELETE FROM q WHERE rowid = 1",
    ),
    "a table with everything in an empty file": ("", f"{SNAPSHOT}"),
    "an empty file": ("", ""),
    "everything gone from a file": ("CREATE TABLE q (a)", "DROP TABLE q"),
}


@pytest.mark.parametrize(("snapshot", "sql"), OTHER_SNAPSHOTS.values(), ids=OTHER_SNAPSHOTS)
def test_it_is_carried_to_another_snapshot(tmp_path, snapshot, sql):
    paths = [tmp_path / name for name in ("snapshot.db", "test.db", "copy.db")]
    for path in paths:
        script(path, snapshot)

    carry(paths, sql)

    with contextlib.closing(sqlite3.connect(paths[2])) as connection:
        made = sorted(connection.iterdump())
    with contextlib.closing(sqlite3.connect(paths[1])) as connection:
        assert made == sorted(connection.iterdump())


def test_what_differs_is_exactly_what_the_test_did(files):
    script(files[0], "CREATE TABLE n (id INTEGER PRIMARY KEY AUTOINCREMENT, a, b TEXT)")
    script(files[0], "INSERT INTO n VALUES (3, x'00', 'x'), (5, NULL, 'y'), (7, 1.5, 'z')")
    for path in files[1:]:
        shutil.copy(files[0], path)

    changes = carry(
        files,
        "UPDATE n SET a = 2 WHERE id = 5; DELETE FROM n WHERE id = 3; INSERT INTO n (b) VALUES "
        "(CAST(x'ff' AS TEXT)); DROP TABLE plain; CREATE VIEW v AS SELECT 1; "
        "PRAGMA application_id = 4",
    )

    assert changes == Changeset(
        dropped=[("table", "plain")],
        created=[SchemaObject("view", "v", "v", "CREATE VIEW v AS SELECT 1")],
        rows={
            "n": RowChanges(
                ("id", "a", "b"), 1, [(3,), (5,)], [(5, 2, "y"), (8, None, RawText(b"\xff"))]
            )
        },
        counters={"n": (8, True)},
        settings={"application_id": 4},
    )


def test_a_fingerprint_is_the_same_in_each_version(files):
    script(files[0], "CREATE TABLE n (id INTEGER PRIMARY KEY AUTOINCREMENT, a)")
    script(files[0], "INSERT INTO n VALUES (3, x'00'); PRAGMA user_version = 2")

    assert fingerprint(files[0]) == Fingerprint(
        "c1221beeb9a979919905b7084e9c1346",
        {"log": "b7f125d284", "n": "c5c0ee05ff", "plain": "d0cea3cbb4", "t": "b7f125d284"},
    )


def test_no_trigger_runs_where_rows_are_put_in(files):
    carry(files, "INSERT INTO t VALUES (3, 'three'); DELETE FROM log")

    assert rows(files[2], "SELECT * FROM log") == []
    assert rows(files[2], "SELECT name FROM sqlite_master WHERE type = 'trigger'") == [(b"noted",)]


def test_what_was_not_there_before_the_test_is_nothing(tmp_path):
    script(tmp_path / "test.db", SNAPSHOT)
    (tmp_path / "copy.db").touch()

    changes, _, now = capture(None, tmp_path / "test.db")
    apply(tmp_path / "copy.db", changes)

    assert fingerprint(tmp_path / "copy.db") == now


COUNTING = "CREATE TABLE n (id INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO n VALUES (9); "
NOT_CARRIED = {
    "a virtual table": (
        "CREATE VIRTUAL TABLE words USING fts5(x)",
        "the test made or changed the virtual table words",
    ),
    "rows without numbers": (
        "CREATE TABLE h (rowid TEXT, oid TEXT, _rowid_ TEXT)",
        "the table h hides the numbers of its rows",
    ),
    "a counter that is none": (
        f"{COUNTING} UPDATE sqlite_sequence SET seq = 'x'",
        "something else than SQLite wrote into sqlite_sequence",
    ),
    "two counters of a table": (
        f"{COUNTING} INSERT INTO sqlite_sequence VALUES ('n', 3)",
        "something else than SQLite wrote into sqlite_sequence",
    ),
    "a value that is too large": (
        "INSERT INTO plain VALUES (zeroblob(17000000), 1)",
        "tried on a copy of the snapshot, the token can't be applied: string or blob too big",
    ),
    "rows of another type than their column's": (
        "CREATE TABLE q (a TEXT); INSERT INTO q VALUES ('7'); PRAGMA writable_schema = ON; UPDATE "
        "sqlite_master SET sql = 'CREATE TABLE q (a INTEGER)' WHERE name = 'q'",
        "tried on a copy of the snapshot, q came out otherwise",
    ),
    "more rows than can be compared": (
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 100001) "
        "INSERT INTO plain SELECT x, x FROM c",
        "more than 100,000 rows differ",
    ),
}


@pytest.mark.parametrize(("sql", "reason"), NOT_CARRIED.values(), ids=NOT_CARRIED)
def test_what_is_not_carried_is_said_and_leaves_no_file(files, sql, reason):
    script(files[1], sql)

    with pytest.raises(NotCarried) as caught:
        capture(*files[:2])

    assert str(caught.value) == reason
    assert sorted(path.name for path in files[0].parent.iterdir()) == SAME_FILES


def test_counters_that_are_gone_are_said(files):
    for path in files[:2]:
        script(path, COUNTING)
    script(files[1], "DELETE FROM sqlite_sequence")

    with pytest.raises(NotCarried, match=r"snapshot, the schema came out otherwise$"):
        capture(*files[:2])


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO plain VALUES (1, 2), (3, 4), (5, 6)",
        "INSERT INTO plain VALUES (1, 2), (3, 4); DELETE FROM plain WHERE rowid = 1",
        "DELETE FROM plain",
        "CREATE TABLE q (a); INSERT INTO q VALUES (1), (2), (3)",
        "INSERT INTO plain VALUES (1, 2); CREATE TABLE q (a); INSERT INTO q VALUES (1), (2)",
    ],
)
def test_as_many_rows_as_can_be_compared_are_carried_and_not_one_more(files, sql, monkeypatch):
    script(files[1], sql)

    monkeypatch.setattr(changeset, "_MOST_ROWS", 3)
    capture(*files[:2])
    monkeypatch.setattr(changeset, "_MOST_ROWS", 2)
    with pytest.raises(NotCarried, match=r"^more than 2 rows differ$"):
        capture(*files[:2])


VIRTUAL = {
    "fts5(x)": "INSERT INTO words VALUES ('a')",
    "fts4(x)": "INSERT INTO words VALUES ('a')",
    "rtree(id, a, b)": "INSERT INTO words VALUES (1, 2, 3)",
}


@pytest.mark.parametrize("module", VIRTUAL)
def test_rows_in_a_virtual_table_are_said(files, module):
    for path in files[:2]:
        script(path, f"CREATE VIRTUAL TABLE words USING {module}")
    script(files[1], VIRTUAL[module])

    with pytest.raises(NotCarried, match="rows of the virtual table words differ"):
        capture(*files[:2])


@pytest.mark.parametrize("module", VIRTUAL)
def test_rows_in_a_table_with_a_name_like_those_of_a_virtual_one_are_carried(files, module):
    for path in files:
        script(path, f"CREATE VIRTUAL TABLE words USING {module}")
        script(path, "CREATE TABLE words_tags (id INTEGER PRIMARY KEY, tag TEXT)")

    carry(files, "INSERT INTO words_tags VALUES (1, 'new')")

    assert rows(files[2], "SELECT * FROM words_tags") == [(1, b"new")]


@pytest.mark.parametrize("whose", ["the test's", "the snapshot's"])
def test_sql_of_the_applications_own_is_said(files, whose):
    with contextlib.closing(sqlite3.connect(files[whose == "the test's"])) as connection:
        connection.create_function("own", 1, lambda value: value, deterministic=True)
        connection.execute("CREATE INDEX i ON t (own(name))")

    with pytest.raises(NotCarried) as caught:
        capture(*files[:2])

    assert str(caught.value) == "its schema uses functions or collations of the application's own"


def made(kind, name, sql, table="t"):
    return Changeset(created=[SchemaObject(kind, name, table, sql)])


OF_ANOTHER = "the token's statement for the {} is none for that"
OTHERWISE = "the token's statement for the {} makes something else"
CANT = "the token can't be applied: {}"
OTHER_COLUMNS = "the table t has other columns here than where the test failed"
HOSTILE = {
    "attaches": (made("table", "x", "ATTACH 'OUTSIDE' AS x", "x"), OF_ANOTHER.format("table 'x'")),
    "two statements": (
        made("table", "x", "CREATE TABLE x (a); ATTACH 'OUTSIDE' AS y", "x"),
        CANT.format("You can only execute one statement at a time."),
    ),
    "from a query": (
        made("table", "x", "CREATE TABLE x AS SELECT * FROM t", "x"),
        CANT.format("not authorized"),
    ),
    "virtual": (
        made("table", "x", "CREATE VIRTUAL TABLE x USING fts5(y)", "x"),
        OF_ANOTHER.format("table 'x'"),
    ),
    "temporary": (
        made("table", "x", "CREATE TEMP TABLE x (y)", "x"),
        OF_ANOTHER.format("table 'x'"),
    ),
    "another one": (made("table", "x", "CREATE TABLE y (a)", "x"), OTHERWISE.format("table 'x'")),
    "one of another table": (
        made("index", "x", "CREATE INDEX x ON plain (a)"),
        OTHERWISE.format("index 'x'"),
    ),
    "one that is there": (
        made("table", "t", "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT UNIQUE)"),
        "the token makes the table 't', which is there",
    ),
    "another kind": (made("view", "x", "CREATE TABLE x (a)", "x"), OF_ANOTHER.format("view 'x'")),
    "a pragma": (
        made("view", "x", "PRAGMA writable_schema = ON", "x"),
        OF_ANOTHER.format("view 'x'"),
    ),
    "vacuums": (made("index", "x", "VACUUM INTO 'OUTSIDE'"), OF_ANOTHER.format("index 'x'")),
    "SQLite's own table": (
        Changeset(rows={"sqlite_master": RowChanges(("rowid", "sql"), 1, [], [(1, "x")])}),
        "the token has rows of 'sqlite_master', no table here",
    ),
    "a table that is not there": (
        Changeset(rows={"x": RowChanges(("a",), 1, [], [(1,)])}),
        "the token has rows of 'x', no table here",
    ),
    "an index as a table": (
        Changeset(rows={"noted": RowChanges(("a",), 1, [], [(1,)])}),
        "the token has rows of 'noted', no table here",
    ),
    "other columns": (
        Changeset(rows={"t": RowChanges(("id", "x"), 1, [], [(1, 2)])}),
        OTHER_COLUMNS,
    ),
    "another key": (
        Changeset(rows={"t": RowChanges(("id", "name"), 2, [], [(8, "x")])}),
        OTHER_COLUMNS,
    ),
    "columns that are SQL": (
        Changeset(rows={"t": RowChanges(("id) VALUES (1); --", "name"), 1, [], [(1, 2)])}),
        OTHER_COLUMNS,
    ),
    "a row that is there": (
        Changeset(rows={"t": RowChanges(("id", "name"), 1, [(2,)], [(7, "x"), (1, "again")])}),
        CANT.format("UNIQUE constraint failed: t.id"),
    ),
    "a number that is too large": (
        Changeset(rows={"t": RowChanges(("id", "name"), 1, [], [(7, 2**63)])}),
        CANT.format("Python int too large to convert to SQLite INTEGER"),
    ),
    "another setting": (
        Changeset(settings={"user_version": 5, "writable_schema": 1}),
        "the token sets 'writable_schema', which no test does",
    ),
    "a value of gigabytes": (
        dataclasses.replace(
            made("table", "x", "CREATE TABLE x (a, b AS (zeroblob(999999999)) STORED)", "x"),
            rows={"x": RowChanges(("rowid", "a"), 1, [], [(1, 1)])},
        ),
        CANT.format("string or blob too big"),
    ),
    "no table of its own": (
        made("index", "x", "CREATE INDEX x ON y (a)", "y"),
        CANT.format("no such table: main.y"),
    ),
    "one of SQLite's names": (
        made("table", "SQLite_x", "CREATE TABLE SQLite_x (a)", "SQLite_x"),
        "the token makes 'SQLite_x', which is SQLite's own",
    ),
    "a kind of PostgreSQL's": (
        made("sequence", "x", "CREATE SEQUENCE x", "x"),
        OF_ANOTHER.format("sequence 'x'"),
    ),
}
# What can't be trusted is found when all is done: whoever asked deletes the copy.
DISTRUSTED = {
    "writefile": made(
        "trigger",
        "x",
        "CREATE TRIGGER x AFTER INSERT ON t BEGIN SELECT writefile('OUTSIDE', 'x'); END",
    ),
    "load_extension": made("view", "x", "CREATE VIEW x AS SELECT load_extension('y')", "x"),
    "fts3_tokenizer": made("view", "x", "CREATE VIEW x AS SELECT fts3_tokenizer('y')", "x"),
    "edit": made("view", "x", "CREATE VIEW x AS SELECT edit('y')", "x"),
}


@pytest.mark.parametrize(("changes", "message"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_token_does_nothing(files, changes, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    copy = files[2]
    before = fingerprint(copy)

    with pytest.raises(CommandError) as caught:
        apply(copy, changes)

    assert caught.value.message == message
    assert caught.value.hint == "nothing of it is left; where is the token from?"
    assert fingerprint(copy) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == SAME_FILES


@pytest.mark.parametrize(("function", "changes"), DISTRUSTED.items(), ids=DISTRUSTED)
def test_what_calls_a_function_that_acts_is_told(files, function, changes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(CommandError) as caught:
        apply(files[2], changes)

    # SQLite may have been built without some of them.
    assert caught.value.message in (
        CANT.format(f"unsafe use of {function}()"),
        CANT.format(f"no such function: {function}"),
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == SAME_FILES


def test_a_default_that_loads_an_extension_is_told(files):
    table = "CREATE TABLE x (a DEFAULT (load_extension('y')))"

    with pytest.raises(CommandError, match="load_extension"):
        apply(files[2], made("table", "x", table, "x"))


def test_rows_of_a_virtual_table_are_refused(files):
    script(files[2], "CREATE VIRTUAL TABLE words USING fts5(x)")
    changes = Changeset(rows={"words": RowChanges(("x",), 1, [], [("a",)])})

    with pytest.raises(CommandError, match="has rows of 'words', no table here"):
        apply(files[2], changes)


# What SQLite tells an authorizer while it makes an object.
MAKING = {
    "CREATE_TABLE", "CREATE_INDEX", "CREATE_VIEW", "CREATE_TRIGGER", "READ", "REINDEX", "FUNCTION",
}  # fmt: skip
ACTIONS = [
    "CREATE_INDEX",
    "CREATE_TABLE",
    "CREATE_TEMP_INDEX",
    "CREATE_TEMP_TABLE",
    "CREATE_TEMP_TRIGGER",
    "CREATE_TEMP_VIEW",
    "CREATE_TRIGGER",
    "CREATE_VIEW",
    "DELETE",
    "DROP_INDEX",
    "DROP_TABLE",
    "DROP_TEMP_INDEX",
    "DROP_TEMP_TABLE",
    "DROP_TEMP_TRIGGER",
    "DROP_TEMP_VIEW",
    "DROP_TRIGGER",
    "DROP_VIEW",
    "INSERT",
    "PRAGMA",
    "READ",
    "SELECT",
    "TRANSACTION",
    "UPDATE",
    "ATTACH",
    "DETACH",
    "ALTER_TABLE",
    "REINDEX",
    "ANALYZE",
    "CREATE_VTABLE",
    "DROP_VTABLE",
    "FUNCTION",
    "SAVEPOINT",
    "RECURSIVE",
]


@pytest.mark.parametrize("name", ACTIONS)
def test_while_an_object_is_made_nothing_else_is_done(name):
    action = getattr(sqlite3, f"SQLITE_{name}")
    allowed = sqlite3.SQLITE_OK if name in MAKING else sqlite3.SQLITE_DENY

    assert changeset._watch(action, "t", "x", "main", None) == allowed


@pytest.mark.parametrize("action", [sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE])
@pytest.mark.parametrize("table", ["sqlite_master", "sqlite_sequence"])
def test_an_object_is_put_into_sqlites_own_tables(action, table):
    assert changeset._watch(action, table, None, "main", None) == sqlite3.SQLITE_OK


@pytest.mark.parametrize("function", ["load_extension", "fts3_tokenizer"])
def test_a_function_that_acts_is_not_called_while_an_object_is_made(function):
    asked = (sqlite3.SQLITE_FUNCTION, None, function, "main", None)

    assert changeset._watch(*asked) == sqlite3.SQLITE_DENY


def test_what_a_token_may_use_is_bounded(files):
    with contextlib.closing(sqlite3.connect(files[2])) as connection:
        pages, size = (
            connection.execute(f"PRAGMA page_{what}").fetchone()[0] for what in ("count", "size")
        )

        changeset._limit(connection)

        settings = {
            name: connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in (
                "foreign_keys",
                "ignore_check_constraints",
                "trusted_schema",
                "cell_size_check",
                "synchronous",
                "max_page_count",
            )
        }
        assert settings == {
            "foreign_keys": 0,
            "ignore_check_constraints": 1,
            "trusted_schema": 0,
            "cell_size_check": 1,
            "synchronous": 0,
            "max_page_count": pages + 512 * 1024 * 1024 // size,
        }
        assert connection.getlimit(sqlite3.SQLITE_LIMIT_LENGTH) == 16 * 1024 * 1024
        assert connection.getlimit(sqlite3.SQLITE_LIMIT_ATTACHED) == 0


def test_a_statement_that_would_run_a_query_is_stopped_before_it_does(files):
    query = made("table", "x", "CREATE TABLE x AS SELECT randomblob(5) AS a", "x")

    with pytest.raises(CommandError, match="not authorized"):
        apply(files[2], query)


def test_a_token_can_not_compute_for_ever(files, monkeypatch):
    row = RowChanges(("rowid", "a"), 1, [], [(n, n) for n in range(500)])
    changes = dataclasses.replace(made("table", "x", "CREATE TABLE x (a)", "x"), rows={"x": row})
    before = fingerprint(files[1])

    apply(files[2], changes)
    monkeypatch.setattr(changeset, "_MOST_STEPS", 2)
    with pytest.raises(CommandError, match="the token can't be applied: interrupted"):
        apply(files[1], changes)

    assert fingerprint(files[1]) == before
