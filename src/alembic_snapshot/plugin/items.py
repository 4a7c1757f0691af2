"""The checks of a project's migrations as items of a pytest run, with ``--snapshot-check``."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from alembic_snapshot.checks import CHECKS, by_check, of_layer, unchecked
from alembic_snapshot.errors import CheckError, SnapshotError, printable
from alembic_snapshot.plugin.marker import CloneOptions
from alembic_snapshot.plugin.session import session_of
from alembic_snapshot.project.commands import alembic_command
from alembic_snapshot.project.config import DEFAULT

if TYPE_CHECKING:
    import os

    from alembic_snapshot.build.stairway_cache import Finding
    from alembic_snapshot.plugin.database import Database

NAME = "alembic-snapshot"


def check_items(session: pytest.Session) -> Iterator[pytest.Item]:
    """Collect the items of every database of the project, the same in every process.

    Only files are read for it: nothing is built.

    Raises:
        ConfigError: there is no configuration, or it is wrong.
    """
    for name, database in session_of(session.config).databases.items():
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
        revisions = self._revisions()
        if not revisions:
            yield Stairway.from_parent(self, name="stairway", revision=None)
        for revision in revisions:
            name = f"stairway[{revision}]"
            # Given as a whole, pytest finds the brackets in it, and --last-failed the item.
            nodeid = f"{self.nodeid}::{name}"
            yield Stairway.from_parent(self, name=name, nodeid=nodeid, revision=revision)

    def findings(self, check: str) -> list[str]:
        """What one of the checks found in the snapshot, and in its named layers, a line each."""
        project = self._database.project
        spell = functools.partial(alembic_command, project)
        tell = functools.partial(by_check, drift=project.drift, heads=project.heads, spell=spell)
        found = tell(self._checks_of())[check]
        layers = {name: tell(self._checks_of(name))[check] for name in project.layers}
        return found + [line for name in layers for line in of_layer(name, layers[name], found)]

    def unchecked(self, check: str) -> str | None:
        """Why one of the checks of the snapshot, or of a layer, was not made, if it was not."""
        drift = self._database.project.drift
        if reason := unchecked(self._checks_of(), drift=drift).get(check):
            return reason
        for name in self._database.project.layers:
            if reason := unchecked(self._checks_of(name), drift=drift).get(check):
                return f"layer {name}: {reason}"
        return None

    def _checks_of(self, layer: str | None = None) -> Mapping[str, Any]:
        """What was found when the snapshot was checked, or that of a named layer."""
        of_which = (CloneOptions(layer=layer),) if layer else ()
        return self._database.built(*of_which).manifest.checks

    @property
    def ignores_drift(self) -> bool:
        """Whether the project does not want to know of drift."""
        return self._database.project.drift == "ignore"

    def steps(self, revision: str | None) -> list[Finding]:
        """What is wrong with taking a revision, or any of them, up, down and up again."""
        if isinstance(self._found, CheckError):
            return []
        if isinstance(self._found, SnapshotError):
            raise self._found
        return [finding for finding in self._found if revision in (None, finding.revision)]

    def not_tried(self) -> str | None:
        """Why the revisions can't be taken up, down and up again, if they can't."""
        return self._found.message if isinstance(self._found, CheckError) else None

    @functools.cached_property
    def _found(self) -> Sequence[Finding] | SnapshotError:
        """What the stairway found, whichever item is first to ask."""
        from alembic_snapshot.build.stairway import run_stairway

        chosen = [
            item.revision
            for item in self.session.items
            if isinstance(item, Stairway) and item.parent is self and item.revision
        ]
        options = session_of(self.config).options
        try:
            snapshot = self._database.built()
            scratch = options.snapshot_rebuild and snapshot.built
            found = run_stairway(
                self._database.project,
                revisions=chosen or None,
                snapshot=snapshot,
                from_scratch=scratch,
            )
        except SnapshotError as error:
            return error
        return found.findings

    def _revisions(self) -> Sequence[str]:
        """The revisions as the files tell them; none if they don't, which the facts then report."""
        from alembic_snapshot.build.stairway import stairway_revisions

        try:
            return stairway_revisions(self._database.project)
        except SnapshotError:
            return []


class CheckItem(pytest.Item):
    """One check; it fails with what was found, or why nothing was checked, as its report."""

    needs_snapshot = True
    parent: Checks

    def runtest(self) -> None:
        """Raise what was found, if anything was, or that it was not checked."""
        found, reason = self.found(), self.unchecked()
        text = f"not checked, because {reason}"
        if found:
            raise CheckFailed(printable("\n".join([*found, *[text] * (reason is not None)])))
        if self.is_left_out:
            pytest.skip('not checked, because drift = "ignore"')
        if reason is not None and is_allowed(self.config):
            pytest.skip(text)
        if reason is not None:
            raise CheckFailed(printable(text))

    def found(self) -> list[str]:
        """What is wrong, as text."""
        raise NotImplementedError

    def unchecked(self) -> str | None:
        """Why it was not checked, if it was not."""
        raise NotImplementedError

    @property
    def is_left_out(self) -> bool:
        """Whether the project does not want it checked."""
        return False

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
            return session_of(self.config).told_once(error)
        return super().repr_failure(excinfo, *arguments, **options)


class Fact(CheckItem):
    """One of the facts that were found when the snapshot was checked."""

    def found(self) -> list[str]:
        return self.parent.findings(self.name)

    def unchecked(self) -> str | None:
        return self.parent.unchecked(self.name)

    @property
    def is_left_out(self) -> bool:
        return self.name == "drift" and self.parent.ignores_drift


class Stairway(CheckItem):
    """One revision up, down and up again, with the schema compared.

    Without a ``revision``, all of them: which there are is known only when they run.
    """

    def __init__(self, *, revision: str | None, **options: Any):
        super().__init__(**options)
        self.revision = revision

    def found(self) -> list[str]:
        return [str(finding) for finding in self.parent.steps(self.revision)]

    def unchecked(self) -> str | None:
        return self.parent.not_tried()


def is_allowed(config: pytest.Config) -> bool:
    """Whether what can't be checked is skipped instead of failed."""
    return bool(config.option.snapshot_allow_unchecked or config.getini("snapshot_allow_unchecked"))


class CheckFailed(Exception):
    """A check found something; its message is the report."""
