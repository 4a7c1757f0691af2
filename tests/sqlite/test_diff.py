"""What counts as a difference between two SQLite files."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest

from alembic_snapshot.sqlite.database import DatabaseFile

TABLE = "CREATE TABLE notes (id INTEGER PRIMARY KEY, size INTEGER, {})"
ONE, OTHER = "CONSTRAINT one CHECK (size > 1)", "CONSTRAINT other UNIQUE (size)"


@pytest.fixture
def made(tmp_path):
    """Makes a file with one table that has these constraints."""

    def make(name, *constraints):
        path = tmp_path / name
        with sqlite3.connect(path) as connection:
            connection.execute(TABLE.format(", ".join(constraints)))
        connection.close()
        return DatabaseFile(path)

    return make


def test_the_order_of_constraints_is_none(made):
    assert not made("after.db", ONE, OTHER).diff(made("before.db", OTHER, ONE))


def test_another_constraint_is_one(made):
    found = made("after.db", ONE, OTHER).diff(made("before.db", ONE.replace("1", "2"), OTHER))

    assert list(found.schema) == ["table notes: defined differently"]


@pytest.mark.parametrize("kind", ["VIEW", "INDEX", "TRIGGER"])
def test_another_definition_of_what_is_no_table_is_one(made, kind):
    statements = {
        "VIEW": "CREATE VIEW x AS SELECT 1 AS a WHERE {}",
        "INDEX": "CREATE INDEX x ON notes (size) WHERE size > {}",
        "TRIGGER": "CREATE TRIGGER x AFTER DELETE ON notes BEGIN SELECT {}; END",
    }
    before, after = made("before.db", ONE), made("after.db", ONE)
    for number, file in enumerate((before, after)):
        with contextlib.closing(sqlite3.connect(file.path)) as connection:
            connection.execute(statements[kind].format(number))

    assert list(after.diff(before).schema) == [f"{kind.lower()} x: defined differently"]


OTHERWISE = {
    "a collation": ("a TEXT, b TEXT", "a TEXT COLLATE NOCASE, b TEXT", ""),
    "a collation elsewhere": ("a TEXT COLLATE NOCASE, b TEXT", "a TEXT, b TEXT COLLATE NOCASE", ""),
    "the columns' order": ("a TEXT, b TEXT", "b TEXT, a TEXT", ""),
    "a conflict's end": ("a UNIQUE", "a UNIQUE ON CONFLICT REPLACE", ""),
    "what is generated": ("a INT, b AS (a + 1)", "a INT, b AS (a + 2)", ""),
    "counted keys": ("a INTEGER PRIMARY KEY", "a INTEGER PRIMARY KEY AUTOINCREMENT", ""),
    "strict": ("a TEXT", "a TEXT", "STRICT"),
    "no rowid": ("a TEXT PRIMARY KEY NOT NULL", "a TEXT PRIMARY KEY NOT NULL", "WITHOUT ROWID"),
    "a comma in a string": ("a DEFAULT 'x,y'", "a DEFAULT 'x, y'", ""),
    "quotes in a string": ("a DEFAULT 'x \"y\"'", "a DEFAULT 'x y'", ""),
    "brackets in a string": ("a DEFAULT '[1]'", "a DEFAULT '1'", ""),
    "strokes in a string": ("a CHECK (a != '`x`')", "a CHECK (a != 'x')", ""),
    "quotes in a comment": ('a /* "x" */', "a /* x */", ""),
    "text that is a word": ('a DEFAULT "null"', "a DEFAULT null", ""),
    "the order of what is named like a constraint": (
        'a INT, "check" INT, "unique" INT',
        'a INT, "unique" INT, "check" INT',
        "",
    ),
    "when a key is looked at": (
        "a REFERENCES t (a)",
        "a REFERENCES t (a) DEFERRABLE INITIALLY DEFERRED",
        "",
    ),
}


@pytest.mark.parametrize(("before", "after", "end"), OTHERWISE.values(), ids=OTHERWISE)
def test_all_that_a_table_says_counts(tmp_path, before, after, end):
    files = [DatabaseFile(tmp_path / name) for name in ("before.db", "after.db")]
    for file, columns, ending in zip(files, (before, after), ("", end), strict=True):
        with contextlib.closing(sqlite3.connect(file.path)) as connection:
            connection.execute(f"CREATE TABLE t ({columns}) {ending}")

    assert str(files[1].diff(files[0])) == "table t: defined differently"


def test_quotes_and_white_space_are_none(tmp_path):
    files = [DatabaseFile(tmp_path / name) for name in ("before.db", "after.db")]
    statements = ("CREATE TABLE t (a INT, b)", 'CREATE TABLE "t" (\n\ta INT, \n\t"b"\n)')
    for file, statement in zip(files, statements, strict=True):
        with contextlib.closing(sqlite3.connect(file.path)) as connection:
            connection.execute(statement)

    assert not files[1].diff(files[0])


KEYS = """
    CREATE TABLE lines (number INTEGER, order_id INTEGER, quantity, PRIMARY KEY (order_id, number));
    INSERT INTO lines VALUES (1, 7, 1), (2, 7, 1);
    CREATE TABLE log (line TEXT);
    INSERT INTO log VALUES ('hello'), ('hello'), ('bye');
    CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT COLLATE NOCASE, settings TEXT, token);
    INSERT INTO names VALUES (1, 'ada', '{"theme": "for days and for nights", "level": 1}', x'00');
    CREATE TABLE replaced (old);
    CREATE TABLE plain (a);
    INSERT INTO plain VALUES (1);
    CREATE TABLE loose (k PRIMARY KEY);
    INSERT INTO loose VALUES (1), (NULL), (NULL);
    CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT, v);
    INSERT INTO counted (v) VALUES (1);
    CREATE TABLE empty (id INTEGER PRIMARY KEY AUTOINCREMENT);
"""


@pytest.mark.parametrize(
    ("statement", "shown"),
    [
        (
            "UPDATE lines SET quantity = 1.0",
            [
                "lines: 2 changed",
                "  ~ number=1, order_id=7, quantity=1 → 1.0",
                "  ~ number=2, order_id=7, quantity=1 → 1.0",
            ],
        ),
        ("UPDATE plain SET a = 1.0", ["plain: 1 added, 1 removed", "  + a=1.0", "  - a=1"]),
        ("UPDATE loose SET k = 1.0 WHERE k = 1", ["loose: 1 changed", "  ~ k=1 → 1.0"]),
        ("INSERT INTO loose VALUES (NULL)", ["loose: 1 added", "  + nothing but NULL"]),
        (
            "DELETE FROM loose WHERE k IS NULL",
            [
                "loose: 2 removed",
                "  - nothing but NULL",
                "  - nothing but NULL",
            ],
        ),
        ("PRAGMA user_version = 5", ["PRAGMA user_version: 0 → 5"]),
        ("PRAGMA application_id = -7", ["PRAGMA application_id: 0 → -7"]),
        ("UPDATE sqlite_sequence SET seq = 100", ["sqlite_sequence of counted: 1 → 100"]),
        ("DELETE FROM sqlite_sequence", ["sqlite_sequence of counted: 1 → 0"]),
        (
            "INSERT INTO sqlite_sequence VALUES ('empty', 9)",
            ["sqlite_sequence of empty: 0 → 9"],
        ),
        (
            "UPDATE sqlite_sequence SET seq = 'x'",
            ["sqlite_sequence of counted: 1 → x"],
        ),
        (
            "INSERT INTO counted (v) VALUES (2); DELETE FROM counted WHERE v = 2",
            ["sqlite_sequence of counted: 1 → 2"],
        ),
        ("INSERT INTO counted (v) VALUES (2)", ["counted: 1 added", "  + id=2, v=2"]),
        (
            "INSERT INTO counted (v) VALUES (2); UPDATE sqlite_sequence SET seq = 0",
            ["sqlite_sequence of counted: 1 → 0", "counted: 1 added", "  + id=2, v=2"],
        ),
        (
            "UPDATE counted SET v = 2; UPDATE sqlite_sequence SET seq = 7",
            ["sqlite_sequence of counted: 1 → 7", "counted: 1 changed", "  ~ id=1, v=1 → 2"],
        ),
        (
            "CREATE TABLE more (id INTEGER PRIMARY KEY AUTOINCREMENT); "
            "INSERT INTO more VALUES (5); DROP TABLE counted",
            ["table counted: only in the snapshot", "table more: not in the snapshot"],
        ),
        ("INSERT INTO log VALUES ('hello')", ["log: 1 added", "  + line='hello'"]),
        (
            "DELETE FROM log WHERE rowid IN (1, 3)",
            ["log: 2 removed", "  - line='bye'", "  - line='hello'"],
        ),
        ("INSERT INTO log VALUES (NULL)", ["log: 1 added", "  + nothing but NULL"]),
        (
            "UPDATE lines SET quantity = 2 WHERE number = 2",
            ["lines: 1 changed", "  ~ number=2, order_id=7, quantity=1 → 2"],
        ),
        ("UPDATE names SET name = 'Ada'", ["names: 1 changed", "  ~ id=1, name='ada' → 'Ada'"]),
        (
            "UPDATE names SET settings = replace(settings, '1', '2')",
            ["names: 1 changed", "  ~ id=1, settings='… \"level\": 1}' → '… \"level\": 2}'"],
        ),
        (
            "UPDATE names SET token = x'01'",
            ["names: 1 changed", r"  ~ id=1, token=b'\x00' → b'\x01'"],
        ),
        (
            "UPDATE names SET token = zeroblob(5000)",
            ["names: 1 changed", r"  ~ id=1, token=b'\x00' → <5000 bytes>"],
        ),
        (
            "UPDATE names SET name = CAST(x'ff' AS TEXT)",
            ["names: 1 changed", r"  ~ id=1, name='ada' → '\\xff'"],
        ),
        (
            "DROP TABLE replaced; CREATE TABLE replaced (new); DELETE FROM lines WHERE number = 1",
            [
                "table replaced: defined differently",
                "lines: 1 removed",
                "  - number=1, order_id=7, quantity=1",
            ],
        ),
    ],
)
def test_rows_are_compared_byte_by_byte_and_named_by_their_keys(tmp_path, statement, shown):
    before, after = (DatabaseFile(tmp_path / name) for name in ("before.db", "after.db"))
    for file, script in ((before, KEYS), (after, KEYS + statement)):
        with contextlib.closing(sqlite3.connect(file.path)) as connection:
            connection.executescript(script)

    assert str(after.diff(before)).splitlines() == shown


INVALID, SPELLED = r"CAST(x'ff' AS TEXT)", r"'\xff'"
CUT, BOTH = r"CAST(x'ff5c786666' AS TEXT)", r"CAST(x'5c786666ff' AS TEXT)"


@pytest.mark.parametrize(("before", "after"), [(INVALID, SPELLED), (SPELLED, INVALID), (CUT, BOTH)])
@pytest.mark.parametrize(
    ("table", "row"),
    [
        ("v", "{}"),
        ("v PRIMARY KEY", "{}"),
        ("id INTEGER PRIMARY KEY, v", "1, {}"),
        ("v PRIMARY KEY, w) WITHOUT ROWID --", "{}, 1"),
    ],
)
def test_texts_that_are_told_alike_are_not_the_same(tmp_path, before, after, table, row):
    files = [DatabaseFile(tmp_path / name) for name in ("before.db", "after.db")]
    for file, value in zip(files, (before, after), strict=True):
        with contextlib.closing(sqlite3.connect(file.path)) as connection:
            connection.execute(f"CREATE TABLE t ({table})")
            connection.execute(f"INSERT INTO t VALUES ({row.format(value)})")
            connection.commit()

    assert [table.name for table in files[1].diff(files[0]).tables] == ["t"]


def test_tables_in_an_order_that_only_the_application_knows_are_compared(tmp_path):
    before, after = (DatabaseFile(tmp_path / name) for name in ("before.db", "after.db"))
    for file in (before, after):
        with contextlib.closing(sqlite3.connect(file.path)) as connection:
            connection.create_collation("theirs", lambda a, b: (a > b) - (a < b))
            connection.execute("CREATE TABLE a (k TEXT COLLATE theirs PRIMARY KEY) WITHOUT ROWID")
            connection.execute("CREATE TABLE b (k TEXT COLLATE theirs PRIMARY KEY)")
            for table in "ab":
                connection.execute(f"INSERT INTO {table} VALUES (?)", (file.path.stem,))
            connection.commit()

    lines = "{0}: 1 added, 1 removed\n  + k='after'\n  - k='before'\n".format
    assert str(after.diff(before)) == f"{lines('a')}{lines('b')}".rstrip()
