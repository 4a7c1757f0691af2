"""What a test left in a connection that is going to be used by the next one.

A file can be put back, a connection can't: TEMP tables, attached databases, PRAGMAs, functions
and handlers stay. A connection that has seen any of it is told here, and closed.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from typing import Any, Protocol

from alembic_snapshot.database.statements import beginning
from alembic_snapshot.sqlite.attaching import Asking

# Statements that leave nothing behind but rows; whatever begins otherwise counts as a stain.
_PLAIN = re.compile(
    r"(?:SELECT|INSERT|UPDATE|DELETE|REPLACE|WITH|VALUES|BEGIN|COMMIT|END|ROLLBACK|SAVEPOINT|"
    r"RELEASE)\b",
    re.IGNORECASE,
)
# What can be asked for again; an application may well set these whenever it takes a connection.
_COMPARED = re.compile(
    r"PRAGMA\s+(?:foreign_keys|query_only|recursive_triggers|defer_foreign_keys)\b",
    re.IGNORECASE,
)
# A pragma that any statement may ask as if it were a table.
_ASKING = "pragma_"
# By these a test learns where the file is, or changes what the schema's version says.
_TELLING = re.compile(r"database_list|writable_schema|schema_version|ATTACH|VACUUM", re.IGNORECASE)
_STATE = """
    SELECT (SELECT count(*) FROM sqlite_temp_master), (SELECT count(*) FROM pragma_database_list),
    (SELECT * FROM pragma_foreign_keys), (SELECT * FROM pragma_query_only),
    (SELECT * FROM pragma_recursive_triggers), (SELECT * FROM pragma_defer_foreign_keys)
"""
# What a connection has of its own to put rows into: tables, beside those of the file.
_OWN = """
    SELECT name FROM sqlite_temp_master WHERE type = 'table'
    UNION ALL SELECT name FROM pragma_database_list WHERE name NOT IN ('main', 'temp')
"""
_cursor = sqlite3.Connection.cursor
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


class Listener(Protocol):
    """Who wants to know that a statement may have told somebody where the file is."""

    was_told: bool


class Watched(Asking):
    """The driver's connection, which notes what is executed on it, and done with it directly.

    ``is_dirty`` says that something was left in it, ``needs_compare`` that it has to be compared
    with what it was like at first. ``listener`` is told if a statement may say where the file is.
    """

    is_dirty = needs_compare = False
    listener: Listener | None = None

    def before_statement(self, statement: str) -> None:
        """Hear of a statement that may do more than change rows, before it is executed."""

    def cursor(self, factory: Any = None) -> Any:
        """A cursor that notes what it executes; any other one may leave what nobody sees."""
        if factory is not None:
            self.is_dirty = True
        return super().cursor(factory) if factory else _cursor(self, WatchedCursor)

    def note(self, statement: Any, parameters: Any = ()) -> None:
        """Note what a statement may leave behind; ask if it attaches a file."""
        if not isinstance(statement, str):
            return
        words = beginning(statement, nests=False)
        if _PLAIN.match(words) and _ASKING not in words.lower():
            return
        self.ask(statement, parameters)
        if _COMPARED.match(words):
            self.needs_compare = True
        else:
            self.is_dirty = True
        self.inspect_statement(statement)

    def inspect_statement(self, statement: str) -> None:
        """Note what a statement, or one of several, is about to tell or to change."""
        self.before_statement(statement)
        if self.listener is not None and _TELLING.search(statement):
            self.listener.was_told = True


class WatchedCursor(sqlite3.Cursor):
    """The driver's cursor; its connection notes what it executes."""

    connection: Watched

    def execute(self, sql: Any, *parameters: Any) -> Any:
        """Execute one statement."""
        self.connection.note(sql, *parameters)
        return super().execute(sql, *parameters)

    def executemany(self, sql: Any, *parameters: Any) -> Any:
        """Execute one statement several times."""
        self.connection.note(sql)
        return super().executemany(sql, *parameters)

    def executescript(self, script: Any) -> Any:
        """Execute several statements, which nobody looks at one by one."""
        self.connection.is_dirty = True
        self.connection.ask_of_script(script)
        self.connection.inspect_statement(script)
        return super().executescript(script)


def _staining(name: str) -> Callable[..., Any]:
    original = getattr(sqlite3.Connection, name)
    is_script = name == "executescript"

    def method(self: Watched, *arguments: Any, **options: Any) -> Any:
        self.is_dirty = True
        # What a driver's connection executes, it does past its cursors' methods.
        if arguments and isinstance(arguments[0], str):
            self.ask_of_script(arguments[0]) if is_script else self.ask(*arguments[:2])
            self.inspect_statement(arguments[0])
        return original(self, *arguments, **options)

    method.__name__, method.__doc__ = name, original.__doc__
    return method


for _name in _METHODS:
    if hasattr(sqlite3.Connection, _name):
        setattr(Watched, _name, _staining(_name))


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


State = tuple[list[Any], list[Any]]


def state_of(connection: Watched) -> State:
    """What can be asked of a connection's state, now; it counts as clean from here on.

    One with tables of its own never does: rows in them are put in as any others are.
    """
    connection.is_dirty = bool(_rows(connection, _OWN))
    connection.needs_compare = False
    return _attributes(connection), _rows(connection, _STATE)


def is_as_it_was(connection: Watched, state: State) -> bool:
    """Whether a connection that is idle is still in that state, and was not worked on."""
    attributes, asked = state
    try:
        if connection.is_dirty or _attributes(connection) != attributes:
            return False
        return not connection.needs_compare or _rows(connection, _STATE) == asked
    except sqlite3.Error:
        # Somebody has closed it.
        return False


class FileConnections:
    """What is known of connections to a file that lasts."""

    keeps_async = True
    if_unknown: str | None = "the connections are not those of Python's sqlite3"

    def state_of(self, connection: Any, listener: Listener) -> State | None:
        """As :func:`state_of`; ``listener`` hears of statements from here on."""
        found = watched(connection)
        if found is None:
            return None
        found.listener = listener
        return state_of(found)

    def is_as_it_was(self, connection: Any, state: State) -> bool:
        """As :func:`is_as_it_was`."""
        found = watched(connection)
        return found is not None and is_as_it_was(found, state)


def _attributes(connection: Watched) -> list[Any]:
    return [getattr(connection, name, None) for name in _ATTRIBUTES]


def _rows(connection: Watched, query: str) -> list[Any]:
    # A cursor of its own: row_factory and text_factory are the application's.
    cursor = sqlite3.Connection.cursor(connection, sqlite3.Cursor)
    cursor.row_factory = None
    return cursor.execute(query).fetchall()
