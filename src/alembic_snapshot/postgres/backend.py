"""PostgreSQL: snapshots and clones are databases on one server."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from alembic_snapshot.errors import CloneError, StoreError
from alembic_snapshot.postgres import extensions
from alembic_snapshot.postgres.database import ServerDatabase
from alembic_snapshot.postgres.room import refuse_crowd
from alembic_snapshot.postgres.server import Server, major_version, said, server_in_use
from alembic_snapshot.postgres.store import ServerStore
from alembic_snapshot.project.config import Project

if TYPE_CHECKING:
    from alembic_snapshot.build.snapshot import Snapshot
    from alembic_snapshot.postgres.clone import NamedClone
    from alembic_snapshot.postgres.clones import PooledClones
    from alembic_snapshot.postgres.reset.clones import LastingDatabases
    from alembic_snapshot.store.manifest import Entry, Manifest
    from alembic_snapshot.tokens.changeset import Changeset, Fingerprint


@dataclass(frozen=True)
class PostgreSQL:
    """A project's databases on the server in use."""

    async_extras: ClassVar[str] = "postgres"
    async_drivers: ClassVar[tuple[str, ...]] = ("asyncpg", "greenlet")
    not_shared: ClassVar[str | None] = "snapshots of PostgreSQL are not shared yet"
    project: Project

    def store(self) -> ServerStore:
        """Where its snapshots are."""
        return ServerStore(self.project.store)

    def target(self, name: str) -> ServerDatabase:
        """A database by its name."""
        return ServerDatabase(server_in_use(), name)

    def server(self) -> Server:
        """As :func:`alembic_snapshot.postgres.server.server_in_use`."""
        return server_in_use()

    def versions(self) -> dict[str, str]:
        """The server's major version."""
        return {"PostgreSQL": str(major_version())}

    def clones(self, folder: Callable[[], Path], on_make: Callable[[float], None]) -> PooledClones:
        """Databases on the server in use; the folder is not needed."""
        from alembic_snapshot.postgres.clones import PooledClones

        del folder
        return PooledClones(on_make)

    def lasting(self, source: PooledClones, how: str | None) -> LastingDatabases:
        """Databases that are put back by what the server's log says; there is one way only."""
        from alembic_snapshot.postgres.reset.clones import LastingDatabases

        del how
        return LastingDatabases(source)

    def refuse_crowd(self, processes: int) -> None:
        """As :func:`alembic_snapshot.postgres.room.refuse_crowd`."""
        refuse_crowd(server_in_use(), processes, resets=self.project.clones == "reset")

    def hint_for(self, text: str) -> str | None:
        """The way out for an extension that the server lacks."""
        name = extensions.missing_in(text)
        return extensions.way_out([name], server_in_use()) if name else None

    def stand_in(self) -> Callable[[], None]:
        """As :func:`alembic_snapshot.postgres.placeholder.stand_in`."""
        from alembic_snapshot.postgres.placeholder import stand_in

        return stand_in(self.project)

    def as_file(self, entry: Entry, folder: Path) -> Path:
        """None: a snapshot is a database on a server, and not shared yet."""
        del folder
        raise StoreError(f"{entry.database}: {self.not_shared}", hint="build it on each machine")

    def from_file(self, file: Path, manifest: Manifest) -> ServerDatabase:
        """None: a file can't be read into a server yet."""
        del manifest
        raise StoreError(f"{file}: {self.not_shared}", hint="build it on each machine")

    def refuse_taken(self, name: str) -> None:
        """As :func:`alembic_snapshot.postgres.clone.refuse_taken`."""
        from alembic_snapshot.postgres.clone import refuse_taken

        refuse_taken(name)

    def clone(self, snapshot: Snapshot, name: str) -> NamedClone:
        """As :func:`alembic_snapshot.postgres.clone.named_clone`."""
        from alembic_snapshot.postgres.clone import named_clone

        return named_clone(snapshot, name)

    def capture(
        self, before: ServerDatabase | None, after: ServerDatabase
    ) -> tuple[Changeset, str, Fingerprint]:
        """As :func:`alembic_snapshot.postgres.changeset.capture`."""
        import psycopg

        from alembic_snapshot.postgres.changeset import capture

        try:
            return capture(before, after)
        except psycopg.Error as error:
            raise CloneError(
                f"{after} can't be read: {said(error)}",
                hint="does somebody still hold a lock in it?",
            ) from error

    def apply(self, target: ServerDatabase, changes: Changeset) -> Fingerprint:
        """As :func:`alembic_snapshot.postgres.changeset.apply`."""
        from alembic_snapshot.postgres import changeset

        changeset.apply(target, changes)
        return changeset.fingerprint(target)

    def fingerprint(self, target: ServerDatabase) -> str:
        """As :func:`alembic_snapshot.postgres.changeset.fingerprint`."""
        from alembic_snapshot.postgres.changeset import fingerprint

        return fingerprint(target).whole

    def free_name(self, stem: str) -> str:
        """A name that no database on the server has."""
        names = (f"opened_{stem}{f'_{n}' if n > 1 else ''}" for n in itertools.count(1))
        return next(name for name in names if not self.target(name).is_there())

    def open_shell(self, target: ServerDatabase) -> int | None:
        """``psql``."""
        from alembic_snapshot.postgres.psql import run_psql

        return run_psql(target.name)
