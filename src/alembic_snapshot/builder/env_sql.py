"""The SQL that ``env.py`` runs by itself, beside the migrations: views, grants, a schema.

It comes from modules that ``env.py`` imports, which are no input of any layer. So it is compared
with what ``env.py`` ran before, as its options are.

``env.py`` runs for each state that is kept, and for each comparison. So a statement that can run
once only fails here, as it does where somebody upgrades a second time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from alembic_snapshot.builder.options import spelled
from alembic_snapshot.database.statements import SCHEMA, beginning, is_beside, is_reading
from alembic_snapshot.store.manifest import ENV_SQL

_CURE = (
    "let it say IF NOT EXISTS or OR REPLACE, drop what is there before it, or move it into a "
    "revision"
)


class EnvSql:
    """Notes each statement that writes, while ``env.py`` runs and no migrations do.

    ``is_continued`` says that the database has been through ``env.py`` before this process.
    """

    def __init__(self, *, is_continued: bool) -> None:
        self._is_continued = is_continued
        # In their order, without values: env.py runs once for each state that is kept.
        self._statements: dict[str, None] = {}
        self._is_heard = self._is_env = self._has_run = False
        # Those that did not fail.
        self._done: set[str] = set()

    def listen(self) -> None:
        """Hear of the statements of all engines; it can't be undone."""
        sa.event.listen(sa.Engine, "before_cursor_execute", self._on_statement)
        sa.event.listen(sa.Engine, "after_cursor_execute", self._on_done)

    @contextlib.contextmanager
    def heard(self, *, is_upgrade: bool) -> Iterator[None]:
        """While ``env.py`` runs; only what it runs for an upgrade is handed over."""
        self._has_run |= is_upgrade
        with self._set(is_upgrade, is_env=True):
            yield

    @contextlib.contextmanager
    def unheard(self) -> Iterator[None]:
        """While migrations run, within ``env.py``."""
        with self._set(is_heard=False, is_env=False):
            yield

    @property
    def writes_rows(self) -> bool:
        """Whether a statement may leave more each time that it runs.

        One of DDL leaves the same, or fails, unless there is another one behind it.
        """
        return any(
            ";" in one.rstrip("; \n") or not (is_beside(one) or SCHEMA.match(beginning(one)))
            for one in self._statements
        )

    def why(self, error: BaseException) -> str | None:
        """What to do if it is SQL of ``env.py``'s own that can't run again; None if it is not."""
        statement = statement_of(error)
        if statement is None or is_reading(statement):
            return None
        if statement in self._done:
            return (
                "env.py has run this statement on this database before; it runs each time, in "
                f"production too, where a second alembic upgrade fails as well: {_CURE}"
            )
        if self._is_continued:
            return (
                "env.py has run on this database before; if this statement can run once only, a "
                f"second alembic upgrade fails in production as well: {_CURE}"
            )
        return None

    def handed_over(self) -> dict[str, str]:
        """The statements as one of the values of ``env.py``; none if it did not run."""
        return {ENV_SQL: "\n".join(self._statements)} if self._has_run else {}

    @contextlib.contextmanager
    def _set(self, is_heard: bool, *, is_env: bool) -> Iterator[None]:
        before = self._is_heard, self._is_env
        self._is_heard, self._is_env = is_heard, is_env
        try:
            yield
        finally:
            self._is_heard, self._is_env = before

    def _on_statement(
        self, _conn: Any, _cursor: Any, statement: str, parameters: Any, *_context: Any
    ) -> None:
        if self._is_heard and not is_reading(statement):
            self._statements[f"{statement} {spelled(parameters)}"] = None

    def _on_done(
        self, _conn: Any, _cursor: Any, statement: str, _parameters: Any, *_context: Any
    ) -> None:
        if self._is_env and not is_reading(statement):
            self._done.add(statement)


def statement_of(error: BaseException) -> str | None:
    """The statement that failed, if an error tells it."""
    told = (getattr(one, "statement", None) for one in chain(error))
    return next((statement for statement in told if isinstance(statement, str)), None)


def chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and those that it came from."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__
