"""One database a process, lent to one test after another."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from alembic_snapshot.database.clone import Connections
from alembic_snapshot.database.lasting import LentClone
from alembic_snapshot.errors import SnapshotError
from alembic_snapshot.postgres.clone import PooledClone, database_of
from alembic_snapshot.postgres.clones import PooledClones
from alembic_snapshot.postgres.database import ServerDatabase
from alembic_snapshot.postgres.pool import Pool
from alembic_snapshot.postgres.reset.database import LastingDatabase
from alembic_snapshot.postgres.reset.log import Log
from alembic_snapshot.postgres.reset.pristine import Pristine
from alembic_snapshot.postgres.server import said, server_in_use

if TYPE_CHECKING:
    from alembic_snapshot.build.snapshot import Snapshot
    from alembic_snapshot.database.lasting import Lender


class LentDatabase(LentClone, PooledClone):
    """One test's turn on the database."""

    def __init__(self, snapshot: Snapshot, clones: LastingDatabases, lender: Lender):
        super().__init__(snapshot, clones.pool(), clones.source.on_make)
        self._clones = clones
        self._lender = lender
        if clones.lasting is not None:
            # It is there already, and the connections of the test before may lead to it.
            self._database = clones.lasting.database

    @property
    def connections(self) -> Connections | None:  # type: ignore[override]
        """Those of the database, once it is there."""
        lasting = self._clones.lasting
        return lasting.sessions if lasting is not None else None

    @property
    def made(self) -> bool:
        return self._made or self._lender.was_used

    @property
    def target(self) -> ServerDatabase:
        self.is_known = True
        return super().target

    @property
    def size(self) -> int:
        return 0

    def rewrite_connect_args(self, dialect: Any, cargs: list[Any], cparams: dict[str, Any]) -> None:
        self.make()
        assert self._database is not None
        self._database.rewrite_connect_args(dialect, cargs, cparams)

    def other_database(self, connection: Any) -> str | None:
        assert self._database is not None
        if self._clones.lasting is not None:
            self._clones.lasting.sessions.note(connection)
        found = database_of(connection)
        return None if found == self._database.name else f"database {found}"

    def make(self) -> None:
        # While one thread makes it, others wait there: it is not to be used before it is known.
        if self._lender.lasting is None:
            super().make()
        self._made = True

    def _copy(self) -> None:
        super()._copy()
        assert self._database is not None
        self._lender.start(self._clones.start(self.snapshot, self._database))


class LastingDatabases:
    """Databases that are put back by what the server's log says."""

    detour: str | None = None

    def __init__(self, source: PooledClones):
        self.source = source
        self.lasting: LastingDatabase | None = None
        self._log: Log | None = None
        self._process = 0
        self._known: dict[tuple[str, str], Pristine] = {}
        # A parent's, which must not be closed in its child.
        self._abandoned: list[Any] = []

    def obstacle(self) -> str | None:
        """Whether the log can be read: that is tried."""
        import psycopg

        try:
            log = self._own_log()
            log.read(log.position(), 0)
        except psycopg.Error as error:
            return f"the server's log can't be read: {said(error)}"
        except SnapshotError as error:
            return error.message
        return None

    def pool(self) -> Pool:
        """The pool of the process's clones."""
        return self.source.pool()

    def lend(self, snapshot: Snapshot, lender: Lender) -> LentDatabase:
        """The database for one test."""
        if lender.lasting is None:
            self.lasting = None
        else:
            assert self.lasting is not None
            self.lasting.sessions.begin()
        return LentDatabase(snapshot, self, lender)

    def start(self, snapshot: Snapshot, database: ServerDatabase) -> LastingDatabase:
        """Learn what the database is like, before any test has used it."""
        assert snapshot.entry is not None
        name, drop = snapshot.entry.name, self.pool().drop
        self.lasting = LastingDatabase(self._own_log(), database, name, self._known, drop)
        return self.lasting

    def close(self) -> None:
        """Close the connection to the log."""
        if self._log is not None and self._process == os.getpid():
            self._log.close()
        self._log = None

    def _own_log(self) -> Log:
        if self._log is None or self._log.is_closed or self._process != os.getpid():
            if self._log is not None and self._process != os.getpid():
                self._abandoned.append((self._log, self.lasting))
                self.lasting = None
            self._log, self._process = Log(server_in_use()), os.getpid()
        return self._log
