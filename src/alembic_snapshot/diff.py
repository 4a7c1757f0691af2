"""What one SQLite database has that another has not: tables, and rows by primary key."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from alembic_snapshot.target import SHOWN_ROWS

Row = tuple[Any, ...]
_SHOWN_CHARACTERS = 40
_PATIENCE = 0.5  # seconds: a failed test may still hold a lock


@dataclass(frozen=True)
class TableDiff:
    """How one table's rows differ. ``changed`` are pairs of before and after, by primary key.

    Each list is cut after ``limit`` rows; the counts are of all.
    """

    name: str
    columns: Sequence[str]
    added: Sequence[Row]
    removed: Sequence[Row]
    changed: Sequence[tuple[Row, Row]]
    counts: tuple[int, int, int]

    def lines(self) -> Iterator[str]:
        """The table's differences as text, values shortened."""
        words = ("added", "removed", "changed")
        counted = [f"{n} {word}" for n, word in zip(self.counts, words, strict=True) if n]
        yield f"{self.name}: {', '.join(counted)}"
        for sign, rows in (("+", self.added), ("-", self.removed)):
            for row in rows:
                yield f"  {sign} {self._shown(row)}"
        for before, after in self.changed:
            yield f"  ~ {self._shown_change(before, after)}"
        hidden = sum(self.counts) - len(self.added) - len(self.removed) - len(self.changed)
        if hidden:
            yield f"  … {hidden} more"

    def _shown(self, row: Row) -> str:
        cells = zip(self.columns, row, strict=True)
        return ", ".join(f"{name}={shortened(value)}" for name, value in cells if value is not None)

    def _shown_change(self, before: Row, after: Row) -> str:
        cells = zip(self.columns, before, after, strict=True)
        parts = [
            f"{name}={shortened(a)} → {shortened(b)}" if a != b else f"{name}={shortened(a)}"
            for index, (name, a, b) in enumerate(cells)
            if a != b or index == 0
        ]
        return ", ".join(parts)


@dataclass(frozen=True)
class Diff:
    """How a database differs from its snapshot: the schema's objects, and the rows by table."""

    schema: Sequence[str]
    tables: Sequence[TableDiff]

    def __bool__(self) -> bool:
        return bool(self.schema or self.tables)

    def __str__(self) -> str:
        lines = [*self.schema, *(line for table in self.tables for line in table.lines())]
        return "\n".join(lines) or "no difference"

    def to_record(self) -> dict[str, Any]:
        """The counts as JSON."""
        words = ("added", "removed", "changed")
        tables = {t.name: dict(zip(words, t.counts, strict=True)) for t in self.tables}
        return {"schema": list(self.schema), "tables": tables}


def compare(before: Path | None, after: Path, limit: int = SHOWN_ROWS) -> Diff:
    """How ``after`` differs from ``before``, or from an empty database; both are opened read-only.

    Raises:
        sqlite3.Error: one of them is no database.
    """
    connection = sqlite3.connect(_uri(after), uri=True, timeout=_PATIENCE)
    try:
        connection.execute("ATTACH ? AS before", (_uri(before) if before else ":memory:",))
        schema = list(_schema_changes(connection))
        tables = (_rows(connection, name, limit) for name in _common(connection))
        return Diff(schema, [table for table in tables if table])
    finally:
        connection.close()


def shortened(value: Any) -> str:
    """A value as a test report shows it: at most 40 characters."""
    text = f"<{len(value)} bytes>" if isinstance(value, bytes) else repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"


def _uri(path: Path) -> str:
    return f"file:{quote(str(path))}?mode=ro"


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
        elif before[name] != after[name]:
            yield f"{name}: defined differently"


def _common(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute(
        "SELECT name FROM main.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' "
        "ESCAPE '\\' AND name IN (SELECT name FROM before.sqlite_master WHERE type = 'table') "
        "AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name"
    )
    return [row[0] for row in rows]


def _rows(connection: sqlite3.Connection, table: str, limit: int) -> TableDiff | None:
    columns, key = _columns(connection, table)
    name, listed = _quoted(table), ", ".join(map(_quoted, columns))
    added, removed = (
        connection.execute(
            f"SELECT {listed} FROM {one}.{name} EXCEPT SELECT {listed} FROM {other}.{name}"
        ).fetchall()
        for one, other in (("main", "before"), ("before", "main"))
    )
    if not added and not removed:
        return None
    by_key = {_key(row, key): row for row in removed} if key else {}
    changed = [(by_key[_key(row, key)], row) for row in added if _key(row, key) in by_key]
    gone, new = {_key(b, key) for b, _ in changed}, {_key(a, key) for _, a in changed}
    added = [row for row in added if not key or _key(row, key) not in new]
    removed = [row for row in removed if not key or _key(row, key) not in gone]
    counts = (len(added), len(removed), len(changed))
    return TableDiff(table, columns, added[:limit], removed[:limit], changed[:limit], counts)


def _columns(connection: sqlite3.Connection, table: str) -> tuple[list[str], list[int]]:
    """The columns that both databases have, and the positions of those in the primary key."""
    names: dict[str, int] = {}
    for row in connection.execute(f"PRAGMA main.table_info({_quoted(table)})"):
        names[row[1]] = row[5]
    others = connection.execute(f"PRAGMA before.table_info({_quoted(table)})").fetchall()
    both = [name for name in names if name in {row[1] for row in others}]
    return both, [index for index, name in enumerate(both) if names[name]]


def _key(row: Row, key: Sequence[int]) -> Row:
    return tuple(row[index] for index in key)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
