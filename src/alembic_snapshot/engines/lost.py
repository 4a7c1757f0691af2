"""What a checkpoint's function wrote and lost, because it closed a session before it committed.

A rollback that is asked for is no loss, nor is what an exception ends: the function knows of both.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from alembic_snapshot.database.recording import FAILED, Step
from alembic_snapshot.database.statements import is_writing
from alembic_snapshot.database.unsent import is_on_purpose

if TYPE_CHECKING:
    from alembic_snapshot.database.recording import Recording
    from alembic_snapshot.project.callsite import Writer


class LostWork:
    """Hears of it while it is entered. ``writers`` are the lines whose work was rolled back."""

    def __init__(self, recording: Recording):
        self.writers: dict[Writer | None, None] = {}
        self._recording = recording

    def __enter__(self) -> LostWork:
        self._recording.on_rollback = self._on_rollback
        return self

    def __exit__(self, *_: object) -> None:
        self._recording.on_rollback = None

    def _on_rollback(self, steps: Iterable[Step]) -> None:
        steps = list(steps)
        # A transaction in which something failed could not have been committed as it was.
        if any(step.kind == FAILED for step in steps) or is_on_purpose():
            return
        for step in steps:
            if is_writing(step.statement) and not step.is_autocommit:
                self.writers[step.writer] = None
