"""The checks of a project's migrations as items of a pytest run, with ``--snapshot-check``."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from alembic_snapshot.checks import CHECKS, by_check
from alembic_snapshot.config import DEFAULT
from alembic_snapshot.errors import SnapshotError
from alembic_snapshot.plugin.run import run_of

if TYPE_CHECKING:
    import os

    from alembic_snapshot.climbs import Stair
    from alembic_snapshot.plugin.lending import Database

NAME = "alembic-snapshot"


def check_items(session: pytest.Session) -> Iterator[pytest.Item]:
    """Collect the items of every database of the project, the same in every process.

    Only files are read for it: nothing is built.

    Raises:
        ConfigError: there is no configuration, or it is wrong.
    """
    runtime = run_of(session.config).runtime()
    for name, database in runtime.databases.items():
        title = NAME if name == DEFAULT else f"{NAME}[{name}]"
        checks = Checks.from_parent(session, name=title, nodeid=title, database=database)
        report = session.ihook.pytest_make_collect_report(collector=checks)
        for item in report.result:
            session.ihook.pytest_itemcollected(item=item)
            yield item
        session.ihook.pytest_collectreport(report=report)


class Checks(pytest.Collector):
    """The checks of one database; what they share is found once a process, and once a run."""

    def __init__(self, *, database: Database, **options: Any):
        super().__init__(**options)
        self._database = database

    def collect(self) -> Iterable[CheckItem]:
        """One head, sound data, no drift, mappers; then each revision up, down and up again."""
        for name in CHECKS:
            yield Fact.from_parent(self, name=name)
        for revision in self._revisions():
            name = f"stairway[{revision}]"
            # Given as a whole, pytest finds the brackets in it, and --last-failed the item.
            nodeid = f"{self.nodeid}::{name}"
            yield Stairway.from_parent(self, name=name, nodeid=nodeid, revision=revision)

    def findings(self, check: str) -> list[str]:
        """What one of the checks of the snapshot found, a line each."""
        project, manifest = self._database.project, self._database.built().manifest
        return by_check(manifest.checks, drift=project.drift, heads=project.heads)[check]

    def stairs(self, revision: str) -> list[Stair]:
        """What is wrong with taking a revision up, down and up again."""
        if isinstance(self._climbed, SnapshotError):
            raise self._climbed
        return [stair for stair in self._climbed if stair.revision == revision]

    @functools.cached_property
    def _climbed(self) -> Sequence[Stair] | SnapshotError:
        """What a climb of all revisions that this run is about found, whichever item is first."""
        from alembic_snapshot.stairway import climb

        chosen = [
            item.revision
            for item in self.session.items
            if isinstance(item, Stairway) and item.parent is self
        ]
        options = run_of(self.config).options
        try:
            snapshot = self._database.built()
            scratch = options.snapshot_rebuild and snapshot.built
            found = climb(
                self._database.project, revisions=chosen, snapshot=snapshot, from_scratch=scratch
            )
        except SnapshotError as error:
            return error
        return found.stairs

    def _revisions(self) -> Sequence[str]:
        """The revisions as the files tell them; none if they don't, which the facts then report."""
        from alembic_snapshot.stairway import climbable

        try:
            return climbable(self._database.project)
        except SnapshotError:
            return []


class CheckItem(pytest.Item):
    """One check; it fails with what was found as its report."""

    needs_snapshot = True
    parent: Checks

    def runtest(self) -> None:
        """Raise what was found, if anything was."""
        found = self.found()
        if found:
            raise CheckFailed("\n".join(found))

    def found(self) -> list[str]:
        """What is wrong, as text."""
        raise NotImplementedError

    def reportinfo(self) -> tuple[os.PathLike[str], None, str]:
        """Where reports say that it is."""
        return self.config.rootpath / self.nodeid.partition("::")[0], None, self.name

    def repr_failure(
        self, excinfo: pytest.ExceptionInfo[BaseException], *arguments: Any, **options: Any
    ) -> Any:
        """The text of what was found; an error's details come with the first item that has it."""
        error = excinfo.value
        if isinstance(error, CheckFailed):
            return str(error)
        if isinstance(error, SnapshotError):
            return run_of(self.config).told_once(error)
        return super().repr_failure(excinfo, *arguments, **options)


class Fact(CheckItem):
    """One of the facts that were found when the snapshot was checked."""

    def found(self) -> list[str]:
        return self.parent.findings(self.name)


class Stairway(CheckItem):
    """One revision up, down and up again, with the schema compared."""

    def __init__(self, *, revision: str, **options: Any):
        super().__init__(**options)
        self.revision = revision

    def found(self) -> list[str]:
        return [str(stair) for stair in self.parent.stairs(self.revision)]


class CheckFailed(Exception):
    """A check found something; its message is the report."""
