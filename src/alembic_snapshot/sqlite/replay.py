"""Runs a test's SQL again on a copy of what its file was in the beginning."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alembic_snapshot.database.diff import Row, TableDiff
from alembic_snapshot.database.recording import Step
from alembic_snapshot.database.writers import MOST_ROWS, Relations
from alembic_snapshot.sqlite import files
from alembic_snapshot.sqlite.sql import quoted

_RUN = re.compile(
    r"(?:INSERT|UPDATE|DELETE|REPLACE|WITH|CREATE|ALTER|DROP|BEGIN|SAVEPOINT|RELEASE|ROLLBACK|"
    r"PRAGMA\s+(?:foreign_keys|defer_foreign_keys|recursive_triggers|ignore_check_constraints))\b",
    re.IGNORECASE,
)
_ACTIONS = ("CASCADE", "SET NULL", "SET DEFAULT")


class FileReplay:
    """The copy, which is deleted when it is closed. It attaches nothing."""

    def __init__(self, path: Path, *, foreign_keys: bool):
        self._path = path
        self._foreign_keys = foreign_keys
        self._connections: dict[int, sqlite3.Connection] = {}

    def connection(self, number: int, *, autocommit: bool) -> sqlite3.Connection:
        if number not in self._connections:
            made = sqlite3.connect(self._path, timeout=0.1)
            made.text_factory = lambda text: text.decode(errors="backslashreplace")
            made.execute(f"PRAGMA foreign_keys={'ON' if self._foreign_keys else 'OFF'}")
            made.execute("PRAGMA synchronous=OFF")
            made.set_authorizer(_refuse_attaching)
            self._connections[number] = made
        found = self._connections[number]
        if autocommit and found.isolation_level is not None:
            found.isolation_level = None
        return found

    def runs(self, statement: str) -> bool:
        return _RUN.match(statement) is not None

    def execute(self, connection: sqlite3.Connection, step: Step) -> int:
        run = connection.executemany if step.is_many else connection.execute
        cursor = run(step.statement, step.parameters or ())
        # How many rows were written is known when what was returned has been read.
        cursor.fetchall()
        return cursor.rowcount

    def end(self, connection: sqlite3.Connection, *, commit: bool) -> None:
        with contextlib.suppress(sqlite3.Error):
            if commit:
                connection.commit()
                return
        connection.rollback()

    def rows(
        self, connection: sqlite3.Connection, table: TableDiff, above: Any = None
    ) -> Sequence[Row]:
        listed = ", ".join(quoted(name) for name in table.columns)
        query = f"SELECT {listed} FROM {quoted(table.name)}"
        if above is not None:
            query += f" WHERE {_key(table)} > ?"
        try:
            given = () if above is None else (above,)
            return connection.execute(f"{query} LIMIT {MOST_ROWS + 1}", given).fetchall()
        except sqlite3.OperationalError:
            # It is not there yet, or has not yet these columns.
            return ()

    def newest(self, connection: sqlite3.Connection, table: TableDiff) -> Any:
        query = f"SELECT max({_key(table)}) FROM {quoted(table.name)}"
        with contextlib.suppress(sqlite3.OperationalError):
            return connection.execute(query).fetchone()[0]
        return None

    def content(self, _connection: sqlite3.Connection, _name: str) -> None:
        """Each name is of one table, since nothing is attached."""

    def relations(self, connection: sqlite3.Connection) -> Relations:
        found = Relations()
        query = "SELECT lower(tbl_name) FROM sqlite_master WHERE type = 'trigger'"
        found.triggered = {row[0] for row in connection.execute(query)}
        tables = "SELECT name FROM sqlite_master WHERE type = 'table'"
        for (name,) in connection.execute(tables).fetchall():
            for row in connection.execute(f"PRAGMA foreign_key_list({quoted(name)})"):
                if row[5] in _ACTIONS or row[6] in _ACTIONS:
                    found.cascades.add((name.lower(), str(row[2]).lower()))
            for row in connection.execute(f"PRAGMA table_info({quoted(name)})"):
                if row[4] and ("(" in row[4] or row[4].upper().startswith("CURRENT_")):
                    found.generated.add((name.lower(), row[1].lower()))
        return found

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()
        files.remove(self._path)


def _key(table: TableDiff) -> str:
    return quoted(table.columns[table.key[0]])


def _refuse_attaching(action: int, *_: Any) -> int:
    refused = (sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH)
    return sqlite3.SQLITE_DENY if action in refused else sqlite3.SQLITE_OK
