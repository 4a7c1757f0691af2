"""The server's write-ahead log, as far as one process's tests wrote to it.

It is read with the functions of ``pg_walinspect``, which are declared for one session in its own
temporary schema: nothing is installed on the server.
"""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Any, NamedTuple

from alembic_snapshot.errors import CloneError
from alembic_snapshot.postgres.reset.changes import Record
from alembic_snapshot.postgres.server import said

if TYPE_CHECKING:
    from alembic_snapshot.postgres.server import Server

_HAS_INSPECT = 15_00_00
_SETTINGS = {"synchronous_commit": "on", "default_transaction_read_only": "off", "jit": "off"}
# More than this is not looked through: a fresh database comes sooner.
MOST_BYTES = 64 * 1024 * 1024
_DECLARE = """
    CREATE FUNCTION pg_temp.alembic_log(
        IN first pg_lsn, IN last pg_lsn, OUT start_lsn pg_lsn, OUT end_lsn pg_lsn,
        OUT prev_lsn pg_lsn, OUT xid xid, OUT resource_manager text, OUT record_type text,
        OUT record_length int4, OUT main_data_length int4, OUT fpi_length int4,
        OUT description text, OUT block_ref text
    ) RETURNS SETOF record LANGUAGE C STRICT
    AS '$libdir/pg_walinspect', 'pg_get_wal_records_info'
"""
# Records of other databases are left out, but for those whose blocks may not be understood. A
# message that is committed takes all that was written before it out of the server's memory, which
# alone can't be read; that waits for the disk if the server does.
_READ = """
    BEGIN; SELECT pg_logical_emit_message(true, 'alembic-snapshot', '{mark}'); COMMIT;
    SELECT resource_manager, record_type, coalesce(block_ref, ''), CASE WHEN
        resource_manager IN ('LogicalMessage', 'RelMap', 'Storage') THEN description END
    FROM pg_temp.alembic_log('{first}', pg_current_wal_flush_lsn()) WHERE coalesce(block_ref, '')
        NOT LIKE 'blkref #0: rel %/%/%' OR block_ref LIKE ANY ('{{%/{database}/%,%/0/%}}')
"""
_BLOCK = re.compile(r"blkref #\d+: rel (\d+)/(\d+)/(\d+) ")


class Look(NamedTuple):
    """Where the log's next record is going to be, how far that is, and who is in a database.

    Of each session there are the process and what it does. A replication slot is in no session.
    """

    position: str
    distance: int
    sessions: list[tuple[int, str | None]]
    has_slot: bool


class Log:
    """A connection beside the tests' databases, from which the log and the server are seen."""

    def __init__(self, server: Server):
        self.server = server
        self._connection = server.connect()
        try:
            self._declare()
        except BaseException:
            self._connection.close()
            raise

    def position(self) -> str:
        """Where the next record is going to be."""
        return str(self._row("SELECT pg_current_wal_insert_lsn()")[0])

    def look(self, database: int, first: str) -> Look:
        """How far the log is from a position, and who is in the database."""
        row = self._row(
            "SELECT pg_current_wal_insert_lsn(), pg_current_wal_insert_lsn() - %s::pg_lsn, "
            "array_agg(pid), array_agg(state), EXISTS (SELECT FROM pg_get_replication_slots() "
            "WHERE datoid = %s) FROM pg_stat_get_activity(NULL) WHERE datid = %s",
            (first, database, database),
        )
        sessions = list(zip(row[2] or (), row[3] or (), strict=True))
        return Look(str(row[0]), int(row[1]), sessions, row[4])

    def read(self, first: str, database: int) -> set[Record]:
        """What was written since a position, in one database or for all of them.

        Raises:
            CloneError: it is not there any more, or could not be read to its end.
        """
        mark = secrets.token_hex(8)
        query = _READ.format(mark=mark, first=first, database=database)
        records: set[Record] = set()
        is_whole = False
        payload = " ".join(f"{byte:02X}" for byte in mark.encode())
        for manager, kind, blocks, description in self._rows(query):
            is_whole |= payload in (description or "")
            found = _BLOCK.findall(blocks)
            is_read = len(found) == blocks.count("blkref") and bool(found) == bool(blocks)
            places = [(int(space), int(base), int(file)) for space, base, file in found]
            if not places:
                records.add(Record(manager, kind, is_read, None, None, None, description))
            for space, base, file in places:
                records.add(Record(manager, kind, is_read, space, base, file, description))
        if not is_whole:
            raise CloneError("the log could not be read to its end", hint="use fresh clones")
        return records

    def is_in_two_phases(self, database: str) -> bool:
        """Whether there is a prepared transaction."""
        return bool(self._row("SELECT EXISTS (SELECT FROM pg_prepared_xacts WHERE database = %s)",
                              (database,))[0])  # fmt: skip

    def facts(self, database: int) -> Any:
        """What the tables of all databases say of one."""
        return self._row(
            "SELECT (SELECT d::text FROM pg_database d WHERE oid = %(it)s), "
            "(SELECT array_agg(s::text ORDER BY s::text) FROM pg_db_role_setting s "
            "WHERE setdatabase = %(it)s), "
            "(SELECT array_agg(s::text ORDER BY s::text) FROM pg_shdescription s "
            "WHERE objoid = %(it)s), "
            "(SELECT array_agg(s::text ORDER BY s::text) FROM pg_shseclabel s "
            "WHERE objoid = %(it)s), "
            "(SELECT array_agg(subname::text ORDER BY subname) FROM pg_subscription s "
            "WHERE subdbid = %(it)s)",
            {"it": database},
        )

    @property
    def is_closed(self) -> bool:
        """Whether the connection was closed, or is known to be lost."""
        return self._connection.closed

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _declare(self) -> None:
        import psycopg

        version, superuser = self._row(
            "SELECT current_setting('server_version_num')::int, "
            "(SELECT rolsuper FROM pg_roles WHERE rolname = current_user)"
        )
        if version < _HAS_INSPECT:
            raise CloneError(
                f"{self.server} has PostgreSQL {version // 10_000}, and its log can be read from "
                "15 on",
                hint="use a newer server",
            )
        if not superuser:
            raise CloneError(
                f"the role on {self.server} is no superuser, and can't read the server's log",
                hint="use a superuser's URL",
            )
        for name, value in _SETTINGS.items():
            self._connection.execute("SELECT set_config(%s, %s, false)", (name, value))
        try:
            self._connection.execute(_DECLARE)
        except psycopg.Error as error:
            raise CloneError(
                f"{self.server} has no pg_walinspect ({said(error)})",
                hint="install PostgreSQL's contrib modules there",
            ) from error

    def _rows(self, statements: str) -> list[Any]:
        """What the last of several statements gives."""
        cursor = self._connection.execute(statements)
        while cursor.nextset():
            pass
        return cursor.fetchall()

    def _row(self, query: str, parameters: Any = None) -> Any:
        row = self._connection.execute(query, parameters).fetchone()
        assert row is not None
        return row
