"""A schema's script, taken apart into what a server takes one by one."""

from __future__ import annotations

import random

import pytest

from alembic_snapshot.postgres.statements import NotCarried, carried, refuse, split

WHOLE = [
    "CREATE TABLE a (b text DEFAULT ';' NOT NULL)",
    'CREATE TABLE "semi;colon" ("it\'s" int)',
    r"CREATE TABLE a (b text DEFAULT E'\';')",
    "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN; RETURN 'x;'; END; $$",
    "CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $_$ SELECT $$;$$; $_$",
    "CREATE FUNCTION f(x int) RETURNS int BEGIN ATOMIC SELECT CASE WHEN x > 1 THEN 1 END; "
    "SELECT x; END",
    "CREATE OR REPLACE PROCEDURE p()\n BEGIN ATOMIC\n INSERT INTO a VALUES (1);\nEND",
    "CREATE RULE r AS ON INSERT TO a DO ALSO (DELETE FROM b; DELETE FROM c)",
    'CREATE VIEW v AS SELECT CASE WHEN true THEN 1 END AS "begin"',
    "CREATE TABLE a$b$c (d int)",
    "COMMENT ON TABLE a IS '-- no comment; /* nor this'",
    "CREATE TABLE a (b int /* a /* nested; */ comment; */)",
    "CREATE TYPE größe AS ENUM ('klein;', 'groß')",
]


@pytest.mark.parametrize("statement", WHOLE)
def test_a_statement_stays_whole(statement):
    assert list(split(f"-- it's a comment\n{statement};\n\n")) == [statement]


@pytest.mark.parametrize("seed", range(20))
def test_statements_come_back_in_their_order(seed):
    chance = random.Random(seed)
    chosen = chance.choices(WHOLE, k=30)
    between = ["\n", "\n--\n-- Name: a; Type: TABLE\n--\n\n", "\\restrict aB'c\n", "/* x; */ "]
    script = "".join(f"{chance.choice(between)}{one};\n" for one in chosen)

    assert list(split(script)) == chosen


@pytest.mark.parametrize("script", ["CREATE TABLE a (", "CREATE TABLE a", "/* ", "COMMENT $a$ b"])
def test_a_script_that_is_cut_off_is_none(script):
    with pytest.raises(ValueError, match=r"."):
        list(split(script))


def test_what_is_the_restorers_affair_is_left_out():
    script = """
        SET statement_timeout = 0;
        SELECT pg_catalog.set_config('search_path', '', false);
        SET default_table_access_method = heap;
        CREATE TABLE "a" (b int);
        ALTER TABLE "public"."a" OWNER TO "me";
        COMMENT ON EXTENSION citext IS 'text';
        ALTER FUNCTION public.f(a text) OWNER TO me;
    """

    assert carried(script, "me") == ['CREATE TABLE "a" (b int)']


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("ALTER TABLE a OWNER TO other", "objects of the role other"),
        ('ALTER TABLE a OWNER TO "me;"', 'objects of the role "me;"'),
        ("SET default_table_access_method = columnar", "another access method"),
        ("CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION f()", "CREATE EVENT TRIGGER"),
        ("CREATE SUBSCRIPTION s CONNECTION 'host=a' PUBLICATION p", "CREATE SUBSCRIPTION s"),
        ("SECURITY LABEL ON TABLE a IS 'x'", "SECURITY LABEL ON"),
    ],
)
def test_what_can_not_be_carried_is_named(statement, what):
    with pytest.raises(NotCarried, match=what):
        carried(f"{statement};", "me")


@pytest.mark.parametrize(
    "statement",
    [
        "COPY a FROM PROGRAM 'id'",
        "SELECT f()",
        "DO $$ BEGIN END $$",
        "COMMIT",
        "ALTER SYSTEM SET fsync = on",
        "ALTER ROLE postgres SUPERUSER",
        "ALTER DATABASE a SET fsync = on",
        "CREATE ROLE a",
        "CREATE DATABASE a",
        "CREATE LANGUAGE plpython3u",
        "CREATE SERVER s FOREIGN DATA WRAPPER w",
        "CREATE TABLESPACE t LOCATION '/'",
        "SET ROLE postgres",
        "RESET SESSION AUTHORIZATION",
        "LOAD 'x'",
        "CALL p()",
        "INSERT INTO a VALUES (1)",
        "\\! id",
        " create table a (b int)",
    ],
)
def test_what_makes_no_schema_is_refused(statement):
    with pytest.raises(NotCarried):
        refuse(statement)
