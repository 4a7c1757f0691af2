"""The ways to give a test its database that are measured side by side, each as a conftest.

All of them serve the same tests: a fixture ``db_session`` on the migrated schema.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Side:
    """One way to give tests their database.

    ``slow`` ones run few tests. ``venv`` is the environment that a published package has to itself.
    """

    name: str
    title: str
    conftest: str
    options: tuple[str, ...] = ()
    slow: bool = False
    venv: str | None = None


_PLUGIN = ("-p", "pytest_alembic_snapshot")

FRESH = Side("fresh", "alembic-snapshot, clones = fresh", "", _PLUGIN)
_RESET = (*_PLUGIN, "--snapshot-clones=reset")
# The way that fits, and each of the two.
RESET = Side("reset", "alembic-snapshot, clones = reset", "", _RESET)
REWRITE = Side(
    "rewrite", "alembic-snapshot, reset = rewrite", "", (*_RESET, "--snapshot-reset=rewrite")
)
REWIND = Side(
    "rewind", "alembic-snapshot, reset = rewind", "", (*_RESET, "--snapshot-reset=rewind")
)

# SQLAlchemy's documentation, "Joining a Session into an External Transaction (such as for test
# suites)", with its work-around for pysqlite's own BEGIN ("Serializable isolation / Savepoints /
# Transactional DDL"). The engine is on a file, as the application's is.
SAVEPOINT = Side(
    "savepoint",
    "SAVEPOINT recipe of SQLAlchemy's documentation",
    """\
import os
import shutil

import bench_app
import pytest
from sqlalchemy import event


@pytest.fixture(scope="session")
def engine(tmp_path_factory):
    path = tmp_path_factory.mktemp("database") / "test.db"
    shutil.copy(os.environ["BENCH_TEMPLATE"], path)
    engine = bench_app.make_engine(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def no_implicit_begin(connection, record):
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection):
        connection.exec_driver_sql("BEGIN")

    yield engine
    engine.dispose()


@pytest.fixture
def db_session(engine):
    connection = engine.connect()
    transaction = connection.begin()
    session = bench_app.SessionLocal(
        bind=connection, join_transaction_mode="create_savepoint"
    )
    yield session
    session.close()
    transaction.rollback()
    connection.close()
""",
)

# What a dozen public projects have written by hand.
HAND_WRITTEN = Side(
    "hand-written",
    "hand-written conftest: copy the file, new engine",
    """\
import os
import shutil

import bench_app
import pytest


@pytest.fixture
def db_session(tmp_path):
    path = tmp_path / "test.db"
    shutil.copy(os.environ["BENCH_TEMPLATE"], path)
    engine = bench_app.make_engine(f"sqlite:///{path}")
    with bench_app.SessionLocal(bind=engine) as session:
        yield session
    engine.dispose()
""",
)

CREATE_ALL = Side(
    "create_all",
    "create_all in memory, new engine",
    """\
import bench_app
import pytest
from sqlalchemy import StaticPool, create_engine, event


@pytest.fixture
def db_session():
    engine = create_engine(
        "sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False}
    )
    bench_app.metadata.create_all(engine)
    with bench_app.SessionLocal(bind=engine) as session:
        yield session
    engine.dispose()
""",
    slow=True,
)

UPGRADE = Side(
    "upgrade",
    "alembic upgrade head for each test",
    """\
import bench_app
import pytest
from alembic import command
from alembic.config import Config


@pytest.fixture
def db_session(tmp_path, request):
    url = f"sqlite:///{tmp_path / 'test.db'}"
    config = Config(request.config.rootpath / "alembic.ini")
    config.set_main_option("sqlalchemy.url", url)
    command.upgrade(config, "head")
    engine = bench_app.make_engine(url)
    with bench_app.SessionLocal(bind=engine) as session:
        yield session
    engine.dispose()
""",
    slow=True,
)

SQLA = Side(
    "pytest-sqla",
    "pytest-sqla, on the migrated file",
    """\
import os
import shutil

import pytest


@pytest.fixture(scope="session")
def sqla_url(tmp_path_factory):
    path = tmp_path_factory.mktemp("database") / "test.db"
    shutil.copy(os.environ["BENCH_TEMPLATE"], path)
    return f"sqlite:///{path}"


@pytest.fixture(scope="session")
def sqla_schema():
    pass


@pytest.fixture
def db_session(sqla_session):
    return sqla_session
""",
    ("-p", "pytest_sqla.plugin"),
    venv="pytest-sqla",
)

# It migrates once and points the sessionmaker there; to undo what a test did is left to the user.
SQLALCHEMY_ALEMBIC = Side(
    "pytest-sqlalchemy-alembic",
    "pytest-sqlalchemy-alembic, with the SAVEPOINT recipe on its database",
    """\
import bench_app
import pytest
from pytest_sqlalchemy_alembic.config import PluginConfig
from sqlalchemy import event


@pytest.fixture(scope="session")
def sqlalchemy_alembic_plugin_configs():
    options = {"session_maker": bench_app.SessionLocal, "metadata": bench_app.metadata}
    return [PluginConfig.build(create_db=True, **options)]


@pytest.fixture(scope="session")
def engine(sqlalchemy_alembic_setup_session):
    (engine,) = sqlalchemy_alembic_setup_session
    engine.dispose()

    @event.listens_for(engine, "connect")
    def no_implicit_begin(connection, record):
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection):
        connection.exec_driver_sql("BEGIN")

    return engine
"""
    + SAVEPOINT.conftest[SAVEPOINT.conftest.index("\n\n@pytest.fixture\ndef db_session") :],
    ("-p", "pytest_sqlalchemy_alembic.plugin"),
    venv="pytest-sqlalchemy-alembic",
)

_ASYNC = ("-p", "asyncio", "-o", "asyncio_mode=strict")
ASYNC_FRESH = Side("async fresh", "clones = fresh, async", "", (*_ASYNC, *_PLUGIN))
ASYNC_RESET = Side(
    "async reset", "clones = reset, async", "", (*_ASYNC, *_PLUGIN, "--snapshot-clones=reset")
)
ASYNC_SAVEPOINT = Side(
    "async savepoint",
    "the SAVEPOINT recipe with an AsyncSession",
    """\
import os
import shutil

import bench_app
import pytest_asyncio
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession


@pytest_asyncio.fixture
async def async_db_session(tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "savepoint.db"
    if not path.exists():
        shutil.copy(os.environ["BENCH_TEMPLATE"], path)
    async with engine_on(path).connect() as connection:
        transaction = await connection.begin()
        session = AsyncSession(
            bind=connection, join_transaction_mode="create_savepoint", expire_on_commit=False
        )
        yield session
        await session.close()
        await transaction.rollback()


_engines = {}


def engine_on(path):
    if path in _engines:
        return _engines[path]
    engine = _engines[path] = bench_app.make_async_engine(f"sqlite+aiosqlite:///{path}")

    @event.listens_for(engine.sync_engine, "connect")
    def no_implicit_begin(connection, record):
        connection.isolation_level = None

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection):
        connection.exec_driver_sql("BEGIN")

    return engine
""",
    _ASYNC,
)

NO_DATABASE = Side("none", "no database at all", "")

REFERENCE = SAVEPOINT
