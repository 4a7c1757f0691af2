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
from alembic_snapshot.sqlite import database as files
from alembic_snapshot.store.manifest import Manifest

_HINT = "nothing is used of it; the snapshot is built instead"
_OBJECTS = "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL"


def verify(path: Path, manifest: Manifest) -> None:
    """See that a file is the database that a manifest describes, and that nothing in it acts.

    Raises:
        StoreError: it says what is wrong.
    """
    try:
        with _distrustful(path) as connection:
            _verify_schema(connection)
            problems = [row[0] for row in connection.execute("PRAGMA integrity_check(1)")]
    except (sqlite3.Error, UnicodeError) as error:
        raise StoreError(f"SQLite can't trust it: {error}", hint=_HINT) from error
    if problems != ["ok"]:
        raise StoreError(f"SQLite finds it damaged: {problems[0]}", hint=_HINT)
    heads = files.heads(path, manifest.version_table)
    if sorted(heads) != sorted(manifest.heads):
        at, said = " ".join(heads) or "no revision", " ".join(manifest.heads) or "none"
        raise StoreError(f"it is at {at}, and its manifest says {said}", hint=_HINT)


@contextlib.contextmanager
def _distrustful(path: Path) -> Iterator[sqlite3.Connection]:
    """A read-only connection on which a schema can call only what has no effect."""
    connection = sqlite3.connect(files.immutable(path), uri=True, isolation_level=None)
    try:
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute("PRAGMA cell_size_check=ON")
        yield connection
    finally:
        connection.close()


def _verify_schema(connection: sqlite3.Connection) -> None:
    """Have SQLite compile, and not run, every statement that runs something of the schema."""
    for kind, name, table, sql in connection.execute(_OBJECTS).fetchall():
        if not all(isinstance(text, str) for text in (kind, name, table, sql)):
            raise sqlite3.DatabaseError("its schema has something else than text in it")
        if kind == "table" and name.startswith("sqlite_"):
            continue
        if kind == "view":
            connection.execute(f"EXPLAIN SELECT * FROM {_quoted(name)}").fetchall()
        elif kind == "table":
            _compile_changes(connection, name)
        elif kind == "trigger":
            _compile_changes(connection, table)


def _compile_changes(connection: sqlite3.Connection, table: str) -> None:
    """Compile an insert, an update and a delete: with them triggers, checks and indexes."""
    rows = connection.execute(f"PRAGMA table_xinfo({_quoted(table)})").fetchall()
    # Generated and hidden columns can't be written.
    columns = [_quoted(row[1]) for row in rows if row[6] == 0]
    name = _quoted(table)
    if not columns:
        return
    values = ", ".join("NULL" for _ in columns)
    changes = ", ".join(f"{column} = NULL" for column in columns)
    for statement in (
        f"SELECT * FROM {name}",
        f"INSERT INTO {name} ({', '.join(columns)}) VALUES ({values})",
        f"INSERT INTO {name} DEFAULT VALUES",
        f"UPDATE {name} SET {changes}",
        f"DELETE FROM {name}",
    ):
        try:
            connection.execute(f"EXPLAIN {statement}").fetchall()
        except sqlite3.OperationalError as error:
            if not _is_of_no_matter(str(error)):
                raise


def _is_of_no_matter(message: str) -> bool:
    """Whether it is only that a view, or a table of SQLite's own, can't be written."""
    return message.startswith("cannot modify") or message.endswith("may not be modified")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
