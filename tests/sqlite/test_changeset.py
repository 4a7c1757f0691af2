"""A SQLite file's difference from its snapshot: carried, not carried, refused."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import sqlite3

import pytest

from alembic_snapshot.errors import CommandError
from alembic_snapshot.sqlite.catalog import fingerprint
from alembic_snapshot.sqlite.changeset import apply, capture
from alembic_snapshot.tokens.changeset import Changeset, NotCarried, RowChanges, SchemaObject

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


NOT_CARRIED = {
    "virtual table words": "CREATE VIRTUAL TABLE words USING fts5(x)",
    "hides the numbers of its rows": "CREATE TABLE h (rowid TEXT, oid TEXT, _rowid_ TEXT)",
}


@pytest.mark.parametrize(("reason", "sql"), NOT_CARRIED.items(), ids=NOT_CARRIED)
def test_what_is_not_carried_is_said(files, reason, sql):
    script(files[1], sql)

    with pytest.raises(NotCarried, match=reason):
        capture(*files[:2])


def test_rows_in_a_virtual_table_are_said(files):
    for path in files[:2]:
        script(path, "CREATE VIRTUAL TABLE words USING fts5(x)")
    script(files[1], "INSERT INTO words VALUES ('a')")

    with pytest.raises(NotCarried, match="rows of the virtual table words differ"):
        capture(*files[:2])


def test_sql_of_the_applications_own_is_said(files):
    with contextlib.closing(sqlite3.connect(files[1])) as connection:
        connection.create_function("own", 1, lambda value: value, deterministic=True)
        connection.execute("CREATE INDEX i ON t (own(name))")

    with pytest.raises(NotCarried, match="the application's own"):
        capture(*files[:2])


def made(kind, name, sql, table="t"):
    return Changeset(created=[SchemaObject(kind, name, table, sql)])


HOSTILE = {
    "attaches": made("table", "x", "ATTACH 'OUTSIDE' AS x", "x"),
    "two statements": made("table", "x", "CREATE TABLE x (a); ATTACH 'OUTSIDE' AS y", "x"),
    "from a query": made("table", "x", "CREATE TABLE x AS SELECT * FROM t", "x"),
    "virtual": made("table", "x", "CREATE VIRTUAL TABLE x USING fts5(y)", "x"),
    "another one": made("table", "x", "CREATE TABLE y (a)", "x"),
    "a pragma": made("view", "x", "PRAGMA writable_schema = ON", "x"),
    "writes a file": made(
        "trigger",
        "x",
        "CREATE TRIGGER x AFTER INSERT ON t BEGIN SELECT writefile('OUTSIDE', 'x'); END",
    ),
    "loads an extension": made("view", "x", "CREATE VIEW x AS SELECT load_extension('y')", "x"),
    "loads an extension by default": made(
        "table", "x", "CREATE TABLE x (a DEFAULT (load_extension('y')))", "x"
    ),
    "makes a pointer": made("view", "x", "CREATE VIEW x AS SELECT fts3_tokenizer('y')", "x"),
    "an unknown function": made("view", "x", "CREATE VIEW x AS SELECT edit('y')", "x"),
    "vacuums": made("index", "x", "VACUUM INTO 'OUTSIDE'"),
    "SQLite's own table": Changeset(
        rows={"sqlite_master": RowChanges(("rowid", "sql"), 1, [], [(1, "x")])}
    ),
    "a table that is not there": Changeset(rows={"x": RowChanges(("a",), 1, [], [(1,)])}),
    "other columns": Changeset(rows={"t": RowChanges(("id", "x"), 1, [], [(1, 2)])}),
    "columns that are SQL": Changeset(
        rows={"t": RowChanges(("id) VALUES (1); --", "name"), 1, [], [(1, 2)])}
    ),
    "a row that is there": Changeset(rows={"t": RowChanges(("id", "name"), 1, [], [(1, "again")])}),
    "another setting": Changeset(settings={"writable_schema": 1}),
    "a value of gigabytes": made(
        "table", "x", "CREATE TABLE x (a, b AS (zeroblob(999999999)) STORED)", "x"
    ),
    "no table of its own": made("index", "x", "CREATE INDEX x ON y (a)", "y"),
    "one of SQLite's names": made("table", "sqlite_x", "CREATE TABLE sqlite_x (a)", "sqlite_x"),
    "a kind of PostgreSQL's": made("sequence", "x", "CREATE SEQUENCE x", "x"),
}


@pytest.mark.parametrize("changes", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_token_does_nothing(files, changes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    copy = files[2]
    if changes.created and "zeroblob" in changes.created[0].definition:
        row = RowChanges(("rowid", "a"), 1, [], [(1, 1)])
        changes = dataclasses.replace(changes, rows={"x": row})
    before = fingerprint(copy)

    with pytest.raises(CommandError) as caught:
        apply(copy, changes)

    assert caught.value.hint
    # A view that can't be trusted is found when all is done, and whoever asked deletes the copy.
    assert "trust" in caught.value.message or fingerprint(copy) == before or changes.created
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.db", "snapshot.db", "test.db"]


def test_a_statement_that_would_run_a_query_is_stopped_before_it_does(files):
    query = made("table", "x", "CREATE TABLE x AS SELECT randomblob(5) AS a", "x")

    with pytest.raises(CommandError, match="not authorized"):
        apply(files[2], query)


def test_a_token_can_not_compute_for_ever(files):
    slow = "CREATE TABLE x (a, b AS (length(replace(hex(zeroblob(7000000)), '0', '0'))) STORED)"
    changes = dataclasses.replace(
        made("table", "x", slow, "x"),
        rows={"x": RowChanges(("rowid", "a"), 1, [], [(n, n) for n in range(3)])},
    )

    apply(files[2], changes)
    with pytest.raises(CommandError):
        apply(
            files[1],
            made(
                "view",
                "v",
                "CREATE VIEW v AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT "
                "nothing(x) FROM c) SELECT * FROM c",
                "v",
            ),
        )
