"""The private server: started by whoever needs it first, gone when its last user is.

A process uses it by sharing a lock, which the operating system takes back when the process ends,
however it ends.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import subprocess
import sys
import threading
import time
import urllib.parse
from pathlib import Path

from alembic_snapshot.errors import ServerError, from_record
from alembic_snapshot.postgres.private.binaries import Binaries, find
from alembic_snapshot.postgres.private.folder import (
    LOOPBACK,
    USER,
    VARIABLE,
    Folder,
    folder_for,
    locked,
    open_lock,
    try_lock,
)

# For a server that another process began to start before it was killed.
WAIT_SECONDS = 120.0
_STEP = 0.01


@dataclasses.dataclass(frozen=True)
class PrivateServer:
    """A running server that this process has a share in: ``user`` may do everything on it.

    ``password`` lets ``user`` in by :data:`~.folder.LOOPBACK`. It is empty on a machine without
    that: there the server has its Unix socket alone, which asks for no password.
    """

    socket_folder: Path
    port: int
    user: str
    binaries: Binaries
    password: str = dataclasses.field(default="", repr=False)

    @property
    def url(self) -> str:
        """The URL of the database ``postgres``, as whoever reads URLs of PostgreSQL takes it.

        For libpq and SQLAlchemy the folder in the query wins over the host. asyncpg reads the host
        alone, and pydantic takes no URL without one.
        """
        folder = urllib.parse.quote(os.fspath(self.socket_folder))
        secret = f":{self.password}" if self.password else ""
        host = f"{LOOPBACK}:{self.port}"
        return f"postgresql://{self.user}{secret}@{host}/postgres?host={folder}"


def acquire(binaries: Binaries | None = None) -> PrivateServer:
    """The server, started if it does not run, for as long as this process lives.

    Several processes may ask at once: one starts it, the others wait. Asking again is cheap, and
    starts it again if it was killed. A forked child has no share of its own until it asks.

    Raises:
        ServerError: there is no PostgreSQL, or its server can't be made or started.
    """
    binaries = binaries or find()
    with _changing:
        try:
            folder = folder_for(binaries)
            share = _shares.get(folder.path)
            if share is None:
                share = open_lock(folder.users)
                try:
                    # Waits while the last server is being shut down.
                    fcntl.flock(share, fcntl.LOCK_SH)
                    _ensure(folder, binaries)
                except BaseException:
                    os.close(share)
                    raise
                _shares[folder.path] = share
            else:
                _ensure(folder, binaries)
        except OSError as error:
            raise ServerError(
                f"the private PostgreSQL server can't be used: {error}",
                hint=f"set {VARIABLE} to a folder that can be written to",
            ) from error
    return PrivateServer(folder.socket, folder.port, USER, binaries, folder.password)


def held() -> PrivateServer:
    """The server as it was acquired last, without a look at it; acquired if it is not held.

    Raises:
        ServerError: as :func:`acquire` does.
    """
    place = os.environ.get(VARIABLE)
    server = _held.get(place)
    if server is None:
        server = _held[place] = acquire()
    return server


def release() -> None:
    """Give up this process's share in every server; one without users ends."""
    with _changing:
        _held.clear()
        while _shares:
            os.close(_shares.popitem()[1])


def _ensure(folder: Folder, binaries: Binaries) -> None:
    """Start the server unless it runs."""
    deadline = time.monotonic() + WAIT_SECONDS
    with locked(folder.starting):
        while True:
            supervised = open_lock(folder.path)
            try:
                if try_lock(supervised):
                    return _start(folder, binaries, supervised)
            finally:
                os.close(supervised)
            if folder.answers():
                return None
            if time.monotonic() > deadline:
                raise ServerError(
                    f"the server in {folder.path} did not answer for {WAIT_SECONDS:.0f} s",
                    hint=f"see {folder.log}",
                    details=folder.end_of_log(),
                )
            time.sleep(_STEP)


def _start(folder: Folder, binaries: Binaries, supervised: int) -> None:
    """Start the supervisor, which inherits its lock, and wait until it says that all is well."""
    if folder.log.exists():
        folder.log.replace(folder.log.with_suffix(".log.1"))
    reading, writing = os.pipe()
    order = {
        "folder": os.fspath(folder.path),
        "binaries": {**dataclasses.asdict(binaries), "folder": os.fspath(binaries.folder)},
        "lock": supervised,
        "report": writing,
    }
    with open(reading, "rb") as report:
        try:
            with folder.log.open("wb") as log:
                subprocess.run(
                    [sys.executable, "-P", "-m", _SUPERVISOR, json.dumps(order)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(supervised, writing),
                    start_new_session=True,
                    check=False,
                )
        finally:
            os.close(writing)
        told = report.read()
    record = json.loads(told) if told else None
    if record is None:
        raise ServerError(
            f"the supervisor of the server in {folder.path} ended before the server was ready",
            hint=f"see {folder.log}",
            details=folder.end_of_log(),
        )
    if record:
        raise from_record(record)


def _begin_anew() -> None:
    """In a forked child: the parent's shares are not the child's, and must not outlive it."""
    global _changing
    _changing = threading.Lock()
    _held.clear()
    while _shares:
        os.close(_shares.popitem()[1])


_SUPERVISOR = "alembic_snapshot.postgres.private.supervisor"
_shares: dict[Path, int] = {}
_held: dict[str | None, PrivateServer] = {}
_changing = threading.Lock()
os.register_at_fork(after_in_child=_begin_anew)
