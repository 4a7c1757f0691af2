"""What a test left in a connection that is going to be used by the next one.

A file can be put back, a connection can't: TEMP tables, attached databases, PRAGMAs, functions
and handlers stay. A connection that has seen any of it is told here, and closed.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from typing import Any

# Statements that leave nothing behind but rows; whatever begins otherwise counts as a stain.
_PLAIN = re.compile(
    r"\s*(?:SELECT|INSERT|UPDATE|DELETE|REPLACE|WITH|VALUES|BEGIN|COMMIT|END|ROLLBACK|SAVEPOINT|"
    r"RELEASE)\b",
    re.IGNORECASE,
)
# By these a test learns where the file is, or changes what the schema's version says.
_TELLING = re.compile(r"database_list|writable_schema|schema_version|ATTACH|VACUUM", re.IGNORECASE)
_STATE = """
    SELECT (SELECT count(*) FROM sqlite_temp_master), (SELECT count(*) FROM pragma_database_list),
    (SELECT * FROM pragma_foreign_keys), (SELECT * FROM pragma_query_only),
    (SELECT * FROM pragma_recursive_triggers), (SELECT * FROM pragma_defer_foreign_keys)
"""
_ATTRIBUTES = ("isolation_level", "row_factory", "text_factory", "autocommit")
# The methods of a driver's connection that leave something in it, or execute past SQLAlchemy.
_METHODS = (
    "create_aggregate",
    "create_collation",
    "create_function",
    "create_window_function",
    "deserialize",
    "enable_load_extension",
    "execute",
    "executemany",
    "executescript",
    "load_extension",
    "set_authorizer",
    "set_progress_handler",
    "set_trace_callback",
    "setconfig",
    "setlimit",
)


class Watched(sqlite3.Connection):
    """The driver's connection, which notes whether it was worked on directly."""

    is_stained = False


def _staining(name: str) -> Callable[..., Any]:
    original = getattr(sqlite3.Connection, name)

    def method(self: Watched, *arguments: Any, **options: Any) -> Any:
        self.is_stained = True
        return original(self, *arguments, **options)

    method.__name__, method.__doc__ = name, original.__doc__
    return method


for _name in _METHODS:
    if hasattr(sqlite3.Connection, _name):
        setattr(Watched, _name, _staining(_name))


def is_plain(statement: str) -> bool:
    """Whether a statement leaves nothing in its connection."""
    return _PLAIN.match(statement) is not None


def is_telling(statement: str) -> bool:
    """Whether after a statement the file may be known, or changed, past its connections."""
    return _TELLING.search(statement) is not None


def is_watchable(dialect: Any) -> bool:
    """Whether a dialect's connections are made by Python's own ``sqlite3``.

    Another copy of SQLite in the same process neither sees its locks nor respects them.
    """
    module = getattr(dialect, "dbapi", None)
    return getattr(module, "sqlite", module) in (sqlite3, sqlite3.dbapi2)


def watched(connection: Any) -> Watched | None:
    """The connection below SQLAlchemy's and an async driver's; None if we did not make it."""
    driver = getattr(connection, "driver_connection", connection)
    # aiosqlite keeps it in a thread; it is idle when it is asked for.
    found = driver if isinstance(driver, Watched) else getattr(driver, "_conn", None)
    return found if isinstance(found, Watched) else None


def state_of(connection: Watched) -> tuple[Any, ...]:
    """What can be asked of a connection's state, now; it counts as clean from here on."""
    found = _state(connection)
    connection.is_stained = False
    return found


def is_as_it_was(connection: Watched, state: tuple[Any, ...]) -> bool:
    """Whether a connection that is idle is still in that state, and was not worked on."""
    try:
        return not connection.is_stained and _state(connection) == state
    except sqlite3.Error:
        return False


def _state(connection: Watched) -> tuple[Any, ...]:
    attributes = [getattr(connection, name, None) for name in _ATTRIBUTES]
    # A cursor of its own: row_factory and text_factory are the application's.
    cursor = connection.cursor(sqlite3.Cursor)
    cursor.row_factory = None
    (row,) = cursor.execute(_STATE).fetchall()
    return (*attributes, *row)
