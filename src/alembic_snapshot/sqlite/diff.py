"""The differences between two SQLite files: tables, and rows by primary key."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from alembic_snapshot.database.diff import Diff, Row, TableDiff, table_diff
from alembic_snapshot.database.target import SHOWN_ROWS
from alembic_snapshot.sqlite.sql import quoted, readable
from alembic_snapshot.sqlite.stand_ins import StandIns

_PATIENCE = 0.5  # seconds: a failed test may still hold a lock


def compare(before: Path | None, after: Path, limit: int = SHOWN_ROWS) -> Diff:
    """How ``after`` differs from ``before``, or from an empty database; both are opened read-only.

    Raises:
        sqlite3.Error: one of them is no database.
    """
    connection = sqlite3.connect(readable(after), uri=True, timeout=_PATIENCE)
    # Text that is no UTF-8 is a difference to show, not a reason to show nothing.
    connection.text_factory = lambda text: text.decode(errors="backslashreplace")
    try:
        connection.execute("ATTACH ? AS before", (readable(before) if before else ":memory:",))
        schema = list(_schema_changes(connection))
        tables, select = [], StandIns(connection).rows
        for name in _common(connection):
            try:
                tables.append(_rows(connection, select, name, limit))
            except sqlite3.OperationalError as error:
                schema.append(f"table {name}: its rows can't be compared: {error}")
        return Diff(schema, [table for table in tables if table])
    finally:
        connection.close()


def _schema_changes(connection: sqlite3.Connection) -> Iterator[str]:
    objects = (
        "SELECT type || ' ' || name, sql FROM {}.sqlite_master "
        "WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
    )
    before = dict(connection.execute(objects.format("before")).fetchall())
    after = dict(connection.execute(objects.format("main")).fetchall())
    for name in sorted(before.keys() | after.keys()):
        if name not in before:
            yield f"{name}: not in the snapshot"
        elif name not in after:
            yield f"{name}: only in the snapshot"
        elif before[name] != after[name] and not _say_the_same(name, before[name], after[name]):
            yield f"{name}: defined differently"


def _say_the_same(name: str, before: str, after: str) -> bool:
    """Whether two statements for a table differ in nothing but the order of its constraints.

    Alembic's batch mode writes a table anew with its constraints in an order of the moment.
    """
    kind, _, table = name.partition(" ")
    if kind != "table":
        return False
    from alembic_snapshot.sqlite.schema import table_facts

    return table_facts(table, (before,)) == table_facts(table, (after,))


def _common(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute(
        "SELECT name FROM main.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' "
        "ESCAPE '\\' AND name IN (SELECT name FROM before.sqlite_master WHERE type = 'table') "
        "AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name"
    )
    return [row[0] for row in rows]


def _rows(
    connection: sqlite3.Connection, select: Callable[[str], list[Row]], table: str, limit: int
) -> TableDiff | None:
    columns, key = _columns(connection, table)
    if not columns:
        return None
    after, before = (_select(schema, table, columns, bool(key)) for schema in ("main", "before"))
    # What is in an order that only the application defines is there to be read all the same.
    added, removed = select(f"{after} EXCEPT {before}"), select(f"{before} EXCEPT {after}")
    if not added and not removed:
        return None
    if not key:
        more, less = (Counter({row[:-1]: row[-1] for row in rows}) for rows in (added, removed))
        added, removed = list((more - less).elements()), list((less - more).elements())
    return table_diff(table, columns, key, added, removed, limit)


def _select(schema: str, table: str, columns: list[str], has_key: bool) -> str:
    """A query for a table's rows; without a key, for each different row and its count."""
    # What a column compares as equal, in its own collation, need not be the same.
    listed = ", ".join(f"{quoted(name)} COLLATE BINARY" for name in columns)
    rows = f"{schema}.{quoted(table)}"
    if has_key:
        return f"SELECT {listed} FROM {rows}"
    positions = ", ".join(str(number) for number in range(1, len(columns) + 1))
    return f"SELECT {listed}, count(*) FROM {rows} GROUP BY {positions}"


def _columns(connection: sqlite3.Connection, table: str) -> tuple[list[str], list[int]]:
    """The columns that both databases have, and the positions of those in the primary key."""
    names: dict[str, int] = {}
    for row in connection.execute(f"PRAGMA main.table_info({quoted(table)})"):
        names[row[1]] = row[5]
    others = connection.execute(f"PRAGMA before.table_info({quoted(table)})").fetchall()
    both = [name for name in names if name in {row[1] for row in others}]
    return both, [index for index, name in enumerate(both) if names[name]]
