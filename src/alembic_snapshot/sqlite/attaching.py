"""Connections that ask before they attach a file, at no cost to any other statement.

An authorizer would be asked for each table and column of each statement; here the few statements
are recognised that begin with ``ATTACH``.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

_ATTACH = re.compile(
    r"(?:[\s\ufeff]|;|--[^\n]*(?:\n|$)|/\*.*?\*/)*ATTACH\b", re.IGNORECASE | re.DOTALL
)
_FILE = re.compile(r"\s*(?:DATABASE\b(?!\s+AS\b))?(?P<file>.*)\bAS\b", re.IGNORECASE | re.DOTALL)
_BARE = re.compile(r"[\"'`\[]?(\w+)[\"'`\]]?")

_is_attach = _ATTACH.match
_cursor, _execute = sqlite3.Connection.cursor, sqlite3.Cursor.execute

# Is told the file, or None where it can't be told, and raises if it may not be attached.
OnAttach = Callable[[Any], None]


class Asking(sqlite3.Connection):
    """The driver's connection, which asks ``on_attach`` before it attaches a file."""

    on_attach: OnAttach | None = None
    # Its pool left it to a thread that was at work on it: whoever has it last closes it unawares.
    is_left = False

    def __del__(self) -> None:
        # From Python 3.13 on, an open one that is not needed any more is warned of.
        if self.is_left:
            with contextlib.suppress(sqlite3.Error):
                self.close()
        else:
            getattr(super(), "__del__", lambda: None)()

    def cursor(self, factory: Any = None) -> Any:
        """A cursor that asks too, of whatever class."""
        return _cursor(self, _asking(factory) if factory else AskingCursor)

    def execute(self, sql: Any, *parameters: Any) -> Any:
        """Execute one statement."""
        self.ask(sql, *parameters)
        return super().execute(sql, *parameters)

    def executescript(self, script: Any) -> Any:
        """Execute several statements."""
        self.ask_of_script(script)
        return super().executescript(script)

    def ask(self, statement: Any, parameters: Any = ()) -> None:
        """Ask, if a statement attaches a file."""
        if self.on_attach is None or not isinstance(statement, str):
            return
        match = _ATTACH.match(statement)
        if match:
            self.on_attach(_file_in(statement[match.end() :], parameters))

    def ask_of_script(self, script: Any) -> None:
        """Ask for each statement of several that attaches a file."""
        if isinstance(script, str) and "attach" in script.lower():
            for statement in _statements(script):
                self.ask(statement)


class _AskingMethods:
    connection: Any

    def execute(self, sql: Any, *parameters: Any) -> Any:
        """Execute one statement."""
        self.connection.ask(sql, *parameters)
        return super().execute(sql, *parameters)  # type: ignore[misc]

    def executescript(self, script: Any) -> Any:
        """Execute several statements."""
        self.connection.ask_of_script(script)
        return super().executescript(script)  # type: ignore[misc]


class AskingCursor(_AskingMethods, sqlite3.Cursor):
    """The driver's cursor, whose connection asks before it attaches a file."""

    def execute(self, sql: Any, *parameters: Any) -> Any:
        """Execute one statement, as directly as can be: it is done for each of them."""
        if _is_attach(sql):
            self.connection.ask(sql, *parameters)
        return _execute(self, sql, *parameters)


def watch_attaching(connection: Any, on_attach: OnAttach) -> None:
    """Have a connection below SQLAlchemy's, sync or async, ask before it attaches a file.

    One of another class than ours has an authorizer, which is asked at every statement.
    """
    outer = getattr(connection, "driver_connection", connection)
    driver = getattr(outer, "_conn", outer)
    if isinstance(driver, Asking):
        driver.on_attach = on_attach
        return

    def authorize(action: int, name: str | None, *_: Any) -> int:
        if action == sqlite3.SQLITE_ATTACH:
            on_attach(name)
        return sqlite3.SQLITE_OK

    # Python has the statement fail if the function raises.
    if driver is not outer and hasattr(outer, "_execute"):
        # aiosqlite's connection may be used in its own thread alone.
        connection.run_async(lambda own: own._execute(driver.set_authorizer, authorize))
    elif hasattr(driver, "set_authorizer"):
        driver.set_authorizer(authorize)


def _file_in(text: str, parameters: Any) -> Any:
    """The file between ATTACH and AS, as SQLite evaluates it; None if it can't be known."""
    match = _FILE.match(text)
    if match is None:
        return None
    expression = match["file"].strip()
    if not isinstance(parameters, dict):
        with contextlib.suppress(TypeError):
            parameters = tuple(parameters)[: expression.count("?")]
    with contextlib.closing(sqlite3.connect(":memory:")) as memory:
        try:
            row = memory.execute(f"SELECT {expression}", parameters).fetchone()
        except (sqlite3.Error, sqlite3.Warning):
            bare = _BARE.fullmatch(expression)
            return bare[1] if bare else None
    return "" if row[0] is None else row[0]


def _statements(script: str) -> Iterator[str]:
    text = ""
    for part in re.split(r"(?<=;)", script):
        text += part
        if sqlite3.complete_statement(text):
            yield text
            text = ""
    yield text


def _asking(factory: Any) -> Any:
    if not isinstance(factory, type) or issubclass(factory, _AskingMethods):
        return factory
    if factory not in _classes:
        _classes[factory] = type(factory.__name__, (_AskingMethods, factory), {})
    return _classes[factory]


_classes: dict[type, type] = {}
