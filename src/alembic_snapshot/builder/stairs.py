"""The child's half of the stairway: every revision up, down and up again, schema compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic.runtime.migration import MigrationStep

from alembic_snapshot import sqlite
from alembic_snapshot.builder.schema import SchemaReader, differences

Report = Callable[..., None]


@dataclass
class Stairs:
    """Climbs some revisions of a database that is at the foot of the first of them.

    Each goes up, down and up again in one run of ``env.py``. Where a downgrade fails the database
    is put back from a copy, and the climb goes on with the next revision.
    """

    target: Path
    version_table: str
    report: Report
    _reader: SchemaReader = field(default_factory=SchemaReader)
    _done: set[str] = field(default_factory=set)
    _trying: tuple[str, str] | None = None

    def steps(self, script: Any, revisions: Sequence[str]) -> Iterator[Any]:
        """The steps to hand to Alembic; each is taken when the one before it is committed."""
        for name in revisions:
            if name in self._done:
                continue
            revision, map_ = script.get_revision(name), script.revision_map
            foot = self._facts()
            yield MigrationStep.upgrade_from_script(map_, revision)
            top = self._facts()
            self._keep()
            self._trying = (name, "downgrade")
            yield MigrationStep.downgrade_from_script(map_, revision)
            self._compare(name, "downgrade", foot)
            self._trying = (name, "second upgrade")
            yield MigrationStep.upgrade_from_script(map_, revision)
            self._compare(name, "second upgrade", top)
            self._trying = None
            self._done.add(name)
            self.report("climbed", revision=name)

    def recover(self, error: BaseException) -> bool:
        """Put the database back to where it was above a step that failed.

        False if it was the first upgrade: then there is nothing to go on with.
        """
        if self._trying is None:
            return False
        (name, kind), self._trying = self._trying, None
        sqlite.remove(self.target)
        self._copy.rename(self.target)
        self._done.add(name)
        what = type(error).__name__ + (f": {error}" if str(error) else "")
        self.report("stair", revision=name, kind=f"{kind} failed", lines=what.splitlines()[:3])
        return True

    @property
    def _copy(self) -> Path:
        return self.target.with_name("landing.db")

    def _keep(self) -> None:
        self._copy.unlink(missing_ok=True)
        sqlite.backup(self.target, self._copy)

    def _facts(self) -> frozenset[str]:
        engine = sa.create_engine(
            sa.URL.create("sqlite", database=str(self.target)), poolclass=sa.NullPool
        )
        with engine.connect() as connection:
            return self._reader.facts(connection, self.version_table)

    def _compare(self, name: str, kind: str, expected: frozenset[str]) -> None:
        lines = differences(expected, self._facts())
        if lines:
            self.report("stair", revision=name, kind=kind, lines=lines)
