"""A test's own database on a server."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic_snapshot.database.clone import Clone, whole
from alembic_snapshot.errors import CloneError
from alembic_snapshot.postgres.database import ServerDatabase
from alembic_snapshot.postgres.databases import create
from alembic_snapshot.postgres.pool import Pool, kept_name
from alembic_snapshot.postgres.server import server_in_use

if TYPE_CHECKING:
    from alembic_snapshot.build.snapshot import Snapshot
    from alembic_snapshot.postgres.replay import ServerReplay

_NAME_BYTES = 63


class ServerClone(Clone):
    """One test's own copy of a snapshot, on the server that the snapshot is on.

    ``database`` is one that there is already.
    """

    suffix = ".txt"

    def __init__(
        self,
        snapshot: Snapshot,
        on_make: Callable[[float], None] | None = None,
        database: ServerDatabase | None = None,
    ):
        super().__init__(snapshot, on_make)
        self._database = database
        self._made = database is not None

    @property
    def label(self) -> str:
        return self._database.name if self._database else "on the server"

    @property
    def path(self) -> Path:
        raise CloneError(
            "a clone on PostgreSQL is no file", hint="use its .url, or .engine() and .environ"
        )

    @property
    def target(self) -> ServerDatabase:
        self.was_told = True
        self.make()
        assert self._database is not None
        return self._database

    @property
    def size(self) -> int:
        # About: those of the snapshot.
        return self.snapshot.manifest.size if self._made and self.snapshot.entry else 0

    def rewrite_connect_args(self, dialect: Any, cargs: list[Any], cparams: dict[str, Any]) -> None:
        self.target.rewrite_connect_args(dialect, cargs, cparams)

    def other_database(self, connection: Any) -> str | None:
        found = database_of(connection)
        return None if found == self.target.name else f"database {found}"

    def disable_fsync(self, connection: Any) -> None:
        """Nothing: a clone is created so that nobody waits for the disk."""

    def has_open_writes(self) -> bool:
        return self.target.has_writer()

    def freeze(self) -> ServerDatabase:
        raise AssertionError("not from a pool")

    def _save(self) -> ServerDatabase:
        raise AssertionError("not from a pool")

    def _restore(self, state: ServerDatabase | None) -> None:
        raise AssertionError("not from a pool")

    def _forget(self, state: ServerDatabase) -> None:
        raise AssertionError("not from a pool")

    def kept_as(self, path: Path) -> list[str]:
        del path
        return [str(self._kept), f"open it: {self._kept.opening}"]

    @property
    def _kept(self) -> ServerDatabase:
        """The database under the name that it has when it is kept."""
        return ServerDatabase(self.target.server, kept_name(self.target.name))


class PooledClone(ServerClone):
    """One that comes from a process's pool, and goes back to be dropped."""

    def __init__(
        self, snapshot: Snapshot, pool: Pool, on_make: Callable[[float], None] | None = None
    ):
        super().__init__(snapshot, on_make)
        self._pool = pool

    def delete(self) -> None:
        """Close, and have the database dropped soon."""
        self.close()
        if self._database is not None:
            self._pool.drop(self._database.name)

    def keep(self, path: Path) -> Path:
        """Close, and keep the database for as long as there is a file at ``path``."""
        self.close()
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = self._kept
        # Written first: another run drops what is kept for a file that is not there.
        path.write_text(f"{kept.name}\n{kept.opening}\n", encoding="utf-8")
        try:
            self._pool.keep(self.target.name, path)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        self._database = kept
        return path

    def replays(self) -> Generator[ServerReplay, None, None]:
        from alembic_snapshot.postgres.replay import ServerReplay

        beginning = self._beginning
        database = self._pool.take(beginning.name if beginning else None)
        replay = ServerReplay(database, lambda: self._pool.drop(database.name))
        try:
            yield replay
        finally:
            whole(replay.close)

    def freeze(self) -> ServerDatabase:
        self.make()
        self.close()
        self._pool.freeze(self.target.name)
        return self.target

    def _save(self) -> ServerDatabase:
        return self._pool.copy(self.target.name)

    def _restore(self, state: ServerDatabase | None) -> None:
        self._pool.renew(self.target.name, state.name if state else None)

    def _forget(self, state: ServerDatabase) -> None:
        self._pool.drop(state.name)

    def _copy(self) -> None:
        entry = self.snapshot.entry
        self._database = self._pool.take(entry.database.name if entry else None)


class LastingClone(ServerClone):
    """One that does not go with a test."""

    def delete(self) -> None:
        """Close; the database stays."""
        self.close()

    def keep(self, path: Path) -> Path:
        """Close; it stays anyway."""
        self.close()
        return path

    def _copy(self) -> None:
        raise AssertionError("there already")


class SharedReader(LastingClone):
    """A database that all tests of a process share that only read."""

    is_read_only = True


class NamedClone(LastingClone):
    """A clone of one's own under a name that one chose; nobody else drops it."""

    def delete(self) -> None:
        """Close, and drop it."""
        self.close()
        self.target.remove()


def named_clone(snapshot: Snapshot, name: str) -> NamedClone:
    """A clone with a name that one chose, on the server in use.

    Raises:
        CloneError: there is such a database already, or the name can't be one.
    """
    refuse_taken(name)
    database = ServerDatabase(server_in_use(), name)
    entry = snapshot.entry
    with database.server.connect() as connection:
        create(connection, database.server, name, entry.database.name if entry else None)
    return NamedClone(snapshot, database=database)


def refuse_taken(name: str) -> None:
    """Refuse a name that no new database can have.

    Raises:
        CloneError: it says why.
    """
    if not 0 < len(name.encode()) <= _NAME_BYTES:
        raise CloneError(
            f"a database's name has 1 to {_NAME_BYTES} bytes, {name[:20]!r}… has "
            f"{len(name.encode())}",
            hint="choose a shorter one",
        )
    if "/" in name:
        raise CloneError(f"{name!r} is a path, and no database's name", hint="give a plain name")
    if name.startswith("alembic_"):
        raise CloneError(
            f"{name!r} begins like the databases that are dropped when nobody uses them",
            hint="choose a name that does not begin with alembic_",
        )
    database = ServerDatabase(server_in_use(), name)
    if database.is_there():
        raise CloneError(f"there is already a {database}", hint="choose another name")


def database_of(connection: Any) -> str:
    """The name of the database that a new connection is to."""
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
