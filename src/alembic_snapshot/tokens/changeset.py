"""What a test did to its database, as plain values that can travel, and how they are spelled.

Nothing in here runs or opens anything. A record that came from elsewhere is taken apart strictly:
what is not as :meth:`Changeset.to_record` writes it is refused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

KINDS = ("type", "sequence", "table", "column", "constraint", "index", "view", "trigger")
# Characters of hashes: of one table's rows, and of a whole database.
TABLE_HASH, WHOLE_HASH = 10, 32
_INTEGER = 1 << 63


class NotCarried(Exception):
    """Why a database can't travel, as one clause."""


class RawText(bytes):
    """Text that is no UTF-8."""


class SchemaObject(NamedTuple):
    """One object of a schema: its kind, its name, the table that it is of, and what defines it."""

    kind: str
    name: str
    table: str
    definition: str


class RowChanges(NamedTuple):
    """The rows of one table that differ.

    The first ``key`` columns identify a row. ``removed`` are keys, ``added`` whole rows; what was
    changed is in both.
    """

    columns: tuple[str, ...]
    key: int
    removed: Sequence[tuple[Any, ...]]
    added: Sequence[tuple[Any, ...]]


class Fingerprint(NamedTuple):
    """A hash of a database's schema and rows, and a short one of each table that has rows."""

    whole: str
    tables: Mapping[str, str]


@dataclass(frozen=True)
class Changeset:
    """How a database differs from its snapshot: objects, rows by table, counters, settings.

    ``dropped`` are pairs of kind and name; what was changed is in ``created``, too. ``counters``
    are the values from which keys are counted on, by name.
    """

    dropped: Sequence[tuple[str, str]] = ()
    created: Sequence[SchemaObject] = ()
    rows: Mapping[str, RowChanges] = field(default_factory=dict)
    counters: Mapping[str, tuple[int, bool]] = field(default_factory=dict)
    settings: Mapping[str, int] = field(default_factory=dict)

    def to_record(self) -> dict[str, Any]:
        """The changes as JSON, without what is empty."""
        record = {
            "dropped": [list(one) for one in self.dropped],
            "created": [list(one) for one in self.created],
            "rows": {
                table: {
                    "columns": list(changes.columns),
                    "key": changes.key,
                    "removed": [[*map(to_json, row)] for row in changes.removed],
                    "added": [[*map(to_json, row)] for row in changes.added],
                }
                for table, changes in self.rows.items()
            },
            "counters": {name: list(value) for name, value in self.counters.items()},
            "settings": dict(self.settings),
        }
        return {name: value for name, value in record.items() if value}

    @classmethod
    def from_record(cls, record: Any) -> Changeset:
        """The changes that JSON describes.

        Raises:
            ValueError: it is none of them.
        """
        known = {"dropped": list, "created": list, "rows": dict, "counters": dict, "settings": dict}
        found = {name: kind() for name, kind in known.items()} | a_dict(record)
        if found.keys() != known.keys():
            raise ValueError("unknown parts of a difference")
        return cls(
            dropped=[(a_kind(kind), a_name(name)) for kind, name in a_list(found["dropped"], 2)],
            created=[
                SchemaObject(a_kind(kind), a_name(name), a_name(table), a_name(definition))
                for kind, name, table, definition in a_list(found["created"], 4)
            ],
            rows={a_name(t): _row_changes(one) for t, one in a_dict(found["rows"]).items()},
            counters={
                a_name(name): _counter(value) for name, value in a_dict(found["counters"]).items()
            },
            settings={a_name(name): an_int(one) for name, one in a_dict(found["settings"]).items()},
        )


def _row_changes(record: Any) -> RowChanges:
    found = a_dict(record)
    if found.keys() != {"columns", "key", "removed", "added"}:
        raise ValueError("unknown parts of rows")
    columns = tuple(map(a_name, a_list(found["columns"])))
    key = an_int(found["key"])
    if not 0 < key <= len(columns) or len(set(columns)) != len(columns):
        raise ValueError("columns that can't be")
    return RowChanges(
        columns,
        key,
        [tuple(map(from_json, row)) for row in a_list(found["removed"], key)],
        [tuple(map(from_json, row)) for row in a_list(found["added"], len(columns))],
    )


def _counter(value: Any) -> tuple[int, bool]:
    number, is_called = a_list([value], 2)[0]
    if not isinstance(is_called, bool):
        raise ValueError("a counter that is none")
    return an_int(number), is_called


def to_json(value: Any) -> Any:
    """One value of a row as JSON.

    Raises:
        NotCarried: it is of a type that no database gives.
    """
    if isinstance(value, RawText):
        return {"text": base64.b64encode(value).decode()}
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    if value is None or isinstance(value, str | int | float):
        return value
    raise NotCarried(f"a value is a {type(value).__name__}")


def from_json(value: Any) -> Any:
    """The value that :func:`to_json` spelled.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, bool):
        raise ValueError("a truth value in a row")
    if isinstance(value, str):
        return _whole(value)
    if value is None or isinstance(value, float):
        return value
    if isinstance(value, int):
        return an_int(value)
    if not isinstance(value, dict) or len(value) != 1:
        raise ValueError("a value that is none")
    ((kind, text),) = value.items()
    if kind == "float" and text in ("inf", "-inf"):
        return float(text)
    if kind not in ("bytes", "text") or not isinstance(text, str):
        raise ValueError("a value of an unknown kind")
    try:
        content = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("bytes that are none") from error
    return content if kind == "bytes" else RawText(content)


def hash_of(parts: Iterable[Any]) -> str:
    """A SHA-256 of values in their order, which differs wherever one of them does."""
    found = hashlib.sha256()
    for part in parts:
        found.update(_spelled(part))
    return found.hexdigest()


def _spelled(value: Any) -> bytes:
    if value is None:
        return b"n;"
    if isinstance(value, bool | int):
        return b"i%d;" % value
    if isinstance(value, float):
        # A zero has no sign here.
        return f"f{value + 0.0!r};".encode()
    kind = b"t" if isinstance(value, str | RawText) else b"b"
    content = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else bytes(value)
    return b"%b%d:%b" % (kind, len(content), content)


def a_dict(value: Any) -> dict[str, Any]:
    """The value, which is an object of JSON."""
    if not isinstance(value, dict):
        raise ValueError("something else than an object")
    return value


def a_list(value: Any, length: int | None = None) -> list[Any]:
    """The value, which is a list; with a ``length``, of lists that are so long."""
    if not isinstance(value, list):
        raise ValueError("something else than a list")
    if length is not None and not all(isinstance(e, list) and len(e) == length for e in value):
        raise ValueError("a list of another length")
    return value


def a_text(value: Any) -> str:
    """The value, which is text that can be in SQL."""
    if not isinstance(value, str) or "\0" in value:
        raise ValueError("something else than text")
    return value


def a_name(value: Any) -> str:
    """The value, which is text that a database takes."""
    return _whole(a_text(value))


def _whole(text: str) -> str:
    """The text, which has no half of a character: no database takes one.

    Raises:
        UnicodeEncodeError: it has.
    """
    text.encode()
    return text


def a_kind(value: Any) -> str:
    """The value, which is a kind of object."""
    if value not in KINDS:
        raise ValueError("an unknown kind of object")
    return str(value)


def an_int(value: Any) -> int:
    """The value, which is an integer of 64 bits."""
    if isinstance(value, bool) or not isinstance(value, int) or not -_INTEGER <= value < _INTEGER:
        raise ValueError("something else than an integer")
    return value
