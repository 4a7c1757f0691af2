"""A clone on a server that is put back to its snapshot's content while connections stay open.

What was written is read from the server's log. Rows of known tables and values of known sequences
are put back in one transaction; anything else is a reason for a fresh clone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from alembic_snapshot.database.lasting import forks
from alembic_snapshot.errors import SnapshotError
from alembic_snapshot.postgres.catalog import identity
from alembic_snapshot.postgres.database import ServerDatabase
from alembic_snapshot.postgres.reset.changes import Changes, judge
from alembic_snapshot.postgres.reset.connections import Sessions
from alembic_snapshot.postgres.reset.log import MOST_BYTES, Log
from alembic_snapshot.postgres.reset.pristine import Pristine, describe, read_rows
from alembic_snapshot.postgres.server import said

if TYPE_CHECKING:
    import psycopg

# After so many times dead rows are in everybody's way, although they are few.
_TIMES = 100
# Bytes by which tables may have grown with what a test wrote, and dead rows.
_GROWTH = 1024 * 1024
# Seconds for which a session is waited for that is about to end.
_PATIENCE = 0.2
# What keeps the snapshot's triggers and rules quiet, and settings of the database out of the way.
_SETTINGS = {
    "session_replication_role": "replica",
    "default_transaction_read_only": "off",
    "default_transaction_isolation": "read committed",
    "row_security": "off",
    "search_path": "pg_catalog",
    "synchronous_commit": "off",
    "lock_timeout": "5s",
    "jit": "off",
}
_NOW = "SELECT pg_current_wal_insert_lsn()::text, pg_snapshot_xmax(pg_current_snapshot())::text"


class LastingDatabase:
    """A clone that no test has used yet, and the means to give it its content again.

    ``resets`` counts how often something had to be put back. ``known`` has what such clones are
    like, by the name of their snapshot and by what those of one build of it have in common.
    """

    is_guarded = False

    def __init__(
        self,
        log: Log,
        database: ServerDatabase,
        snapshot: str,
        known: dict[tuple[str, str], Pristine],
        drop: Callable[[str], None],
    ):
        import psycopg

        self.database = database
        self.resets = 0
        self.sessions = Sessions()
        self._log = log
        self._drop = drop
        self._process, self._forks = os.getpid(), forks()
        self._connection: psycopg.Connection[Any] | None = None
        self._obstacle: str | None = None
        self._written = 0
        try:
            self._connection = self._log.server.connect(database.name)
            self._begin(self._connection, snapshot, known)
        except (psycopg.Error, SnapshotError) as error:
            self._obstacle = f"its content can't be learnt: {said(error)}"

    def put_back(self) -> str | None:
        """Give it the snapshot's content again; nothing is written if nothing was.

        Returns:
            None, or the reason why it can't be done; then :meth:`close` is what is left.
        """
        import psycopg

        if self._process != os.getpid() or self._forks != forks():
            return "the test's process forked"
        if self._obstacle or self._connection is None:
            return self._obstacle
        try:
            return self._put_back(self._connection)
        except psycopg.errors.UndefinedFile:
            return "the server has removed what its log had of the test"
        except psycopg.Error as error:
            if self._connection.closed or self._log.is_closed:
                return "the connection to the server was lost"
            return f"the server refused: {said(error)}"
        except SnapshotError as error:
            return error.message

    def expose(self, why: str) -> None:
        """Nothing is in anybody's way."""

    def close(self) -> None:
        """Close our own connection."""
        if self._connection is not None:
            self._connection.close()

    def remove(self) -> None:
        """Have it dropped soon."""
        self._drop(self.database.name)

    def _begin(
        self,
        connection: psycopg.Connection[Any],
        snapshot: str,
        known: dict[tuple[str, str], Pristine],
    ) -> None:
        for name, value in _SETTINGS.items():
            connection.execute("SELECT set_config(%s, %s, false)", (name, value))
        # A checkpoint has other rows than what it began with, in the same tables.
        which = snapshot, identity(connection)
        if which not in known:
            known[which] = describe(connection)
        self._pristine = known[which]
        self._obstacle = self._pristine.obstacle
        self.sessions.is_careful = self._pristine.may_keep
        self.sessions.keeping = self._pristine.keeping
        row = connection.execute(
            "SELECT oid::bigint FROM pg_database WHERE datname = current_database()"
        ).fetchone()
        assert row is not None
        self._oid: int = row[0]
        ahead = {oid for oid, found in self._pristine.sequences.items() if found.is_ahead}
        self._facts = self._log.facts(self._oid)
        self._note_position(connection, self._statements(Changes(sequences=ahead)))

    def _put_back(self, connection: psycopg.Connection[Any]) -> str | None:
        position, distance, reason = self._wait_for_others(connection)
        if reason:
            return reason
        changes = Changes()
        if position != self._position:
            self._written += distance
            if distance > MOST_BYTES:
                return "so much was written on the server that it is not looked through"
            changes = self._changes()
        unlogged = self._pristine.unlogged_tables
        changes.changed |= unlogged
        changes.sequences |= self._pristine.unlogged_sequences
        reason = self._reason(connection, changes)
        if reason:
            return reason
        if position == self._position and not changes.tables and not changes.sequences:
            return None
        reason = self._restore(connection, changes)
        if reason is None and (changes.tables - unlogged or changes.sequences):
            self.resets += 1
        return reason

    def _wait_for_others(self, connection: psycopg.Connection[Any]) -> tuple[str, int, str | None]:
        """Where the log is, how far that is, and who or what is still in the database."""
        own = connection.info.backend_pid
        deadline = time.monotonic() + _PATIENCE
        while True:
            position, distance, found, has_slot = self._log.look(self._oid, self._position)
            harmless = self.sessions.harmless() | {own}
            if has_slot:
                return position, distance, "a replication slot is left"
            if all(pid == own or (pid in harmless and state == "idle") for pid, state in found):
                return position, distance, None
            if time.monotonic() > deadline:
                return position, distance, "somebody else is connected to the database"
            time.sleep(0.001)

    def _changes(self) -> Changes:
        records = self._log.read(self._position, self._oid)
        return judge(records, self._oid, self._pristine.relations)

    def _reason(self, connection: psycopg.Connection[Any], changes: Changes) -> str | None:
        """Why these changes can't be undone."""
        if changes.obstacle:
            return changes.obstacle
        if changes.prepared and self._log.is_in_two_phases(self.database.name):
            return "a prepared transaction is left"
        if changes.shared and self._log.facts(self._oid) != self._facts:
            return "a setting, a privilege, a comment or a subscription of the database changed"
        tables = [self._pristine.tables[oid] for oid in sorted(changes.tables)]
        for table in tables:
            if table.obstacle:
                return table.obstacle
        for oid in changes.changed:
            table = self._pristine.tables[oid]
            if table.rows is None:
                return f"rows of table {table.name} changed, which has too many to keep them"
        if self.resets >= _TIMES and (tables or changes.sequences):
            return f"it had been put back {_TIMES} times, and dead rows are left each time"
        # No table grows by more than twice what the log does.
        if tables and 2 * self._written > _GROWTH:
            row = connection.execute(
                "SELECT sum(pg_table_size(oid)) FROM unnest(%s::oid[]) AS touched (oid)",
                (list(changes.tables),),
            ).fetchone()
            if row and row[0] > sum(table.size for table in tables) + _GROWTH:
                return "tables have grown"
        return None

    def _restore(self, connection: psycopg.Connection[Any], changes: Changes) -> str | None:
        statements = self._statements(changes)
        full = [self._pristine.tables[oid] for oid in sorted(changes.changed)]
        full = [table for table in full if table.rows]
        if not full:
            self._note_position(connection, statements)
            return None
        with connection.transaction():
            connection.execute("; ".join(statements))
            for table in full:
                with connection.cursor().copy(
                    f"COPY {table.name} FROM STDIN (FORMAT binary)"
                ) as copy:
                    copy.write(table.rows or b"")
            for table in full:
                # In their order too: dead rows may have left room before the last page.
                if read_rows(connection, table) != (table.rows, table.values):
                    return f"the rows of table {table.name} did not come back as they were"
        self._note_position(connection, [])
        return None

    def _statements(self, changes: Changes) -> list[str]:
        """What takes away the rows that are not the snapshot's, and sets the sequences."""
        statements = []
        for oid in sorted(changes.tables):
            table = self._pristine.tables[oid]
            statement = f"DELETE FROM ONLY {table.name}"
            if oid not in changes.changed and table.rows != b"":
                # Whoever wrote since has a later number than all who wrote before.
                statement += f" WHERE age(xmin) <= age('{self._next_xid}'::xid)"
            statements.append(statement)
        for oid in sorted(changes.sequences):
            sequence = self._pristine.sequences[oid]
            statements.append(
                f"SELECT setval({oid}::regclass, {sequence.value}, {sequence.is_called})"
            )
        return statements

    def _note_position(self, connection: psycopg.Connection[Any], statements: list[str]) -> None:
        """Execute statements in a transaction; note where the log is, and who is the next."""
        if statements:
            statements = ["BEGIN", *statements, "COMMIT"]
        cursor = connection.execute("; ".join([*statements, _NOW]))
        while cursor.nextset():
            pass
        row = cursor.fetchone()
        assert row is not None
        self._position: str = row[0]
        self._next_xid = int(row[1]) % 2**32
