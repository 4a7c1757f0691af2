"""A test's own database on a server."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alembic_snapshot.errors import CloneError
from alembic_snapshot.postgres.database import ServerDatabase, create
from alembic_snapshot.postgres.pool import Pool, kept_name
from alembic_snapshot.postgres.server import server_in_use, without_password
from alembic_snapshot.snapshot import Clone, Snapshot

_NAME_BYTES = 63


class ServerClone(Clone):
    """One test's own copy of a snapshot, on the server that the snapshot is on."""

    is_own_file = False
    suffix = ".txt"

    def __init__(
        self,
        snapshot: Snapshot,
        pool: Pool,
        on_make: Callable[[float], None] | None = None,
    ):
        super().__init__(snapshot, Path(), on_make)
        self._pool = pool
        self._database: ServerDatabase | None = None

    def __repr__(self) -> str:
        name = self._database.name if self._database else "not made yet"
        return f"<{type(self).__name__} {name}>"

    @property
    def path(self) -> Path:
        """There is no file.

        Raises:
            CloneError: always.
        """
        raise CloneError(
            "a clone on PostgreSQL is no file", hint="use its .url, or .engine() and .environ"
        )

    @property
    def target(self) -> ServerDatabase:
        """The database, made when it is first asked for."""
        self.was_told = True
        self.make()
        assert self._database is not None
        return self._database

    @property
    def size(self) -> int:
        """Bytes, about: those of the snapshot."""
        return self.snapshot.manifest.size if self._made and self.snapshot.entry else 0

    def aim(self, dialect: Any, cargs: list[Any], cparams: dict[str, Any]) -> None:
        """Make the arguments of a dialect's connection those of this database."""
        self.target.aim(dialect, cargs, cparams)

    def missed(self, connection: Any) -> str | None:
        """Where a new connection went instead of this database; None if it is here."""
        found = _database_of(connection)
        return None if found == self.target.name else f"database {found}"

    def hurry(self, connection: Any) -> None:
        """Nothing: a clone is created so that nobody waits for the disk."""

    def delete(self) -> None:
        """Close, and have the database dropped soon."""
        self.close()
        if self._database is not None:
            self._pool.drop(self._database.name)

    def keep(self, path: Path) -> Path:
        """Close, and keep the database for as long as there is a file at ``path``."""
        self.close()
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = ServerDatabase(self.target.server, self._pool.keep(self.target.name, path))
        path.write_text(f"{kept.name}\n{_opening(kept)}\n", encoding="utf-8")
        return path

    def kept_as(self, path: Path) -> list[str]:
        """What a report says of where it is going to be, and how to open it there."""
        del path
        kept = ServerDatabase(self.target.server, kept_name(self.target.name))
        return [str(kept), f"open it: {_opening(kept)}"]

    def _copy(self) -> None:
        entry = self.snapshot.entry
        self._database = self._pool.take(entry.database.name if entry else None)


class ReadOnlyServerClone(ServerClone):
    """One that all tests of a process share that only read."""

    is_read_only = True

    def delete(self) -> None:
        """Close; the next test that only reads uses it too."""
        self.close()

    def keep(self, path: Path) -> Path:
        """Close; there is nothing to keep."""
        self.close()
        return path

    def share(self, database: ServerDatabase) -> None:
        """Use a database that there is already."""
        self._database, self._made = database, True


class NamedClone(ServerClone):
    """A clone of one's own under a name that one chose; nobody else drops it."""

    def __init__(self, snapshot: Snapshot, database: ServerDatabase):
        Clone.__init__(self, snapshot, Path())
        self._database = database
        self._made = True

    def delete(self) -> None:
        """Close, and drop it."""
        self.close()
        self.target.remove()

    def keep(self, path: Path) -> Path:
        """Close; it stays anyway."""
        self.close()
        return path


def named_clone(snapshot: Snapshot, name: str) -> NamedClone:
    """A clone with a name that one chose, on the server in use.

    Raises:
        CloneError: there is such a database already, or the name can't be one.
    """
    if not 0 < len(name.encode()) <= _NAME_BYTES:
        raise CloneError(
            f"a database's name has 1 to {_NAME_BYTES} bytes, {name[:20]!r}… has "
            f"{len(name.encode())}",
            hint="choose a shorter one",
        )
    if name.startswith("alembic_"):
        raise CloneError(
            f"{name!r} begins like the databases that are dropped when nobody uses them",
            hint="choose a name that does not begin with alembic_",
        )
    database = ServerDatabase(server_in_use(), name)
    if database.is_there():
        raise CloneError(f"there is already a {database}", hint="choose another name")
    entry = snapshot.entry
    with database.server.connect() as connection:
        create(connection, database.server, name, entry.database.name if entry else None)
    return NamedClone(snapshot, database)


def _opening(database: ServerDatabase) -> str:
    """The command that opens a database. A private server ends with its run, and is started."""
    if database.server.is_private:
        return f"alembic-snapshot psql {database.name}"
    # The password stays out of reports: psql asks for it, or finds it in ~/.pgpass.
    from sqlalchemy import make_url

    url = make_url(database.url()).set(drivername="postgresql")
    return f"psql {shlex.quote(without_password(url))}"


def _database_of(connection: Any) -> str:
    driver = getattr(connection, "driver_connection", connection)
    info = getattr(driver, "info", None)
    if info is not None and hasattr(info, "dbname"):
        return str(info.dbname)
    cursor = connection.cursor()
    try:
        cursor.execute("SELECT current_database()")
        return str(cursor.fetchone()[0])
    finally:
        cursor.close()
        connection.rollback()
