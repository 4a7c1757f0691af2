"""The line that ends a run: which snapshot, built or reused and why, how many clones."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from alembic_snapshot.checks import number, shortened, size, told

if TYPE_CHECKING:
    from alembic_snapshot.build.snapshot import Snapshot

_REASONS = 3
_DIGEST_LENGTH = 12
_SHOWN_TESTS = 3
_STAYS = ("snapshots", "resets", "no_reset", "detour", "fixtures_only", "refused")
_FIXTURES_ONLY = "only the fixtures are isolated"
_NO_ENGINE = (
    "[tool.alembic-snapshot] has no engine, so the application's engines are not pointed at clones"
)


@dataclass
class Tally:
    """The numbers of one test process; those of several add up. Bytes and seconds are clones'.

    ``resets`` counts how often a clone was put back, None if that is not tried; ``no_reset`` is
    why it is not, although it was asked for; ``renewed`` counts for which reasons a fresh one was
    needed instead; ``detour`` is why they are put back in another way than the one that fits.
    ``checkpoints`` counts those that were made.
    ``written`` has files that no test may write to, and the tests in which they were written.
    ``findings`` has what was found in snapshots, by the command that lists all of it.
    ``fixtures_only`` says that a database has no engine configured that could be pointed;
    ``unguarded`` counts the connections that went elsewhere with the guard off, in how many tests
    is ``unguarded_tests``, and ``refused`` has
    those that were refused outside of a test, and nobody was told; ``refused_more`` is how many
    more of them there were. ``hidden`` has what was refused in tests that were skipped or failed as
    expected, ``failed`` in those that failed, whatever became of that. ``forked`` has what forked
    processes were refused.
    ``shared`` is what the shared store did for each snapshot.
    """

    clones: int = 0
    checkpoints: int = 0
    size: int = 0
    seconds: float = 0.0
    snapshots: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    findings: dict[str, list[str]] = field(default_factory=dict)
    written: dict[str, list[str]] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    resets: int | None = None
    no_reset: str | None = None
    renewed: dict[str, int] = field(default_factory=dict)
    detour: str | None = None
    fixtures_only: bool = False
    unguarded: int = 0
    unguarded_tests: int = 0
    refused: list[str] = field(default_factory=list)
    refused_more: int = 0
    hidden: dict[str, list[str]] = field(default_factory=dict)
    failed: dict[str, list[str]] = field(default_factory=dict)
    forked: list[str] = field(default_factory=list)
    shared: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, records: Iterable[Mapping[str, Any]]) -> Tally:
        """The sum of what several processes recorded."""
        total = cls()
        for record in records:
            total.add(record)
        return total

    def add(self, record: Mapping[str, Any]) -> None:
        """Add what another process recorded; what a record does not say is nothing."""
        one = Tally(**record)
        self.clones += one.clones
        self.checkpoints += one.checkpoints
        self.size += one.size
        self.seconds += one.seconds
        for digest, state in one.snapshots.items():
            # One worker built what the others then found.
            if self.snapshots.get(digest, "reused") == "reused":
                self.snapshots[digest] = state
        for command, lines in one.findings.items():
            self._find(command, lines)
        for file, tests in one.written.items():
            self.written.setdefault(file, []).extend(tests)
        self.kept += one.kept
        if one.resets is not None:
            self.resets = (self.resets or 0) + one.resets
        self.no_reset = self.no_reset or one.no_reset
        self.detour = self.detour or one.detour
        for reason, count in one.renewed.items():
            self.renewed[reason] = self.renewed.get(reason, 0) + count
        self.fixtures_only |= one.fixtures_only
        self.unguarded += one.unguarded
        self.unguarded_tests += one.unguarded_tests
        self.refused_more += one.refused_more
        self.shared += one.shared
        for mine, others in ((self.hidden, one.hidden), (self.failed, one.failed)):
            for test, errors in others.items():
                _add(mine.setdefault(test, []), errors)
        _add(self.warnings, one.warnings)
        _add(self.forked, one.forked)
        _add(self.refused, one.refused)

    def take(self) -> dict[str, Any]:
        """The numbers since the last time, as far as there are any; they are forgotten here.

        What the process goes by, or has told as often as it may, stays.
        """
        nothing = Tally()
        record = {name: one for name, one in self.to_record().items() if one != vars(nothing)[name]}
        vars(self).update({name: one for name, one in vars(nothing).items() if name not in _STAYS})
        self.resets = None if self.resets is None else 0
        return record

    def note(self, snapshot: Snapshot, command: Callable[[], str]) -> None:
        """Take in a snapshot that was found or built, and what its build warned of.

        ``command`` tells the command that lists all that was found in it.
        """
        from alembic_snapshot.project.commands import alembic_command

        reasons = ", ".join(snapshot.why[:_REASONS]) or "asked to"
        found = "restored from its archive" if snapshot.restored else "reused"
        if snapshot.built:
            self.snapshots[snapshot.digest] = f"built ({reasons})"
        # What this process has built is there for the next who asks.
        self.snapshots.setdefault(snapshot.digest, found)
        _add(self.warnings, snapshot.notes)
        if snapshot.shared is not None:
            self.shared.append(snapshot.shared.to_record())
            _add(self.warnings, snapshot.shared.warnings)
        project, manifest = snapshot.project, snapshot.manifest
        spell = functools.partial(alembic_command, project)
        checked = told(manifest.checks, drift=project.drift, heads=project.heads, spell=spell)
        if lines := [*manifest.warnings, *checked]:
            self._find(command(), lines)

    def _find(self, command: str, lines: Sequence[str]) -> None:
        known = {line for found in self.findings.values() for line in found}
        self.findings.setdefault(command, []).extend(one for one in lines if one not in known)

    def see_written(self, file: str, test: str) -> None:
        """Take in that a file was written, which no test may write to."""
        self.written.setdefault(file, []).append(test)

    def see_hidden(self, test: str, error: str) -> None:
        """Take in what was refused in a test whose outcome does not show it, once."""
        _add(self.hidden.setdefault(test, []), [error])

    def see_failed(self, test: str, error: str) -> None:
        """Take in what was refused in a test that failed, once."""
        _add(self.failed.setdefault(test, []), [error])

    def see_forked(self, error: str) -> None:
        """Take in what a forked process was refused, once."""
        _add(self.forked, [error])

    def warn(self, warning: str) -> None:
        """Take in a warning, once."""
        _add(self.warnings, [warning])

    def to_record(self) -> dict[str, Any]:
        """The numbers as plain values, which a worker can send."""
        return asdict(self)

    def lines(self, reported: Collection[str] = ()) -> list[str]:
        """The summary: a line of numbers, and one for each warning.

        ``reported`` are the tests that a report says failed.
        """
        warnings = list(self.warnings)
        for command, found in self.findings.items():
            warnings += shortened(found, command)
        warnings += [f"something caught this outside of a test: {line}" for line in self.refused]
        if self.refused_more:
            warnings.append(f"something caught {self.refused_more} more of these")
        warnings += self._forked()
        warnings += _refused(self.hidden, "was skipped, or failed as expected")
        gone = {test: errors for test, errors in self.failed.items() if test not in reported}
        warnings += _refused(gone, "failed, but not in the end")
        if self.unguarded:
            where = f" in {number(self.unguarded_tests, 'test')}" if self.unguarded_tests else ""
            warnings.append(
                f"{number(self.unguarded, 'connection')} went past the clones{where}, with "
                'guard = "off"'
            )
        for file, tests in sorted(self.written.items()):
            others = len(tests) - _SHOWN_TESTS
            more = [number(others, "other test")] if others > 0 else []
            *most, last = [*tests[:_SHOWN_TESTS], *more]
            named = f"{', '.join(most)} and {last}" if most else last
            warnings.append(
                f"{file} is no clone, and was written while {named} ran, or before: a child "
                "process needs env=db_clone.environ, a raw driver db_clone.path, another engine a "
                "table in [tool.alembic-snapshot.databases]"
            )
        return [
            *self._numbers(),
            *self._shared(),
            *(f"alembic-snapshot: warning: {warning}" for warning in warnings),
        ]

    def _forked(self) -> list[str]:
        """What forked processes were refused: some in full, and how many more there are."""
        shown = self.forked[:_SHOWN_TESTS]
        lines = [f"a forked process was refused this: {line}" for line in shown]
        if self.forked[_SHOWN_TESTS:]:
            others = len(self.forked) - _SHOWN_TESTS
            lines.append(f"forked processes were refused {others} more of these")
        return lines

    def _shared(self) -> list[str]:
        """What the shared store did, and loudly if nothing that was found in it verified."""
        asked = [record for record in self.shared if record["got"] is not None]
        if not asked:
            return []
        got = [record["got"] for record in asked]
        found, verified, rejected, sent = (
            sum(record[name] for record in asked)
            for name in ("found", "verified", "rejected", "sent")
        )
        line = (
            f"alembic-snapshot: shared store {asked[0]['name']}: {number(got.count('hit'), 'hit')}"
        )
        line += f", {got.count('ancestor')} built on, {got.count('miss')} missed"
        line += f", {rejected} rejected; {sent} put there"
        if found and not verified:
            line = line.replace(": ", ": warning: ", 1)
            line += f"; 0 of {found} verified: have the keys changed?"
        return [line]

    def _why_renewed(self) -> str:
        """The reasons that came most often first, with how often."""
        reasons = sorted(self.renewed.items(), key=lambda item: -item[1])
        told = [f"{reason} ({count})" for reason, count in reasons[:_REASONS]]
        others = sum(count for _, count in reasons[_REASONS:])
        return ", ".join([*told, *([f"other reasons ({others})"] if others else [])])

    def _numbers(self) -> list[str]:
        if not self.snapshots:
            return []
        states = ", ".join(f"{d[:_DIGEST_LENGTH]} {s}" for d, s in self.snapshots.items())
        line = f"alembic-snapshot: {states}; {number(self.clones, 'clone')}, {size(self.size)}, "
        line += f"{self.seconds:.2f} s"
        if self.checkpoints:
            line += f", {number(self.checkpoints, 'checkpoint')}"
        if self.no_reset:
            line += f"; fresh clones instead of reset ones: {self.no_reset}"
        elif self.resets is not None:
            line += f"; reset {number(self.resets, 'time')}"
            if self.renewed:
                times = number(sum(self.renewed.values()), "time")
                line += f", and fresh {times}: {self._why_renewed()}"
            if self.detour:
                line += f"; {self.detour}"
        if self.kept:
            line += f"; {len(self.kept)} kept in {_folder_of(self.kept)}"
        only = _FIXTURES_ONLY if self.fixtures_only and self.clones else ""
        return [line, *([f"alembic-snapshot: {only}: {_NO_ENGINE}"] if only else [])]


def _refused(found: Mapping[str, Sequence[str]], what: str) -> list[str]:
    """What was refused in tests that do not show it: some in full, and the names of all."""
    tests = sorted(found)
    lines = [
        f"{test} {what}, and this was refused: {'; '.join(found[test])}"
        for test in tests[:_SHOWN_TESTS]
    ]
    if tests[_SHOWN_TESTS:]:
        lines.append(f"so it was in {', '.join(tests[_SHOWN_TESTS:])}")
    return lines


def _add(lines: list[str], others: Iterable[str]) -> None:
    """Add lines to those that are told once."""
    for line in others:
        if line not in lines:
            lines.append(line)


def _folder_of(paths: Sequence[str]) -> str:
    """The folder that all of them are in."""
    folders = [os.path.dirname(path) for path in paths]
    return os.path.dirname(folders[0]) if len(folders) == 1 else os.path.commonpath(folders)
