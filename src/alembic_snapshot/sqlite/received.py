"""A SQLite file from another machine, looked at before anything of it is used.

SQLite runs what is in a schema: triggers, views, generated columns, checks, indexes on expressions.
None of it may call a function that has an effect, or that only an application's connection has:
SQLite's documentation says so of ``trusted_schema``, and that is how the file is opened here.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from alembic_snapshot.errors import StoreError
from alembic_snapshot.sqlite import database as databases
from alembic_snapshot.sqlite.sql import quoted
from alembic_snapshot.store.manifest import Manifest

_HINT = "nothing is used of it; the snapshot is built instead"
_HEADER = 100
_OBJECTS = "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL"


def verify(path: Path, manifest: Manifest) -> None:
    """See that a file is the database that a manifest describes, and that nothing in it acts.

    It is the caller's own copy, open nowhere else, and stays as it is.

    Raises:
        StoreError: it says what is wrong.
    """
    _refuse_log(path)
    try:
        with _distrustful(path) as connection:
            _verify_schema(connection)
            found = [row[0] for row in connection.execute("PRAGMA integrity_check(20)")]
        heads = databases.heads(path, manifest.version_table)
    except (sqlite3.Error, UnicodeError) as error:
        raise StoreError(f"SQLite can't trust it: {error}", hint=_HINT) from error
    # Rows that break a CHECK are no damage where they were built: the manifest tells of them.
    known = ["ok", *manifest.checks.get("integrity", ())]
    damage = [line for line in found if line not in known]
    if damage:
        raise StoreError(f"SQLite finds it damaged: {damage[0]}", hint=_HINT)
    if sorted(heads) != sorted(manifest.heads):
        at, said = " ".join(heads) or "no revision", " ".join(manifest.heads) or "none"
        raise StoreError(f"it is at {at}, and its manifest says {said}", hint=_HINT)


def refuse_acting(path: Path) -> None:
    """See that nothing in a file's schema acts, or calls what has an effect.

    What names a table that is not there can't run, and is let through.

    Raises:
        sqlite3.Error: something does.
    """
    with _distrustful(path) as connection:
        _verify_schema(connection, "no such table: ")


@contextlib.contextmanager
def _distrustful(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection on which a schema can call only what has no effect, and nothing is written."""
    with databases.query_only(path) as connection:
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute("PRAGMA cell_size_check=ON")
        yield connection


def _verify_schema(connection: sqlite3.Connection, *let_through: str) -> None:
    """Have SQLite compile every statement that runs something of the schema, and run none.

    Errors that begin with what is ``let_through`` are none.
    """
    statements = list(_statements(connection))
    # A statement is compiled whole before its first step, at which it ends. With EXPLAIN, functions
    # that are not there would be let through (SQLITE_ENABLE_UNKNOWN_SQL_FUNCTION).
    connection.set_progress_handler(lambda: True, 1)
    for statement in statements:
        try:
            connection.execute(statement).fetchall()
        except sqlite3.Error as error:
            if not _is_of_no_matter(error) and not str(error).startswith(let_through):
                raise
    connection.set_progress_handler(None, 1)


def _statements(connection: sqlite3.Connection) -> Iterator[str]:
    for kind, name, table, sql in connection.execute(_OBJECTS).fetchall():
        if not all(isinstance(text, str) for text in (kind, name, table, sql)):
            raise sqlite3.DatabaseError("its schema has something else than text in it")
        if kind == "view":
            yield f"SELECT * FROM {quoted(name)}"
        if kind in ("table", "trigger") and not name.startswith("sqlite_"):
            yield from _changes(connection, table)


def _changes(connection: sqlite3.Connection, table: str) -> Iterator[str]:
    """What reads and changes all of a table: with that go triggers, checks, indexes, defaults."""
    rows = connection.execute(f"PRAGMA table_xinfo({quoted(table)})").fetchall()
    # Generated and hidden columns can't be written.
    columns = [quoted(row[1]) for row in rows if row[6] == 0]
    name = quoted(table)
    values = ", ".join("NULL" for _ in columns)
    yield f"SELECT * FROM {name}"
    yield f"INSERT INTO {name} ({', '.join(columns)}) VALUES ({values})"
    yield f"INSERT INTO {name} DEFAULT VALUES"
    yield f"UPDATE {name} SET {', '.join(f'{column} = NULL' for column in columns)}"
    yield f"DELETE FROM {name}"


def _is_of_no_matter(error: sqlite3.Error) -> bool:
    """Whether it is only that nothing is run or written here, or that a view can't be written."""
    if error.sqlite_errorcode in (sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_READONLY):
        return True
    message = str(error)
    return message.startswith("cannot modify") or message.endswith("may not be modified")


def _refuse_log(path: Path) -> None:
    """Refuse a file that SQLite would open with a log beside it, which a sealed one never is."""
    with open(path, "rb") as file:
        header = file.read(_HEADER)
    if header[:16] == b"SQLite format 3\0" and header[18:20] != b"\x01\x01":
        raise StoreError("it is in WAL mode, as no snapshot is", hint=_HINT)
