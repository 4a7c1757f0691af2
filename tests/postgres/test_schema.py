"""What a comparison of two PostgreSQL schemas sees."""

from __future__ import annotations

import pytest

from alembic_snapshot.database.schema import differences
from alembic_snapshot.postgres.database import ServerDatabase
from alembic_snapshot.postgres.schema import read_schema

BEFORE = """
    CREATE TABLE t (id int PRIMARY KEY, name text);
    CREATE SEQUENCE q;
    CREATE TABLE w (name text);
    CREATE VIEW v AS SELECT name FROM w;
    CREATE TABLE y (id int) PARTITION BY LIST (id);
    CREATE TABLE y1 PARTITION OF y FOR VALUES IN (1);
    CREATE DOMAIN positive AS int;
    CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1';
    CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN END';
    CREATE TRIGGER tr AFTER INSERT ON t EXECUTE FUNCTION nothing();
"""
SEEN = {
    "CREATE TYPE pair AS (a int, b text)": "type pair",
    "CREATE TYPE mood AS ENUM ('sad', 'glad')": "enum mood (sad, glad)",
    "CREATE TYPE span AS RANGE (subtype = float8)": "range span of double precision",
    "ALTER TABLE t ENABLE ROW LEVEL SECURITY": "table t: with row security",
    "CREATE POLICY p ON t USING (id > 0)": "policy p of t: * to {public} using (id > 0)",
    "COMMENT ON TABLE t IS 'it''s'": "table t: comment 'it''s'",
    "COMMENT ON COLUMN t.name IS 'x'": "column t.name: comment 'x'",
    'ALTER TABLE t ALTER name TYPE text COLLATE "C"': "column t.name: collate C",
    "ALTER TABLE y DETACH PARTITION y1; ALTER TABLE y ATTACH PARTITION y1 FOR VALUES IN (2)": (
        "table y1: partition FOR VALUES IN (1) → partition FOR VALUES IN (2)"
    ),
    "ALTER SEQUENCE q OWNED BY t.id": "sequence q: owned by t.id",
    "ALTER TABLE t REPLICA IDENTITY FULL": "table t: replica identity f",
    "ALTER TABLE t REPLICA IDENTITY USING INDEX t_pkey": "index t_pkey of t: ",
    "ALTER TABLE t CLUSTER ON t_pkey": "index t_pkey of t: ",
    "ALTER TABLE t ALTER name SET STORAGE PLAIN": "column t.name: storage p",
    "ALTER TABLE t ALTER name SET COMPRESSION pglz": ("column t.name: compression p"),
    "ALTER TABLE t ALTER name SET STATISTICS 7": "column t.name: statistics 7",
    "ALTER VIEW v ALTER name SET DEFAULT 'x'": "column v.name text default 'x'",
    "ALTER TABLE t SET UNLOGGED": "table t: unlogged",
    "ALTER TABLE t SET (fillfactor = 50)": "table t: with {fillfactor=50}",
    "ALTER TABLE t DISABLE TRIGGER tr": "trigger tr of t: ",
    "CREATE RULE r AS ON DELETE TO t DO INSTEAD NOTHING": "rule r of t: ",
    "ALTER SEQUENCE q INCREMENT 5": "sequence q: bigint from 1 by 1 → bigint from 1 by 5",
    "ALTER DOMAIN positive ADD CHECK (VALUE > 0)": "constraint positive_check of positive: ",
    "ALTER DOMAIN positive SET NOT NULL": "domain positive: not null",
    "ALTER DOMAIN positive SET DEFAULT 3": "domain positive: default 3",
    "ALTER FUNCTION one() STABLE": "function one()",
    "CREATE AGGREGATE total (int) (sfunc = int4pl, stype = int)": "function total(integer)",
    "CREATE SCHEMA inner_room": "schema inner_room",
    "CREATE EXTENSION citext": "extension citext ",
}


# What is lost, or there in another way, and how it is told.
OTHERWISE = {
    "ALTER TABLE n ALTER name DROP NOT NULL": "missing: column n.name: not null",
    "ALTER TABLE n ALTER other TYPE bigint": (
        "defined differently: column n.other: integer default none → bigint default none"
    ),
    "COMMENT ON TABLE n IS NULL": "missing: table n: comment 'its own'",
    "COMMENT ON TABLE n IS 'another'": (
        "defined differently: table n: comment 'its own' → comment 'another'"
    ),
    "ALTER TABLE n DROP CONSTRAINT c, ADD CONSTRAINT c CHECK (name <> 'b')": (
        "defined differently: constraint c of n: CHECK ((name <> 'a'::text)) → "
        "CHECK ((name <> 'b'::text))"
    ),
    "ALTER TYPE feeling ADD VALUE 'glad'": (
        "defined differently: enum feeling: (sad) → (sad, glad)"
    ),
    "DROP VIEW lone; CREATE VIEW lone AS SELECT 2 AS a": (
        "defined differently: view lone: SELECT 1 AS a; → SELECT 2 AS a;"
    ),
    # A thing of another name is another thing.
    "DROP VIEW lone": "missing: view lone: SELECT 1 AS a;",
}


@pytest.fixture
def database(postgres):
    found = ServerDatabase(postgres, "compared")
    found.start(None)
    with postgres.connect("compared") as connection:
        connection.execute(BEFORE)
    return found


@pytest.mark.parametrize("statement", SEEN)
def test_it_is_seen(postgres, database, statement):
    with postgres.connect(database.name) as connection:
        before = read_schema(connection.cursor())
        connection.execute(statement.encode())
        after = read_schema(connection.cursor())

    found = differences(before, after)
    told = [line.partition(": ") for line in found]
    assert {how for how, _, _ in told} <= {"left behind", "missing", "defined differently"}
    assert any(fact.startswith(SEEN[statement]) for how, _, fact in told if how != "missing"), found


@pytest.mark.parametrize(("statement", "told"), OTHERWISE.items(), ids=OTHERWISE)
def test_what_is_there_is_not_told_as_missing(postgres, database, statement, told):
    with postgres.connect(database.name) as connection:
        connection.execute(
            "CREATE TABLE n (name text NOT NULL, other int, CONSTRAINT c CHECK (name <> 'a')); "
            "COMMENT ON TABLE n IS 'its own'; CREATE TYPE feeling AS ENUM ('sad'); "
            "CREATE VIEW lone AS SELECT 1 AS a"
        )
        before = read_schema(connection.cursor())
        connection.execute(statement.encode())

        assert differences(before, read_schema(connection.cursor())) == [told]


def test_a_failing_tests_report_has_what_belongs_to_no_table(postgres, database):
    after = ServerDatabase(postgres, "after")
    after.start(database)
    with postgres.connect(after.name) as connection:
        connection.execute("CREATE TYPE mood AS ENUM ('sad'); CREATE SCHEMA inner_room")

    assert after.diff(database).schema == [
        "enum mood (sad): not in the snapshot",
        "schema inner_room: not in the snapshot",
    ]
