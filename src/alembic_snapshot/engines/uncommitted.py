"""What a test has not committed on its clone: nobody else sees it, nor does a comparison."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from alembic_snapshot.checks import number

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_WAYS = {"new": "added", "dirty": "changed", "deleted": "deleted"}


def is_in_transaction(connection: Any) -> bool:
    """Whether a driver's connection is in a transaction: on SQLite, one that wrote something."""
    driver = getattr(connection, "driver_connection", None) or connection
    with contextlib.suppress(Exception):
        return bool(driver.in_transaction)
    with contextlib.suppress(Exception):
        return bool(driver.is_in_transaction())
    with contextlib.suppress(Exception):
        return int(driver.info.transaction_status) != 0
    return False


def unflushed(sessions: Iterable[Session]) -> Iterator[str]:
    """How many objects sessions hold that were never sent to the database, a line each."""
    for session in sessions:
        with contextlib.suppress(Exception):
            counts = {way: len(getattr(session, name)) for name, way in _WAYS.items()}
            found = [f"{number(n, 'object')} {way}" for way, n in counts.items() if n]
            if found:
                yield f"not flushed: a session has {', '.join(found)}"
