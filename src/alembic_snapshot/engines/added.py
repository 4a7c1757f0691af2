"""Which line gave an object to a session: whatever flushes it later need not be its writer.

Green tests pay for it: what is kept of an object is two references, and it is read only for the
report of a test that failed.
"""

from __future__ import annotations

import uuid
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from alembic_snapshot.project.callsite import Writer

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

# In a connection's info: the session that began on it last.
_SESSION = "alembic_snapshot session"


class Flush:
    """The objects that a session inserted at once, each with the line that added it."""

    def __init__(self) -> None:
        self.added: list[tuple[type[Any], tuple[Any, ...], Writer]] = []
        self._lines: dict[tuple[str, frozenset[tuple[str, str]]], Writer] | None = None

    def line(self, table: str, key: Mapping[str, Any]) -> Writer | None:
        """The line that added the row of a table with that primary key, if it is known."""
        if self._lines is None:
            self._lines = {}
            for kind, values, writer in self.added:
                for name, columns in _tables(kind):
                    # A row is the object's in each of these tables, and a copy of its key.
                    pairs = list(zip(columns, values, strict=True))
                    for spell in (str, _without_hyphens):
                        named = frozenset((column, spell(value)) for column, value in pairs)
                        self._lines[name, named] = writer
        named = frozenset((column.lower(), str(value)) for column, value in key.items())
        return self._lines.get((table, named))


class Added:
    """Listens to all sessions."""

    def __init__(self) -> None:
        self._flushes: weakref.WeakKeyDictionary[Session, Flush] = weakref.WeakKeyDictionary()

    def listen(self, hear: Callable[[Any, str, Callable[..., None]], None]) -> None:
        """Listen by way of ``hear``."""
        from sqlalchemy.orm import Session

        hear(Session, "before_flush", self._on_flush)
        hear(Session, "after_flush_postexec", self._after_flush)

    def begin(self, session: Session, connection: Any) -> None:
        """Note which session is on a connection."""
        connection.info[_SESSION] = weakref.ref(session)

    def flush(self, info: Mapping[Any, Any]) -> Flush | None:
        """What is being flushed on the connection with that ``info``."""
        if not self._flushes or _SESSION not in info:
            return None
        session = info[_SESSION]()
        return None if session is None else self._flushes.get(session)

    def on_sent(self, session: Session, instance: Any, writer: Writer | None) -> None:
        """Note that a session has sent an object, which that line added."""
        flush = self._flushes.get(session)
        if flush is not None and writer is not None:
            # The key's own class is that of the topmost table.
            state = instance._sa_instance_state
            flush.added.append((state.mapper.class_, state.key[1], writer))

    def _on_flush(self, session: Session, _context: Any, _instances: Any) -> None:
        self._flushes[session] = Flush()

    def _after_flush(self, session: Session, _context: Any) -> None:
        self._flushes.pop(session, None)


def _tables(kind: type[Any]) -> list[tuple[str, list[str]]]:
    """The tables of a mapped class, and their columns of its key, in the order of its values."""
    from sqlalchemy import inspect

    mapper = inspect(kind)
    properties = [mapper.get_property_by_column(column) for column in mapper.primary_key]
    found = []
    for table in mapper.tables:
        # An inheriting table's key is a column of the same property.
        names = [
            next((c.name.lower() for c in one.columns if c.table is table), None)
            for one in properties
        ]
        if all(names) and hasattr(table, "fullname"):
            found.append((table.fullname.lower(), [name for name in names if name]))
    return found


def _without_hyphens(value: Any) -> str:
    """As SQLite has a UUID."""
    return value.hex if isinstance(value, uuid.UUID) else str(value)
