"""A SQLite file from elsewhere: what of its schema is looked at, and what an error says."""

from __future__ import annotations

import contextlib
import sqlite3
from types import SimpleNamespace

import pytest

from alembic_snapshot.errors import StoreError
from alembic_snapshot.sqlite.received import refuse_acting, verify

HINT = "nothing is used of it; the snapshot is built instead"
SOUND = """
CREATE TABLE alembic_version (version_num TEXT);
INSERT INTO alembic_version VALUES ('0002');
CREATE TABLE t (
    a INTEGER PRIMARY KEY, b TEXT DEFAULT (lower('X')), c AS (length(b)), CHECK (a > 0)
);
CREATE TABLE "a ""b" ("c d");
CREATE INDEX i ON t (upper(b));
CREATE VIEW v AS SELECT b FROM t;
CREATE TRIGGER r AFTER INSERT ON t BEGIN UPDATE "a ""b" SET "c d" = 1; END;
CREATE TRIGGER s INSTEAD OF DELETE ON v BEGIN DELETE FROM t; END;
CREATE TABLE n (id INTEGER PRIMARY KEY AUTOINCREMENT);
INSERT INTO n VALUES (1);
"""


@pytest.fixture
def file(tmp_path):
    """Makes a file of SQL; its name has characters that a URI spells otherwise."""

    def file(sql):
        path = tmp_path / "received ?#.db"
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.executescript(sql)
        return path

    return file


def described(heads=("0002",), table="alembic_version", integrity=()):
    checks = {"integrity": list(integrity)}
    return SimpleNamespace(heads=heads, version_table=table, checks=checks)


def refusal(path, manifest=None):
    with pytest.raises(StoreError) as caught:
        verify(path, manifest or described())
    assert caught.value.hint == HINT
    return caught.value.message


def test_a_sound_file_is_taken_and_stays_as_it_is(file):
    path = file(SOUND)
    before = path.read_bytes()

    verify(path, described())
    refuse_acting(path)

    assert path.read_bytes() == before
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def evil(sql, schema="CREATE TABLE g (x, y)"):
    """A schema's text in the place of another one, which SQLite did not look at."""
    text = sql.replace("'", "''")
    return (
        f"{SOUND}{schema}; PRAGMA writable_schema = ON; "
        f"UPDATE sqlite_master SET sql = '{text}' WHERE name = 'g'"
    )


def test_rows_that_break_a_check_are_no_damage_where_the_manifest_tells_of_them(file):
    path = file(f"{SOUND} PRAGMA ignore_check_constraints=ON; INSERT INTO t (a) VALUES (-1), (-2)")
    line = "CHECK constraint failed in t"

    verify(path, described(integrity=[line]))

    assert refusal(path) == f"SQLite finds it damaged: {line}"
    assert refusal(path, described(integrity=[f"{line}u"])) == f"SQLite finds it damaged: {line}"


ACTING = {
    "a view": f"{SOUND} CREATE VIEW g AS SELECT evil(1)",
    "a trigger when rows come": (
        f"{SOUND} CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT evil(1); END"
    ),
    "a trigger when a column changes": (
        f"{SOUND} CREATE TRIGGER g AFTER UPDATE OF b ON t BEGIN SELECT evil(1); END"
    ),
    "a trigger when rows go": (
        f"{SOUND} CREATE TRIGGER g AFTER DELETE ON t BEGIN SELECT evil(1); END"
    ),
    "a trigger on a view": (
        f"{SOUND} CREATE TRIGGER g INSTEAD OF UPDATE ON v BEGIN SELECT evil(1); END"
    ),
    "a generated column": evil("CREATE TABLE g (x, y AS (evil(x)))"),
    "a check": evil("CREATE TABLE g (x, y CHECK (evil(y)))"),
    "a default": evil("CREATE TABLE g (x, y DEFAULT (evil(1)))"),
    "an index": evil("CREATE INDEX g ON t (evil(b))", "CREATE INDEX g ON t (upper(b))"),
    "a part of an index": evil(
        "CREATE INDEX g ON t (b) WHERE evil(b)", "CREATE INDEX g ON t (b) WHERE b > 1"
    ),
}


@pytest.mark.parametrize("name", ACTING)
def test_a_schema_that_calls_what_only_an_application_has_is_refused(file, name):
    path = file(ACTING[name])

    said = refusal(path)

    assert said.startswith("SQLite can't trust it: ")
    assert "evil" in said
    with pytest.raises(sqlite3.Error, match="evil"):
        refuse_acting(path)


def test_a_function_that_has_an_effect_is_refused(file):
    path = file(f"{SOUND} CREATE VIEW g AS SELECT load_extension('x')")

    assert "load_extension" in refusal(path)


def test_what_names_no_table_is_let_through_where_it_is_tried_alone(file):
    path = file(f"{SOUND} CREATE VIEW g AS SELECT * FROM nowhere")

    refuse_acting(path)
    assert refusal(path) == "SQLite can't trust it: no such table: main.nowhere"


@pytest.mark.parametrize(
    ("heads", "said"),
    [
        (("0001",), "it is at 0002, and its manifest says 0001"),
        (("0002", "0003"), "it is at 0002, and its manifest says 0002 0003"),
        ((), "it is at 0002, and its manifest says none"),
    ],
)
def test_a_file_at_other_heads_is_refused(file, heads, said):
    assert refusal(file(SOUND), described(heads)) == said


def test_heads_are_compared_in_any_order(file):
    path = file(f"{SOUND} INSERT INTO alembic_version VALUES ('0001')")

    verify(path, described(("0002", "0001")))
    verify(path, described(("0001", "0002")))
    assert refusal(path, described(table="other")) == (
        "it is at no revision, and its manifest says 0002"
    )


def test_a_damaged_file_is_refused(file):
    path = file(f"{SOUND} CREATE TABLE p (a UNIQUE); INSERT INTO p VALUES (1), (2)")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "PRAGMA writable_schema = ON; "
            "UPDATE sqlite_master SET sql = 'CREATE TABLE p (a UNIQUE NOT NULL CHECK (a > 5))' "
            "WHERE name = 'p'"
        )

    assert refusal(path) == "SQLite finds it damaged: CHECK constraint failed in p"


@pytest.mark.parametrize("versions", [b"\x02\x02", b"\x01\x02", b"\x02\x01"])
def test_a_file_that_would_have_a_log_is_refused(file, versions):
    path = file(SOUND)
    with open(path, "r+b") as raw:
        raw.seek(18)
        raw.write(versions)

    assert refusal(path) == "it is in WAL mode, as no snapshot is"
    assert [one.name for one in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("content", [b"x" * 5000, b"SQLite format 3\0" + b"\1" * 84])
def test_what_is_no_database_is_refused(file, content):
    path = file(SOUND)
    path.write_bytes(content)

    assert refusal(path) == "SQLite can't trust it: file is not a database"


def test_a_schema_with_something_else_than_text_is_refused(file):
    path = file(
        f"{SOUND} CREATE TABLE g (x); PRAGMA writable_schema = ON; "
        "UPDATE sqlite_master SET sql = CAST('CREATE TABLE g (x)' AS BLOB) WHERE name = 'g'"
    )

    assert refusal(path).startswith("SQLite can't trust it: ")
