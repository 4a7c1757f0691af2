"""Whether a test has a transaction open on its clone: nobody else sees what it wrote."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import Any

from alembic_snapshot.engines.threads import is_another, is_at_work

# libpq's number for a transaction between statements.
_IN_TRANSACTION = 2


def is_in_transaction(connection: Any, thread: int) -> bool:
    """Whether a driver's connection is in a transaction that wrote something, as far as is known.

    ``thread`` is the one that took it, and may be at work with it. Then SQLite is not asked, and it
    counts: a new one answers when the statement ends, and no thread runs until then. Nor is a
    connection of psycopg's asked. asyncpg's can't be asked here: any transaction counts.
    """
    driver = getattr(connection, "driver_connection", None) or connection
    if _is_at_work_on_sqlite(driver, thread):
        return True
    with contextlib.suppress(Exception):
        return bool(driver.in_transaction)
    with contextlib.suppress(Exception):
        return bool(driver.is_in_transaction())
    with contextlib.suppress(Exception):
        status = int(driver.info.transaction_status)
        may_ask = status == _IN_TRANSACTION and not is_another(thread)
        return _has_written(driver) if may_ask else status != 0
    return False


def _is_at_work_on_sqlite(driver: Any, thread: int) -> bool:
    if isinstance(driver, sqlite3.Connection):
        return is_at_work(thread)
    # aiosqlite's has a thread of its own, or is one.
    own = getattr(getattr(driver, "_thread", driver), "ident", None)
    return isinstance(own, int) and is_at_work(own)


def _has_written(driver: Any) -> bool:
    """Whether a server has given a number to a connection's transaction, as to one that writes."""
    with contextlib.suppress(Exception):
        asked = driver.pgconn.exec_(b"SELECT pg_catalog.txid_current_if_assigned()")
        return asked.get_value(0, 0) is not None
    with contextlib.suppress(Exception):
        cursor = driver.cursor()
        cursor.execute("SELECT pg_catalog.txid_current_if_assigned()")
        return cursor.fetchone()[0] is not None
    return True
