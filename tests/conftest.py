"""What all tests of the library share."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .starts import forked, owned

pytest_plugins = "pytester"
# Projects that tests run pytest in, and the tests that they run there.
collect_ignore = ["projects", "plugin/behaviours"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--real-starts",
        action="store_true",
        help="start each interpreter, instead of forking it from one that has imported much",
    )


@pytest.fixture(scope="session")
def _template(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """The place of an interpreter that is ready to be forked; None if each is to be started."""
    if request.config.getoption("--real-starts"):
        yield None
        return
    with owned.template() as path:
        yield path


@pytest.fixture(autouse=True)
def _forks(_template: str | None) -> Iterator[None]:
    """Interpreters that tests of this folder start are forked, where that is the same."""
    if _template is not None:
        forked.use(_template)
    yield
    # Other folders' tests may be parents of what they start.
    subprocess.Popen = forked.Real


@pytest.fixture
def real_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where starting is the point: interpreters are started, and not forked."""
    monkeypatch.setattr(subprocess, "Popen", forked.Real)


_STAY = ("postgres", "template0", "template1")


@pytest.fixture(scope="session")
def postgres_folder() -> Iterator[Path]:
    """Where this process's private PostgreSQL server is; a socket's path has to be short."""
    folder = Path(tempfile.mkdtemp(prefix="as-"))
    folder.chmod(0o755)
    yield folder
    from alembic_snapshot.postgres.private import acquire as private
    from alembic_snapshot.postgres.private.folder import open_lock

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
    from alembic_snapshot.postgres import database, server
    from alembic_snapshot.postgres.private import acquire as private
    from alembic_snapshot.postgres.private.folder import VARIABLE

    monkeypatch.setenv(VARIABLE, str(postgres_folder))
    monkeypatch.delenv(server.VARIABLE, raising=False)
    private.acquire()
    found = server.server_in_use()
    yield found
    private.acquire()
    with found.connect() as connection:
        for name, _ in list(database.named(connection, "")):
            if name not in _STAY and not name.startswith(database.SNAPSHOT):
                database.drop(connection, name)


@pytest.fixture
def names(postgres):
    """The databases of the server whose names begin so."""
    from alembic_snapshot.postgres import database

    def found(prefix: str = "alembic_") -> list[str]:
        with postgres.connect() as connection:
            return [name for name, _ in database.named(connection, prefix)]

    return found
