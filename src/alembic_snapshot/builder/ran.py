"""The migrations that really ran: their contexts, their scripts, and the revisions that ended."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class _Context(NamedTuple):
    """A run of migrations: where it keeps its versions, and whose scripts they are of."""

    table: str
    schema: str | None
    script: Any


@dataclass
class Ran:
    """The migrations that ran in this process, whoever started them.

    The project's scripts are in ``folder``; ``versions`` are the places that its settings name,
    none if ``env.py`` may name others. Each step goes through ``watched`` before it runs.
    """

    folder: str
    versions: Sequence[str]
    watched: Callable[[Any], Any]
    planned: int = 0
    # In their order, without values.
    _applied: dict[str, None] = field(default_factory=dict)
    _failed: dict[str, BaseException] = field(default_factory=dict)
    _contexts: list[_Context] = field(default_factory=list)
    _is_heard: bool = False
    _caught_by: str | None = None
    _scripts: dict[str, Any] | None = None

    @contextlib.contextmanager
    def heard(self, who: str) -> Iterator[None]:
        """While ``who``, ``env.py`` or ``migrate``, makes the database."""
        self._is_heard = True
        yield
        self._is_heard = False
        self._caught_by = who if self._failed else None

    def note(self, context: Any) -> None:
        """Take in a migration context that is about to run migrations, or to stamp."""
        if not self._is_heard:
            return
        environment = context.environment_context
        script = environment.script if environment is not None else context.script
        run = _Context(context.version_table, context.version_table_schema, script)
        if run not in self._contexts:
            self._contexts.append(run)
        steps = context._migrations_fn
        if steps is not None:
            context._migrations_fn = lambda *given: map(self.watched, steps(*given))

    def ended(self, step: Any, error: BaseException | None = None) -> None:
        """Take in how a step of migrations ended; one that failed may be run again."""
        revision = step.revision.revision
        self._applied.pop(revision, None)
        if error is not None:
            self._failed[revision] = error
        else:
            self._failed.pop(revision, None)
            self._applied.update({revision: None} if step.is_upgrade else {})

    @property
    def caught(self) -> tuple[str, BaseException] | None:
        """The first revision that failed and was not run again, and its error."""
        return next(iter(self._failed.items()), None)

    def read_scripts(self, otherwise: Any) -> None:
        """Keep the history of the scripts that ran, or of ``otherwise`` if none were heard of."""
        script = next((run.script for run in reversed(self._own) if run.script), otherwise)
        now = [str(place) for place in script.version_locations or ()]
        if self.versions and {*map(_real, now)} != {*map(_real, self.versions)}:
            self._scripts = {"moved": now}
        else:
            self._scripts = _history(script)

    def facts(self, configured: tuple[str, str | None]) -> dict[str, Any]:
        """The fields of the report that are about the migrations which ran.

        The version table is the one that they used, or else the ``configured`` one.
        """
        heard = list(dict.fromkeys((run.table, run.schema) for run in self._own))
        return {
            "versions": heard or [configured],
            "is_heard": bool(heard),
            "planned": self.planned,
            "applied": list(self._applied),
            "scripts": self._scripts,
            "caught_by": self._caught_by,
        }

    @property
    def _own(self) -> Sequence[_Context]:
        """The contexts of the project's scripts; all if there are none."""
        own = [run for run in self._contexts if run.script and _is_same(run.script, self.folder)]
        return own or self._contexts


def _history(script: Any) -> dict[str, Any]:
    """The history as Alembic has loaded it: each revision's parents, and the heads.

    ``tops`` are the heads that nothing depends on either: only these are sure to be in a version
    table. Where they can't be loaded, ``error`` says why.
    """
    try:
        return {
            "revisions": {name: sorted(parents) for name, parents in _parents(script)},
            "heads": sorted(script.get_heads()),
            "tops": sorted(script.revision_map._real_heads),
        }
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def _parents(script: Any) -> Iterator[tuple[str, Sequence[str]]]:
    for revision in script.walk_revisions():
        yield revision.revision, revision._all_down_revisions


def _is_same(script: Any, folder: str) -> bool:
    return _real(os.fspath(script.dir)) == _real(folder)


def _real(path: str) -> str:
    return os.path.realpath(path)
