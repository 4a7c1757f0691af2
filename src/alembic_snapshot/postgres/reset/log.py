"""The server's write-ahead log, as far as one process's tests wrote to it.

It is read with the functions of ``pg_walinspect``, which are declared for one session in its own
temporary schema: nothing is installed on the server.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from alembic_snapshot.errors import CloneError
from alembic_snapshot.postgres.reset.changes import Record

if TYPE_CHECKING:
    from alembic_snapshot.postgres.server import Server

_HAS_INSPECT, _HAS_FLUSH = 15_00_00, 17_00_00
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
# Records of other databases are of no interest, unless their blocks could not be understood.
_READ = r"""
    WITH bounds AS MATERIALIZED (SELECT pg_current_wal_flush_lsn() AS last),
    found AS MATERIALIZED (
        SELECT resource_manager, record_type, description, coalesce(block_ref, '') AS block_ref
        FROM bounds, pg_temp.alembic_log(%(first)s, last)
    ),
    places AS (
        SELECT resource_manager, record_type, description, place,
            block_ref = '' OR regexp_count(block_ref, 'blkref') > 0
            AND regexp_count(block_ref, 'blkref') =
                regexp_count(block_ref, 'blkref #\d+: rel \d+/\d+/\d+ ') AS is_read
        FROM found LEFT JOIN LATERAL
            regexp_matches(block_ref, ': rel (\d+)/(\d+)/(\d+) ', 'g') AS matches (place) ON true
    )
    SELECT DISTINCT resource_manager, record_type, is_read,
        place[1]::bigint, place[2]::bigint, place[3]::bigint,
        CASE WHEN resource_manager IN ('LogicalMessage', 'RelMap', 'Storage') THEN description END
    FROM places
    WHERE NOT is_read OR place IS NULL OR place[2] IN ('0', %(database)s)
"""


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

    def look(self, database: int, first: str) -> tuple[str, int, list[tuple[int, str | None]]]:
        """Where the next record is going to be, how far that is, and who is in the database.

        Of each session there are the process and what it does.
        """
        row = self._row(
            "SELECT pg_current_wal_insert_lsn(), pg_current_wal_insert_lsn() - %s::pg_lsn, "
            "(SELECT array_agg(pid) FROM pg_stat_get_activity(NULL) WHERE datid = %s), "
            "(SELECT array_agg(state) FROM pg_stat_get_activity(NULL) WHERE datid = %s)",
            (first, database, database),
        )
        return str(row[0]), int(row[1]), list(zip(row[2] or (), row[3] or (), strict=True))

    def read(self, first: str, database: int) -> list[Record]:
        """What was written since a position, in one database or for all of them.

        Raises:
            CloneError: it is not there any more, or could not be read to its end.
        """
        mark = secrets.token_hex(8)
        flush = ", true" if self._version >= _HAS_FLUSH else ""
        # Only what has left the server's memory can be read. A message that is committed, or
        # flushed, takes everything before it along; it waits for the disk if the server does.
        self._connection.execute(
            f"SELECT pg_logical_emit_message({not flush}, 'alembic-snapshot', %s{flush})", (mark,)
        )
        found = self._connection.execute(_READ, {"first": first, "database": str(database)})
        records = [Record(*row) for row in found.fetchall()]
        payload = " ".join(f"{byte:02X}" for byte in mark.encode())
        if not any(payload in (record.description or "") for record in records):
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
            "WHERE objoid = %(it)s)",
            {"it": database},
        )

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _declare(self) -> None:
        import psycopg

        version, superuser = self._row(
            "SELECT current_setting('server_version_num')::int, "
            "(SELECT rolsuper FROM pg_roles WHERE rolname = current_user)"
        )
        self._version = version
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
        self._connection.execute("SET synchronous_commit = on")
        self._connection.execute("SET default_transaction_read_only = off")
        try:
            self._connection.execute(_DECLARE)
        except psycopg.Error as error:
            raise CloneError(
                f"{self.server} has no pg_walinspect ({str(error).partition(chr(10))[0]})",
                hint="install PostgreSQL's contrib modules there",
            ) from error

    def _row(self, query: str, parameters: Any = None) -> Any:
        row = self._connection.execute(query, parameters).fetchone()
        assert row is not None
        return row
