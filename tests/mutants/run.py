"""One mistake: made and tested; and all the tests that caught one, run without any."""

from __future__ import annotations

import difflib
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from .copies import Copy, Outcome
from .guards import Guard
from .mutants import Mutant

GENERATED = ("-m", "not campaign")


class Broken(Exception):
    """Tests fail without any mistake, so that nothing can be said."""


@dataclass(frozen=True)
class Result:
    """What became of one mutant; ``by`` is what noticed it, for who reads, or empty."""

    guard: Guard
    mutant: Mutant
    diff: str
    by: str
    seconds: float
    # The tests that have to pass without the mistake.
    witnesses: tuple[str, ...] = ()
    is_over: bool = False

    @property
    def place(self) -> str:
        return f"{self.mutant.path}:{self.mutant.line} {self.mutant.kind}"

    def __str__(self) -> str:
        word = "caught  " if self.by else "SURVIVED"
        return f"{word} {self.place} {self.by} ({self.seconds:.0f} s)"


def run(guard: Guard, mutant: Mutant, copy: Copy, limit: float) -> Result:
    """Make the mistake in the copy, and run the tests that are to notice it."""
    begun = time.monotonic()
    text = (copy.root / mutant.path).read_text(encoding="utf-8")
    with copy.changed(mutant.path, mutant.code(text)):
        outcome = copy.test(guard.tests, limit, "-x", *GENERATED)
    by, witnesses = _noticed(outcome, guard)
    seconds = time.monotonic() - begun
    diff = _diff(mutant, text)
    return Result(guard, mutant, diff, by, seconds, witnesses, outcome.status is None)


def confirm(results: Collection[Result], copy: Copy, limit: float) -> None:
    """Run every test that has noticed a mistake without it.

    Raises:
        Broken: one fails or does not end: then it says nothing.
    """
    names = list(dict.fromkeys(name for result in results for name in result.witnesses))
    if names:
        _must_pass(copy.test(names, limit * max(1, len(results) // 4), *GENERATED), names)
    for tests in dict.fromkeys(result.guard.tests for result in results if result.is_over):
        _must_pass(copy.test(tests, limit, *GENERATED), tests)


def _must_pass(outcome: Outcome, names: Iterable[str]) -> None:
    if outcome.status is None:
        raise Broken(f"{' '.join(names)} take too long without a mistake: give more with LIMIT=")
    if not outcome.passed:
        end = "\n".join(outcome.output.splitlines()[-40:])
        raise Broken(
            f"tests fail without a mistake, and so their noticing one says nothing:\n{end}"
        )


def _noticed(outcome: Outcome, guard: Guard) -> tuple[str, tuple[str, ...]]:
    if outcome.passed:
        return "", ()
    if outcome.status is None:
        return "time was over", ()
    if outcome.failed:
        return outcome.failed, (outcome.failed,)
    return f"pytest ended with status {outcome.status}", guard.tests[:1]


def _diff(mutant: Mutant, text: str) -> str:
    mutated = mutant.code(text).splitlines()
    lines = list(difflib.unified_diff(text.splitlines(), mutated, lineterm="", n=1))[3:]
    return "\n".join(lines)
