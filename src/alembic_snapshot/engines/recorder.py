"""Hears of every statement on a clone, and keeps it for the report of a test that fails.

Green tests pay for it: so nothing is looked at but what has to be taken while it is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from alembic_snapshot.database.identity import Place
from alembic_snapshot.database.recording import (
    COMMIT,
    EXECUTE,
    FAILED,
    ROLLBACK,
    Recording,
    Step,
    is_reading,
)
from alembic_snapshot.engines.redirect import EngineRedirect, TrackedConnection
from alembic_snapshot.project.callsite import Callsites

if TYPE_CHECKING:
    from sqlalchemy import Connection

_KINDS = {"commit": COMMIT, "rollback": ROLLBACK}


class Recorder:
    """Listens to all engines; ``heard`` is where a connection's info has the place it is on."""

    def __init__(self, redirects: Iterable[EngineRedirect], callsites: Callsites, heard: str):
        self._redirects = redirects
        self._callsites = callsites
        self._heard = heard

    def listen(self, hear: Callable[[Any, str, Callable[..., None]], None]) -> None:
        """Listen by way of ``hear``."""
        from sqlalchemy import Engine

        hear(Engine, "after_cursor_execute", self._on_executed)
        hear(Engine, "handle_error", self._on_error)
        hear(Engine, "commit", lambda connection: self._on_end(connection, COMMIT))
        hear(Engine, "rollback", lambda connection: self._on_end(connection, ROLLBACK))

    def _on_executed(
        self,
        connection: Connection,
        _cursor: Any,
        statement: str,
        parameters: Any,
        _context: Any,
        is_many: bool,
    ) -> None:
        # Of many rows that are inserted by one statement, the values come as those of one.
        is_many = is_many and isinstance(parameters, list)
        self._note(connection, EXECUTE, statement, parameters, is_many)

    def _on_error(self, context: Any) -> None:
        if context.connection is not None and context.statement is not None:
            parameters = context.parameters
            is_many = isinstance(parameters, list)
            self._note(context.connection, FAILED, context.statement, parameters, is_many)

    def _note(
        self, connection: Connection, kind: str, statement: str, parameters: Any, is_many: bool
    ) -> None:
        info = connection.info
        recording = self._recording(info)
        if recording is not None:
            writer = None if is_reading(statement) else self._callsites.writer()
            is_autocommit = connection._is_autocommit_isolation()
            recording.add(
                Step(id(info), kind, statement, parameters, is_many, is_autocommit, writer)
            )

    def _on_end(self, connection: Connection, kind: str) -> None:
        info = connection.info
        recording = self._recording(info)
        if recording is not None and not connection._is_autocommit_isolation():
            recording.end(id(info), kind)

    def _recording(self, info: Any) -> Recording | None:
        tracked: TrackedConnection | None = info.get(TrackedConnection)
        if tracked is not None:
            return tracked.redirect.recording if tracked.clone is not None else None
        place = info.get(self._heard)
        if isinstance(place, Place):
            # An engine of the test's own, on its clone.
            for redirect in self._redirects:
                if redirect.is_at(place):
                    return redirect.recording
        return None
