"""One line of ``doctor``'s output: the state of something, what was seen, what to do."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from alembic_snapshot.masking import masked


class State(enum.Enum):
    """The state of something: the sign on a line, and the word in JSON."""

    GOOD = ("✓", "good")
    DOUBTFUL = ("!", "doubtful")
    BAD = ("✗", "bad")


@dataclass(frozen=True)
class Finding:
    """The state of one thing, and what was seen; without a hint there is nothing to do.

    Passwords that are known are masked in both.
    """

    about: str
    state: State
    seen: str
    hint: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "seen", masked(self.seen))
        object.__setattr__(self, "hint", self.hint and masked(self.hint))

    def __str__(self) -> str:
        line = f"{self.state.value[0]} {self.about}: {self.seen}"
        return f"{line}\n    hint: {self.hint}" if self.hint else line

    def to_record(self) -> dict[str, Any]:
        """The finding as JSON."""
        return {
            "about": self.about,
            "state": self.state.value[1],
            "seen": self.seen,
            "hint": self.hint,
        }


def good(about: str, seen: str) -> Finding:
    """All is well."""
    return Finding(about, State.GOOD, seen)


def doubtful(about: str, seen: str, hint: str | None = None) -> Finding:
    """It works, but may not be intended."""
    return Finding(about, State.DOUBTFUL, seen, hint)


def bad(about: str, seen: str, hint: str | None = None) -> Finding:
    """Tests will not work."""
    return Finding(about, State.BAD, seen, hint)


def has_bad(findings: Sequence[Finding]) -> bool:
    """Whether there is a finding with which tests will not work."""
    return any(finding.state is State.BAD for finding in findings)
