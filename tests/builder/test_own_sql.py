"""A schema with SQL of the application's own: functions and collations from listeners."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from alembic_snapshot.errors import BuildError
from alembic_snapshot.sqlite import database as databases
from alembic_snapshot.sqlite.stand_ins import NeedsOwnSql, StandIns

DB = """
    import sqlalchemy as sa
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = sa.create_engine("sqlite:///app.db")

    {listens}
    def own_sql(connection, record):
        connection.create_collation("own", lambda a, b: (a > b) - (a < b))
        connection.create_function("slug", 1, lambda text: text.lower(), deterministic=True)
"""
ASYNC_DB = """
    import sqlalchemy as sa
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = create_async_engine("sqlite+aiosqlite:///app.db")

    @sa.event.listens_for(engine.sync_engine, "connect")
    def own_sql(connection, record):
        connection.create_function("slug", 1, lambda text: text.lower(), deterministic=True)
        connection.run_async(collate)

    async def collate(driver):
        await driver._execute(driver._conn.create_collation, "own", lambda a, b: (a > b) - (a < b))
"""
ENV = """
    from alembic import context
    from db import engine

    with engine.connect() as connection:
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()
"""
ASYNC_ENV = """
    import asyncio
    from alembic import context
    from db import engine

    def migrate(connection):
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()

    async def main():
        async with engine.connect() as connection:
            await connection.run_sync(migrate)

    asyncio.run(main())
"""
ON_ENGINE = '@sa.event.listens_for(engine, "connect")'
ON_ALL = '@sa.event.listens_for(sa.Engine, "connect")'
SYNC, ASYNC = (DB.format(listens=ON_ENGINE), ENV), (ASYNC_DB, ASYNC_ENV)
KINDS = {
    "a collation in an index": "CREATE TABLE t (v TEXT COLLATE own); CREATE INDEX i ON t (v)",
    "a unique collation": "CREATE TABLE t (v TEXT COLLATE own UNIQUE)",
    "a collation in a key": "CREATE TABLE t (v TEXT COLLATE own PRIMARY KEY) WITHOUT ROWID",
    "a condition": "CREATE TABLE t (v TEXT CHECK (slug(v) <> ''))",
    "SQLAlchemy's REGEXP": "CREATE TABLE t (v TEXT CHECK (v REGEXP '^[A-Za-z]+$'))",
    "a generated column": "CREATE TABLE t (v TEXT, s TEXT GENERATED ALWAYS AS (slug(v)))",
    "a generated column that is stored":
        "CREATE TABLE t (v TEXT, s TEXT GENERATED ALWAYS AS (slug(v)) STORED)",
    "an expression in an index": "CREATE TABLE t (v TEXT); CREATE INDEX i ON t (slug(v))",
    "a condition in an index":
        "CREATE TABLE t (v TEXT); CREATE INDEX i ON t (v) WHERE slug(v) > 'a'",
    "a trigger": "CREATE TABLE t (v TEXT); CREATE TABLE log (v TEXT); "
        "CREATE TRIGGER r AFTER INSERT ON t BEGIN INSERT INTO log VALUES (slug(new.v)); END",
    "a view": "CREATE TABLE t (v TEXT); CREATE VIEW w AS SELECT slug(v) FROM t",
    "a foreign key": "CREATE TABLE t (v TEXT COLLATE own UNIQUE); "
        "CREATE TABLE u (v TEXT REFERENCES t (v)); INSERT INTO u VALUES ('A')",
}  # fmt: skip
SEED = "import sqlalchemy as sa\ndef row(connection):\n    connection.execute(sa.text({sql!r}))\n"


@pytest.fixture
def write(project):
    """Writes a project whose engine has SQL of its own, and whose revision makes a schema."""

    def write(schema, code=SYNC, rows="INSERT INTO t (v) VALUES ('A'), ('b')"):
        db, env = code
        project.write("db.py", db)
        project.write("migrations/env.py", env)
        statements = [*schema.split("; "), rows]
        if "TRIGGER" in schema:
            head, _, tail = schema.partition("CREATE TRIGGER")
            statements = [*head.rstrip("; ").split("; "), f"CREATE TRIGGER{tail}", rows]
        project.revision("0001", upgrade="\n".join(f"op.execute({one!r})" for one in statements))
        project.write("seed.py", SEED.format(sql="INSERT INTO t (v) VALUES ('C')"))
        project.configure('seeds = ["seed:row"]\n')
        return project

    return write


@pytest.mark.parametrize("kind", KINDS)
def test_a_snapshot_is_built_sealed_checked_seeded_and_compared(write, tmp_path, kind):
    project = write(KINDS[kind])

    snapshot = project.ensure()
    clone = snapshot.clone(tmp_path / "clone.db")
    with closing(sqlite3.connect(clone.path)) as connection:
        connection.create_function("slug", 1, str.lower, deterministic=True)
        connection.create_function("regexp", 2, lambda _pattern, _text: 1, deterministic=True)
        connection.create_collation("own", lambda a, b: (a > b) - (a < b))
        connection.execute("INSERT INTO t (v) VALUES ('new')")
        connection.commit()
        (free,) = connection.execute("PRAGMA freelist_count").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()

    checks = snapshot.manifest.checks
    assert (checks["integrity"], checks["foreign_keys"]) == ([], [])
    assert "integrity_error" not in checks
    assert (free, size) == (0, 512)
    assert "  + v='new'" in str(clone.diff()).splitlines()
    assert "can't" not in str(clone.diff())


@pytest.mark.parametrize("code", [SYNC, ASYNC, (DB.format(listens=ON_ALL), ENV)],
                         ids=["sync", "async", "for all engines"])  # fmt: skip
@pytest.mark.parametrize("kind", ["a collation in an index", "a trigger"])
def test_whatever_engine_has_it(write, kind, code, rows):
    snapshot = write(KINDS[kind], code).ensure()

    assert rows(snapshot.path, "SELECT count(*) FROM t") == [(3,)]
    assert "integrity_error" not in snapshot.manifest.checks


BROKEN = {
    "integrity": (
        "CREATE TABLE t (v TEXT CHECK (slug(v) <> 'b')); PRAGMA ignore_check_constraints=ON",
        "CHECK constraint failed in t"),
    "foreign_keys": (
        KINDS["a foreign key"].replace("'A'", "'other'"),
        "u row 1 refers to a row of t that is not there"),
}  # fmt: skip


UNCHECKED = '        connection.execute("PRAGMA ignore_check_constraints=ON")\n'


@pytest.mark.parametrize("has_own", [False, True], ids=["plain", "with SQL of its own"])
def test_a_row_that_breaks_a_check_is_found_though_a_listener_ignores_checks(write, has_own):
    condition = "slug(v) <> 'b'" if has_own else "v <> 'b'"
    code = (SYNC[0].rstrip() + "\n" + UNCHECKED, ENV)
    project = write(f"CREATE TABLE t (v TEXT CHECK ({condition}))", code)

    built = project.command("build")
    checked = project.command("check", "--no-stairway")

    assert "warning: integrity: CHECK constraint failed in t" in built.stderr
    assert "integrity: CHECK constraint failed in t" in checked.stdout
    assert (built.returncode, checked.returncode) == (0, 1)


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_wrong_in_it_is_found_with_it(write, what):
    schema, line = BROKEN[what]

    checks = write(schema).ensure().manifest.checks

    assert checks[what] == [line]


def test_a_listener_that_switches_to_a_write_ahead_log_is_no_obstacle(write, rows):
    wal = '        cursor = connection.execute("PRAGMA journal_mode=WAL").fetchone()\n'
    project = write(KINDS["a collation in an index"], (SYNC[0].rstrip() + "\n" + wal, ENV))

    snapshot = project.ensure()

    assert "integrity_error" not in snapshot.manifest.checks
    assert rows(snapshot.path, "PRAGMA journal_mode") == [("delete",)]
    assert rows(snapshot.path, "PRAGMA page_size") == [(512,)]


def test_what_only_a_revision_had_is_said_not_to_be_checked(write, project):
    write("SELECT 1", rows="SELECT 2", code=(DB.format(listens=""), ENV))
    project.revision(
        "0001",
        upgrade="""
        op.get_bind().connection.driver_connection.create_function("mine", 1, str)
        op.execute("CREATE TABLE t (v TEXT CHECK (mine(v) <> ''))")
        """,
    )
    project.configure()

    snapshot = project.ensure()
    done = project.command("check", "--no-stairway")

    assert "function: mine" in snapshot.manifest.checks["integrity_error"]
    assert done.returncode == 1
    assert "sound_data: not checked, because OperationalError" in done.stdout


def test_a_seed_without_it_has_the_right_hint(write, project):
    write(KINDS["a trigger"], rows="SELECT 1", code=(DB.format(listens=""), ENV))

    with pytest.raises(BuildError) as caught:
        project.ensure()

    assert "seed seed:row failed" in caught.value.message
    assert '@event.listens_for(Engine, "connect")' in caught.value.hint


def test_the_hint_followed_to_the_letter_works(write, project, rows):
    write(KINDS["a trigger"], rows="SELECT 1", code=(DB.format(listens=""), ENV))
    text = DB.format(listens='@event.listens_for(Engine, "connect")')
    project.write("db.py", "    from sqlalchemy import Engine, event" + text)

    assert rows(project.ensure().path, "SELECT v FROM log") == [("c",)]


def test_it_counts_like_everything_that_env_py_imports(write):
    project = write(KINDS["a condition"])
    project.ensure()
    project.write("db.py", DB.format(listens=ON_ENGINE) + "    MORE = 1\n")

    assert project.build()[1] == []


def test_stand_ins_are_refused_where_they_would_run(tmp_path):
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        connection.create_collation("own", lambda a, b: 0)
        connection.execute("CREATE TABLE t (v TEXT COLLATE own)")
        connection.execute("CREATE TABLE u (v TEXT)")
        connection.executemany("INSERT INTO t VALUES (?)", ["a", "b"])
        connection.commit()
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        select = StandIns(connection).rows

        assert select("SELECT v FROM t") == [("a",), ("b",)]
        assert select("SELECT slug(v) FROM u") == []
        assert select("SELECT pair(v, none()) FROM u") == []
        with pytest.raises(NeedsOwnSql, match="the application's collation own"):
            select("SELECT v FROM t ORDER BY v")
        with pytest.raises(NeedsOwnSql, match=r"the application's function slug\(\)"):
            select("SELECT slug(v) FROM t")
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            select("SELECT 1 FROM nowhere")


@pytest.mark.parametrize(
    ("schema", "is_plain"),
    [
        ("CREATE TABLE t (v TEXT COLLATE NOCASE CHECK (lower(v) <> ''))", True),
        ("CREATE TABLE t (v TEXT); CREATE VIEW w AS SELECT slug(v) FROM t", True),
        ("CREATE TABLE t (v TEXT CHECK (slug(v) <> ''))", False),
        ("CREATE TABLE t (v TEXT COLLATE own UNIQUE)", False),
        ("CREATE TABLE t (v TEXT COLLATE own UNIQUE, w TEXT REFERENCES t (v))", False),
        ("CREATE TABLE t (v TEXT); CREATE INDEX i ON t (v) WHERE slug(v) > 'a'", False),
        ("CREATE VIRTUAL TABLE f USING fts5(body)", True),
    ],
)
def test_a_schema_is_known_to_need_it(tmp_path, schema, is_plain):
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.create_function("slug", 1, str.lower, deterministic=True)
        connection.create_collation("own", lambda a, b: 0)
        connection.executescript(schema)

    assert databases.is_plain(path) == is_plain
