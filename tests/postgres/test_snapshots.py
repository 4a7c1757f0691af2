"""Snapshots on a PostgreSQL server: the same guarantees, on a real one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading

import psycopg
import pytest
from sqlalchemy import make_url

from alembic_snapshot import (
    BuildError,
    CloneError,
    GuardError,
    MigrationError,
)
from alembic_snapshot.backend import backend_of
from alembic_snapshot.build.ensure import rebuild_and_compare
from alembic_snapshot.build.stairway import run_stairway
from alembic_snapshot.postgres import databases
from alembic_snapshot.postgres.database import ServerDatabase
from alembic_snapshot.postgres.server import Server, lock_key
from alembic_snapshot.postgres.store import ServerStore
from alembic_snapshot.tokens.token import Token
from tests.build import test_stairway
from tests.build.test_stairway import ENGINES, KEPT_ENV, failing_in_the_middle
from tests.waiting import until


@pytest.fixture
def project(project, no_snapshots):
    return project


@pytest.fixture
def ask(postgres):
    """What a query finds in a database, by its name."""

    def ask(database, query, *values):
        with postgres.connect(database) as connection:
            cursor = connection.execute(query, values)
            return cursor.fetchall() if cursor.description else None

    return ask


@pytest.fixture
def copied(postgres):
    """A database with a snapshot's content, to look into it."""

    def copy(snapshot, name="copied"):
        database = ServerDatabase(postgres, name)
        database.start(snapshot.entry.database)
        return name

    return copy


def problems_of(server, sql):
    database = ServerDatabase(server, "problems")
    database.start(None)
    with server.connect(database.name) as connection:
        connection.execute(sql)
    return database.problems()


class TestASnapshot:
    def test_is_a_template_that_nobody_connects_to(self, project, names, ask, copied):
        project.history(3)

        snapshot, ran = project.build()

        assert ran == ["0001", "0002", "0003"]
        (row,) = ask(
            "postgres",
            "SELECT datistemplate, datallowconn FROM pg_database WHERE datname = %s",
            snapshot.entry.database.name,
        )
        assert row == (True, False)
        assert names("alembic_building_") == []
        tables = ask(copied(snapshot), "SELECT tablename FROM pg_tables WHERE tablename ~ '^t_'")
        assert sorted(tables) == [("t_0001",), ("t_0002",), ("t_0003",)]

    def test_is_found_again_and_is_not_sqlites(self, project):
        project.history(2)
        first = project.ensure()

        again = project.ensure()

        assert first.built
        assert not again.built
        assert again.digest == first.digest
        project.configure()
        assert project.ensure().digest != first.digest

    def test_is_built_on_the_one_before(self, project):
        project.history(2)
        project.ensure()
        project.revision("0003", "0002")

        assert project.build()[1] == ["0003"]
        assert rebuild_and_compare(project.load())[1] == databases_alike()

    def test_with_an_edited_revision_replaces_only_that_one(self, project, ask, copied):
        project.history(3)
        project.ensure()
        project.revision("0003", "0002", "op.execute('CREATE TABLE edited (id int)')")

        snapshot, ran = project.build()

        assert ran == ["0003"]
        tables = ask(copied(snapshot), "SELECT to_regclass('edited'), to_regclass('t_0003')")
        assert tables == [("edited", None)]

    def test_has_its_seeds(self, project, ask, copied):
        project.history(1)
        project.write(
            "seeds.py",
            """
            from sqlalchemy import text

            def one(connection):
                connection.execute(text("INSERT INTO t_0001 VALUES (7)"))
            """,
        )
        project.configure('backend = "postgresql"\nseeds = ["seeds:one"]')

        assert ask(copied(project.ensure()), "SELECT id FROM t_0001") == [(7,)]

    def test_of_an_async_env_is_built_too(self, project):
        project.history(1)
        project.write(
            "migrations/env.py",
            """
            import asyncio
            from alembic import context
            from sqlalchemy import pool
            from sqlalchemy.ext.asyncio import async_engine_from_config

            def run(connection):
                context.configure(connection=connection, target_metadata=None)
                with context.begin_transaction():
                    context.run_migrations()

            async def main():
                section = context.config.get_section(context.config.config_ini_section, {})
                engine = async_engine_from_config(section, poolclass=pool.NullPool)
                async with engine.connect() as connection:
                    await connection.run_sync(run)
                await engine.dispose()

            asyncio.run(main())
            """,
        )

        snapshot = project.ensure()

        assert snapshot.manifest.handover in ("url", "async")

    def test_carries_what_a_database_was_told(self, project, ask, copied):
        project.revision(
            "0001",
            upgrade="""
            op.execute("CREATE SCHEMA inner_room")
            op.execute("CREATE TYPE mood AS ENUM ('sad', 'glad')")
            op.execute("CREATE EXTENSION pg_trgm")
            name = op.get_bind().exec_driver_sql("SELECT current_database()").scalar()
            op.execute(f'ALTER DATABASE "{name}" SET search_path = inner_room, public, "$user"')
            op.execute(f'ALTER DATABASE "{name}" SET myapp.tenant = \\'it\\'\\'s, "us"\\'')
            """,
        )
        name = copied(project.ensure())

        assert ask(name, "SHOW search_path") == [('inner_room, public, "$user"',)]
        assert ask(name, "SHOW myapp.tenant") == [('it\'s, "us"',)]
        assert ask(name, "SELECT enum_range(NULL::mood)::text[]") == [(["sad", "glad"],)]
        assert ask(name, "SELECT similarity('a', 'a')") == [(1.0,)]

    def test_that_failed_is_kept_for_a_look(self, project, names):
        project.history(1)
        project.revision("0002", "0001", "op.execute('SELECT 1/0')")

        with pytest.raises(MigrationError, match="division by zero") as caught:
            project.ensure()

        (failed,) = names("alembic_failed_")
        assert failed in caught.value.hint
        assert names("alembic_building_") == []
        ServerStore(project.root / ".alembic-snapshot").prune(keep=1)
        assert names("alembic_failed_") == []

    def test_that_was_dropped_meanwhile_is_said_to_be_gone(self, project, postgres):
        project.history(1)
        snapshot = project.ensure()
        snapshot.entry.database.remove()

        with pytest.raises(CloneError, match="is gone"):
            snapshot.clone("mine")

    def test_that_failed_is_told_in_one_line_with_how_to_open_it(self, project, names):
        project.revision("0001", None, "op.execute('SELECT * FROM orders')")

        told, hint = project.command("build", "--quiet").stderr.splitlines()

        (kept,) = names("alembic_failed_")
        assert told.endswith('relation "orders" does not exist [SELECT * FROM orders]')
        assert f"; open it: alembic-snapshot psql {kept}; " in hint
        assert hint.endswith("are its first tables not made by Alembic? then set migrate")


def databases_alike():
    """What the comparison of two databases that are the same finds."""
    from alembic_snapshot.database.diff import Diff

    return Diff([], [])


# A migration that waits until two processes wait for the lock of the one that runs it.
OTHERS_WAIT = """
import time
waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
until = time.monotonic() + 60
while op.get_bind().exec_driver_sql(waiting).scalar() < 2:
    assert time.monotonic() < until, "nobody waits"
    time.sleep(0.01)
"""


class TestProcesses:
    def test_one_builds_while_others_wait(self, project):
        project.history(2)
        project.revision("0003", "0002", OTHERS_WAIT)
        command = [sys.executable, "-m", "alembic_snapshot", "build"]

        running = [
            subprocess.Popen(command, cwd=project.root, stderr=subprocess.PIPE, text=True)
            for _ in range(3)
        ]
        told = [process.communicate(timeout=60)[1] for process in running]

        assert [process.returncode for process in running] == [0, 0, 0]
        assert sum("built in" in text for text in told) == 1

    def test_a_killed_build_leaves_nothing_that_is_used(self, project, names):
        project.history(1)
        slow = "import pathlib, time; pathlib.Path('running').touch(); time.sleep(60)"
        project.revision("0002", "0001", slow)
        command = [sys.executable, "-m", "alembic_snapshot", "build"]
        process = subprocess.Popen(
            command, cwd=project.root, stderr=subprocess.DEVNULL, start_new_session=True
        )
        until((project.root / "running").exists, "the revision to run")
        ServerStore(project.root / ".alembic-snapshot").prune(keep=1)
        assert names("alembic_building_")

        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        project.revision("0002", "0001")

        assert project.build()[1] == ["0001", "0002"]
        ServerStore(project.root / ".alembic-snapshot").prune(keep=1)
        assert names("alembic_building_") == []

    def test_what_was_never_finished_goes_with_prune_and_a_users_own_does_not(
        self, project, postgres, names
    ):
        killed, being_made = (f"alembic_snapshot_{digit * 32}" for digit in "01")
        own = "alembic_snapshot_of_the_shop"
        for name in (killed, being_made, own):
            ServerDatabase(postgres, name).start(None)
        store = ServerStore(project.root / ".alembic-snapshot")

        with postgres.connect() as connection:
            key = lock_key(being_made)
            connection.execute("SELECT pg_advisory_lock_shared(%s)", (key,))
            store.prune(keep=5)

        assert names("alembic_snapshot_") == [being_made, own]

    def test_two_checkouts_share_what_is_the_same_and_nothing_else(self, project, new_project):
        project.history(2)
        first = project.ensure()
        other = new_project("elsewhere")
        shutil.copytree(project.root, other.root, dirs_exist_ok=True)

        assert not other.ensure().built
        other.revision("0003", "0002")
        assert other.build()[1] == ["0003"]
        project.revision("0003", "0002", "op.execute('CREATE TABLE ours (id int)')")
        assert project.build()[1] == ["0003"]
        assert not other.ensure().built
        assert first.entry.database.is_there()

    def test_prune_leaves_what_is_in_use(self, project, names):
        project.history(1)
        old = project.ensure()
        project.revision("0002", "0001")
        new = project.ensure()
        store = ServerStore(project.root / ".alembic-snapshot")

        with old.in_use(), new.in_use():
            assert store.prune(keep=0) == []
        deleted = store.prune(keep=0)

        assert {entry.manifest.digest for entry in deleted} >= {old.digest, new.digest}
        assert names() == []


class TestADatabase:
    def test_in_use_is_waited_for(self, postgres):
        source = ServerDatabase(postgres, "source")
        source.start(None)
        visitor = postgres.connect("source")
        threading.Timer(0.5, visitor.close).start()

        with postgres.connect() as connection:
            databases.create(connection, postgres, "copy", "source")

        assert ServerDatabase(postgres, "copy").is_there()

    def test_that_stays_in_use_is_an_error_with_a_hint(self, postgres, monkeypatch):
        monkeypatch.setattr(databases, "_PATIENCE", 0.1)
        ServerDatabase(postgres, "source").start(None)

        with (
            postgres.connect("source"),
            postgres.connect() as connection,
            pytest.raises(CloneError, match=r"source on .* stays in use") as caught,
        ):
            databases.create(connection, postgres, "copy", "source")

        assert "pg_stat_activity" in caught.value.hint

    @pytest.mark.parametrize("path", ["''", """'', "a,b", "c""d", E'e\\'f', public"""])
    def test_is_copied_with_odd_names_in_its_path(self, postgres, ask, path):
        source = ServerDatabase(postgres, "source")
        source.start(None)
        with postgres.connect() as connection:
            connection.execute(f"ALTER DATABASE source SET search_path = {path}".encode())

        ServerDatabase(postgres, "copied").start(source)

        assert ask("copied", "SHOW search_path") == ask("source", "SHOW search_path")

    def test_is_dropped_with_its_connections(self, postgres):
        database = ServerDatabase(postgres, "visited")
        database.start(None)
        visitor = postgres.connect("visited")

        database.remove()

        assert not database.is_there()
        with pytest.raises(psycopg.OperationalError):
            visitor.execute("SELECT 1")

    @pytest.mark.parametrize("name", ["", "x" * 64, "alembic_mine"])
    def test_has_a_name_that_can_be_one(self, project, name):
        project.history(1)

        with pytest.raises(CloneError):
            project.ensure().clone(name)

    def test_names_are_never_cut(self, project, names):
        project.history(2)
        project.write("migrations/env.py", env_that("import os; os.environ.get('SEEN')", project))
        project.ensure()
        run_stairway(project.load())

        assert all(len(name) < 63 for name in names())


def env_that(line, project):
    """The project's env.py, after a line of one's own."""
    return f"{line}\n{(project.root / 'migrations/env.py').read_text()}"


CONNECT = {
    "an engine": "sa.create_engine('postgresql+psycopg://localhost/other').connect()",
    "psycopg": "import psycopg; psycopg.connect('dbname=other host=localhost')",
    "asyncpg": "import asyncio, asyncpg; asyncio.run(asyncpg.connect(database='other'))",
    "a file": "import sqlite3; sqlite3.connect('other.db')",
    "an engine for a file": "sa.create_engine('sqlite:///other.db').connect()",
}

LOGGING = """    from sqlalchemy import text
    with connection.begin():
        connection.execute(text("create table if not exists log (i int)"))
        connection.execute(text("insert into log values (1)"))
"""


@pytest.mark.parametrize("before", [False, True], ids=["after", "before"])
def test_an_env_py_that_leaves_more_each_time_has_run_once_in_each_snapshot(
    project, ask, copied, before
):
    project.history(2)
    env = project.root / "migrations/env.py"
    migrates = "    context.configure("
    text = env.read_text()
    assert migrates in text
    env.write_text(text.replace(migrates, LOGGING + migrates) if before else text + LOGGING)

    first = project.ensure()
    project.revision("0003", "0002")
    second, ran = project.build()

    for snapshot in (first, second):
        assert ask(copied(snapshot), "select count(*) from log") == [(1,)]
    assert ran[-3:] == ["0001", "0002", "0003"]


# Engines of a server that isn't there; opened by env.py, they lead to the snapshot.
REDIRECTED = """
    from sqlalchemy import create_engine, inspect, text
    from sqlalchemy.orm import Session

    ONE = text("select 1")

    def opened():
        engine = create_engine("postgresql+psycopg://nobody@localhost/legacy")
        with engine.connect() as connection:
            connection.execute(ONE)
        return engine

    pooled, inspected, held = opened(), opened(), opened().connect()
    session = Session(opened())
    session.execute(ONE)
    uses = (
        lambda: pooled.connect(),
        lambda: inspect(inspected).get_table_names(),
        lambda: held.execute(ONE),
        lambda: session.execute(ONE),
    )
"""


class TestTheGuard:
    @pytest.mark.parametrize("how", CONNECT)
    def test_refuses_what_a_revision_connects_to_beside_it(self, project, how):
        project.revision("0001", upgrade=CONNECT[how])

        with pytest.raises(GuardError, match=r"revision 0001, migrations/versions/0001_made.py"):
            project.ensure()

        assert not (project.root / "other.db").exists()

    def test_lets_a_revision_open_the_database_that_it_is_on(self, project, ask, copied):
        body = """
        url = op.get_bind().engine.url.render_as_string(hide_password=False)
        op.execute("COMMIT")
        with sa.create_engine(url).begin() as connection:
            connection.exec_driver_sql("CREATE TABLE by_itself (id int)")
        """
        project.revision("0001", upgrade=body)

        snapshot = project.ensure()

        assert ask(copied(snapshot), "SELECT count(*) FROM by_itself") == [(0,)]

    def test_refuses_another_database_that_env_py_opened_pooled_or_held(self, project):
        project.write("app.py", REDIRECTED)
        project.write("migrations/env.py", env_that("import app", project))
        body = "import app\nfor use in app.uses:\n    try: use()\n    except Exception: pass"
        project.revision("0001", upgrade=body)

        with pytest.raises(
            GuardError, match=r"revision 0001, .*line 1\d tried .* 'legacy'"
        ) as raised:
            project.ensure()

        assert raised.value.details.count("\n  revision 0001, ") == 4

    @pytest.mark.parametrize("server", ["localhost", "elsewhere"])
    def test_lets_a_revision_open_what_env_py_migrates_by_its_server_too(self, project, server):
        project.write(
            "migrations/env.py",
            """
            from alembic import context
            from sqlalchemy import create_engine

            with create_engine("postgresql+psycopg://somebody@localhost/real").connect() as c:
                context.configure(connection=c, target_metadata=None)
                with context.begin_transaction():
                    context.run_migrations()
            """,
        )
        again = f"sa.create_engine('postgresql+psycopg://nobody@{server}/real').connect()"
        body = f"sa.inspect(op.get_bind().engine).get_table_names()\n{again}"
        project.revision("0001", upgrade=body)

        if server == "localhost":
            assert project.ensure().built
        else:
            with pytest.raises(GuardError, match=r"revision 0001, .* tried to connect to 'real'"):
                project.ensure()

    def test_redirects_what_env_py_connects_to(self, project):
        project.history(1)
        project.write(
            "migrations/env.py",
            """
            from alembic import context
            from sqlalchemy import create_engine

            with create_engine("postgresql+psycopg://somebody@localhost/real").connect() as c:
                context.configure(connection=c, target_metadata=None)
                with context.begin_transaction():
                    context.run_migrations()
            """,
        )

        snapshot = project.ensure()

        (warning,) = snapshot.manifest.warnings
        assert warning.startswith("migrations/env.py line 4 connects to 'real'")
        (database,) = snapshot.manifest.databases
        assert database == {
            "kind": "postgresql", "host": "localhost", "port": 5432, "dbname": "real",
        }  # fmt: skip

    def test_names_an_env_py_for_sqlite(self, project):
        project.history(1)
        project.write(
            "migrations/env.py",
            """
            from alembic import context
            from sqlalchemy import create_engine

            with create_engine("sqlite:///real.db").connect() as connection:
                context.configure(connection=connection)
                context.run_migrations()
            """,
        )

        with pytest.raises(BuildError, match=r"real.db', a SQLite file while the snapshot"):
            project.ensure()


class TestTheChecks:
    MODELS = """
        import sqlalchemy as sa

        metadata = sa.MetaData()
        mood = sa.Enum({labels}, name="mood")
        sa.Table(
            "people", metadata, sa.Column("id", sa.Integer, primary_key=True),
            sa.Column("mood", mood, server_default={default!r}),
        )
        sa.Table("rooms", metadata, sa.Column("id", sa.Integer, primary_key=True), schema="annex")
    """

    def people(self, project, labels="'sad', 'glad'", default="sad"):
        models = textwrap.dedent(self.MODELS).format(labels=labels, default=default)
        project.write("models.py", models)
        env = env_that("from models import metadata", project)
        env = env.replace("target_metadata = None", "target_metadata = metadata")
        env = env.replace(
            "target_metadata=target_metadata)",
            "target_metadata=target_metadata, include_schemas=True)",
        )
        project.write("migrations/env.py", env)
        project.revision(
            "0001",
            upgrade="""
            op.execute("CREATE SCHEMA annex")
            mood = sa.Enum("sad", "glad", name="mood")
            op.create_table("people", sa.Column("id", sa.Integer, primary_key=True),
                            sa.Column("mood", mood, server_default="sad"))
            op.create_table("rooms", sa.Column("id", sa.Integer, primary_key=True), schema="annex")
            """,
        )
        return project.ensure().manifest.checks

    def test_find_nothing_where_all_is_as_in_the_models(self, project):
        assert self.people(project)["drift"] == []

    def test_compare_labels_and_defaults_no_more_than_alembic_does(self, project):
        assert self.people(project, labels="'sad', 'glad', 'angry'", default="glad")["drift"] == []

    def test_see_another_server_default_where_env_py_compares_them(self, project):
        env = (project.root / "migrations/env.py").read_text()
        compared = env.replace("configure(connection", "configure(compare_server_default=True, "
                               "connection")  # fmt: skip
        project.write("migrations/env.py", compared)

        (found,) = self.people(project, default="glad")["drift"]

        assert found.startswith("modify default people.mood: 'sad'::mood in the database, glad in")

    def test_name_the_schema(self, project):
        models = (
            self.MODELS
            + """
        sa.Table("doors", metadata, sa.Column("id", sa.Integer, primary_key=True), schema="annex")
        """
        )
        self.MODELS = models

        assert self.people(project)["drift"] == ["add table annex.doors"]

    def test_see_what_was_never_validated_and_rows_that_refer_to_none(self, project):
        project.revision(
            "0001",
            upgrade="""
            op.execute("CREATE TABLE a (id int PRIMARY KEY)")
            op.execute("CREATE TABLE b (a int)")
            op.execute("ALTER TABLE b ADD CONSTRAINT b_a FOREIGN KEY (a) REFERENCES a NOT VALID")
            op.execute("CREATE TABLE c (a int REFERENCES a)")
            op.execute("ALTER TABLE c DISABLE TRIGGER ALL")
            op.execute("INSERT INTO c VALUES (77)")
            op.execute("ALTER TABLE c ENABLE TRIGGER ALL")
            """,
        )

        checks = project.ensure().manifest.checks

        assert checks["foreign_keys"] == [
            "constraint b_a of b is not validated",
            "c (a) = (77) refers to a row of a that is not there",
        ]

    def test_name_the_domain_of_a_constraint_that_was_never_validated(self, postgres):
        problems = problems_of(
            postgres,
            "CREATE DOMAIN price AS int; CREATE TABLE bought (at price); INSERT INTO bought "
            "VALUES (-1); ALTER DOMAIN price ADD CONSTRAINT more CHECK (VALUE > 0) NOT VALID",
        )

        assert problems["integrity"] == ["constraint more of domain price is not validated"]

    def test_find_nothing_in_a_constraint_that_is_not_to_be_enforced(self, postgres):
        if postgres.facts.version < 18_00_00:
            pytest.skip("PostgreSQL has constraints that are not enforced from 18 on")
        problems = problems_of(
            postgres,
            "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (a int REFERENCES a NOT ENFORCED, "
            "n int CHECK (n > 0) NOT ENFORCED); INSERT INTO b VALUES (7, -7)",
        )

        assert problems == {"integrity": [], "foreign_keys": []}

    @pytest.mark.parametrize("transaction", ["False", "True"])
    def test_climb_every_revision(self, project, names, transaction):
        env = (project.root / "migrations/env.py").read_text()
        option = f"target_metadata, transaction_per_migration={transaction})"
        project.write("migrations/env.py", env.replace("target_metadata)", option))
        project.history(3)
        project.revision("0004", "0003", "op.execute('CREATE TYPE m AS ENUM (\\'a\\')')")
        (project.versions / "0004_made.py").write_text(
            (project.versions / "0004_made.py")
            .read_text()
            .replace("op.drop_table('t_0004')", "pass")
        )
        project.revision("0005", "0004", "op.execute('CREATE TABLE other (id int)')")

        found = run_stairway(project.load()).findings

        assert [(one.revision, one.kind) for one in found] == [
            ("0004", "downgrade"),
            ("0004", "second upgrade failed"),
            ("0005", "downgrade failed"),
        ]
        assert found[0].lines == ["left behind: enum m (a)"]
        assert names("alembic_building_") == []

    @pytest.mark.parametrize(
        ("header", "upgrade", "downgrade", "kinds"),
        [
            pytest.param(
                "",
                "op.create_table('t', sa.Column('m', sa.Enum('a', name='m')))",
                "op.drop_table('t'); op.execute('DROP TYPE m')",
                [],
                id="a type that is dropped",
            ),
            pytest.param(
                "",
                "op.create_table('t', sa.Column('m', sa.Enum('a', name='m')))",
                "op.drop_table('t')",
                ["downgrade", "second upgrade failed"],
                id="a type that is forgotten",
            ),
            pytest.param(
                "m = sa.Enum('a', name='m'); metadata = sa.MetaData()",
                "sa.Table('t', metadata, sa.Column('m', m)).create(op.get_bind())",
                "op.drop_table('t'); m.drop(op.get_bind())",
                [],
                id="a module's type and metadata",
            ),
            pytest.param(
                "",
                "op.execute('CREATE TEMP TABLE scratch (x int)'); "
                "op.execute('SET search_path = public')",
                "op.execute('CREATE TEMP TABLE scratch (x int)'); assert 'user' in op.get_bind()"
                ".exec_driver_sql('SHOW search_path').scalar()",
                [],
                id="what is left in a connection",
            ),
            pytest.param(
                "",
                "op.execute('CREATE TABLE p (id int PRIMARY KEY)'); op.execute('CREATE TABLE c "
                "(p int REFERENCES p DEFERRABLE INITIALLY DEFERRED)'); "
                "op.execute('INSERT INTO p VALUES (1)'); op.execute('INSERT INTO c VALUES (1)')",
                "op.execute('DROP TABLE c'); op.execute('DROP TABLE p')",
                [],
                id="rows whose keys are checked at the commit",
            ),
        ],
    )
    @pytest.mark.parametrize("way", ["connect", "begin"])
    def test_climb_as_if_each_step_were_a_process(
        self, project, header, upgrade, downgrade, kinds, way
    ):
        env = (project.root / "migrations/env.py").read_text()
        project.write("migrations/env.py", env.replace("engine.connect()", f"engine.{way}()"))
        project.history(1)
        path = project.revision("b", "0001", upgrade, header=header)
        text = path.read_text().partition("def downgrade")[0]
        path.write_text(f"{text}def downgrade():\n    {downgrade}\n")
        project.revision("c", "b")

        assert [one.kind for one in run_stairway(project.load()).findings] == kinds

    @pytest.mark.parametrize("kept", ENGINES)
    def test_put_a_failed_downgrade_back_under_an_engine_that_stays(self, project, kept):
        text = kept.replace("+aiosqlite", "+asyncpg").replace('format("")', 'format("+psycopg")')
        project.write("db.py", text.format(url="postgresql{}://nobody@nowhere/real", mode=""))
        project.write("migrations/env.py", KEPT_ENV)
        failing_in_the_middle(project)

        found = run_stairway(project.load()).findings

        assert [(one.revision, one.kind) for one in found] == [("b", "downgrade failed")]


class TestTheStairwayFromAbove(test_stairway.TestFromAbove):
    """With ``migrate``, as for a file."""

    TABLE = f'{test_stairway.TestFromAbove.TABLE}\nbackend = "postgresql"'

    def test_is_about_a_server(self, created):
        assert created.load().backend == "postgresql"

    def test_a_url_that_alembics_configuration_does_not_take_has_the_right_hint(
        self, created, postgres, monkeypatch
    ):
        text = (created.root / "setup_db.py").read_text()
        created.write("setup_db.py", text.replace('.replace("%", "%%")', ""))
        assert created.ensure().built
        url = f"{postgres.url}&fallback_application_name=a%25b"
        monkeypatch.setenv("SNAPSHOT_POSTGRES_URL", url)
        created.revision("0009", "0002")

        with pytest.raises(MigrationError, match="invalid interpolation syntax") as error:
            created.ensure()
        assert 'url.replace("%", "%%")' in error.value.hint


class TestTheCommandLine:
    def test_makes_compares_and_opens_a_clone(self, project):
        project.history(1)

        assert "postgresql+psycopg://" in project.command("clone", "mine").stdout
        opened = project.command("psql", "mine", input="INSERT INTO t_0001 VALUES (3)")
        found = project.command("diff", "mine")

        assert opened.returncode == 0, opened.stderr
        assert found.returncode == 1
        assert found.stdout == "t_0001: 1 added\n  + id=3\n"

    def test_opens_no_database_that_is_not_there_or_lets_nobody_in(self, project):
        project.history(1)
        snapshot = project.ensure()
        project.command("clone", "mine")

        misspelt = project.command("psql", "mien")
        template = project.command("psql", snapshot.entry.name)
        dropped = project.command("psql", input="DROP DATABASE mine")
        gone = project.command("psql", "mine")

        assert (misspelt.returncode, template.returncode) == (2, 2)
        assert misspelt.stderr.startswith("error: there is no database mien on ")
        assert "hint: did you mean mine? " in misspelt.stderr
        assert "it is a template\nhint: alembic-snapshot clone NAME makes" in template.stderr
        assert (dropped.returncode, gone.returncode) == (0, 2)

    def test_an_opened_database_goes_when_it_is_old_and_nobody_uses_it(self, project, postgres):
        project.history(1)
        snapshot = project.ensure()
        backend = backend_of(snapshot.project)
        clone = snapshot.clone("failed")
        changes, was, now = backend.capture(snapshot.entry.database, clone.target)
        clone.delete()
        token = Token("postgresql", "default", "t", snapshot.digest, changes, was, now)
        name = project.command("open", "--print", token.to_line()).stdout.splitlines()[0]
        somebody = f"opened_{'0' * 12}"
        with postgres.connect() as connection:
            databases.create(connection, postgres, somebody, None)
        try:
            listed = project.command("list")
            record = json.loads(project.command("list", "--json").stdout)
            young = project.command("prune", "--older-than", "1d")
            (one,) = backend.opened()
            backend.note_opened(one.target, made=one.since - 2 * 86400)
            with postgres.connect(name):
                used = project.command("prune", "--older-than", "1d")
            with postgres.connect(name):
                still = project.command("prune", "--opened")
            old = project.command("prune", "--opened", "--older-than", "1d")
            there = [ServerDatabase(postgres, one).is_there() for one in (name, somebody)]
        finally:
            ServerDatabase(postgres, somebody).remove()

        assert listed.stderr.splitlines()[-1] == f"  {name}"
        assert [one["path"] for one in record["opened"]] == [name]
        assert still.stderr == used.stderr
        assert snapshot.entry.database.is_there()
        assert "open made" not in young.stdout
        assert used.stderr.strip() == "in use, and not deleted: 1 database that open made"
        assert "1 database that open made" in old.stdout
        assert there == [False, True]

    def test_says_what_is_not_there(self, project):
        project.history(1)

        missing = project.command("diff", "nothing")

        assert missing.returncode == 2
        assert missing.stderr.startswith("error: there is no database nothing on ")

    def test_lists_and_prunes(self, project):
        project.history(2)
        built = project.command("build")

        assert project.command("status").stdout.startswith("hit database alembic_snapshot_")
        assert built.stdout.strip().startswith("alembic_snapshot_")
        assert "deleted 2 snapshots" in project.command("prune", "--keep", "0").stdout
        assert project.command("status").returncode == 1


class TestTheVersionTable:
    def in_schema(self, project, decoy):
        env = (project.root / "migrations/env.py").read_text()
        project.write(
            "migrations/env.py",
            env.replace(
                "with context.begin",
                "connection.exec_driver_sql('create schema if not exists v')\n"
                "    connection.commit()\n    with context.begin",
            ).replace("target_metadata=target_metadata", "version_table_schema='v'"),
        )  # fmt: skip
        project.revision("0001", upgrade=f"op.execute({decoy!r})")
        return project

    def test_in_a_schema_of_its_own_is_the_one_that_is_compared(self, project):
        decoy = "create table public.alembic_version as select 'other' as version_num"

        assert self.in_schema(project, decoy).ensure().manifest.heads == ("0001",)

    def test_of_another_schema_is_not_taken_for_it(self, project):
        decoy = "create table public.alembic_version as select '0001' as version_num"
        self.in_schema(project, decoy)
        project.write("seed.py", """
            import sqlalchemy as sa

            def empty(connection):
                connection.execute(sa.text("delete from v.alembic_version"))
            """)  # fmt: skip
        project.configure('backend = "postgresql"\nseeds = ["seed:empty"]')

        with pytest.raises(BuildError, match="but the snapshot is at no revision"):
            project.ensure()


def test_builders_of_two_servers_that_share_a_folder_leave_each_other_alone(postgres, tmp_path):
    address = make_url(postgres.url).difference_update_query(["host"])
    servers = [postgres, Server(address.render_as_string(hide_password=False), is_private=True)]
    stores = [ServerStore(tmp_path), ServerStore(tmp_path)]
    for store, server in zip(stores, servers, strict=True):
        store.server = server
        store.prepare()

    one, another = (store.workspace("a" * 64).folder for store in stores)

    assert one.is_dir()
    newer = stores[0].workspace("a" * 64).folder
    assert [one.is_dir(), another.is_dir(), newer.is_dir()] == [False, True, True]
