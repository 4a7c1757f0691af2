"""SQL of the application's own in a schema: its functions and collations, which we don't have.

What does not run them can be done all the same, with something in their place. What would run them
is an error here, and is done where the application gives them to its connections.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from typing import Any

_MISSING = re.compile(r"(?:no such|unknown) function: (\w+)|no such collation sequence: (\S+)")
# What SQLite says of a table whose key has such a collation.
_UNPLANNED = "no query solution"
_COLLATIONS = (
    "SELECT DISTINCT info.coll FROM {schema}.sqlite_master AS m, pragma_index_list(m.name) AS i, "
    "pragma_index_xinfo(i.name) AS info WHERE m.type = 'table' AND info.coll IS NOT NULL "
    "AND info.coll NOT IN ('BINARY', 'NOCASE', 'RTRIM')"
)


class NeedsOwnSql(sqlite3.OperationalError):
    """Something can't be done without the application's functions or collations."""


class StandIns:
    """Executes statements on a connection, with something in the place of what it lacks.

    What it has attached is attached before.
    """

    def __init__(self, connection: sqlite3.Connection):
        self._connection = connection
        self._called: str | None = None
        self._there: set[str] = set()
        # An index that was once found to lack its collation is of no use to the connection.
        databases = [row[1] for row in connection.execute("PRAGMA database_list")]
        queries = (_COLLATIONS.format(schema=f'"{name}"') for name in databases)
        for name in {row[0] for query in queries for row in connection.execute(query)}:
            self._put(collation=name)

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """The rows of a statement.

        Raises:
            NeedsOwnSql: it runs what is not here.
            sqlite3.Error: it fails for another reason.
        """
        while True:
            self._called = None
            try:
                rows = self._connection.execute(sql, parameters).fetchall()
            except sqlite3.OperationalError as error:
                self._refuse_called()
                if not self._put(*missing(error)):
                    raise
            else:
                self._refuse_called()
                return rows

    def _refuse_called(self) -> None:
        if self._called:
            raise NeedsOwnSql(f"it needs the application's {self._called}")

    def _put(self, function: str | None = None, collation: str | None = None) -> bool:
        """Put something in the place of a function or a collation; false if it is there."""
        what = f"function {function}()" if function else f"collation {collation}"
        if what in self._there or not (function or collation):
            return False
        self._there.add(what)
        called = self._calling(what)
        if function:
            self._connection.create_function(function, -1, called, deterministic=True)
        elif collation:
            self._connection.create_collation(collation, called)
        return True

    def _calling(self, what: str) -> Any:
        def called(*_: Any) -> int:
            self._called = what
            return 0

        return called


def missing(error: sqlite3.Error) -> tuple[str | None, str | None]:
    """The function or the collation that an error says is missing."""
    found = _MISSING.match(str(error))
    return (found[1], found[2]) if found else (None, None)


def is_missing(error: sqlite3.Error) -> bool:
    """Whether an error says that SQL of the application's own is missing, an extension's too."""
    text = str(error)
    return any(missing(error)) or text == _UNPLANNED or text.startswith("no such module: ")
