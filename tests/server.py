"""The private PostgreSQL server of the tests, one for each process that runs them."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from alembic_snapshot.postgres import databases, server
from alembic_snapshot.postgres.private import acquire as private
from alembic_snapshot.postgres.private.folder import VARIABLE, open_lock
from tests.waiting import until

_STAY = ("postgres", "template0", "template1")


@pytest.fixture(scope="session")
def postgres_folder() -> Iterator[Path]:
    """Where this process's private PostgreSQL server is; a socket's path has to be short."""
    folder = Path(tempfile.mkdtemp(prefix="as-"))
    folder.chmod(0o755)
    yield folder
    private.release()
    for place in folder.glob("postgres-*"):
        if (place / "processes.lock").exists():
            lock = open_lock(place / "processes.lock")
            fcntl.flock(lock, fcntl.LOCK_EX)
            os.close(lock)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres(postgres_folder: Path, monkeypatch: pytest.MonkeyPatch):
    """The private server, with no database on it but snapshots of tests before."""
    monkeypatch.setenv(VARIABLE, str(postgres_folder))
    monkeypatch.delenv(server.VARIABLE, raising=False)
    private.acquire()
    found = server.server_in_use()
    yield found
    private.acquire()
    with found.connect() as connection:
        for name, _ in list(databases.named(connection, "")):
            if name not in _STAY and not name.startswith(databases.SNAPSHOT):
                databases.drop(connection, name)


@pytest.fixture
def patient(postgres, monkeypatch: pytest.MonkeyPatch):
    """A server of the user's own, which waits for its disk, as one that initdb made does."""

    def be(statement: str, value: str) -> None:
        with postgres.connect() as connection:
            connection.execute(statement)
            connection.execute("SELECT pg_reload_conf()")
        until(lambda: _fsync(postgres) == value, f"fsync is {value}")

    # What is known of a server is known by its URL.
    url = make_url(postgres.url).update_query_dict({"connect_timeout": "60"})
    be("ALTER SYSTEM SET fsync = on", "on")
    try:
        monkeypatch.setenv(server.VARIABLE, server.spelled(url))
        found = server.server_in_use()
        assert found.facts.waits_for_disk
        yield found
    finally:
        be("ALTER SYSTEM RESET fsync", "off")


@pytest.fixture
def tenant(postgres):
    """The server as a role sees it that may create databases, and nothing else."""
    with postgres.connect() as connection:
        connection.execute("CREATE ROLE tenant LOGIN CREATEDB")
        yield server.Server(as_role(postgres, "tenant"))
        owned = "SELECT datname FROM pg_database WHERE pg_get_userbyid(datdba) = 'tenant'"
        for (name,) in connection.execute(owned).fetchall():
            databases.drop(connection, name)
        connection.execute("DROP ROLE tenant")


def _fsync(found: server.Server) -> str:
    with found.connect() as connection:
        return setting(connection, "fsync")


def as_role(found: server.Server, role: str, password: str | None = None) -> str:
    """The server's URL for another role."""
    url = make_url(found.url)._replace(username=role, password=password)
    return url.render_as_string(hide_password=False)


def setting(connection: Any, name: str) -> str:
    """What a server says of itself; more than one may have had the tests' folder."""
    (found,) = connection.execute(f"SHOW {name}").fetchone()
    return str(found)


@pytest.fixture
def names(postgres):
    """The databases of the server whose names begin so."""

    def found(prefix: str = "alembic_") -> list[str]:
        with postgres.connect() as connection:
            return [name for name, _ in databases.named(connection, prefix)]

    return found


@pytest.fixture
def forget(postgres):
    """Make the server as another machine's is, which has none of our snapshots."""

    def forget() -> None:
        with postgres.connect() as connection:
            for name, _ in list(databases.named(connection, databases.SNAPSHOT)):
                databases.drop(connection, name)

    return forget
