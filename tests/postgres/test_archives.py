"""Databases as files: what is in one comes back on another server, or a line says why not."""

from __future__ import annotations

import dataclasses
import json
import threading
import zipfile
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest

from alembic_snapshot.database.target import NotForHere
from alembic_snapshot.errors import StoreError
from alembic_snapshot.postgres import archive, databases, pg_dump
from alembic_snapshot.postgres.database import ServerDatabase
from alembic_snapshot.postgres.private import acquire as private
from alembic_snapshot.postgres.private.binaries import wheel
from alembic_snapshot.postgres.restore import restore
from alembic_snapshot.postgres.restorer import restoring, sweep
from alembic_snapshot.postgres.server import Server
from tests.server import as_role, setting
from tests.waiting import until

MANIFEST = SimpleNamespace(version_table="alembic_version", heads=["0002"])
BASE = """
    CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);
    INSERT INTO alembic_version VALUES ('0002');
    CREATE TABLE plain (id int PRIMARY KEY, name text);
    INSERT INTO plain SELECT n, 'row ' || n FROM generate_series(1, 1000) n;
"""
RICH = (
    BASE
    + """
    CREATE EXTENSION citext;
    CREATE SCHEMA "odd ""name";
    CREATE TYPE mood AS ENUM ('sad', 'ok');
    CREATE TYPE pair AS (a int, b mood);
    CREATE DOMAIN positive AS int CHECK (VALUE > 0);
    CREATE TABLE users (
        id serial PRIMARY KEY, name text NOT NULL DEFAULT 'x;y', gone int, m mood, ms mood[],
        p pair, c citext, r regclass, twice int GENERATED ALWAYS AS (id * 2) STORED, d positive,
        at timestamptz DEFAULT now(), j jsonb, f float8, b bytea, i interval, n numeric
    );
    ALTER TABLE users DROP COLUMN gone;
    INSERT INTO users (name, m, ms, p, c, r, d, j, f, b, i, n) VALUES
        ('a', 'ok', '{sad,ok}', '(1,ok)', 'Hi', 'users', 7, '{"a": [1, 2]}', 0.1, '\\x00ff',
         '1 day 2:03:04.5', 1e30),
        (E'b\\n\\t\\\\', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'NaN', NULL, NULL, 'NaN');
    CREATE TABLE orders (
        id int GENERATED ALWAYS AS IDENTITY, user_id int REFERENCES users (id), at date,
        PRIMARY KEY (id, at)
    ) PARTITION BY RANGE (at);
    CREATE TABLE orders_1 PARTITION OF orders FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
    INSERT INTO orders (user_id, at) VALUES (1, '2020-05-05'), (2, '2020-06-06');
    CREATE TABLE parent (a int);
    CREATE TABLE child (b int) INHERITS (parent);
    INSERT INTO parent VALUES (1);
    INSERT INTO child VALUES (2, 3);
    CREATE TABLE nothing ();
    INSERT INTO nothing DEFAULT VALUES;
    CREATE UNLOGGED TABLE unlogged (a int);
    CREATE FUNCTION f(x int) RETURNS int LANGUAGE sql IMMUTABLE
        BEGIN ATOMIC SELECT CASE WHEN x > 1 THEN 1 ELSE 2 END; SELECT x; END;
    CREATE FUNCTION changed() RETURNS trigger LANGUAGE plpgsql AS
        $x$ BEGIN NEW.name := NEW.name || ';'; RETURN NEW; END $x$;
    CREATE TRIGGER t BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION changed();
    CREATE INDEX i ON users (f(id)) WHERE name <> 'a;b''c';
    CREATE VIEW v AS SELECT id, name FROM users;
    CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM users;
    CREATE RULE r AS ON INSERT TO unlogged DO ALSO
        (INSERT INTO parent VALUES (9); INSERT INTO parent VALUES (8));
    CREATE SEQUENCE fresh START 100;
    CREATE SEQUENCE used START 7 INCREMENT 3;
    SELECT nextval('used');
    ALTER TABLE users ENABLE ROW LEVEL SECURITY;
    CREATE POLICY po ON users USING (id > 0);
    COMMENT ON TABLE users IS 'people; all -- of "them"';
    GRANT SELECT ON users TO PUBLIC;
    CREATE STATISTICS st ON name, m FROM users;
    CREATE TABLE "odd ""name"."T ""x" ("a %s" int);
    INSERT INTO "odd ""name"."T ""x" VALUES (1);
"""
)


@pytest.fixture
def made(postgres):
    """A database in which these statements were run, by its server."""

    def made(sql, server=postgres, name="source"):
        source = ServerDatabase(server, name)
        source.start(None)
        with server.connect(source.name) as connection:
            connection.execute(sql)
        return source

    return made


@pytest.fixture(scope="session")
def once():
    """The archives of this process's tests, by the statements from which they were made."""
    return {}


@pytest.fixture
def written(made, once, tmp_path):
    """An archive of a database in which these statements were run."""

    def written(sql=BASE):
        path = tmp_path / "a.archive"
        if sql not in once or sql == RICH:
            archive.write(made(sql), path)
            once[sql] = path.read_bytes()
        path.write_bytes(once[sql])
        return path

    return written


@pytest.fixture
def newest(postgres_folder, postgres):
    """Another private server, of the wheel's version, which is a later one."""
    server = Server(private.acquire(wheel()).url, is_private=True)
    if server.facts.version // 10_000 == postgres.facts.version // 10_000:
        pytest.skip("no PostgreSQL is installed that is older than the wheel's")
    yield server
    with server.connect() as connection:
        for name, _ in list(databases.named(connection, "restored")):
            databases.drop(connection, name)


def edited(path, change):
    """The archive with its contents changed, as somebody would who wants more."""
    with zipfile.ZipFile(path) as before:
        members = {name: before.read(name) for name in before.namelist()}
    record = json.loads(members["schema.json"])
    change(record)
    members["schema.json"] = json.dumps(record).encode()
    with zipfile.ZipFile(path, "w") as after:
        for name, content in members.items():
            after.writestr(name, content)


def roles(server):
    with server.connect() as connection:
        query = "SELECT rolname FROM pg_roles WHERE rolname ~ '^alembic_'"
        return connection.execute(query).fetchall()


def refused(path, server, manifest=MANIFEST, seconds=60.0):
    """What is said of an archive that is not restored; nothing of it is left."""
    target = ServerDatabase(server, "restored")
    with pytest.raises((StoreError, NotForHere)) as caught:
        restore(path, manifest, target, seconds)
    assert not target.is_there()
    assert roles(server) == []
    said = getattr(caught.value, "message", None) or str(caught.value)
    assert "\n" not in said
    return said


@pytest.fixture
def asking(postgres):
    """The server, once it asks everybody but its superuser for a password, or lets none in."""
    with postgres.connect() as connection:
        rules = Path(setting(connection, "hba_file"))
    before = rules.read_text()

    def write(text):
        rules.write_text(text)
        with postgres.connect() as connection:
            connection.execute("SELECT pg_reload_conf()")

    def is_trusting():
        with pytest.raises(psycopg.OperationalError) as caught:
            psycopg.connect(as_role(postgres, "stranger"))
        return 'role "stranger" does not exist' in str(caught.value)

    def asking(method):
        write(f"local all postgres trust\nlocal all all {method}\n")
        until(lambda: not is_trusting(), "the server has read its rules")

    yield asking
    write(before)
    until(is_trusting, "the server has read its rules")


class TestADatabase:
    def test_comes_back_with_all_that_is_in_it(self, written, postgres):
        target = ServerDatabase(postgres, "restored")

        restore(written(RICH), MANIFEST, target, 60.0)

        assert str(target.diff(ServerDatabase(postgres, "source"))) == "no difference"
        with postgres.connect("restored") as connection:
            values = connection.execute("SELECT nextval('fresh'), nextval('used')").fetchone()
            assert values == (100, 10)
            assert connection.execute("SELECT n FROM counted").fetchone() == (2,)
            foreign = connection.execute(
                "SELECT relname FROM pg_class WHERE pg_get_userbyid(relowner) <> current_user"
            )
            assert foreign.fetchall() == []
            grants = "SELECT relacl::text FROM pg_class WHERE relname = 'users'"
            assert "=r/postgres" in connection.execute(grants).fetchone()[0]
        assert roles(postgres) == []

    def test_comes_back_on_a_newer_server(self, written, newest):
        restore(written(RICH), MANIFEST, ServerDatabase(newest, "restored"), 60.0)

        with newest.connect("restored") as connection:
            rows = connection.execute("SELECT count(*), sum(twice) FROM users").fetchone()
            names = connection.execute("SELECT r::text, ms::text FROM users WHERE id = 1")
            assert rows == (2, 6)
            assert names.fetchone() == ("users", "{sad,ok}")

    def test_does_not_come_back_on_an_older_one(self, made, newest, postgres, tmp_path):
        made(BASE, newest, "restored_source")
        path = tmp_path / "a.archive"
        archive.write(ServerDatabase(newest, "restored_source"), path)

        said = refused(path, postgres)

        assert said == "it is from PostgreSQL 18, and this server is 15"

    def test_comes_back_for_a_role_that_is_no_superuser(self, written, made, tenant, tmp_path):
        restore(written(RICH), MANIFEST, ServerDatabase(tenant, "restored"), 60.0)

        path = tmp_path / "again.archive"
        archive.write(ServerDatabase(tenant, "restored"), path)
        with archive.opened(path) as again, archive.opened(tmp_path / "a.archive") as first:
            assert again.contents.facts == first.contents.facts
            rows = [
                {(t.schema, t.name, t.rows) for t in one.contents.tables} for one in (again, first)
            ]
            assert rows[0] == rows[1]

    @pytest.mark.parametrize("table", ["plain", "alembic_version"])
    @pytest.mark.parametrize("whose", ["superuser", "tenant"])
    def test_comes_back_with_policies_that_are_for_its_owner_too(
        self, written, postgres, tenant, table, whose
    ):
        path = written(
            f"{BASE} CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM {table}; "
            f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY; "
            f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY; "
            f"CREATE POLICY p ON {table} USING (false)"
        )
        target = ServerDatabase({"superuser": postgres, "tenant": tenant}[whose], "restored")

        restore(path, MANIFEST, target, 60.0)

        with postgres.connect("restored") as connection:
            forced = f"SELECT relforcerowsecurity FROM pg_class WHERE relname = '{table}'"
            assert connection.execute(forced).fetchone() == (True,)
            assert connection.execute("SELECT count(*) FROM plain").fetchone() == (1000,)

    def test_comes_back_where_roles_need_a_password(self, written, postgres, asking):
        asking("scram-sha-256")
        target = ServerDatabase(postgres, "restored")

        restore(written(), MANIFEST, target, 60.0)

        assert target.heads("alembic_version") == ["0002"]
        assert roles(postgres) == []

    def test_does_not_come_back_where_no_other_role_gets_in(self, written, postgres, asking):
        asking("reject")

        why = refused(written(), postgres)
        assert why.startswith("this server does not let in the role that would restore it: ")
        assert "pg_hba.conf rejects connection" in why

    def test_keeps_its_settings(self, written, postgres, made, tmp_path):
        source = made(BASE)
        with postgres.connect() as connection:
            connection.execute('ALTER DATABASE source SET search_path = public, "a b"')
            connection.execute("ALTER DATABASE source SET work_mem = '5MB'")
        archive.write(source, tmp_path / "a.archive")

        restore(tmp_path / "a.archive", MANIFEST, ServerDatabase(postgres, "restored"), 60.0)

        with postgres.connect() as connection:
            settings = [databases.settings(connection, name) for name in ("source", "restored")]
        assert sorted(settings[0]) == sorted(settings[1])
        assert len(settings[0]) == 2

    def test_without_the_schema_public_has_none_again(self, written, postgres):
        moved = "; ".join(
            f"ALTER TABLE {name} SET SCHEMA a" for name in ("alembic_version", "plain")
        )
        path = written(f"{BASE}; CREATE SCHEMA a; {moved}; DROP SCHEMA public")

        restore(path, MANIFEST, ServerDatabase(postgres, "restored"), 60.0)

        with postgres.connect("restored") as connection:
            assert connection.execute("SELECT to_regnamespace('public')").fetchone() == (None,)

    def test_is_the_same_file_each_time(self, made, tmp_path):
        source = made(BASE)
        for name in ("a", "b"):
            archive.write(source, tmp_path / name)

        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("sql", "what"),
    [
        ("SELECT lo_create(0)", "large objects"),
        ("CREATE EXTENSION postgres_fdw; CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw",
         "foreign servers"),
        ("CREATE FUNCTION e() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; "
         "CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION e()", "CREATE EVENT TRIGGER"),
        ("ALTER TABLE plain OWNER TO pg_monitor", 'objects of the role "pg_monitor"'),
        ("PREPARE TRANSACTION 'p'", "prepared transactions"),
        ("ALTER ROLE postgres IN DATABASE source SET work_mem = '5MB'", "settings of a role"),
    ],
)  # fmt: skip
def test_what_a_file_can_not_carry_is_said(made, tmp_path, postgres, sql, what):
    source = made(BASE)
    with postgres.connect("source") as connection:
        if sql.startswith("PREPARE"):
            sql = f"BEGIN; CREATE TABLE p (); {sql}"
        connection.execute(sql)

    with pytest.raises(StoreError, match=what) as caught:
        archive.write(source, tmp_path / "a.archive")

    assert caught.value.message.startswith("a file can't carry it: it has ")


# Words for a varchar, which the server writes down in one way, and reads in another.
AMONG = "{} IN ('a', 'it''s', E'back\\\\slash', 'x, y')"
WITH_LISTS = {
    "a check": "CREATE TABLE t (s varchar(9), CHECK ({among}))",
    "a check of what it is not": "CREATE TABLE t (s varchar, CHECK (NOT {among}))",
    "a check of an odd column": 'CREATE TABLE t ("S T" varchar, CHECK ({odd}))',
    "a domain": "CREATE DOMAIN d AS varchar CHECK ({value}); CREATE TABLE t (s d)",
    "an index": "CREATE TABLE t (s varchar); CREATE INDEX i ON t (s) WHERE {among}",
    "an exclusion": "CREATE TABLE t (s varchar, EXCLUDE (s WITH =) WHERE ({among}))",
    "a policy": "CREATE TABLE t (s varchar); CREATE POLICY p ON t USING ({among})",
    "a view": "CREATE TABLE t (s varchar); CREATE VIEW v AS SELECT {among} AS x FROM t",
    "a generated column": "CREATE TABLE t (s varchar, x bool GENERATED ALWAYS AS ({among}) STORED)",
    "a trigger": "CREATE TABLE t (s varchar); CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql "
    "AS 'BEGIN RETURN NEW; END'; CREATE TRIGGER r BEFORE INSERT ON t FOR EACH ROW WHEN ({row}) "
    "EXECUTE FUNCTION f()",
}


@pytest.mark.parametrize("what", WITH_LISTS)
def test_a_list_of_words_is_restored_wherever_it_is(written, postgres, what):
    columns = {"among": "s", "odd": '"S T"', "value": "VALUE", "row": "NEW.s"}
    lists = {name: AMONG.format(column) for name, column in columns.items()}
    target = ServerDatabase(postgres, "restored")

    restore(written(BASE + WITH_LISTS[what].format(**lists)), MANIFEST, target, 60.0)


@pytest.mark.parametrize("other", ["{} IN ('a')", "{} IN ('b', 'a')", "{} NOT IN ('a', 'b')"])
def test_another_list_is_another_schema(made, other):
    first, second = (
        made(f"CREATE TABLE t (s varchar, CHECK ({one.format('s')}))", name=name)
        for name, one in (("source", "{} IN ('a', 'b')"), ("restored", other))
    )

    assert first.diff(second).schema


FUNCTION = (
    "CREATE OR REPLACE FUNCTION f(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 + {}';"
)
OTHERWISE = {
    "a table": "CREATE TABLE g (n int, m int GENERATED ALWAYS AS (f(n)) STORED);",
    "a part of a table": "CREATE TABLE p (n int, m int GENERATED ALWAYS AS (f(n)) STORED) "
    "PARTITION BY LIST (n); CREATE TABLE g PARTITION OF p FOR VALUES IN (1);",
    "one column of several": "CREATE TABLE g (n int, a int GENERATED ALWAYS AS (n + 1) STORED, "
    "m text GENERATED ALWAYS AS (f(n)::text) STORED);",
}


@pytest.mark.parametrize("what", OTHERWISE)
def test_generated_columns_that_become_others_are_refused(written, postgres, what):
    made_by = FUNCTION.format(1) + OTHERWISE[what] + "INSERT INTO g VALUES (1);"

    said = refused(written(BASE + made_by + FUNCTION.format(100)), postgres)

    assert said == "generated columns of g have other values here"


@pytest.mark.parametrize("what", OTHERWISE)
def test_generated_columns_that_stay_what_they_were_are_restored(written, postgres, what):
    made_by = FUNCTION.format(1) + OTHERWISE[what] + "INSERT INTO g VALUES (1);"
    target = ServerDatabase(postgres, "restored")

    restore(written(BASE + made_by), MANIFEST, target, 60.0)

    with postgres.connect("restored") as connection:
        assert connection.execute("SELECT m::int FROM g").fetchall() == [(2,)]


class TestASeverCanNotHaveIt:
    def test_without_an_extension(self, written, postgres):
        path = written()
        edited(path, lambda c: c["before"].insert(0, 'CREATE EXTENSION "nobodys"'))

        assert refused(path, postgres) == "this server has no extension nobodys"

    def test_with_an_extension_that_is_not_trusted(self, written, postgres):
        said = refused(written(BASE + "CREATE EXTENSION pg_walinspect"), postgres)

        assert 'permission denied to create extension "pg_walinspect"' in said

    def test_in_another_locale(self, written, postgres):
        path = written()
        edited(path, lambda c: c["locale"].__setitem__(1, "tlh_QO"))

        assert refused(path, postgres).startswith("its locale is UTF8/tlh_QO/")

    def test_with_a_role_that_may_run_programs(self, written, postgres, tenant):
        path = written()
        with postgres.connect() as connection:
            connection.execute("GRANT pg_execute_server_program TO tenant")

        said = refused(path, tenant)

        assert said.startswith("role 'tenant' is a member of pg_execute_server_program")


class TestPgDump:
    def test_of_the_servers_version_is_found(self, postgres):
        program = pg_dump.find(postgres.facts.version // 10_000)

        assert pg_dump._major(program) == postgres.facts.version // 10_000

    def test_that_is_missing_is_said(self):
        with pytest.raises(StoreError, match="no pg_dump for PostgreSQL 99 on this machine"):
            pg_dump.find(99)

    def test_that_fails_is_said(self, postgres):
        with pytest.raises(StoreError, match="pg_dump failed: error: connection to server"):
            pg_dump.sections(postgres, "nowhere")


HOSTILE = {
    "a program": ("before", "COPY plain FROM PROGRAM 'touch {mark}'", "COPY plain FROM"),
    "a program in a block": (
        "after",
        "DO $$ BEGIN COPY plain FROM PROGRAM 'touch {mark}'; END $$",
        "a statement DO",
    ),
    "two in one": ("before", "GRANT pg_monitor TO PUBLIC; COPY a FROM PROGRAM 'x'", "multiple"),
    "a commit": ("before", "COMMIT", "a statement COMMIT"),
    "a role": (
        "before",
        "GRANT pg_execute_server_program TO CURRENT_USER",
        "admin option|to grant role",
    ),
    "an untrusted language": (
        "before",
        "CREATE FUNCTION public.s(cstring) RETURNS int LANGUAGE c AS 'libc.so.6', 'system'",
        "permission denied for language c",
    ),
    "an internal function": (
        "before",
        "CREATE FUNCTION public.s(text) RETURNS text LANGUAGE internal AS 'pg_read_file_all'",
        "permission denied for language internal",
    ),
    "a file of the server": (
        "after",
        "CREATE MATERIALIZED VIEW public.m AS SELECT pg_read_file('PG_VERSION') AS x",
        "permission denied for function pg_read_file",
    ),
    "the catalog": (
        "after",
        "ALTER TABLE pg_catalog.pg_authid ADD COLUMN a int",
        "must be owner of table pg_authid",
    ),
}


class TestAHostileFile:
    """What somebody could put there who has a key, or who may write to a cache."""

    @pytest.mark.parametrize("name", HOSTILE)
    def test_gets_nothing_done(self, written, postgres, tmp_path, name):
        where, statement, said = HOSTILE[name]
        mark, path = tmp_path / "mark", written()
        edited(path, lambda c: c[where].append(statement.format(mark=mark)))

        told = refused(path, postgres)

        assert any(one in told for one in said.split("|")), told
        assert not mark.exists()

    @pytest.mark.parametrize("how", ["an index", "a default", "a trigger"])
    def test_with_a_function_that_acts_acts_without_rights(self, written, postgres, tmp_path, how):
        mark = tmp_path / "mark"
        body = f"BEGIN EXECUTE $y$COPY (SELECT 1) TO PROGRAM 'touch {mark}'$y$;"
        path = written()
        if how == "an index":
            # What has no side effect can read, and the wrong things too.
            make = (
                "CREATE FUNCTION public.f(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS "
                "$x$BEGIN PERFORM pg_read_file('PG_VERSION'); RETURN 1; END $x$"
            )
            edited(path, lambda c: c["before"].append(make))
            edited(
                path, lambda c: c["after"].append("CREATE INDEX i ON public.plain (public.f(id))")
            )
        elif how == "a default":
            make = (
                f"CREATE FUNCTION public.f() RETURNS bool LANGUAGE plpgsql AS "
                f"$x${body} RETURN true; END $x$"
            )
            check = "ALTER TABLE public.plain ADD CHECK (public.f())"
            edited(path, lambda c: c["before"].extend([make, check]))
        else:
            make = (
                f"CREATE FUNCTION public.f() RETURNS trigger LANGUAGE plpgsql AS "
                f"$x${body} RETURN NEW; END $x$"
            )
            on = (
                "CREATE TRIGGER t BEFORE INSERT ON public.plain FOR EACH ROW "
                "EXECUTE FUNCTION public.f()"
            )
            edited(path, lambda c: c["before"].extend([make, on]))

        told = refused(path, postgres)

        denied = ("COPY to or from an external program", "denied for function pg_read_file")
        assert any(one in told for one in denied)
        assert not mark.exists()

    def test_can_not_become_who_we_are(self, written, postgres):
        body = "BEGIN EXECUTE 'RESET SESSION AUTHORIZATION'; EXECUTE 'SET ROLE postgres'; "
        make = (
            "CREATE FUNCTION public.f() RETURNS bool LANGUAGE plpgsql AS "
            f"$x${body} RETURN true; END $x$"
        )
        path = written()
        check = "ALTER TABLE public.plain ADD CHECK (public.f())"
        edited(path, lambda c: c["before"].extend([make, check]))

        assert "permission denied to set role" in refused(path, postgres)

    def test_that_never_ends_is_ended_whatever_it_sets(self, written, postgres):
        body = "BEGIN SET statement_timeout = 0; PERFORM pg_sleep(1000); RETURN true; END"
        make = f"CREATE FUNCTION public.f() RETURNS bool LANGUAGE plpgsql AS $x${body}$x$"
        path = written()
        check = "ALTER TABLE public.plain ADD CHECK (public.f())"
        edited(path, lambda c: c["before"].extend([make, check]))

        assert refused(path, postgres, seconds=1.0) == "it was not restored within 1 s"

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (lambda c: c["facts"].append("table more"), "its schema is another one here"),
            (lambda c: c["before"].append("CREATE TABLE public.more (a int)"), "left behind: "),
            (lambda c: c["tables"][1].update(rows=999), "1000 rows, and 999 were written"),
            (lambda c: c["tables"].pop(), "it has not the rows or values of all"),
            (lambda c: c["tables"][1].update(name="../../etc"), "does not exist"),
            (lambda c: c["tables"][1].update(format="text) FROM PROGRAM 'id' --"), "no archive"),
            (lambda c: c["tables"][1].update(columns=[1]), "something else than text"),
            (lambda c: c.update(before="CREATE"), "it has a statement C"),
            (lambda c: c.update(tables=None), "it is no archive"),
            (lambda c: c.update(format=2), "its format is 2, not 1"),
            (lambda c: c.update(more=1), "it is no archive"),
            (lambda c: c.pop("views"), "it is no archive"),
            # The second is a later server's.
            (
                lambda c: c.update(sequences=[["public", "plain", 1, True]]),
                'is not a sequence|cannot open relation "plain"',
            ),
            (lambda c: c.update(views=[["public", "plain", 1, "0"]]), "not a materialized view"),
            (lambda c: c.update(settings=["session_preload_libraries=x"]), "permission denied"),
            (lambda c: c.update(settings=["log_statement=all"]), "permission denied"),
        ],
    )
    def test_that_says_what_is_not_so(self, written, postgres, change, said):
        path = written()
        edited(path, change)

        told = refused(path, postgres)

        assert any(one in told for one in said.split("|")), told

    def test_at_other_heads(self, written, postgres):
        manifest = SimpleNamespace(version_table="alembic_version", heads=["0003"])

        assert refused(written(), postgres, manifest) == (
            "it is at 0002, and its manifest says 0003"
        )

    @pytest.mark.parametrize("part", [0.0, 0.3, 0.9, 0.999])
    def test_that_is_cut_off(self, written, postgres, part):
        path = written()
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * part)])

        assert refused(path, postgres).startswith("it is no archive of a database: ")

    def test_that_is_compressed_is_a_bomb(self, written, postgres):
        path = written()
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
            bomb.writestr("schema.json", " " * 10_000_000 + "{}")

        assert "compressed" in refused(path, postgres)

    def test_whose_rows_are_damaged(self, written, postgres):
        path = written()
        content = bytearray(path.read_bytes())
        place = content.index(b"row 500")
        content[place : place + 7] = b"ROW 500"
        path.write_bytes(content)

        assert "Bad CRC-32" in refused(path, postgres)


class TestInterrupted:
    def test_nothing_is_left(self, postgres, names):
        target = ServerDatabase(postgres, "restored")

        def interrupted():
            with restoring(target) as server:
                assert target.is_there()
                with server.connect("restored") as connection:
                    connection.execute("CREATE TABLE a (b int)")
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()

        assert not target.is_there()
        assert roles(postgres) == []

    def test_what_a_killed_one_left_is_swept_and_who_is_at_work_is_not(self, postgres):
        begun, go = threading.Event(), threading.Event()

        def work():
            with restoring(ServerDatabase(postgres, "restored")):
                begun.set()
                go.wait()

        at_work = threading.Thread(target=work)
        at_work.start()
        assert begun.wait(60)
        with postgres.connect() as connection:
            killed = "alembic_restorer_0123456789abcdef"
            connection.execute(f"CREATE ROLE {killed}")
            connection.execute(f"CREATE DATABASE left_behind OWNER {killed}")

            sweep(connection)

            assert len(roles(postgres)) == 1
            assert (killed,) not in roles(postgres)
            assert not ServerDatabase(postgres, "left_behind").is_there()
        go.set()
        at_work.join()
        assert ServerDatabase(postgres, "restored").is_there()
        assert roles(postgres) == []


def test_contents_are_what_was_read(written):
    path = written()

    with archive.opened(path) as opened:
        record = dataclasses.asdict(opened.contents)

    with zipfile.ZipFile(path) as raw:
        assert record == json.loads(raw.read("schema.json"))
