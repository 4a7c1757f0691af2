"""The differences between two databases: tables, and rows by primary key."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

Row = tuple[Any, ...]
Ending = Callable[["TableDiff", Row, bool], str]
_SHOWN_CHARACTERS = 40
_SAME_CHARACTERS = 10
_SHOWN_VALUE = 120
_SNAPSHOT = "the snapshot"
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?|true|false")


class Bare(str):
    """The text of a number or a boolean, as a server has it: shown as in SQL, without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        # There is no number for NaN, nor for an amount of money.
        return str(self) if _NUMBER.fullmatch(self) else str.__repr__(self)


@dataclass(frozen=True)
class TableDiff:
    """How one table's rows differ. ``changed`` are pairs of before and after, by primary key.

    ``key`` are the primary key's positions in a row. Each list is cut after ``limit`` rows; the
    counts are of all. Where that is not known, ``unknown`` says why, and there is nothing else.
    """

    name: str
    columns: Sequence[str]
    key: Sequence[int]
    added: Sequence[Row]
    removed: Sequence[Row]
    changed: Sequence[tuple[Row, Row]]
    counts: tuple[int, int, int]
    unknown: str = ""

    def lines(self, ending: Ending | None = None) -> Iterator[str]:
        """The table's differences as text, values shortened.

        ``ending`` ends a row's line: it is asked with the table, the row and whether it is gone.
        """
        end = ending or (lambda _table, _row, _is_gone: "")
        words = ("added", "removed", "changed")
        counted = [f"{n} {word}" for n, word in zip(self.counts, words, strict=True) if n]
        yield f"{self.name}: {self.unknown or ', '.join(counted)}"
        for sign, rows in (("+", self.added), ("-", self.removed)):
            for row in rows:
                yield f"  {sign} {self._shown(row)}{end(self, row, sign == '-')}"
        for before, after in self.changed:
            yield f"  ~ {self._shown_change(before, after)}{end(self, after, False)}"
        hidden = sum(self.counts) - len(self.added) - len(self.removed) - len(self.changed)
        if hidden:
            yield f"  … {hidden} more"

    def to_record(self) -> dict[str, Any]:
        """The table's differences as JSON, as :meth:`Diff.to_record` has them."""
        words = ("added", "removed", "changed")
        return {
            **dict(zip(words, [None] * 3 if self.unknown else self.counts, strict=True)),
            "unknown": self.unknown or None,
            "columns": list(self.columns),
            "rows": {
                "added": [_as_json(row) for row in self.added],
                "removed": [_as_json(row) for row in self.removed],
                "changed": [[_as_json(before), _as_json(after)] for before, after in self.changed],
            },
        }

    def _shown(self, row: Row) -> str:
        cells = zip(self.columns, row, strict=True)
        shown = (f"{name}={shortened(value)}" for name, value in cells if value is not None)
        return ", ".join(shown) or "nothing but NULL"

    def _shown_change(self, before: Row, after: Row) -> str:
        cells = zip(self.columns, before, after, strict=True)
        parts = [
            f"{name}={_shown_values(a, b)}" if _are_other(a, b) else f"{name}={shortened(a)}"
            for index, (name, a, b) in enumerate(cells)
            if _are_other(a, b) or index in self.key
        ]
        return ", ".join(parts)


@dataclass(frozen=True)
class Diff:
    """How a database differs from its snapshot: the schema's objects, and the rows by table.

    ``schema`` has a line for all that is no row, settings and counters too.
    """

    schema: Sequence[str]
    tables: Sequence[TableDiff]

    def __bool__(self) -> bool:
        return bool(self.schema or self.tables)

    def __str__(self) -> str:
        return self.text()

    def text(self, ending: Ending | None = None) -> str:
        """The difference as text; ``ending`` is as in :meth:`TableDiff.lines`."""
        lines = [*self.schema, *(line for table in self.tables for line in table.lines(ending))]
        return "\n".join(lines) or "no difference"

    def named(self, before: str) -> Diff:
        """The same, where what was before is no snapshot but ``before``."""
        lines = [
            f"{line.removesuffix(_SNAPSHOT)}{before}" if line.endswith(_SNAPSHOT) else line
            for line in self.schema
        ]
        return replace(self, schema=lines)

    def cut(self, limit: int) -> Diff:
        """The same with so many rows of each kind at most."""
        tables = [
            replace(
                table,
                added=table.added[:limit],
                removed=table.removed[:limit],
                changed=table.changed[:limit],
            )
            for table in self.tables
        ]
        return replace(self, tables=tables)

    def to_record(self) -> dict[str, Any]:
        """The difference as JSON: the counts, and the rows as far as they are listed.

        Bytes are ``{"base64": text}``; a changed row is two, before and after.
        """
        tables = {table.name: table.to_record() for table in self.tables}
        return {"schema": list(self.schema), "tables": tables}


def table_diff(
    name: str,
    columns: Sequence[str],
    key: Sequence[int],
    added: Sequence[Row],
    removed: Sequence[Row],
    limit: int,
) -> TableDiff:
    """A table's difference, from the rows that only one side has; ``key`` are positions in a row.

    A row that was added and removed with the same key was changed. A key with NULL in it, which
    SQLite lets several rows have, is none.
    """
    by_key = {_key(row, key): row for row in removed if has_key(row, key)}
    changed = [(by_key[_key(row, key)], row) for row in added if _key(row, key) in by_key]
    known = {_key(before, key) for before, _ in changed}
    added = [row for row in added if _key(row, key) not in known]
    removed = [row for row in removed if _key(row, key) not in known]
    counts = (len(added), len(removed), len(changed))
    return TableDiff(name, columns, key, added[:limit], removed[:limit], changed[:limit], counts)


def has_key(row: Row, key: Sequence[int]) -> bool:
    """Whether the values at these positions are a key, of which there is one row alone."""
    return bool(key) and None not in _key(row, key)


def value_changes(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """How the values differ that both sides have under the same name, a line each."""
    return [
        f"{name}: {_cut(before[name], _SHOWN_VALUE)} → {_cut(after[name], _SHOWN_VALUE)}"
        for name in sorted(before.keys() & after.keys())
        if before[name] != after[name]
    ]


def unknown_rows(name: str, columns: Sequence[str], why: str) -> TableDiff:
    """Of a table whose rows differ, and how is not known."""
    return TableDiff(name, columns, (), (), (), (), (0, 0, 0), unknown=why)


def shortened(value: Any) -> str:
    """A value as a test report shows it: at most 40 characters."""
    is_long = isinstance(value, bytes) and len(repr(value[:_SHOWN_CHARACTERS])) > _SHOWN_CHARACTERS
    text = f"<{len(value)} bytes>" if is_long else _literal(value)
    return _cut(text, _SHOWN_CHARACTERS)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _literal(value: Any) -> str:
    """A value as SQL has it, on one line."""
    if value is None:
        return "NULL"
    text = repr(value)
    if isinstance(value, str) and "'" in value and not isinstance(value, Bare):
        # Python has a quote in other quotes, or after a stroke.
        inner = text[1:-1].replace("\\'", "'") if text[0] == "'" else text[1:-1]
        return "'" + inner.replace("'", "''") + "'"
    return text


def _shown_values(before: Any, after: Any) -> str:
    """A value before and after; of long texts, the part where they begin to differ."""
    if isinstance(before, str) and isinstance(after, str):
        pairs = enumerate(zip(before, after, strict=False))
        same = next((index for index, (a, b) in pairs if a != b), min(len(before), len(after)))
        start = same - _SAME_CHARACTERS
        if start > 0 and max(len(before), len(after)) > _SHOWN_CHARACTERS:
            before, after = f"…{before[start:]}", f"…{after[start:]}"
    return f"{shortened(before)} → {shortened(after)}"


def _as_json(row: Row) -> list[Any]:
    return [_value_as_json(value) for value in row]


def _value_as_json(value: Any) -> Any:
    if isinstance(value, bytes | memoryview):
        return {"base64": base64.b64encode(value).decode()}
    is_number = isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
    return value if value is None or is_number or isinstance(value, str) else str(value)


def _are_other(before: Any, after: Any) -> bool:
    """Whether two values are not the same: 1 and 1.0 are equal, and are not."""
    return before != after or type(before) is not type(after)


def _key(row: Row, key: Sequence[int]) -> Row:
    return tuple(row[index] for index in key)
