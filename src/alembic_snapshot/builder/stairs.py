"""The child's half of the stairway: revisions up, down and up again, schema compared."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic.runtime.migration import MigrationStep

from alembic_snapshot.builder.schema import Schema, differences, read_schema
from alembic_snapshot.sqlite import files
from alembic_snapshot.sqlite.files import DatabaseFile
from alembic_snapshot.target import Target

Report = Callable[..., None]


@dataclass
class Stairs:
    """Brings a database up along ``path``; the revisions in ``climbed`` go down and up on the way.

    All of it is one run of ``env.py``. Where a downgrade fails the database is put back, from a
    copy of it above some revision, and the next run goes on from there.
    """

    target: Target
    path: Sequence[str]
    climbed: Collection[str]
    report: Report
    own_work: Callable[..., contextlib.AbstractContextManager[None]]
    _tried: set[str] = field(default_factory=set)
    _applied: int = 0
    _kept: int = 0
    _trying: tuple[str, str] | None = None

    def prepare(self) -> None:
        """Make connections quick, since nobody needs the database afterwards; keep it as it is."""
        if isinstance(self.target, DatabaseFile):
            sa.event.listen(sa.Engine, "connect", _hurry)
        self._keep(0)

    def steps(self, script: Any, context: Any, version_table: str) -> Iterator[Any]:
        """The steps to hand to Alembic; each is taken when the one before it is committed."""
        map_, connection = script.revision_map, context.connection
        reader = read_schema
        if not isinstance(self.target, DatabaseFile):
            from alembic_snapshot.postgres.schema import read_schema as reader

        def schema() -> Schema:
            # The migrations' own connection knows the schema: another would have to parse it.
            with contextlib.closing(connection.connection.cursor()) as cursor:
                return reader(cursor, version_table)

        here: Schema | None = None
        for number in range(self._applied, len(self.path)):
            name = self.path[number]
            revision = script.get_revision(name)
            tries = name in self.climbed and name not in self._tried
            foot, here = (here or schema()) if tries else None, None
            yield MigrationStep.upgrade_from_script(map_, revision)
            self._applied = number + 1
            if foot is None:
                continue
            top = schema()
            if not connection.in_transaction():
                self._keep(number + 1)
            self._trying = (name, "downgrade")
            yield MigrationStep.downgrade_from_script(map_, revision)
            self._compare(name, "downgrade", foot, schema())
            self._trying = (name, "second upgrade")
            yield MigrationStep.upgrade_from_script(map_, revision)
            here = schema()
            self._compare(name, "second upgrade", top, here)
            self._finish(name)

    def recover(self, error: BaseException) -> bool:
        """Put the database back to where it was before a step that failed.

        False if it was a first upgrade: then there is nothing to go on with.
        """
        if self._trying is None:
            return False
        name, kind = self._trying
        with self.own_work():
            if isinstance(self.target, DatabaseFile):
                files.remove(self.target.path)
                shutil.copyfile(self.landing, self.target.path)
            else:
                self.target.start(dataclasses.replace(self.target, name=self.landing))  # type: ignore[type-var]
        self._applied = self._kept
        what = type(error).__name__ + (f": {error}" if str(error) else "")
        self.report("stair", revision=name, kind=f"{kind} failed", lines=what.splitlines()[:3])
        self._finish(name)
        return True

    @property
    def landing(self) -> str:
        """The name of the copy."""
        return f"{self.target.name}{'.' if isinstance(self.target, DatabaseFile) else '_'}landing"

    def _keep(self, applied: int) -> None:
        """Copy the database, with so many revisions of the path applied.

        On a server there can be no copy while the migrations are connected: one is made before
        they begin, and what a failure takes back to there is upgraded again.
        """
        if not isinstance(self.target, DatabaseFile):
            if applied == 0:
                with self.own_work():
                    self.target.save(self.landing)
            return
        path, landing = self.target.path, Path(self.landing)
        if any(side.exists() for side in files.side_files(path)):
            landing.unlink(missing_ok=True)
            with self.own_work(self.landing):
                files.backup(path, landing)
        else:
            path.touch()
            shutil.copyfile(path, landing)
        self._kept = applied

    def _compare(self, name: str, kind: str, expected: Schema, found: Schema) -> None:
        lines = differences(expected, found)
        if lines:
            self.report("stair", revision=name, kind=kind, lines=lines)

    def _finish(self, name: str) -> None:
        self._trying = None
        self._tried.add(name)
        self.report("climbed", revision=name)


def _hurry(connection: Any, _record: Any) -> None:
    with contextlib.closing(connection.cursor()) as cursor:
        # An empty schema is smaller with small pages; where there are tables it has no effect.
        cursor.execute("PRAGMA page_size=512")
        cursor.execute("PRAGMA journal_mode")
        if cursor.fetchone()[0] == "delete":
            cursor.execute("PRAGMA journal_mode=MEMORY")
