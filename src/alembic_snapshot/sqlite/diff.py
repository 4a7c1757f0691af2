"""The differences between two SQLite files: tables, and rows by primary key."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from alembic_snapshot.database.diff import Diff, Row, TableDiff, table_diff, value_changes
from alembic_snapshot.database.target import SHOWN_ROWS
from alembic_snapshot.sqlite import catalog
from alembic_snapshot.sqlite.clauses import QUOTED, TOKENS
from alembic_snapshot.sqlite.sql import quoted, readable
from alembic_snapshot.sqlite.stand_ins import StandIns

_PATIENCE = 0.5  # seconds: a failed test may still hold a lock
_CONSTRAINT = re.compile(r" (?:CONSTRAINT|PRIMARY|UNIQUE|CHECK|FOREIGN)\b", re.IGNORECASE)
# Words that say something else than a name in quotes does.
_WORDS = frozenset({
    "CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN", "NULL", "TRUE", "FALSE", "CURRENT_DATE",
    "CURRENT_TIME", "CURRENT_TIMESTAMP",
})  # fmt: skip


def compare(before: Path | None, after: Path, limit: int = SHOWN_ROWS) -> Diff:
    """How ``after`` differs from ``before``, or from an empty database; both are opened read-only.

    Raises:
        sqlite3.Error: one of them is no database.
    """
    connection = sqlite3.connect(readable(after), uri=True, timeout=_PATIENCE)
    # Text that is no UTF-8 is a difference to show, not a reason to show nothing.
    connection.text_factory = _told
    try:
        connection.execute("ATTACH ? AS before", (readable(before) if before else ":memory:",))
        schema = list(_schema_changes(connection))
        tables: list[TableDiff] = []
        select = StandIns(connection).rows
        for name in _common(connection):
            try:
                tables += _rows(connection, select, name, limit)
            except sqlite3.OperationalError as error:
                schema.append(f"table {name}: its rows can't be compared: {error}")
        return Diff([*schema, *_settings(connection), *_counters(connection, tables)], tables)
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


def _settings(connection: sqlite3.Connection) -> list[str]:
    before, after = (
        {
            f"PRAGMA {name}": str(catalog.pragma(connection, schema, name))
            for name in catalog.SETTINGS
        }
        for schema in ("before", "main")
    )
    return value_changes(before, after)


def _counters(connection: sqlite3.Connection, tables: Sequence[TableDiff]) -> list[str]:
    """The counters that differ, but for those that the rows added to their tables have moved."""
    before, after = (dict(catalog.counter_rows(connection, side)) for side in ("before", "main"))
    grown = {table.name for table in tables if table.counts[0]}
    told = (before | after).keys() - _lone_tables(connection)
    told -= {name for name in grown & told if _is_further(before.get(name, 0), after.get(name, 0))}
    return value_changes(
        *(
            {f"{catalog.COUNTERS} of {name}": str(side.get(name, 0)) for name in told}
            for side in (before, after)
        )
    )


def _is_further(before: Any, after: Any) -> bool:
    return isinstance(before, int) and isinstance(after, int) and before <= after


def _lone_tables(connection: sqlite3.Connection) -> set[str]:
    """The tables that only one side has."""
    query = "SELECT name FROM {}.sqlite_master WHERE type = 'table'"
    here, there = (
        {row[0] for row in connection.execute(query.format(side))} for side in ("main", "before")
    )
    return here ^ there


def _say_the_same(name: str, before: str, after: str) -> bool:
    """Whether two statements for a table differ in nothing but the order of its constraints.

    Alembic's batch mode writes a table anew with its constraints in an order of the moment.
    """
    return name.startswith("table ") and _in_order(before) == _in_order(after)


def _in_order(statement: str) -> list[str]:
    """The parts of a statement between its commas, white space and quotes aside, with its
    constraints sorted.
    """
    parts, depth = [""], 0
    for token in TOKENS.findall(statement):
        depth += (token == "(") - (token == ")")
        if (token in "()" and depth == (token == "(")) or (token == "," and depth == 1):
            parts.append("")
        else:
            name = QUOTED.fullmatch(token)
            parts[-1] += f" {name[1] if name and name[1].upper() not in _WORDS else token}"
    constraints = sorted(part for part in parts if _CONSTRAINT.match(part))
    return [*(part for part in parts if not _CONSTRAINT.match(part)), *constraints]


def _common(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute(
        "SELECT name FROM main.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' "
        "ESCAPE '\\' AND name IN (SELECT name FROM before.sqlite_master WHERE type = 'table') "
        "AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name"
    )
    return [row[0] for row in rows]


def _rows(
    connection: sqlite3.Connection, select: Callable[[str], list[Row]], table: str, limit: int
) -> list[TableDiff]:
    """How a table's rows differ, if they do."""
    columns, key = _columns(connection, table)
    if not columns:
        return []
    after, before = (_select(schema, table, columns) for schema in ("main", "before"))
    # Two texts may be told alike.
    connection.text_factory = _exact
    try:
        # What is in an order that only the application defines is there to be read all the same.
        found = [
            Counter({row[:-1]: row[-1] for row in select(f"{one} EXCEPT {other}")})
            for one, other in ((after, before), (before, after))
        ]
    finally:
        connection.text_factory = _told
    added, removed = (
        [tuple(map(_shown, row[: len(columns)])) for row in (more - less).elements()]
        for more, less in (found, reversed(found))
    )
    return [table_diff(table, columns, key, added, removed, limit)] if added or removed else []


def _told(text: bytes) -> str:
    return text.decode(errors="backslashreplace")


def _exact(text: bytes) -> str:
    return text.decode(errors="surrogateescape")


def _shown(value: Any) -> Any:
    """A value that was read as it is, as it is told."""
    return _told(value.encode(errors="surrogateescape")) if isinstance(value, str) else value


def _select(schema: str, table: str, columns: Sequence[str]) -> str:
    """A query for each different row of a table, with the types of its values, and its count."""
    # What a column compares as equal, in its own collation, need not be the same; nor 1 and 1.0.
    listed = [f"{quoted(name)} COLLATE BINARY" for name in columns]
    listed += [f"typeof({quoted(name)})" for name in columns]
    positions = ", ".join(str(number + 1) for number in range(len(listed)))
    return (
        f"SELECT {', '.join(listed)}, count(*) FROM {schema}.{quoted(table)} GROUP BY {positions}"
    )


def _columns(connection: sqlite3.Connection, table: str) -> tuple[list[str], list[int]]:
    """The columns that both databases have, and the positions of those in the primary key."""
    names: dict[str, int] = {}
    for row in connection.execute(f"PRAGMA main.table_info({quoted(table)})"):
        names[row[1]] = row[5]
    others = connection.execute(f"PRAGMA before.table_info({quoted(table)})").fetchall()
    both = [name for name in names if name in {row[1] for row in others}]
    return both, [index for index, name in enumerate(both) if names[name]]
