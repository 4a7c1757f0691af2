"""Every revision up, down and up again: what is not clean is named, and does not stop the rest."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest

from alembic_snapshot import BuildError, CheckError
from alembic_snapshot.backend import backend_of
from alembic_snapshot.build.stairway import run_stairway, stairway_revisions
from alembic_snapshot.database.schema import Schema, differences
from alembic_snapshot.sqlite.schema import read_schema, table_facts

STATEMENTS = (
    "create table alembic_version (version_num text)",
    "create table a (id integer primary key, name text)",
    "create index ix on a (known_elsewhere(name))",
    "create table b (y text default 1, a integer references a (id))",
    "create view v as select 1",
)


# A module of the application's with an engine that outlives each run of env.py.
ENGINES = [
    pytest.param(
        """
        import sqlalchemy as sa
        engine = sa.create_engine("{url}".format(""))
        if engine.dialect.name == "sqlite":
            @sa.event.listens_for(engine, "connect")
            def connected(connection, _):
                connection.execute("pragma journal_mode={mode}")
        def with_connection(work):
            with engine.connect() as connection:
                work(connection)
        """,
        id="pooled",
    ),
    pytest.param(
        """
        import sqlalchemy as sa
        engine = sa.create_engine("{url}".format(""), poolclass=sa.pool.StaticPool)
        if engine.dialect.name == "sqlite":
            @sa.event.listens_for(engine, "connect")
            def connected(connection, _):
                connection.execute("pragma journal_mode={mode}")
        def with_connection(work):
            with engine.connect() as connection:
                work(connection)
        """,
        id="one connection",
    ),
    pytest.param(
        """
        import asyncio
        import sqlalchemy as sa
        from sqlalchemy.ext.asyncio import create_async_engine
        engine = create_async_engine("{url}".format("+aiosqlite"))
        if engine.dialect.name == "sqlite":
            @sa.event.listens_for(engine.sync_engine, "connect")
            def connected(connection, _):
                connection.execute("pragma journal_mode={mode}")
        def with_connection(work):
            async def run():
                async with engine.connect() as connection:
                    await connection.run_sync(work)
            asyncio.run(run())
        """,
        id="asynchronous",
    ),
]
KEPT_ENV = """
    from alembic import context
    from db import with_connection

    def work(connection):
        context.configure(connection=connection, target_metadata=None)
        with context.begin_transaction():
            context.run_migrations()

    with_connection(work)
"""


def failing_in_the_middle(project):
    project.history(1)
    with_downgrade(project, "b", "0001", "op.execute('select 1')", "op.drop_table('t_0001')\n"
                   "    1 / 0")  # fmt: skip
    project.revision("c", "b", "op.create_table('t_c', sa.Column('x', sa.Text))")
    project.revision("d", "c", "op.add_column('t_0001', sa.Column('y', sa.Text))")
    text = (project.versions / "d_made.py").read_text()
    text = text.replace("op.drop_table('t_d')", "op.drop_column('t_0001', 'y')")
    (project.versions / "d_made.py").write_text(text)


def tried(project, **options):
    return [
        (s.revision, s.kind, list(s.lines))
        for s in run_stairway(project.load(), **options).findings
    ]


def with_downgrade(project, name, down, upgrade, downgrade):
    path = project.revision(name, down, upgrade)
    text = path.read_text().partition("def downgrade")[0]
    path.write_text(f"{text}def downgrade():\n    {downgrade}\n")


# What upgrades to the heads, as a migrate.
UPGRADES = """
    from alembic import command
    from alembic.config import Config

    def create(url):
        config = Config("alembic.ini")
        config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
        command.upgrade(config, "heads")
"""


class TestAClimb:
    def test_finds_nothing_where_every_downgrade_undoes_its_upgrade(self, project):
        project.history(3)

        assert tried(project) == []

    def test_finds_nothing_wrong_with_branches_and_merges(self, project):
        project.revision("a")
        project.revision("b", "a")
        project.revision("c", "a")
        project.revision("d", ("b", "c"))
        project.revision("e", depends_on="b")

        assert tried(project) == []

    @pytest.mark.parametrize("migrate", ["", 'migrate = "setup_db:create"'], ids=["up", "down"])
    def test_takes_branches_in_the_order_of_an_upgrade(self, project, migrate):
        project.revision("r")
        project.revision("z", "r")
        # Alembic runs the other branch before this one.
        asks = "op.execute('select * from t_z')"
        with_downgrade(project, "a", "r", asks, asks)
        project.configure(f'heads = "many"\n{migrate}')
        project.write("setup_db.py", UPGRADES)

        assert tried(project) == []
        assert tried(project, revisions=["a"], from_scratch=True) == []

    def test_does_not_mind_the_order_of_columns(self, project):
        project.history(1)
        with_downgrade(
            project, "0002", "0001", "op.add_column('t_0001', sa.Column('x', sa.Text))\n"
            "op.add_column('t_0001', sa.Column('y', sa.Text))",
            "op.drop_column('t_0001', 'y'); op.drop_column('t_0001', 'x')",
        )  # fmt: skip
        with_downgrade(
            project, "0003", "0002", "op.drop_column('t_0001', 'x')",
            "op.add_column('t_0001', sa.Column('x', sa.Text))",
        )  # fmt: skip

        assert tried(project) == []

    def test_names_what_a_downgrade_leaves_behind_and_that_it_does_not_go_up_again(self, project):
        project.history(1)
        with_downgrade(
            project, "0002", "0001", "op.create_table('left', sa.Column('x', sa.Text))", "pass"
        )
        project.revision("0003", "0002")

        behind, again = tried(project)

        assert behind[:2] == ("0002", "downgrade")
        assert "left behind: table left" in behind[2]
        assert again[:2] == ("0002", "second upgrade failed")
        assert "already exists" in again[2][0]

    @pytest.mark.parametrize(
        ("keywords", "kinds"),
        [
            pytest.param("", ["downgrade", "second upgrade"], id="lost"),
            pytest.param(", table_kwargs={'sqlite_autoincrement': True}", [], id="kept"),
        ],
    )
    def test_names_what_batch_mode_loses(self, project, keywords, kinds):
        columns = "id integer not null primary key autoincrement"
        project.revision("0001", upgrade=f"op.execute('create table t_0001 ({columns})')")
        add = "op.add_column('t_0001', sa.Column('x', sa.Text))"
        batch = f"with op.batch_alter_table('t_0001'{keywords}) as table: table.drop_column('x')"
        with_downgrade(project, "0002", "0001", add, batch)

        found = tried(project)

        assert [one[1] for one in found] == kinds
        assert all("missing: primary key of t_0001: id autoincrement" in one[2] for one in found)

    def test_names_a_setting_that_a_downgrade_leaves(self, project):
        project.history(1)
        with_downgrade(project, "0002", "0001", "op.execute('pragma user_version = 7')", "pass")

        (found,) = tried(project)

        assert found[:2] == ("0002", "downgrade")
        assert found[2] == ["defined differently: PRAGMA user_version: 0 → 7"]

    def test_names_what_a_downgrade_takes_too_much(self, project):
        project.history(1)
        with_downgrade(
            project,
            "0002",
            "0001",
            "op.create_index('ix', 't_0001', ['id'])",
            "op.drop_index('ix'); op.drop_table('t_0001')",
        )

        assert ("0002", "downgrade") in [one[:2] for one in tried(project)]
        assert "missing: table t_0001" in tried(project)[0][2]

    @pytest.mark.parametrize(
        ("downgrade", "error"),
        [("raise NotImplementedError('never')", "NotImplementedError: never"), ("1 / 0", "Zero")],
    )
    def test_names_a_downgrade_that_is_not_there_and_goes_on(self, project, downgrade, error):
        project.history(1)
        with_downgrade(project, "0002", "0001", "op.execute('select 1')", downgrade)
        with_downgrade(
            project, "0003", "0002", "op.create_table('left', sa.Column('x', sa.Text))", "pass"
        )

        found = tried(project)

        assert found[0][:2] == ("0002", "downgrade failed")
        assert error in found[0][2][0]
        assert found[1][0] == "0003"

    def test_in_pieces_finds_the_same(self, project):
        project.history(120)
        for name, down in (("0010", "0009"), ("0110", "0109")):
            with_downgrade(project, name, down, "op.execute('select 1')", "1 / 0")

        one, two = (tried(project, workers=count, from_scratch=True) for count in (1, 2))

        assert one == two
        assert [one[0] for one in two] == ["0010", "0110"]

    def test_leaves_nothing_in_the_store(self, project):
        project.history(2)
        run_stairway(project.load())

        assert list((project.root / ".alembic-snapshot/building").iterdir()) == []

    @pytest.mark.parametrize("migrate", ["", 'migrate = "setup_db:create"'])
    def test_is_refused_where_the_revisions_are_not_known(self, project, migrate):
        project.write("setup_db.py", "def create(url): ...\n")
        project.configure(migrate)
        project.history(2)
        project.append("migrations/versions/0002_made.py", "down_revision = '00' + '01'\n")

        with pytest.raises(
            CheckError, match=r"can't be taken up and down: migrations/versions/0002_made.py "
        ):
            run_stairway(project.load())

    def test_is_an_error_where_env_py_runs_nothing(self, project):
        env = (project.root / "migrations/env.py").read_text()
        run, idle = "context.run_migrations()", "if not os.path.exists('idle'): "
        project.write("migrations/env.py", "import os\n" + env.replace(run, idle + run))
        project.configure('ignore_inputs = ["idle"]')
        project.history(2)
        project.ensure()

        project.write("idle", "")

        with pytest.raises(BuildError, match="revision 0001 was not taken up, down and up again"):
            run_stairway(project.load())

    def test_does_not_start_from_a_damaged_state(self, project):
        project.history(2)
        run_stairway(project.load())
        with_downgrade(project, "0003", "0002", "op.create_table('x', sa.Column('x', sa.Text))",
                       "op.drop_table('x')")  # fmt: skip
        for stored in (project.root / ".alembic-snapshot").rglob("*.db"):
            stored.chmod(0o600)
            with closing(sqlite3.connect(stored)) as connection:
                connection.execute("create table x (y)")
                connection.commit()

        assert tried(project) == []

    def test_does_not_start_from_a_state_with_a_revision_that_is_gone(self, project):
        project.history(1)
        gone = project.revision("x", "0001")
        assert tried(project) == []

        gone.unlink()
        project.revision("y", "0001")

        assert tried(project) == []

    def test_does_not_start_from_a_state_for_which_another_file_was_read(self, project):
        data = project.write("data.sql", "create table one (x)")
        project.revision("0001", upgrade="op.execute(open('da' + 'ta.sql').read())")
        with_downgrade(project, "0002", "0001", "op.execute('select 1')", "pass")
        project.ensure()

        data.write_text("create table two (x)")
        insert, delete = "op.execute('insert into two values (1)')", "op.execute('delete from two')"
        with_downgrade(project, "0002", "0001", insert, delete)

        assert tried(project, revisions=["0002"]) == []

    def test_does_not_start_from_a_state_with_seeds(self, project):
        project.history(2)
        insert = "connection.exec_driver_sql('insert into t_0002 values (1)')"
        project.write("seed.py", f"def add(connection):\n    {insert}\n")
        project.configure('seeds = ["seed:add"]')
        assert tried(project) == []

        rows = "op.get_bind().exec_driver_sql('select * from t_0002').fetchall()"
        project.revision(
            "0003", "0002", f"assert not {rows}\nop.execute('create table t_0003 (x)')"
        )

        assert tried(project) == []


# What env.py runs beside the migrations, with a name that it has from a module.
OWN_SQL = {
    "a statement": "connection.execute(text(f'create table if not exists {app.NAME} (x)'))",
    "as the driver takes it": "connection.exec_driver_sql("
    "f'create table if not exists {app.NAME} (x)')",
}


class TestWhatPassedBefore:
    def test_is_climbed_again_only_from_a_change_on(self, project):
        project.history(4)

        first = run_stairway(project.load())
        unchanged = run_stairway(project.load())
        project.revision("0005", "0004")
        grown = run_stairway(project.load())
        project.append("migrations/versions/0003_made.py", "# changed\n")
        edited = run_stairway(project.load())
        everything = run_stairway(project.load(), from_scratch=True)

        results = (first, unchanged, grown, edited, everything)
        assert [found.tried for found in results] == [4, 0, 1, 3, 5]
        assert unchanged.snapshot.path == first.snapshot.path

    def test_is_not_believed_when_a_file_that_a_downgrade_reads_has_changed(self, project):
        project.history(1)
        project.write("drop.sql", "drop table t_b")
        with_downgrade(
            project, "b", "0001", "op.create_table('t_b', sa.Column('x', sa.Text))",
            "op.execute(open('dr' + 'op.sql').read())",
        )  # fmt: skip
        assert tried(project) == []

        project.write("drop.sql", "select 1")

        assert [one[:2] for one in tried(project)] == [
            ("b", "downgrade"),
            ("b", "second upgrade failed"),
        ]

    def test_is_not_believed_when_env_py_gives_other_options(self, project):
        env = (project.root / "migrations/env.py").read_text()
        project.write(
            "migrations/env.py",
            "from naming import metadata\n" + env.replace("= None", "= metadata"),
        )
        naming = "import sqlalchemy as sa\nmetadata = sa.MetaData(naming_convention={CONVENTION})\n"
        project.write("naming.py", naming.format(CONVENTION={}))
        project.history(2)
        assert run_stairway(project.load()).tried == 2

        project.append("naming.py", "# the same options\n")
        assert run_stairway(project.load()).tried == 0

        project.write("naming.py", naming.format(CONVENTION={"pk": "pk_%(table_name)s"}))
        assert run_stairway(project.load()).tried == 2

        project.write("naming.py", naming.format(CONVENTION={}))
        assert run_stairway(project.load()).tried == 0

    @pytest.mark.parametrize("way", OWN_SQL)
    def test_is_not_believed_when_env_py_runs_other_sql_by_itself(self, project, way):
        project.history(2)
        env = project.root / "migrations/env.py"
        migrates = "    context.configure("
        assert migrates in env.read_text()
        run = f"    {OWN_SQL[way]}; connection.commit()\n"
        text = env.read_text().replace(migrates, run + migrates)
        env.write_text(f"import app\nfrom sqlalchemy import text\n{text}")
        needs = "op.drop_table('t_0002')\n    op.execute('delete from helper')"
        path = project.versions / "0002_made.py"
        path.write_text(path.read_text().replace("op.drop_table('t_0002')", needs))
        project.write("app.py", "NAME = 'helper'\n")
        assert not run_stairway(project.load()).findings
        assert run_stairway(project.load()).tried == 0

        project.write("app.py", "NAME = 'another'\n")
        found = run_stairway(project.load())

        assert [one.revision for one in found.findings] == ["0002"]
        assert "no such table: helper" in str(found.findings[0])
        project.write("app.py", "NAME = 'helper'\n")
        assert not run_stairway(project.load()).findings

    def test_is_remembered_and_what_failed_is_tried_again(self, project, monkeypatch):
        project.history(2)
        with_downgrade(project, "c", "0002", "op.execute('select 1')", "1 / 0")
        run_stairway(project.load())

        again = run_stairway(project.load())
        monkeypatch.setenv("PYTEST_XDIST_TESTRUNUID", "a run")
        runs = [run_stairway(project.load()) for _ in range(2)]
        for remembered in (project.root / ".alembic-snapshot/stairways").iterdir():
            remembered.write_text("{")
        damaged = run_stairway(project.load())

        found = (again, *runs, damaged)
        assert [[one.kind for one in one.findings] for one in found] == [["downgrade failed"]] * 4
        assert [one.tried for one in found] == [1, 1, 0, 3]


class TestEnvironments:
    """Ways in which an env.py runs its migrations that a stairway has to get along with."""

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            pytest.param("engine.connect()", "engine.begin()", id="in one transaction"),
            pytest.param(
                "    context.configure(",
                "    connection.connection.cursor().execute('pragma journal_mode=wal')\n"
                "    context.configure(",
                id="in WAL mode",
            ),
        ],
    )
    def test_a_failed_downgrade_is_put_back(self, project, before, after):
        env = (project.root / "migrations/env.py").read_text()
        assert before in env
        project.write("migrations/env.py", env.replace(before, after))
        project.history(1)
        with_downgrade(project, "b", "0001", "op.execute(\"insert into t_0001 values (7)\")",
                       "op.drop_table('t_0001')\n    1 / 0")  # fmt: skip
        seen = "op.get_bind().exec_driver_sql('select id from t_0001').scalars().all()"
        project.revision(
            "c", "b", f"assert {seen} == [7]\nop.create_table('t_c', sa.Column('x', sa.Text))"
        )

        assert [one[:2] for one in tried(project)] == [("b", "downgrade failed")]

    @pytest.mark.parametrize("kept", ENGINES)
    @pytest.mark.parametrize("mode", ["delete", "wal"])
    def test_a_failed_downgrade_is_put_back_under_an_engine_that_stays(self, project, kept, mode):
        project.write("db.py", kept.format(url="sqlite{}:///real.db", mode=mode))
        project.write("migrations/env.py", KEPT_ENV)
        failing_in_the_middle(project)

        assert [one[:2] for one in tried(project)] == [("b", "downgrade failed")]

    @pytest.mark.parametrize(
        "downgrade", ["raise SystemExit('never')", "import os; os.environ['nowhere']"]
    )
    def test_a_failed_downgrade_is_told_though_env_py_swallows_it(self, project, downgrade):
        env = (project.root / "migrations/env.py").read_text()
        run = "context.run_migrations()"
        swallowing = f"try: {run}\n        except BaseException: pass"
        assert run in env
        project.write("migrations/env.py", env.replace(run, swallowing))
        project.history(1)
        with_downgrade(project, "b", "0001", "op.execute('select 1')", downgrade)
        project.revision("c", "b")

        (found,) = tried(project)

        assert found[:2] == ("b", "downgrade failed")
        assert found[2][0] in ("SystemExit: never", "KeyError: 'nowhere'")

    def test_a_failed_downgrade_is_put_back_under_a_connection_that_stays(self, project):
        held = """
            import sqlalchemy as sa
            connection = sa.create_engine("sqlite:///real.db").connect()
            def with_connection(work):
                work(connection)
        """
        project.write("db.py", held)
        project.write("migrations/env.py", KEPT_ENV)
        failing_in_the_middle(project)

        assert [one[:2] for one in tried(project)] == [("b", "downgrade failed")]


class TestEachStep:
    """What a step leaves behind in the process is not there in the next, as it would not be in
    another process.
    """

    @pytest.mark.parametrize(
        ("header", "upgrade", "downgrade"),
        [
            pytest.param(
                "metadata = sa.MetaData()",
                "sa.Table('t', metadata, sa.Column('x', sa.Text)).create(op.get_bind())",
                "sa.Table('t', metadata, sa.Column('x', sa.Text)).drop(op.get_bind())",
                id="a module's metadata",
            ),
            pytest.param(
                "ran = []",
                "assert not ran; ran.append(1)",
                "assert not ran; ran.append(1)",
                id="a module's list",
            ),
            pytest.param(
                "",
                "op.execute('create temp table scratch (x)')",
                "op.execute('create temp table scratch (x)')",
                id="a temporary table",
            ),
            pytest.param(
                "",
                "op.execute('pragma foreign_keys=off')",
                "assert op.get_bind().exec_driver_sql('pragma foreign_keys').scalar() == 1",
                id="a setting",
            ),
            pytest.param(
                "",
                "op.execute(\"attach ':memory:' as other\")",
                "op.execute(\"attach ':memory:' as other\")",
                id="an attached database",
            ),
            *[
                pytest.param(
                    "", f"assert {held}.setdefault('a', 1)", f"assert 'a' not in {held}", id=name
                )
                for name, held in (
                    ("an attribute", "op.get_context().config.attributes"),
                    ("an option", "op.get_context().opts"),
                )
            ],
        ],
    )
    @pytest.mark.parametrize("way", ["connect", "begin"])
    def test_begins_anew(self, project, header, upgrade, downgrade, way):
        env = (project.root / "migrations/env.py").read_text()
        listening = (
            "from sqlalchemy import event\n"
            "event.listen(engine, 'connect', lambda c, _: c.execute('pragma foreign_keys=on'))\n"
        )
        env = env.replace("with engine.connect()", f"{listening}with engine.{way}()")
        project.write("migrations/env.py", env)
        project.history(1)
        path = project.revision("b", "0001", upgrade, header=header)
        text = path.read_text().partition("def downgrade")[0]
        path.write_text(f"{text}def downgrade():\n    {downgrade}\n")
        project.revision("c", "b")

        assert tried(project) == []


class TestFromAbove:
    """Where migrate makes the database, revisions are taken down from the snapshot, and up."""

    TABLE = 'migrate = "setup_db:create"\ndrift = "ignore"'

    CREATE = """
        from alembic import command
        from alembic.config import Config
        import sqlalchemy as sa

        def create(url):
            engine = sa.create_engine(url)
            with engine.begin() as connection:
                for name in ("t_0001", "t_0002"):
                    key = sa.Column("id", sa.Integer, primary_key=True)
                    sa.Table(name, sa.MetaData(), key).create(connection)
            config = Config("alembic.ini")
            config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
            command.stamp(config, "0002")
            command.upgrade(config, "heads")
    """

    @pytest.fixture
    def created(self, project):
        project.write("setup_db.py", self.CREATE)
        project.configure(self.TABLE)
        project.history(4)
        return project

    def test_finds_nothing_where_all_goes_down_and_up(self, created):
        found = run_stairway(created.load())

        assert (list(found.findings), found.tried) == ([], 4)
        assert run_stairway(created.load()).tried == 0
        assert list(stairway_revisions(created.load())) == ["0001", "0002", "0003", "0004"]

    def test_tells_of_the_build_that_it_needs(self, created):
        events = []

        run_stairway(created.load(), listener=events.append)

        assert [event["event"] for event in events].count("build") == 1

    def test_is_no_start_where_migrate_is_gone(self, created):
        created.ensure()
        created.configure('drift = "ignore"')

        assert tried(created) == []

    @pytest.mark.parametrize("gone", [False, True])
    def test_begins_without_the_seeds_rows_unless_that_state_is_gone(self, created, gone):
        insert = "connection.exec_driver_sql('insert into t_0004 values (1)')"
        created.write("seed.py", f"def add(connection):\n    {insert}\n")
        created.configure(f'{self.TABLE}\nseeds = ["seed:add"]')
        with_downgrade(
            created, "0004", "0003", "op.create_table('t_0004', sa.Column('x', sa.Text))",
            "count = op.get_bind().exec_driver_sql('select count(*) from t_0004').scalar()\n"
            "    op.drop_table('t_0004')\n    assert not count, f'{count} rows'",
        )  # fmt: skip
        created.ensure()
        store = backend_of(created.load()).store()
        for entry in store.entries():
            if gone and not entry.manifest.seeds:
                assert store._delete(entry)

        found = [one for one in tried(created) if one[0] == "0004"]

        told = ("0004", "downgrade failed", ["AssertionError: 1 rows"])
        assert found == ([told] if gone else [])

    def test_names_what_a_downgrade_leaves_behind_or_takes_too_much(self, created):
        with_downgrade(created, "0003", "0002", "op.add_column('t_0001', sa.Column('x', sa.Text))",
                       "pass")  # fmt: skip
        with_downgrade(created, "0004", "0003", "op.create_index('ix', 't_0001', ['id'])",
                       "op.drop_table('t_0001')")  # fmt: skip

        found = tried(created)

        assert [one[:2] for one in found] == [
            ("0001", "not tried"),
            ("0002", "not tried"),
            ("0003", "not tried"),
            ("0004", "second upgrade failed"),
        ]
        assert found[0][2] == ["revision 0004, above it, does not go down"]

    def test_names_what_is_other_than_before(self, created):
        with_downgrade(created, "0004", "0003", "op.create_table('y', sa.Column('x', sa.Text))",
                       "op.drop_table('y'); op.execute('create table z (x text)')")  # fmt: skip

        found = tried(created)

        assert [one[:2] for one in found] == [
            ("0001", "not tried"),
            ("0002", "not tried"),
            ("0003", "not tried"),
            ("0004", "second upgrade"),
            ("0004", "second downgrade failed"),
        ]
        assert "left behind: table z" in found[3][2]

    def test_goes_on_where_another_branch_does_not_go_down(self, created):
        created.revision("b", "0002")
        with_downgrade(created, "c", "b", "op.execute('select 1')", "1 / 0")

        assert [one[:2] for one in tried(created)] == [
            ("0001", "not tried"),
            ("0002", "not tried"),
            ("b", "not tried"),
            ("c", "downgrade failed"),
        ]

    def test_says_once_of_each_that_it_was_not_tried(self, created):
        with_downgrade(created, "a", "0002", "op.execute('select 1')", "1 / 0")
        created.revision("b", "0002")
        with_downgrade(created, "c", "b", "op.execute('select 1')", "1 / 0")

        assert sorted(one[:2] for one in tried(created)) == [
            ("0001", "not tried"),
            ("0002", "not tried"),
            ("a", "downgrade failed"),
            ("b", "not tried"),
            ("c", "downgrade failed"),
        ]

    def test_says_nothing_of_those_that_were_not_asked_for(self, created):
        with_downgrade(created, "0005", "0004", "op.execute('select 1')", "1 / 0")

        found = tried(created, revisions=["0002", "0003"])

        assert [one[:2] for one in found] == [("0002", "not tried"), ("0003", "not tried")]

    def test_is_not_checked_where_env_py_needs_migrate(self, created):
        env = (created.root / "migrations/env.py").read_text()
        created.write(
            "migrations/env.py",
            "import setup_db\nif not setup_db.running: raise RuntimeError('only within')\n" + env,
        )
        created.append("setup_db.py", "\nrunning = False\n")
        text = (created.root / "setup_db.py").read_text()
        created.write(
            "setup_db.py", text.replace("def create(url):", "def create(url):\n    global running\n"
                                        "    running = True")
        )  # fmt: skip

        with pytest.raises(
            CheckError, match=r"can't be taken up and down: env.py failed .* only within"
        ):
            run_stairway(created.load())
        done = created.command("check")
        assert done.returncode == 1
        assert (
            "stairway: not checked, because the revisions can't be taken up and down: env.py failed"
            in done.stdout
        )


# A table before and after a downgrade that leaves something of it, and what is told.
LEFT_OF_A_TABLE = {
    "a collation": ("a text", "a text collate nocase", "column t.a collate nocase"),
    "another collation": (
        "a text collate rtrim", "a text collate NoCase", "column t.a collate NoCase",
    ),
    "a collation of the application's": (
        "a text", "a text collate mine", "create table t (a text collate mine)",
    ),
    "a column that is generated": (
        "a int, b int", "a int, b int generated always as (a + 1)", "column t.b INTEGER as (a + 1)",
    ),
    "one that is stored": (
        "a int, b int generated always as (a)", "a int, b int generated always as (a) stored",
        "column t.b INTEGER as (a) stored",
    ),
    "another expression": (
        "a int, b int as (a)", "a int, b int as (a  + 2)",
        "column t.b INTEGER as (a + 2)",
    ),
    "a strange name": (
        'a int, "x ""y" text', 'a int, "x ""y" text collate nocase', 'column t.x "y collate nocase',
    ),
}  # fmt: skip


class TestAComparison:
    @pytest.mark.parametrize(
        ("before", "after", "told"), LEFT_OF_A_TABLE.values(), ids=LEFT_OF_A_TABLE
    )
    def test_tells_what_a_table_s_statement_says(self, before, after, told):
        old, new = (
            Schema(frozenset(), {"t": (f"create table t ({columns})",)}, table_facts)
            for columns in (before, after)
        )

        assert f"left behind: {told}" in differences(old, new)
        assert differences(new, new) == differences(old, old) == []

    @pytest.mark.skipif(sqlite3.sqlite_version_info < (3, 37), reason="it has no strict tables")
    def test_tells_that_types_are_enforced(self):
        old, new = (
            Schema(frozenset(), {"t": (f"create table t (a int){strict}",)}, table_facts)
            for strict in ("", " strict")
        )

        assert differences(old, new) == ["left behind: table t is strict"]

    def test_tells_the_collation_of_an_index(self):
        table = "create table t (a text)"
        old, new = (
            Schema(frozenset(), {"t": (table, f"create index i on t (a{how})")}, table_facts)
            for how in ("", " collate nocase desc")
        )

        assert differences(old, new) == [
            "left behind: index i on t (a collate nocase desc)", "missing: index i on t (a)"
        ]  # fmt: skip

    def test_sees_through_the_spelling_of_statements(self):
        connection = sqlite3.connect(":memory:")
        connection.create_function("known_elsewhere", 1, str, deterministic=True)
        for sql in STATEMENTS:
            connection.execute(sql)
        before = read_schema(connection.cursor(), {"alembic_version"})
        connection.execute("drop table b")
        connection.execute('create table "b" ( a integer references a (id),\n y text default 1)')
        connection.execute("drop view v")
        connection.execute("create  view v as select 1")
        respelled = read_schema(connection.cursor(), {"alembic_version"})
        connection.execute("drop index ix")
        connection.execute("create index ix on a (length(name))")
        connection.execute("drop view v")
        connection.execute("create view v as select 2")
        changed = read_schema(connection.cursor(), {"alembic_version"})
        connection.close()

        assert before != respelled
        assert differences(before, respelled) == []
        assert differences(respelled, changed) == [
            "left behind: CREATE INDEX ix on a (length(name))",
            "left behind: view v: CREATE VIEW v as select 2",
            "missing: CREATE INDEX ix on a (known_elsewhere(name))",
            "missing: view v: CREATE VIEW v as select 1",
        ]


class TestTheCommand:
    @pytest.fixture(autouse=True)
    def without_models(self, project):
        project.configure('drift = "ignore"')

    def test_is_0_when_all_is_well(self, project):
        project.configure('drift = "ignore"')
        project.history(2)

        done = project.command("check", "-q")

        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == (
            "2 revisions, each up, down and up again, without drift: 0 findings\n"
        )

    def test_is_1_and_lists_what_it_found(self, project):
        project.configure('drift = "ignore"')
        project.history(1)
        project.revision("b", "0001")
        with_downgrade(project, "c", "0001", "op.execute('select 1')", "1 / 0")

        done = project.command("check")
        facts = json.loads(project.command("check", "--json").stdout)

        assert done.returncode == 1
        assert "there are 2 heads" in done.stdout
        assert "revision c: downgrade failed" in done.stdout
        assert len(facts["findings"]) == 2

    def test_may_leave_the_stairway_out(self, project):
        project.configure('drift = "ignore"')
        project.history(1)
        with_downgrade(project, "0002", "0001", "op.execute('select 1')", "1 / 0")

        done = project.command("check", "--no-stairway")

        assert (done.returncode, done.stdout) == (
            0, "2 revisions, without the stairway and drift: 0 findings\n"
        )  # fmt: skip


def test_a_module_that_only_a_later_revision_names_is_compared_for_the_one_that_read_it(project):
    project.write("kinds.py", "X = 1\n")
    computed = "from importlib import import_module\nimport_module('ki' + 'nds')"
    project.revision("0001", header=computed)
    project.revision("0002", "0001", header="import kinds")
    project.revision("0003")
    project.revision("0004", ("0002", "0003"), upgrade="pass")
    assert run_stairway(project.load()).tried == 4

    project.write("kinds.py", "X = 2\n")

    assert run_stairway(project.load()).tried == 3
