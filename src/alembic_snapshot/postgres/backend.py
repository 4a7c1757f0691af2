"""PostgreSQL: snapshots and clones are databases on one server."""

from __future__ import annotations

import dataclasses
import itertools
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from alembic_snapshot.errors import CloneError
from alembic_snapshot.postgres import databases, extensions
from alembic_snapshot.postgres.database import ServerDatabase
from alembic_snapshot.postgres.placeholder import nowhere, require_driver
from alembic_snapshot.postgres.room import refuse_crowd
from alembic_snapshot.postgres.server import Server, major_version, said, server_in_use
from alembic_snapshot.postgres.store import ServerStore
from alembic_snapshot.project.config import Project
from alembic_snapshot.project.owner import owner
from alembic_snapshot.store.archives import hashed
from alembic_snapshot.store.opened import OpenedDatabase

if TYPE_CHECKING:
    from alembic_snapshot.build.snapshot import Snapshot
    from alembic_snapshot.database.target import Workspace
    from alembic_snapshot.postgres.clone import NamedClone
    from alembic_snapshot.postgres.clones import PooledClones
    from alembic_snapshot.postgres.reset.clones import LastingDatabases
    from alembic_snapshot.store.manifest import Entry, Manifest
    from alembic_snapshot.tokens.changeset import Changeset, Fingerprint

_OPENED = "opened_"
# In the comment of such a database.
_NOTED = "alembic_snapshot"


@dataclass(frozen=True)
class PostgreSQL:
    """A project's databases on the server in use."""

    async_extras: ClassVar[str] = "postgres"
    async_drivers: ClassVar[tuple[str, ...]] = ("asyncpg", "greenlet")
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

    def nowhere(self) -> dict[str, str]:
        """A database on no server in particular."""
        return nowhere(self.project.name)

    def require_drivers(self) -> None:
        """As :func:`alembic_snapshot.postgres.placeholder.require_driver`, for every variable."""
        for name in ("DATABASE_URL", *self.project.environment):
            require_driver(name)

    def as_file(self, entry: Entry, workspace: Workspace) -> tuple[Path, Manifest]:
        """A copy of it, written as :func:`alembic_snapshot.postgres.archive.write` does.

        What may be restored is the server's to say: so it is restored once.
        """
        from alembic_snapshot.postgres.archive import write
        from alembic_snapshot.postgres.restore import try_out

        archived = self.store().archives.of(entry.name, entry.manifest)
        if archived is not None and archived.is_intact():
            whole = archived.manifest
            known = dataclasses.replace(entry.manifest, size=whole.size, sha256=whole.sha256)
            return archived.file, known
        # Nobody can connect to a snapshot.
        workspace.database.start(entry.database)
        file = workspace.folder / "sent.archive"
        write(workspace.database, file)
        try_out(file, entry.manifest, workspace.database)
        size, sha256 = hashed(file)
        return file, dataclasses.replace(entry.manifest, size=size, sha256=sha256)

    def from_file(
        self, file: Path, manifest: Manifest, workspace: Workspace, seconds: float
    ) -> tuple[ServerDatabase, Manifest]:
        """A database restored as :func:`alembic_snapshot.postgres.restore.restore` does."""
        from alembic_snapshot.postgres.restore import restore

        database: ServerDatabase = workspace.database
        restore(file, manifest, database, seconds)
        here = dataclasses.replace(manifest, size=database.size(), sha256=database.content_hash())
        return database, here

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
        names = (f"{_OPENED}{stem}{f'_{n}' if n > 1 else ''}" for n in itertools.count(1))
        return next(name for name in names if not self.target(name).is_there())

    def note_opened(self, target: ServerDatabase, made: float | None = None) -> None:
        """Its comment says it."""
        record = {
            "owner": owner(self.project),
            "database": self.project.name,
            "made": time.time() if made is None else made,
        }
        with target.server.connect() as connection:
            databases.comment(connection, target.name, json.dumps({_NOTED: record}))

    def opened(self) -> list[OpenedDatabase]:
        """The databases of ours with such a comment."""
        server, found = server_in_use(), []
        with server.connect() as connection:
            for name, comment in list(databases.named(connection, _OPENED)):
                try:
                    noted = json.loads(comment)[_NOTED]
                    whose, of, made = noted["owner"], noted["database"], float(noted["made"])
                except (ValueError, TypeError, KeyError):
                    # Somebody else's choice of a name.
                    continue
                target = ServerDatabase(server, name)
                found.append(OpenedDatabase(target, whose, of, made, target.size()))
        return found

    def delete_opened(self, opened: OpenedDatabase) -> bool:
        """Drop it, unless somebody is connected."""
        with server_in_use().connect() as connection:
            row = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = %s", (opened.target.name,)
            ).fetchone()
            if row and row[0]:
                return False
            databases.drop(connection, opened.target.name)
        return True

    def open_shell(self, target: ServerDatabase) -> int | None:
        """``psql``."""
        from alembic_snapshot.postgres.psql import run_psql

        return run_psql(target.name)
