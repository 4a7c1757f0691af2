"""Databases that become templates: who is at work there is refused, who is idle is sent away."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from alembic_snapshot.errors import CloneError
from alembic_snapshot.postgres.databases import disconnect

if TYPE_CHECKING:
    import psycopg

# Seconds for which somebody who is at work is waited for.
_PATIENCE = 5.0


def end_idle(connection: psycopg.Connection[Any], name: str) -> None:
    """End every connection to a database, unless somebody is at work there.

    Raises:
        CloneError: somebody is, or has prepared a transaction.
    """
    _refuse_prepared(connection, name)
    deadline = time.monotonic() + _PATIENCE
    while True:
        row = connection.execute(
            "SELECT usename, application_name, pid, state FROM pg_stat_activity "
            "WHERE datname = %s AND state <> 'idle' AND backend_type = 'client backend'",
            (name,),
        ).fetchone()
        if row is None:
            break
        if time.monotonic() > deadline:
            raise CloneError(
                f"{name} is in use by {row[0]} ({row[1]}, pid {row[2]}), who is {row[3]}",
                hint="commit or roll back, and close what is open, before",
            )
        time.sleep(0.01)
    disconnect(connection, name)


def freeze(connection: psycopg.Connection[Any], name: str) -> None:
    """End every connection to a database, and allow no more.

    Raises:
        CloneError: somebody has prepared a transaction in it.
    """
    from psycopg import sql

    _refuse_prepared(connection, name)
    statement = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false")
    connection.execute(statement.format(sql.Identifier(name)))
    disconnect(connection, name)


def _refuse_prepared(connection: psycopg.Connection[Any], name: str) -> None:
    query = "SELECT gid FROM pg_prepared_xacts WHERE database = %s"
    row = connection.execute(query, (name,)).fetchone()
    if row is not None:
        raise CloneError(
            f"the prepared transaction {row[0]!r} is neither committed nor rolled back",
            hint="end it with COMMIT PREPARED or ROLLBACK PREPARED",
        )
