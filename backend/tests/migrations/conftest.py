"""Databases of both kinds to run the migrations on, and what is looked at in them."""

import os
import re
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, inspect, text

if TYPE_CHECKING:
    from alembic_snapshot.postgres.pool import Pool

ROOT = Path(__file__).parents[3]
# What PostgreSQL says of a schema; quicker than reflection, and not to be compared with SQLite's.
CATALOGS = (
    "SELECT table_name, column_name, data_type, character_maximum_length, is_nullable,"
    " column_default FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2",
    "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
    " WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2",
    "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
)
AT = "2026-01-01 00:00:00.000000"


def config(**options: str) -> Config:
    """Alembic's settings, without the logging of `alembic.ini`."""
    made = Config()
    made.set_main_option("script_location", str(ROOT / "alembic"))
    for key, value in options.items():
        made.set_main_option(key, value)
    return made


@cache
def scripts() -> ScriptDirectory:
    """The revisions, read once."""
    return ScriptDirectory.from_config(config())


REVISIONS = [script.revision for script in scripts().walk_revisions()][::-1]


class Migrated:
    """A database, the migrations on it, and what they made of it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def run(self, deed: Callable[..., object], *arguments: str) -> None:
        """One of Alembic's commands."""
        settings = config()
        with self.engine.connect() as connection:
            settings.attributes["connection"] = connection
            deed(settings, *arguments)
            connection.commit()

    def upgrade(self, revision: str = "head") -> None:
        """What `alembic upgrade` does, without reading every script again."""
        self._migrate(lambda heads, _: scripts()._upgrade_revs(revision, heads))

    def downgrade(self, revision: str) -> None:
        """What `alembic downgrade` does, without reading every script again."""
        self._migrate(lambda heads, _: scripts()._downgrade_revs(revision, heads))

    def _migrate(self, steps: Callable[..., Any]) -> None:
        settings = config()
        # A lock that is left behind is an error, and nothing to wait for.
        settings.cmd_opts = Namespace(x=["wait=0"])
        with self.engine.connect() as connection:
            settings.attributes["connection"] = connection
            with EnvironmentContext(settings, scripts(), fn=steps):
                scripts().run_env()

    def is_at(self, revision: str) -> bool:
        """Whether the database says so; `base` is where no revision is."""
        with self.engine.connect() as connection:
            found = MigrationContext.configure(connection).get_current_heads()
        return found == (() if revision == "base" else (revision,))

    def state(self) -> Any:
        """Everything that a migration could change."""
        if self.engine.dialect.name == "sqlite":
            with self.engine.connect() as connection:
                driver: Any = connection.connection.dbapi_connection
                return sorted(driver.iterdump())
        with self.engine.connect() as connection:
            return [connection.execute(text(each)).all() for each in CATALOGS], self.rows()

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        """The rows of every table, the one of Alembic's version too."""
        with self.engine.connect() as connection:
            return {
                table: sorted(
                    (
                        # Values as text: JSON of PostgreSQL's is a dictionary.
                        {name: None if value is None else str(value) for name, value in row.items()}
                        for row in connection.execute(text(f"SELECT * FROM {table}")).mappings()
                    ),
                    key=lambda row: sorted(map(str, row.items())),
                )
                for table in inspect(connection).get_table_names()
            }

    def shape(self) -> dict[str, Any]:
        """Everything about a schema that a migration could get wrong."""
        inspector = inspect(self.engine)
        # Of all tables at once: on a server each question is a round trip.
        primary_keys, foreign_keys = (
            inspector.get_multi_pk_constraint(),
            inspector.get_multi_foreign_keys(),
        )
        unique, checks = (
            inspector.get_multi_unique_constraints(),
            inspector.get_multi_check_constraints(),
        )
        indexes = inspector.get_multi_indexes()
        return {
            table: {
                "columns": [
                    (column["name"], str(column["type"]), column["nullable"], column["default"])
                    for column in sorted(columns, key=lambda each: each["name"])
                ],
                "primary key": primary_keys[schema, table]["name"],
                "foreign keys": sorted(
                    (key["name"], key["constrained_columns"], key["referred_table"])
                    for key in foreign_keys[schema, table]
                ),
                "unique": sorted(
                    (key["name"], key["column_names"]) for key in unique[schema, table]
                ),
                "checks": sorted(
                    (check["name"], check["sqltext"]) for check in checks[schema, table]
                ),
                "indexes": sorted(
                    (index["name"], index["column_names"], index["unique"])
                    for index in indexes[schema, table]
                ),
            }
            for (schema, table), columns in inspector.get_multi_columns().items()
            if table != "alembic_version"
        }

    def column(self, table: str, name: str) -> list[Any]:
        """The values of a column, in the order of the rows' ids."""
        with self.engine.connect() as connection:
            return list(connection.scalars(text(f"SELECT {name} FROM {table} ORDER BY id")))

    def add(self, table: str, **values: Any) -> None:
        """A row of a table."""
        with self.engine.begin() as connection:
            insert(connection, table, **values)

    def fill(self, label: str) -> None:
        """A row in every table that there is, made from what the schema says of itself."""
        with self.engine.begin() as connection:
            inspector = inspect(connection)
            for table, _ in inspector.get_sorted_table_and_fkc_names():
                if table and table != "alembic_version":
                    insert(connection, table, **made_row(inspector, table, label))


def made_row(inspector: Any, table: str, label: str) -> dict[str, Any]:
    """Values that the constraints of a table allow; rows with the same label refer to each other.

    The label is the id of each.
    """
    references = {
        name: key["referred_table"]
        for key in inspector.get_foreign_keys(table)
        for name in key["constrained_columns"]
    }
    allowed = {}
    for check in inspector.get_check_constraints(table):
        column = check["name"].removeprefix(f"ck_{table}_")
        allowed[column] = re.findall(r"'(\w+)'", check["sqltext"])
    return {
        column["name"]: _value(table, column, references, allowed, label)
        for column in inspector.get_columns(table)
    }


def _value(
    table: str, column: Any, references: dict[str, str], allowed: dict[str, list[str]], label: str
) -> Any:
    name, kind = column["name"], str(column["type"]).upper()
    if name.endswith("_key"):
        return f"{label}-key"
    if name in references or name == "id":
        return label
    if name == "currency":
        return "EUR"
    if allowed.get(name):
        # Statuses of approvals were in upper case once, and there was no rule for them then.
        return allowed[name][-1]
    if table == "hitl_actions" and name == "status":
        return "PENDING"
    if kind.startswith(("DATETIME", "TIMESTAMP")):
        return AT.replace("2026", "2027") if name.endswith("period_end") else AT
    if kind == "BOOLEAN":
        return True
    if kind.startswith(("NUMERIC", "INT", "BIGINT")):
        return 1
    return "{}" if kind == "JSON" else label


@contextmanager
def stopped(engine: Engine, program: str, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """A process that migrates the engine's database, where it says that it is and waits.

    Once it has ended, its server has noticed that, too.
    """
    url = engine.url.render_as_string(hide_password=False)
    before = connected(engine)
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": url},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        its = connected(engine) - before
        yield process
    deadline = time.monotonic() + 60
    while its & connected(engine):
        assert time.monotonic() < deadline, "the server has not noticed that a client has ended"
        time.sleep(0.01)


def connected(engine: Engine) -> set[int]:
    """Who is connected to a database, by the numbers of a server's processes."""
    if engine.dialect.name == "sqlite":
        return set()
    with engine.connect() as connection:
        listing = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
        return set(connection.scalars(text(listing)))


def insert(connection: Connection, table: str, **values: Any) -> None:
    """Insert a row."""
    columns, places = ", ".join(values), ", ".join(f":{column}" for column in values)
    connection.execute(text(f"INSERT INTO {table} ({columns}) VALUES ({places})"), values)


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Engine]:
    """An empty SQLite database on which foreign keys are enforced, as the application does."""
    engine = create_engine(f"sqlite:///{tmp_path / 'migrated.db'}")

    @event.listens_for(engine, "connect")
    def settle(raw: Any, _: Any) -> None:
        raw.execute("PRAGMA foreign_keys=ON")
        # Nobody needs the file when the machine has failed.
        raw.execute("PRAGMA synchronous=OFF")

    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def databases() -> Iterator["Pool"]:
    """Databases on the server that `SNAPSHOT_POSTGRES_URL` names, or else on a private one."""
    pytest.importorskip("psycopg")
    from alembic_snapshot.postgres.pool import Pool
    from alembic_snapshot.postgres.server import server_in_use

    pool = Pool(server_in_use())
    yield pool
    pool.close()


@pytest.fixture
def postgresql(databases: "Pool") -> Iterator[Engine]:
    """An empty PostgreSQL database, dropped afterwards, by the next run if this one is killed."""
    database = databases.take(None)
    engine = create_engine(database.url())
    yield engine
    engine.dispose()
    databases.drop(database.name)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Migrated:
    """An empty database of each kind."""
    return Migrated(request.getfixturevalue(request.param))
