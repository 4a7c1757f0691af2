"""G2 of engines: what env.py was redirected from is another database to a revision or a seed."""

from __future__ import annotations

import pytest

from alembic_snapshot import BuildError, GuardError

# What env.py opens of another database than the one that it migrates, and leaves in pools or open.
APP = """
    import pathlib
    from sqlalchemy import create_engine, pool, text
    from sqlalchemy.orm import Session, scoped_session, sessionmaker

    URL = "sqlite:///" + str(pathlib.Path(__file__).parent / "legacy.db")
    ONE = text("select 1")

    def opened(**options):
        engine = create_engine(URL, **options)
        with engine.connect() as connection:
            connection.execute(ONE)
        return engine

    queued, inspected, begun, borrowed, bound = [opened() for _ in range(5)]
    static = opened(poolclass=pool.StaticPool)
    threads = opened(poolclass=pool.SingletonThreadPool)
    unpooled = opened(poolclass=pool.NullPool)
    pinged = opened(pool_pre_ping=True)
    scoped = scoped_session(sessionmaker(opened()))
    held = opened().connect()
    held.execute(ONE)
    looked_into = opened().connect()
    held_in_thread = opened(poolclass=pool.SingletonThreadPool).connect()
    detached = opened().connect()
    detached.detach()
    raw = opened().raw_connection()
    raw.cursor().execute("select 1").fetchall()
    session = Session(opened())
    session.execute(ONE)
    in_transaction = opened().connect()
    in_transaction.exec_driver_sql("BEGIN")
"""
USES = """
app.queued.connect().execute(app.ONE)
app.static.connect().execute(app.ONE)
app.threads.connect().execute(app.ONE)
app.unpooled.connect().execute(app.ONE)
app.pinged.connect().execute(app.ONE)
app.begun.begin().__enter__()
app.borrowed.raw_connection().cursor().execute('select 1')
sa.inspect(app.inspected).get_table_names()
Session(app.bound).scalar(app.ONE)
app.scoped.execute(app.ONE)
app.held.execute(app.ONE)
sa.inspect(app.looked_into).get_table_names()
app.held_in_thread.execute(app.ONE)
app.detached.execute(app.ONE)
app.session.execute(app.ONE)
app.raw.cursor().execute('select 1')
app.raw.driver_connection.execute('select 1')
sa.create_engine(app.URL).connect()
"""
APP_ASYNC = """
    import asyncio, pathlib
    from sqlalchemy import pool, text
    from sqlalchemy.ext.asyncio import create_async_engine

    URL = "sqlite+aiosqlite:///" + str(pathlib.Path(__file__).parent / "legacy.db")
    ONE = text("select 1")

    async def use(engine):
        async with engine.connect() as connection:
            await connection.run_sync(lambda connection: connection.execute(ONE))

    async def main():
        global opened
        for engine in engines:
            await use(engine)
        opened = await engines[2].connect()

    engines = [create_async_engine(URL) for _ in range(3)]
    engines.append(create_async_engine(URL, poolclass=pool.NullPool))
    sync, pooled, _, unpooled = engines
    sync = sync.sync_engine
    asyncio.run(main())
"""
# In functions: at the import of a revision, env.py has not run yet.
IMPORTS = "from contextlib import suppress\nfrom sqlalchemy.orm import Session\nimport app\n"
# An env.py that migrates with the application's engine, whatever it is offered.
OWN_ENGINE = """
    from alembic import context
    from app import engine

    with engine.connect() as connection:
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()
"""
OWN_APP = """
    import pathlib
    from sqlalchemy import create_engine, pool
    URL = "sqlite:///" + str(pathlib.Path(__file__).parent / "real.db")
    OTHER = URL.replace("real", "legacy")
    engine = create_engine(URL{})
    legacy = create_engine(OTHER)
    with legacy.connect() as connection:
        connection.exec_driver_sql("select 1")
"""


@pytest.fixture
def legacy(project):
    """A project whose env.py imports engines of another database; nothing may be there."""
    project.write("app.py", APP)
    env = (project.root / "migrations/env.py").read_text()
    project.write("migrations/env.py", "import app\n" + env)
    yield project
    assert not (project.root / "legacy.db").exists()


class TestAnotherDatabaseThatEnvPyOpened:
    def test_is_refused_to_a_revision_pooled_or_not_even_if_it_swallows_the_error(self, legacy):
        uses = USES.strip().splitlines()
        body = "".join(f"with suppress(Exception): {use}\n" for use in uses)
        path = legacy.revision("a", upgrade=f"{IMPORTS}{body}")
        lines = path.read_text().splitlines()
        first = next(n for n, line in enumerate(lines, 1) if "app.queued" in line)

        with pytest.raises(GuardError) as raised:
            legacy.ensure()

        place = f"revision a, migrations/versions/a_made.py line {first} tried to connect to "
        assert raised.value.message.startswith(place)
        for number, use in enumerate(uses, first):
            assert f"a_made.py line {number} tried to" in raised.value.details, use
        assert "legacy.db" in raised.value.message

    def test_is_refused_to_a_revision_through_an_async_engine(self, legacy):
        legacy.write("app.py", APP_ASYNC)
        body = """
import asyncio, app
for use in (
    lambda: app.sync.connect(),
    lambda: asyncio.run(app.use(app.pooled)),
    lambda: asyncio.run(app.use(app.unpooled)),
    lambda: asyncio.run(app.opened.run_sync(lambda connection: connection.execute(app.ONE))),
):
    try:
        use()
    except Exception:
        continue
    raise AssertionError("not refused")
"""
        legacy.revision("a", upgrade=body)

        with pytest.raises(
            GuardError, match=r"revision a, migrations/.*a_made.py line \d+ tried"
        ) as raised:
            legacy.ensure()

        assert "AssertionError" not in raised.value.details
        assert raised.value.details.count("\n  revision a, ") == 4

    def test_is_refused_to_a_seed(self, legacy):
        legacy.history(1)
        legacy.write("seed.py", "import app\ndef add(c):\n    app.queued.connect()\n")
        legacy.configure('seeds = ["seed:add"]')

        with pytest.raises(GuardError, match=r"seed seed:add, seed.py line 3 tried to connect to"):
            legacy.ensure()

    def test_may_be_given_back_and_closed_while_a_revision_runs(self, legacy):
        ends = "app.in_transaction.close()\napp.session.close()\napp.queued.dispose()"
        legacy.revision("a", upgrade=f"{IMPORTS}{ends}")

        assert legacy.ensure().built


class TestTheDatabaseThatEnvPyMigrates:
    @pytest.fixture
    def migrating(self, project):
        """A project whose env.py migrates with the application's engine."""
        project.write("app.py", OWN_APP.format(""))
        project.write("migrations/env.py", OWN_ENGINE)
        yield project
        assert not (project.root / "real.db").exists()

    @pytest.mark.parametrize("kind", ["QueuePool", "StaticPool", "NullPool"])
    def test_may_be_asked_again_by_a_revision(self, migrating, kind):
        migrating.write("app.py", OWN_APP.format(f", poolclass=pool.{kind}"))
        migrating.revision("a")
        migrating.revision(
            "b",
            "a",
            IMPORTS
            + """
engine = op.get_bind().engine
assert "t_a" in sa.inspect(engine).get_table_names()
for again in (engine, sa.create_engine(engine.url), sa.create_engine(app.URL), app.engine):
    with again.connect() as connection:
        connection.execute(sa.text("select * from t_a"))
with Session(engine) as session:
    session.execute(sa.text("select * from t_a"))
""",
        )

        snapshot = migrating.ensure()

        assert len(snapshot.manifest.warnings) == 2

    def test_does_not_make_another_one_known(self, migrating):
        again = "sa.create_engine(app.OTHER).connect()"
        body = f"with suppress(Exception): app.legacy.connect()\n{again}"
        migrating.revision("a", upgrade=f"{IMPORTS}{body}")

        with pytest.raises(
            GuardError, match=r"revision a, .* to connect to .*legacy\.db"
        ) as raised:
            migrating.ensure()

        assert raised.value.details.count("tried to connect") >= 2

    def test_is_refused_to_a_seed_which_has_a_connection(self, migrating):
        migrating.revision("a")
        migrating.write("seed.py", "import app\ndef add(c):\n    app.engine.connect()\n")
        migrating.configure('seeds = ["seed:add"]')

        for _ in ("built from nothing", "on the state without the seed"):
            with pytest.raises(GuardError, match=r"seed seed:add, seed.py line 3 tried to connect"):
                migrating.ensure()

    def test_may_be_the_url_that_env_py_sets(self, project):
        env = (project.root / "migrations/env.py").read_text()
        url = f"sqlite:///{project.root / 'real.db'}"
        own = f"config.set_main_option('sqlalchemy.url', {url!r})\ntarget_metadata"
        project.write("migrations/env.py", env.replace("target_metadata", own, 1))
        body = "sa.create_engine(context.config.get_main_option('sqlalchemy.url')).connect()"
        project.revision("a", upgrade=f"from alembic import context\n{body}")

        assert project.ensure().built
        assert not (project.root / "real.db").exists()

    def test_may_be_asked_again_where_env_py_takes_what_it_is_offered(self, project):
        project.revision("a", upgrade="sa.inspect(op.get_bind().engine).get_table_names()")

        assert project.ensure().manifest.warnings == []

    def test_is_refused_all_the_same_where_nothing_is_redirected(self, migrating):
        migrating.configure('foreign = "refuse"')
        migrating.history(1)

        with pytest.raises(BuildError, match=r"app.py line \d+ tried to connect to"):
            migrating.ensure()
