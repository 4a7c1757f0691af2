"""The ways to give a test its database on PostgreSQL, each as a conftest, all on one server.

``BENCH_SERVER`` is the server's URL, ``BENCH_TEMPLATE`` the name of a migrated database on it.
"""

from __future__ import annotations

from sides import Side

_PLUGIN = ("-p", "pytest_alembic_snapshot")
FRESH = Side("fresh", "alembic-snapshot, clones = fresh", "", _PLUGIN)
RESET = Side("reset", "alembic-snapshot, clones = reset", "", (*_PLUGIN, "--snapshot-clones=reset"))

_SERVER = """\
import os

import bench_app
import pytest
from sqlalchemy import create_engine, make_url, text

SERVER = make_url(os.environ["BENCH_SERVER"])
ADMIN = create_engine(SERVER.set(database="postgres"), isolation_level="AUTOCOMMIT")


def create(name):
    with ADMIN.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {os.environ['BENCH_TEMPLATE']}"))
    return SERVER.set(database=name).render_as_string(hide_password=False)


def drop(name):
    with ADMIN.connect() as connection:
        connection.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))


@pytest.fixture(scope="session")
def engine():
    drop("bench_lasting")
    engine = bench_app.make_engine(create("bench_lasting"))
    yield engine
    engine.dispose()
    drop("bench_lasting")


"""

# SQLAlchemy's documentation, "Joining a Session into an External Transaction (such as for test
# suites)".
SAVEPOINT = Side(
    "savepoint",
    "SAVEPOINT recipe of SQLAlchemy's documentation",
    _SERVER
    + """\
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

TRUNCATE = Side(
    "truncate",
    "one database, every table truncated after each test",
    _SERVER
    + """\
EVERY_TABLE = ", ".join(f'"{table.name}"' for table in bench_app.metadata.sorted_tables)


@pytest.fixture
def db_session(engine):
    with bench_app.SessionLocal(bind=engine) as session:
        yield session
    with engine.begin() as connection:
        connection.execute(text(f"TRUNCATE {EVERY_TABLE} RESTART IDENTITY CASCADE"))
""",
    slow=True,
)

HAND_WRITTEN = Side(
    "hand-written",
    "hand-written conftest: CREATE DATABASE … TEMPLATE, new engine",
    _SERVER
    + """\
@pytest.fixture
def db_session():
    drop("bench_own")
    engine = bench_app.make_engine(create("bench_own"))
    with bench_app.SessionLocal(bind=engine) as session:
        yield session
    engine.dispose()
    drop("bench_own")
""",
    slow=True,
)

# Its own fixtures for a server that runs already: `load` fills the template once a session, and
# `postgresql` is a connection to a copy of it.
PYTEST_POSTGRESQL = Side(
    "pytest-postgresql",
    "pytest-postgresql, template database, new engine",
    """\
import os
from pathlib import Path

import bench_app
import pytest
from alembic import command
from alembic.config import Config
from pytest_postgresql import factories
from sqlalchemy import make_url

SERVER = make_url(os.environ["BENCH_SERVER"])


def upgrade(**_arguments):
    config = Config(Path("alembic.ini").absolute())
    url = SERVER.set(database=_arguments["dbname"]).render_as_string(hide_password=False)
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    command.upgrade(config, "head")


postgresql_noproc = factories.postgresql_noproc(
    host=SERVER.query.get("host", SERVER.host),
    port=SERVER.query.get("port", SERVER.port),
    user=SERVER.username,
    password=SERVER.password,
    dbname="bench_packaged",
    load=[upgrade],
)
postgresql = factories.postgresql("postgresql_noproc")


@pytest.fixture
def db_session(postgresql):
    url = SERVER.set(database=postgresql.info.dbname).render_as_string(hide_password=False)
    engine = bench_app.make_engine(url)
    with bench_app.SessionLocal(bind=engine) as session:
        yield session
    engine.dispose()
""",
    ("-p", "pytest_postgresql.plugin", "--postgresql-drop-test-database"),
    slow=True,
    venv="pytest-postgresql",
)

REFERENCE = SAVEPOINT
