"""What a test has not committed on its clone: nobody else sees it, nor does a comparison."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from alembic_snapshot.checks import number

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

# libpq's number for a transaction between statements.
_IN_TRANSACTION = 2
_WAYS = {"new": "added", "dirty": "changed", "deleted": "deleted"}


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


def unflushed(sessions: Iterable[Session]) -> Iterator[str]:
    """How many objects sessions hold that were never sent to the database, a line each."""
    for session in sessions:
        with contextlib.suppress(Exception):
            counts = {way: len(getattr(session, name)) for name, way in _WAYS.items()}
            found = [f"{number(n, 'object')} {way}" for way, n in counts.items() if n]
            if found:
                yield f"not flushed: a session has {', '.join(found)}"
