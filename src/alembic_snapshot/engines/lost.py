"""What a checkpoint's function wrote and lost, because it closed a session before it committed.

A rollback that is asked for is no loss, nor is what an exception ends: the function knows of both.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from alembic_snapshot.checks import number
from alembic_snapshot.database.recording import FAILED, Step

if TYPE_CHECKING:
    from alembic_snapshot.database.recording import Recording
    from alembic_snapshot.project.callsite import Writer

_WRITING = re.compile(
    r"\s*(?:INSERT|UPDATE|DELETE|REPLACE|MERGE|WITH\b.*\b(?:INSERT|UPDATE|DELETE|MERGE))\b",
    re.IGNORECASE | re.DOTALL,
)
# Functions of SQLAlchemy's with which somebody lets go of work on purpose.
_ON_PURPOSE = ("rollback", "expunge", "expunge_all")
_FRAMES = 40


class LostWork:
    """Hears of it while it is entered. ``writers`` are the lines whose work was rolled back."""

    def __init__(self, recording: Recording):
        self.writers: dict[Writer | None, None] = {}
        self._recording = recording
        self._objects = 0
        # A session holds on to a new object only if something was set on it.
        self._unset: list[Any] = []
        self._heard: list[tuple[str, Any]] = []

    def __enter__(self) -> LostWork:
        self._recording.on_rollback = self._on_rollback
        # What has no ORM has no sessions.
        if "sqlalchemy.orm" in sys.modules:
            from sqlalchemy import event
            from sqlalchemy.orm import Session

            self._heard = [
                ("transient_to_pending", self._on_pending),
                ("pending_to_transient", self._on_transient),
                ("persistent_to_detached", self._on_detached),
            ]
            for name, hear in self._heard:
                event.listen(Session, name, hear)
        return self

    def __exit__(self, *_: object) -> None:
        self._recording.on_rollback = None
        if self._heard:
            from sqlalchemy import event
            from sqlalchemy.orm import Session

            for name, hear in self._heard:
                event.remove(Session, name, hear)

    def objects(self) -> list[str]:
        """The line about objects that sessions had, and never sent."""
        if not self._objects:
            return []
        count = number(self._objects, "object")
        return [f"a session was closed with {count} that it never sent"]

    def _on_rollback(self, steps: Iterable[Step]) -> None:
        steps = list(steps)
        # A transaction in which something failed could not have been committed as it was.
        if any(step.kind == FAILED for step in steps) or _is_on_purpose():
            return
        for step in steps:
            if _WRITING.match(step.statement) and not step.is_autocommit:
                self.writers[step.writer] = None

    def _on_pending(self, _session: Any, instance: Any) -> None:
        from sqlalchemy import inspect

        if not inspect(instance).modified:
            self._unset.append(instance)

    def _on_transient(self, _session: Any, _instance: Any) -> None:
        if not _is_on_purpose():
            self._objects += 1

    def _on_detached(self, _session: Any, instance: Any) -> None:
        from sqlalchemy import inspect

        if inspect(instance).modified and not _is_on_purpose():
            self._objects += 1


def _is_on_purpose() -> bool:
    """Whether somebody asked SQLAlchemy for it, or an exception is on its way."""
    if sys.exc_info()[0] is not None:
        return True
    frame = sys._getframe(1)
    for _ in range(_FRAMES):
        name = frame.f_globals.get("__name__", "")
        if name.startswith("sqlalchemy.") and frame.f_code.co_name in _ON_PURPOSE:
            # Closing a session expunges everything by a function of that name.
            before = frame.f_back
            if before is None or before.f_code.co_name not in ("_close_impl", "close"):
                return True
        if frame.f_back is None:
            return False
        frame = frame.f_back
    return False
