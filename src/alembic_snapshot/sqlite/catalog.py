"""What a SQLite file has, object by object and table by table, and hashes of it."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from alembic_snapshot.sqlite import clauses
from alembic_snapshot.sqlite.sql import ROW_NUMBERS, quoted, readable
from alembic_snapshot.tokens.changeset import (
    TABLE_HASH,
    WHOLE_HASH,
    Fingerprint,
    NotCarried,
    RawText,
    SchemaObject,
    hash_of,
)

SETTINGS = ("user_version", "application_id")
COUNTERS = "sqlite_sequence"
_PATIENCE = 0.5  # seconds: a failed test may still hold a lock
_OBJECTS = (
    "SELECT type, name, tbl_name, sql FROM {}.sqlite_master WHERE sql IS NOT NULL "
    "AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY rowid"
)
_fingerprints: dict[tuple[str, int, int], Fingerprint] = {}


class Table(NamedTuple):
    """How the rows of a table are read: the columns that are stored, of which ``key`` identify."""

    name: str
    columns: tuple[str, ...]
    key: int

    def select(self, schema: str, alias: str = "t") -> str:
        listed = ", ".join(f"{alias}.{quoted(one)}" for one in self.columns)
        return f"SELECT {listed} FROM {schema}.{quoted(self.name)} AS {alias}"


def fingerprint(path: Path) -> Fingerprint:
    """The hash of a file's schema and rows."""
    with reading(path) as connection:
        connection.execute("BEGIN")
        return fingerprint_by(connection, "main", objects(connection, "main"), {})


@contextlib.contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(readable(path), uri=True, timeout=_PATIENCE, isolation_level=None)
    connection.text_factory = as_text
    try:
        yield connection
    finally:
        connection.close()


def as_text(content: bytes) -> Any:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return RawText(content)


def objects(connection: sqlite3.Connection, schema: str) -> dict[tuple[str, str], SchemaObject]:
    rows = connection.execute(_OBJECTS.format(schema)).fetchall()
    return {(row[0], row[1]): SchemaObject(*row) for row in rows}


def is_virtual(one: SchemaObject) -> bool:
    return clauses.is_virtual(one.definition)


def table_of(connection: sqlite3.Connection, schema: str, name: str) -> Table:
    info = connection.execute(f"PRAGMA {schema}.table_xinfo({quoted(name)})").fetchall()
    # Generated and hidden columns are worked out again.
    columns = [(row[1], row[2], row[5]) for row in info if row[6] == 0]
    names = [column for column, _, _ in columns]
    primary = [column for column, _, at in sorted(columns, key=lambda c: c[2]) if at]
    rest = [column for column in names if column not in primary]
    lower = {row[1].lower() for row in info}
    alias = next((one for one in ROW_NUMBERS if one not in lower), None)
    if alias is not None and not _has_rowid(connection, schema, name, alias):
        return Table(name, (*primary, *rest), len(primary))
    indexes = connection.execute(f"PRAGMA {schema}.index_list({quoted(name)})").fetchall()
    kinds = {column: kind.upper() for column, kind, _ in columns}
    is_number = len(primary) == 1 and kinds[primary[0]] == "INTEGER"
    if is_number and not any(row[3] == "pk" for row in indexes):
        return Table(name, (*primary, *rest), 1)
    if alias is None:
        raise NotCarried(f"the table {name} hides the numbers of its rows")
    return Table(name, (alias, *names), 1)


def _has_rowid(connection: sqlite3.Connection, schema: str, name: str, alias: str) -> bool:
    try:
        connection.execute(f"SELECT {alias} FROM {schema}.{quoted(name)} LIMIT 0")
    except sqlite3.OperationalError:
        return False
    return True


def pragma(connection: sqlite3.Connection, schema: str, name: str) -> int:
    return int(connection.execute(f"PRAGMA {schema}.{name}").fetchone()[0])


def has_counters(connection: sqlite3.Connection, schema: str) -> bool:
    query = f"SELECT 1 FROM {schema}.sqlite_master WHERE name = ?"
    return connection.execute(query, (COUNTERS,)).fetchone() is not None


def counter_rows(connection: sqlite3.Connection, schema: str) -> list[tuple[str, int]]:
    if not has_counters(connection, schema):
        return []
    rows = connection.execute(f"SELECT name, seq FROM {schema}.{COUNTERS} ORDER BY 1, 2")
    return [(str(name), seq) for name, seq in rows.fetchall()]


def known_fingerprint(
    connection: sqlite3.Connection,
    schema: str,
    path: Path | None,
    objects: Mapping[tuple[str, str], SchemaObject],
) -> Fingerprint:
    """The hash of a sealed file, which is worked out once a process."""
    if path is None:
        return fingerprint_by(connection, schema, objects, {})
    status = os.stat(path)
    key = (str(path), status.st_size, status.st_mtime_ns)
    if key not in _fingerprints:
        _fingerprints[key] = fingerprint_by(connection, schema, objects, {})
    return _fingerprints[key]


def fingerprint_by(
    connection: sqlite3.Connection,
    schema: str,
    objects: Mapping[tuple[str, str], SchemaObject],
    known: Mapping[str, str],
) -> Fingerprint:
    """The hash of a schema and its rows; ``known`` are tables whose hash is known."""
    tables: dict[str, str] = {}
    for (kind, name), one in sorted(objects.items()):
        if kind != "table" or is_virtual(one):
            continue
        if name in known:
            found = known[name]
        else:
            found = _hash_of_rows(connection, schema, table_of(connection, schema, name))
        if found:
            tables[name] = found
    defined = [(kind, name, _words(o.definition)) for (kind, name), o in sorted(objects.items())]
    settings = [pragma(connection, schema, name) for name in SETTINGS]
    counters = [part for row in counter_rows(connection, schema) for part in row]
    every = [part for one in defined for part in one]
    rows_of = [part for row in sorted(tables.items()) for part in row]
    whole = hash_of([*every, None, *rows_of, None, *settings, None, *counters])
    return Fingerprint(whole[:WHOLE_HASH], tables)


def _hash_of_rows(connection: sqlite3.Connection, schema: str, table: Table) -> str:
    """A short hash of a table's rows; "" of none."""
    listed = ", ".join(str(number + 1) for number in range(table.key))
    rows = iter(connection.execute(f"{table.select(schema)} ORDER BY {listed}"))
    first = next(rows, None)
    if first is None:
        return ""
    return hash_of(part for row in itertools.chain([first], rows) for part in row)[:TABLE_HASH]


def _words(statement: str) -> str:
    """A statement's words, sorted: batch mode writes constraints in an order of the moment."""
    return " ".join(sorted(re.findall(r"\w+|[^\w\s]", statement)))
