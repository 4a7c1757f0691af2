"""A token gives the database of the test that failed, in another folder with another store.

``ORACLE_CASES`` says how many are tried on each database, from the seed ``ORACLE_SEED`` on.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3

import pytest

from alembic_snapshot.backend import backend_of
from alembic_snapshot.cli.opening import open_token
from alembic_snapshot.postgres.schema import read_schema
from alembic_snapshot.tokens.token import Token, from_line

from ..sample import SampleProject
from .travels import ON_SERVER, ON_SQLITE, REVISION, statements

CASES = int(os.environ.get("ORACLE_CASES", "10"))
SEED = int(os.environ.get("ORACLE_SEED", "0"))
pytestmark = pytest.mark.campaign


@pytest.fixture(scope="session")
def places(tmp_path_factory):
    """Two folders, each with a store that is built once for all tests."""
    return [tmp_path_factory.mktemp(name) for name in ("here", "there")]


def project(root, backend):
    is_server = backend == "postgresql"
    made = SampleProject(root / backend)
    made.configure(f'backend = "{backend}"')
    without = "" if is_server else " WITHOUT ROWID"
    made.revision(
        "0001", upgrade=f"WITHOUT = {without!r}\n{REVISION}{ON_SERVER if is_server else ON_SQLITE}"
    )
    return made


def travelled(here, there, name, seed, run):
    """The database of a generated test, and what a token made of it elsewhere."""
    snapshot = here.ensure()
    clone = snapshot.clone(name)
    backend = backend_of(snapshot.project)
    run(clone, seed)
    changes, was, now = backend.capture(snapshot.entry.database, clone.target)
    token = Token(
        snapshot.project.backend, "default", f"test_{seed}", snapshot.digest, changes, was, now
    )
    return clone, open_token(there.load(), from_line(token.to_line()), None, 5, lambda _: None)


class TestSQLite:
    @pytest.mark.parametrize("seed", range(SEED, SEED + CASES))
    def test_rows_and_schema_are_the_same_elsewhere(self, seed, places, tmp_path):
        here, there = (project(place, "sqlite") for place in places)

        clone, opened = travelled(here, there, tmp_path / "clone.db", seed, run_on_file)

        assert opened.reasons == []
        assert everything_in(opened.target.path) == everything_in(clone.path)


def run_on_file(clone, seed):
    with contextlib.closing(sqlite3.connect(clone.path, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys=ON")
        for statement, values in statements(seed, is_server=False):
            with contextlib.suppress(sqlite3.Error):
                connection.execute(statement, values)


def everything_in(path):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        dump = sorted(connection.iterdump())
        tables = [
            name
            for (name,) in connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'pairs'"
            )
        ]
        rows = {
            name: connection.execute(f'SELECT rowid, * FROM "{name}"').fetchall() for name in tables
        }
        version = connection.execute("PRAGMA user_version").fetchone()
        return dump, rows, version


@pytest.mark.usefixtures("postgres")
class TestPostgreSQL:
    @pytest.mark.parametrize("seed", range(SEED, SEED + CASES))
    def test_rows_and_schema_are_the_same_elsewhere(self, seed, places):
        here, there = (project(place, "postgresql") for place in places)

        clone, opened = travelled(here, there, f"clone_{seed}", seed, run_on_server)

        assert opened.reasons == []
        assert everything_on(opened.target) == everything_on(clone.target)


def run_on_server(clone, seed):
    import psycopg

    with clone.target.server.connect(clone.target.name) as connection:
        for statement, values in statements(seed, is_server=True):
            with contextlib.suppress(psycopg.Error):
                connection.execute(statement.replace("%", "%%").replace("?", "%s"), values or None)


def everything_on(database):
    with database.server.connect(database.name) as connection:
        names = connection.execute(
            "SELECT oid::regclass::text, relkind FROM pg_class WHERE relkind IN ('r', 'S') "
            "AND relnamespace = 'public'::regnamespace"
        ).fetchall()
        rows = {}
        for name, kind in names:
            what = "last_value, is_called" if kind in ("S", b"S") else "t.*"
            rows[name] = sorted(map(repr, connection.execute(f"SELECT {what} FROM {name} t")))
        return rows, sorted(read_schema(connection.cursor()).others)
