"""The tablespace of clones on our own server: in memory, as long as there is room.

Nearly all that a clone costs is making and deleting its three hundred files. Snapshots stay on the
disk, in the server's own folder; clones get a tablespace on ``/dev/shm``.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic_snapshot.errors import SnapshotError
from alembic_snapshot.postgres.private.account import account
from alembic_snapshot.postgres.server import Server, lock_key

if TYPE_CHECKING:
    import psycopg

SHARED_MEMORY = Path("/dev/shm")
SPACE = "alembic_clones"
# Bytes that must be free beside the clones that a process has at once: for what tests write.
SPARE = 10**9
_CLONES = 20


def prepare(connection: psycopg.Connection[Any], server: Server) -> bool:
    """Make the tablespace if it is not there. The result is whether clones can be in it.

    Its folder can be gone after a restart of the machine, or be left by a server that was deleted.
    """
    import psycopg

    if not (server.is_private and SHARED_MEMORY.is_dir()):
        return False
    try:
        with _locked(connection):
            return _prepare(connection, _folder(connection))
    except (OSError, SnapshotError, psycopg.Error):
        # Not as quick, but sound: clones are on the disk.
        return False


def has_room(size: int) -> bool:
    """Whether clones of so many bytes fit."""
    return shutil.disk_usage(SHARED_MEMORY).free > SPARE + _CLONES * size


def remove(connection: psycopg.Connection[Any]) -> None:
    """Remove the tablespace, unless some process has clones in it."""
    import psycopg

    with contextlib.suppress(OSError, psycopg.Error), _locked(connection):
        folder = _folder(connection)
        connection.execute(f"DROP TABLESPACE IF EXISTS {SPACE}")
        folder.rmdir()


def move_to_disk(connection: psycopg.Connection[Any], name: str) -> None:
    """Move a database that nobody is connected to out of the tablespace, to stay."""
    from psycopg import sql

    statement = sql.SQL("ALTER DATABASE {} SET TABLESPACE pg_default")
    connection.execute(statement.format(sql.Identifier(name)))


def _prepare(connection: psycopg.Connection[Any], folder: Path) -> bool:
    row = connection.execute(
        "SELECT (SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = %s), "
        "current_setting('server_version_num')::int / 10000, "
        "(SELECT catalog_version_no FROM pg_control_system())",
        (SPACE,),
    ).fetchone()
    assert row is not None
    location, major, catalog = row
    if location not in (None, os.fspath(folder)):
        return False
    uid = account().uid
    if location is None and folder.exists():
        shutil.rmtree(folder)
    _own(folder, uid)
    if location is None:
        connection.execute(f"CREATE TABLESPACE {SPACE} LOCATION '{folder}'")
    else:
        _own(folder / f"PG_{major}_{catalog}", uid)
    return True


def _own(folder: Path, uid: int) -> None:
    """Make a folder that the user owns, or check its owner: anybody can write to its parent."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        os.chown(folder, uid, -1, follow_symlinks=False)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != uid:
        raise FileExistsError(f"{folder} is somebody else's")


def _folder(connection: psycopg.Connection[Any]) -> Path:
    """A folder of this server's alone."""
    row = connection.execute("SHOW data_directory").fetchone()
    assert row is not None
    digest = hashlib.sha256(os.fsencode(row[0])).hexdigest()[:12]
    return SHARED_MEMORY / f"alembic-snapshot-{os.geteuid()}-{digest}"


@contextlib.contextmanager
def _locked(connection: psycopg.Connection[Any]) -> Iterator[None]:
    key = lock_key("the tablespace for clones")
    connection.execute("SELECT pg_advisory_lock(%s)", (key,))
    try:
        yield
    finally:
        connection.execute("SELECT pg_advisory_unlock(%s)", (key,))
