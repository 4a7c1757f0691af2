"""Whether what was built is at the heads: the database's versions, the scripts', and what ran."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from alembic_snapshot.build.process import AttemptFailed
from alembic_snapshot.builder.protocol import Facts
from alembic_snapshot.database.target import Target
from alembic_snapshot.errors import BuildError
from alembic_snapshot.key.layers import Chain, State
from alembic_snapshot.project.alembic_settings import look_deeper
from alembic_snapshot.project.commands import alembic_command
from alembic_snapshot.project.config import Project
from alembic_snapshot.store.manifest import Manifest


class Verified(NamedTuple):
    """The heads in a database that is at the scripts' heads, of ``total`` revisions.

    ``table`` has its versions. ``unchecked`` says why they could not be compared, ``stamped`` how
    many revisions did not run, ``unseen`` how many may have run where nobody saw it.
    """

    table: str
    heads: tuple[str, ...]
    total: int
    stamped: int = 0
    unchecked: str | None = None
    unseen: int = 0

    @property
    def checks(self) -> dict[str, Any]:
        """The part that a manifest's checks keep."""
        return {
            "heads": list(self.heads),
            "revisions": self.total,
            "stamped": self.stamped,
            "unseen": self.unseen,
            "heads_error": self.unchecked,
        }

    @property
    def notes(self) -> list[str]:
        """Warnings for the manifest: revisions that were stamped, or that ran unseen."""
        of = f"of {_revisions(self.total)}"
        if self.stamped:
            return [f"migrate stamped {self.stamped} {of} without running them"]
        if self.unseen:
            return [f"migrate ran {self.unseen} {of} in another process, or not at all"]
        return []


class _Wanted(NamedTuple):
    """The valid content of a version table: all of ``tops``, and nothing else but ``heads``."""

    tops: frozenset[str]
    heads: frozenset[str]
    known: frozenset[str]


@dataclass(frozen=True)
class Verifier:
    """Compares one build's databases with its scripts; Alembic's word is not enough.

    ``report`` is the builder's. ``ancestor`` is the manifest of the snapshot that it was built
    on, if there was one.
    """

    project: Project
    chain: Chain
    report: Facts
    ancestor: Manifest | None = None

    def verify(self, database: Target, state: State) -> Verified:
        """The heads in the database, which are those of the state, and were reached by running.

        Raises:
            AttemptFailed: they are not, or nothing says that they are.
        """
        verified = self.compare(database, state)
        wanted = self._wanted(state)
        if wanted is None:
            return verified
        missing = self._refuse_stamped(database, wanted.known)
        if self.report.is_heard:
            return verified._replace(stamped=missing or verified.stamped)
        return verified._replace(unseen=missing or verified.unseen)

    def compare(self, database: Target, state: State) -> Verified:
        """The heads in the database, which are those of the state.

        Raises:
            AttemptFailed: they are not, or nothing says that they are.
        """
        wanted = self._wanted(state)
        if wanted is not None and not wanted.known:
            raise AttemptFailed(self._no_revisions(), final=True)
        for table in self._tables:
            rows = self._heads(database, *table)
            if not rows or (wanted and not wanted.tops <= set(rows) <= wanted.heads):
                raise self._elsewhere(database, table[0], rows, wanted)
        heads = tuple(sorted(set(self._said(database))))
        first = self._tables[0][0]
        if wanted is None:
            return Verified(first, heads, len(heads), unchecked=self._unreadable())
        if self.chain.opaque and self.ancestor is not None:
            before = self.ancestor.checks
            total, stamped = before.get("revisions", len(heads)), before.get("stamped", 0)
            reason, unseen = before.get("heads_error"), before.get("unseen", 0)
            return Verified(first, heads, total, stamped, reason, unseen)
        return Verified(first, heads, len(wanted.known))

    @property
    def _tables(self) -> list[tuple[str, str | None]]:
        if self.ancestor is not None and not self.report.is_heard:
            return [(self.ancestor.version_table, None)]
        return [(table, schema) for table, schema in self.report.versions]

    def _heads(self, database: Target, table: str, schema: str | None) -> list[str]:
        try:
            return database.heads(table, schema)
        except sqlite3.Error as error:
            message = f"can't read which revisions the database is at, in table {table}: {error}"
            hint = "is it Alembic's own, with its column version_num?"
            raise AttemptFailed(BuildError(message, hint=hint), final=True) from error

    def _wanted(self, state: State) -> _Wanted | None:
        """The valid content of the version table; None where the scripts could not be read."""
        scripts = self.report.scripts or {}
        if not self.chain.opaque:
            self._refuse_other_history(scripts)
            # A head that another revision depends on is in no version table by itself.
            allowed = set(state.heads)
            revisions = scripts.get("revisions")
            if revisions and set(state.revisions) == set(revisions):
                allowed |= set(scripts["heads"])
            return _Wanted(frozenset(state.heads), frozenset(allowed), frozenset(state.revisions))
        if self.ancestor is not None:
            heads = frozenset(self.ancestor.heads)
            return _Wanted(heads, heads, heads)
        if "revisions" not in scripts:
            return None
        return _Wanted(*(frozenset(scripts[name]) for name in ("tops", "heads", "revisions")))

    def _refuse_other_history(self, scripts: Mapping[str, Any]) -> None:
        """Refuse a history that is another one when the scripts run than when they are read."""
        if "moved" in scripts:
            places = ", ".join(scripts["moved"])
            error = BuildError(
                f"env.py looks for revisions in other places than its settings name: {places}",
                hint="name them in version_locations, beside script_location",
            )
            raise AttemptFailed(error, final=True)
        if "revisions" not in scripts:
            return
        unread = sorted(set(scripts["revisions"]).difference(self.chain.revisions))
        if unread and not self.chain.is_below:
            error = BuildError(
                f"Alembic loads revision {_listed(unread)}, and no script of it is found by "
                "reading the version locations",
                hint="move its script to a file of its own in a version location",
            )
            raise AttemptFailed(error, final=True)
        for name, layer in self.chain.revisions.items():
            parents = scripts["revisions"].get(name)
            if parents is None or set(parents) != set(layer.parents):
                ran = "is not there" if parents is None else f"stands on {_listed(parents)}"
                error = BuildError(
                    f"revision {name} {ran} when it runs; reading its file says that it stands "
                    f"on {_listed(layer.parents)}",
                    hint="assign revision, down_revision and depends_on once, as plain text",
                )
                raise AttemptFailed(error, final=True)

    def _refuse_stamped(self, database: Target, known: Collection[str]) -> int:
        """How many revisions are stamped and did not run. It is an error if ``env.py`` does so."""
        missing = set(known).difference(self.report.applied)
        if self.ancestor is not None:
            # Of a chain without revisions nothing more is to run.
            missing = missing.intersection(self.chain.revisions).difference(self.ancestor.revisions)
        if not missing:
            return 0
        if self.project.migrate is None:
            error = BuildError(
                f"the snapshot is said to be at {_listed(self._said(database))}, but "
                f"{len(missing)} of {_revisions(len(known))} did not run, with {min(missing)}: "
                "env.py stamped the database, or ran them in another process",
                hint="let env.py run the migrations; if the first tables are not made by Alembic, "
                "set migrate",
            )
            raise AttemptFailed(error, final=False)
        tables = {name.rpartition(".")[2] for name in database.tables()}
        if tables <= {table for table, _ in self._tables}:
            error = BuildError(
                f"{self._migrate} stamped the database at {_listed(self._said(database))}, but "
                "made no table and ran no revision that does",
                hint="let it run the migrations, or make the tables before it stamps",
            )
            raise AttemptFailed(error, final=True)
        return len(missing)

    def _said(self, database: Target) -> list[str]:
        return [head for table in self._tables for head in self._heads(database, *table)]

    def _elsewhere(
        self, database: Target, table: str, revisions: Sequence[str], wanted: _Wanted | None
    ) -> AttemptFailed:
        """The error of a database that is at other revisions than it should be."""
        goal = _listed(sorted(wanted.tops)) if wanted else "the heads"
        at = f"at {', '.join(revisions)}" if revisions else "at no revision"
        unknown = [name for name in revisions if wanted and name not in wanted.known]
        further = [name for name in unknown if name in self.chain.revisions]
        scripts = (self.report.scripts or {}).get("revisions", ())
        if unknown and not further and unknown[0] not in scripts:
            at += f", and no script is revision {unknown[0]}"
        culprit = "; ".join(self.report.redirected)
        if self.project.migrate is None:
            started = "stopped there, or wrote versions by itself"
            culprit = culprit or f"env.py {started if revisions else _NOT_COMMITTED}"
            message = f"alembic upgraded to {goal}, but the snapshot is {at}: {culprit}"
            hint = _FURTHER_HINT if further else _ENV_HINT
            return AttemptFailed(BuildError(message, hint=hint), final=False)
        if not revisions and table not in {n.rpartition(".")[2] for n in database.tables()}:
            at += f", without a table {table}"
            if not self.report.is_heard:
                at += " (which table has the versions is not known: it ran no migrations here)"
        message = f"{self._migrate} ended, and the database is {at}; the scripts are at {goal}"
        hint = "it has to upgrade to the heads, and commit, the database whose URL it is given"
        if culprit:
            hint += f"; {culprit}"
        return AttemptFailed(BuildError(message, hint=hint), final=True)

    @property
    def _migrate(self) -> str:
        return f"migrate's {self.project.migrate}"

    def _unreadable(self) -> str:
        error = (self.report.scripts or {}).get("error", "they were not loaded")
        return f"the scripts can't be read to compare the database's revisions with: {error}"

    def _no_revisions(self) -> BuildError:
        places = ", ".join(map(str, self.project.alembic.version_locations))
        who = "env.py" if self.project.migrate is None else self._migrate
        return BuildError(
            f"there are no revisions: none in {places}, and {who} named none while it ran",
            hint=look_deeper(self.project.alembic)
            or f"make the first with `{alembic_command(self.project, 'revision')}`, or correct "
            "version_locations",
        )


_NOT_COMMITTED = "did not commit, or connects elsewhere"
_FURTHER_HINT = (
    "does an application upgrade by itself when it is made? Write a function migrate(url) that "
    'makes it, and migrate = "module:migrate" in [tool.alembic-snapshot]'
)
_ENV_HINT = (
    'use config.attributes["connection"] or sqlalchemy.url in env.py, or set the '
    "variable it reads in [tool.alembic-snapshot] environment"
)


def _listed(names: Collection[str]) -> str:
    return ", ".join(names) or "none"


def _revisions(count: int) -> str:
    return f"{count} revision{'s' if count != 1 else ''}"
