"""The SQL that ``env.py`` runs by itself, beside the migrations: views, grants, a schema.

It comes from modules that ``env.py`` imports, which are no input of any layer. So it is compared
with what ``env.py`` ran before, as its options are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from alembic_snapshot.builder.options import spelled
from alembic_snapshot.database.recording import is_reading
from alembic_snapshot.store.manifest import ENV_SQL


class EnvSql:
    """Notes each statement that writes, while ``env.py`` runs and no migrations do."""

    def __init__(self) -> None:
        # In their order, without values: env.py runs once for each state that is kept.
        self._statements: dict[str, None] = {}
        self._is_heard = self._has_run = False

    def listen(self) -> None:
        """Hear of the statements of all engines; it can't be undone."""
        sa.event.listen(sa.Engine, "before_cursor_execute", self._on_statement)

    @contextlib.contextmanager
    def heard(self, *, is_heard: bool = True) -> Iterator[None]:
        """While ``env.py`` runs for an upgrade; within it, what is not heard are migrations."""
        before, self._is_heard = self._is_heard, is_heard
        self._has_run |= is_heard
        try:
            yield
        finally:
            self._is_heard = before

    def handed_over(self) -> dict[str, str]:
        """The statements as one of the values of ``env.py``; none if it did not run."""
        return {ENV_SQL: "\n".join(self._statements)} if self._has_run else {}

    def _on_statement(
        self, _conn: Any, _cursor: Any, statement: str, parameters: Any, *_context: Any
    ) -> None:
        if self._is_heard and not is_reading(statement):
            self._statements[f"{statement} {spelled(parameters)}"] = None
