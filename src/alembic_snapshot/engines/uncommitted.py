"""Whether a test has a transaction open on its clone: nobody else sees what it wrote."""

from __future__ import annotations

import contextlib
from typing import Any

# libpq's number for a transaction between statements.
_IN_TRANSACTION = 2


def is_in_transaction(connection: Any, *, may_ask: bool = True) -> bool:
    """Whether a driver's connection is in a transaction that wrote something, as far as is known.

    A connection of psycopg's is asked, unless another thread may be at work with it. asyncpg's
    can't be asked here: any transaction counts.
    """
    driver = getattr(connection, "driver_connection", None) or connection
    with contextlib.suppress(Exception):
        return bool(driver.in_transaction)
    with contextlib.suppress(Exception):
        return bool(driver.is_in_transaction())
    with contextlib.suppress(Exception):
        status = int(driver.info.transaction_status)
        return _has_written(driver) if status == _IN_TRANSACTION and may_ask else status != 0
    return False


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
