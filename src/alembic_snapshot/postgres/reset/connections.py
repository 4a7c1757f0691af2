"""What a test left in a connection that is going to be used by the next one.

What can be put back is, whatever changed it: cursors, temporary tables, locks, what was listened
to, settings. The role and the statements that SQL prepared are compared. What can neither be put
back nor be asked for is known by what was executed: a connection in which that happened is closed.
The statements that a driver has prepared stay: it knows of them.
"""

from __future__ import annotations

import contextlib
import functools
import re
import weakref
from collections import deque
from typing import Any, NamedTuple

from alembic_snapshot.database.statements import without_comments

_SETTINGS = b"""
    SELECT pg_catalog.string_agg(pg_catalog.format('pg_catalog.set_config(%L, %L, false)',
        name, setting), ', ') FROM pg_catalog.pg_settings WHERE source = 'session'
"""
_DISCARD = b"""
    CLOSE ALL; UNLISTEN *; SELECT pg_catalog.pg_advisory_unlock_all(); DISCARD TEMP;
    DISCARD SEQUENCES; RESET ALL;
"""
_STATE = b"""
    SELECT current_user, session_user, (SELECT pg_catalog.array_agg(name ORDER BY name)
        FROM pg_catalog.pg_prepared_statements WHERE from_sql)
"""
# What can neither be asked for nor be taken back; and blocks, which say what they execute only when
# they run. A setting with a point in its name is in no list, and there for good once it was set,
# with an empty value if that was taken back.
_SPOILING = re.compile(
    r"\b(?:LOAD\b|SET\s+(?:SESSION\s+|LOCAL\s+)?(?:[\w$\"]+\s*\.|\"?seed\b))|(?:^|;)\s*DO\b",
    re.IGNORECASE,
)
_BEGINNING_SO = frozenset(("load", "set", "do"))
_WORD = re.compile(r"\w+")
_METHODS = ("copy", "execute", "executemany", "stream")
_FACTORIES = ("cursor_factory", "server_cursor_factory")
# What psycopg changes by itself: its statements, its lock, libpq's connection, what BEGIN is.
_DRIVERS_OWN = {"_begin_statement", "_prepared", "_pgconn", "lock", "pgconn"}


class State(NamedTuple):
    """What a connection was like at first, and the statements that make it so again."""

    attributes: dict[str, Any]
    asked: tuple[Any, ...]
    putting_back: bytes


class Sessions:
    """The connections to one database that this process's engines have made.

    If ``is_careful``, each is closed that was used: there are functions that may keep what nobody
    can ask for. One is closed, too, in which a function in ``keeping`` was called.
    """

    keeps_async = False
    if_unknown: str | None = None

    def __init__(self) -> None:
        self.is_careful = True
        self.keeping: frozenset[str] = frozenset()
        self._made: dict[int, weakref.ref[Any]] = {}
        self._clean: set[int] = set()

    def note(self, connection: Any) -> None:
        """Note a connection that was just made."""
        driver = _driver(connection)
        pid = _process_of(driver)
        if pid is not None:
            with contextlib.suppress(TypeError):
                self._watch(driver)
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
        self._watch(driver)
        if driver in _spoilt:
            # What it set when it was made is in no list, and would not come back.
            return None
        settings, found = _asked(driver, _SETTINGS), _asked(driver, _STATE)
        if settings is None or found is None:
            return None
        putting_back = _DISCARD + (b"SELECT " + settings[0] + b";" if settings[0] else b"")
        return State(_attributes(driver), found, putting_back)

    def is_as_it_was(self, connection: Any, state: State) -> bool:
        """Put back what can be, and whether the rest is what it was."""
        driver = _driver(connection)
        if (
            self.is_careful
            or driver in _spoilt
            or not _is_idle(driver)
            or _attributes(driver) != state.attributes
            or _asked(driver, state.putting_back + _STATE) != state.asked
            # A message that came meanwhile: libpq would give it to the next who listens.
            or driver.pgconn.notifies() is not None
        ):
            return False
        pid = _process_of(driver)
        if pid is None:
            return False
        self._clean.add(pid)
        return True

    def _watch(self, driver: Any) -> None:
        """Have psycopg's connection make cursors that look at what they execute."""
        if getattr(driver, "pgconn", None) is None:
            return
        _keeping[driver] = self.keeping
        for name in _FACTORIES:
            setattr(driver, name, _watching(getattr(driver, name)))


_spoilt: weakref.WeakSet[Any] = weakref.WeakSet()
# Which functions are such ones where a connection leads.
_keeping: weakref.WeakKeyDictionary[Any, frozenset[str]] = weakref.WeakKeyDictionary()


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
    elif hasattr(query, "as_string"):
        query = query.as_string(driver)
    text = query if isinstance(query, str) else repr(query)
    words = set(_WORD.findall(text.lower()))
    if not words.isdisjoint(_keeping.get(driver, ())) or (
        not words.isdisjoint(_BEGINNING_SO) and _is_spoiling(text)
    ):
        _spoilt.add(driver)


def _is_spoiling(text: str) -> bool:
    bare = without_comments(text)
    return any(_SPOILING.search(one) for one in {text, bare})


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
