"""What a test left in a connection that is going to be used by the next one.

What can be discarded is: cursors, temporary tables, locks, what was listened to. What can be asked
for is compared with what it was at first, and a connection in which it differs is closed. To ask
costs more than all else: that is left out after statements that only read and write rows. The
statements that a driver has prepared stay: it knows of them.
"""

from __future__ import annotations

import contextlib
import functools
import re
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
# One statement that leaves nothing behind but rows; whatever is otherwise may set something.
_PLAIN = re.compile(
    r"\s*(?:SELECT|INSERT|UPDATE|DELETE|MERGE|WITH|VALUES|BEGIN|COMMIT|END|ROLLBACK|SAVEPOINT|"
    r"RELEASE|FETCH|CLOSE)\b[^;]*;?\s*\Z",
    re.IGNORECASE,
)
# What can neither be asked for nor be taken back. A setting with a point in its name is in no list,
# and there for good once it was set, with an empty value if that was taken back.
_SPOILING = re.compile(
    r"setseed|\bLOAD\b|set_config|\bSET\s+(?:SESSION\s+|LOCAL\s+)?[\w$\"]+\s*\.", re.IGNORECASE
)
_METHODS = ("copy", "execute", "executemany", "stream")
_FACTORIES = ("cursor_factory", "server_cursor_factory")
# What psycopg changes by itself: its statements, its lock, libpq's connection, what BEGIN is.
_DRIVERS_OWN = {"_begin_statement", "_prepared", "_pgconn", "lock", "pgconn"}

State = tuple[dict[str, Any], tuple[Any, ...]]


class Sessions:
    """The connections to one database that this process's engines have made.

    If ``is_careful``, each is closed that was used: there are functions that may set what nobody
    can ask for.
    """

    keeps_async = False
    if_unknown: str | None = None

    def __init__(self, *, is_careful: bool = True) -> None:
        self.is_careful = is_careful
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
        if found is None:
            return None
        _watch(driver)
        return _attributes(driver), found

    def is_as_it_was(self, connection: Any, state: State) -> bool:
        """Discard what can be, and whether the rest is what it was."""
        driver = _driver(connection)
        attributes, asked = state
        if (
            self.is_careful
            or driver in _spoilt
            or not _is_idle(driver)
            or _attributes(driver) != attributes
        ):
            return False
        if driver in _worked_on:
            if _asked(driver, _DISCARD + _STATE) != asked:
                return False
            _worked_on.discard(driver)
        elif _asked(driver, _DISCARD) is None:
            return False
        pid = _process_of(driver)
        if pid is None:
            return False
        self._clean.add(pid)
        return True


_worked_on: weakref.WeakSet[Any] = weakref.WeakSet()
_spoilt: weakref.WeakSet[Any] = weakref.WeakSet()


def _watch(driver: Any) -> None:
    """Have psycopg's connection make cursors that note what they execute."""
    for name in _FACTORIES:
        setattr(driver, name, _watching(getattr(driver, name)))


@functools.cache
def _watching(factory: type[Any]) -> type[Any]:
    """A class of cursors that note what they execute."""
    if hasattr(factory, "_alembic_notes"):
        return factory
    methods = {name: _noting(getattr(factory, name)) for name in _METHODS}
    return type(factory.__name__, (factory,), {"_alembic_notes": True, **methods})


def _noting(method: Any) -> Any:
    @functools.wraps(method)
    def noting(self: Any, query: Any, *arguments: Any, **options: Any) -> Any:
        _note(self.connection, query)
        return method(self, query, *arguments, **options)

    return noting


def _note(driver: Any, query: Any) -> None:
    if isinstance(query, bytes):
        query = query.decode(errors="replace")
    # What is composed is no plain statement: it is looked at as it is shown.
    text = query if isinstance(query, str) else repr(query)
    if not _PLAIN.match(text):
        _worked_on.add(driver)
    if _SPOILING.search(text):
        _spoilt.add(driver)


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
    # They are made when they are first asked for.
    _ = driver.adapters
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
    if result.status not in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
        return None
    return tuple(result.get_value(0, column) for column in range(result.nfields))
