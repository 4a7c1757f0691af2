"""What a test left in a connection that is going to be used by the next one.

What can be discarded is: cursors, temporary tables, locks, what was listened to. What can be asked
for is compared with what it was at first, and a connection in which it differs is closed. The
statements that a driver has prepared stay: it knows of them.
"""

from __future__ import annotations

import contextlib
import weakref
from collections import deque
from typing import Any

_STATE = b"""
    SELECT current_user, session_user,
    (SELECT pg_catalog.array_agg(name || '=' || setting ORDER BY name)
        FROM pg_catalog.pg_settings WHERE source = 'session'),
    (SELECT pg_catalog.array_agg(name ORDER BY name)
        FROM pg_catalog.pg_prepared_statements WHERE from_sql)
"""
_DISCARD = b"""
    CLOSE ALL; UNLISTEN *; SELECT pg_catalog.pg_advisory_unlock_all(); DISCARD TEMP;
    DISCARD SEQUENCES;
"""
# What psycopg changes by itself: its own prepared statements, its lock, libpq's connection.
_DRIVERS_OWN = {"_prepared", "_pgconn", "lock", "pgconn"}

State = tuple[dict[str, Any], tuple[Any, ...]]


class Sessions:
    """The connections to one database that this process's engines have made."""

    keeps_async = False
    if_unknown: str | None = None

    def __init__(self) -> None:
        self._made: dict[int, weakref.ref[Any]] = {}
        self._clean: set[int] = set()

    def note(self, connection: Any) -> None:
        """Note a connection that was just made."""
        driver = _driver(connection)
        pid = _process_of(driver)
        if pid is not None:
            with contextlib.suppress(TypeError):
                self._made[pid] = weakref.ref(driver)

    def begin(self) -> None:
        """A test begins, which may leave something in any of them."""
        self._clean.clear()

    def harmless(self) -> set[int]:
        """The server's processes for those that are closed, or as they were at first."""
        closed = {pid for pid, found in self._made.items() if _is_closed(found())}
        return closed | self._clean

    def state_of(self, connection: Any, listener: Any) -> State | None:
        """What a connection is like; None if it is not psycopg's."""
        del listener
        driver = _driver(connection)
        found = _asked(driver, _STATE)
        return None if found is None else (_attributes(driver), found)

    def is_as_it_was(self, connection: Any, state: State) -> bool:
        """Discard what can be, and whether the rest is what it was."""
        driver = _driver(connection)
        attributes, asked = state
        if not _is_idle(driver) or _attributes(driver) != attributes:
            return False
        if _asked(driver, _DISCARD + _STATE) != asked:
            return False
        pid = _process_of(driver)
        if pid is None:
            return False
        self._clean.add(pid)
        return True


def _driver(connection: Any) -> Any:
    return getattr(connection, "driver_connection", connection)


def _process_of(driver: Any) -> int | None:
    """The server's process for a connection of psycopg's or asyncpg's."""
    with contextlib.suppress(Exception):
        if hasattr(driver, "get_server_pid"):
            return int(driver.get_server_pid())
        return int(driver.info.backend_pid)
    return None


def _is_closed(driver: Any) -> bool:
    if driver is None:
        return True
    if hasattr(driver, "is_closed"):
        return bool(driver.is_closed())
    return bool(getattr(driver, "closed", False))


def _is_idle(driver: Any) -> bool:
    from psycopg.pq import TransactionStatus

    return bool(driver.pgconn.transaction_status == TransactionStatus.IDLE)


def _attributes(driver: Any) -> dict[str, Any]:
    found = {name: value for name, value in vars(driver).items() if name not in _DRIVERS_OWN}
    copied = {
        name: value.copy() if isinstance(value, dict | list | set | deque) else value
        for name, value in found.items()
    }
    for name in ("prepare_threshold", "prepared_max"):
        copied[name] = getattr(driver, name, None)
    return copied


def _asked(driver: Any, query: bytes) -> tuple[Any, ...] | None:
    """What psycopg's connection answers past all that the application set; None if it can't."""
    pgconn = getattr(driver, "pgconn", None)
    if pgconn is None:
        return None
    from psycopg import Error
    from psycopg.pq import ExecStatus

    try:
        result = pgconn.exec_(query)
    except Error:
        return None
    if result.status != ExecStatus.TUPLES_OK:
        return None
    return tuple(result.get_value(0, column) for column in range(result.nfields))
