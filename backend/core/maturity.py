"""How far an agent has come, and how far an action needs it to have come."""

import re
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum


class AgentStatus(StrEnum):
    """Where an agent stands: a rung of the ladder, or off it."""

    STUDENT = "student"
    INTERN = "intern"
    SUPERVISED = "supervised"
    AUTONOMOUS = "autonomous"
    PAUSED = "paused"
    STOPPED = "stopped"
    DEPRECATED = "deprecated"
    DELETED = "deleted"


LADDER = (
    AgentStatus.STUDENT,
    AgentStatus.INTERN,
    AgentStatus.SUPERVISED,
    AgentStatus.AUTONOMOUS,
)

# From the highest down: the least score that earns each rung above the first.
THRESHOLDS = (
    (AgentStatus.AUTONOMOUS, Decimal("0.90")),
    (AgentStatus.SUPERVISED, Decimal("0.70")),
    (AgentStatus.INTERN, Decimal("0.50")),
)

UNKNOWN_SCORE = Decimal("0.50")

_VERBS = """
1 search read list get fetch view summarize check verify present
2 analyze suggest draft generate recommend propose plan stream browse remember capture
3 create update submit send post schedule upload add edit record forget
4 delete drop execute deploy transfer pay payment approve terminate grant run
"""

VERBS: Mapping[int, frozenset[str]] = {
    int(level): frozenset(verbs)
    for level, *verbs in (line.split() for line in _VERBS.strip().splitlines())
}

# Actions whose name does not say how much they do.
OVERRIDES: Mapping[str, int] = {"find_customer": 1}

UNKNOWN_COMPLEXITY = 3

_COMPLEXITY_OF_VERB = {verb: level for level, verbs in VERBS.items() for verb in verbs}
_SEPARATORS = re.compile(r"[_\-.\s]+")
_WORD_STARTS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_CASE_CHANGES = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z]{2})(?=[a-z])")


def tokens(action_type: str) -> frozenset[str]:
    """The words of an action's name, split at `_`, `-`, `.`, space and case changes.

    An acronym may end before its last capital (`HTTPDelete`) or after it (`FILEdelete`): the words
    of both readings count, so that no verb hides behind a spelling.
    """
    spellings = (_WORD_STARTS.sub("_", action_type), _CASE_CHANGES.sub("_", action_type))
    words = (word.lower() for spelling in spellings for word in _SEPARATORS.split(spelling))
    return frozenset(word for word in words if word)


def complexity_of(action_type: str) -> int:
    """How much an action does, 1 (reads) to 4 (critical).

    An override of the whole name wins, then the highest verb among its words; an action without a
    known verb changes something, for all we know.
    """
    if action_type in OVERRIDES:
        return OVERRIDES[action_type]
    known = [
        _COMPLEXITY_OF_VERB[word] for word in tokens(action_type) if word in _COMPLEXITY_OF_VERB
    ]
    return max(known, default=UNKNOWN_COMPLEXITY)


def required_status(complexity: int) -> AgentStatus:
    """The least mature status that may perform an action of this complexity."""
    return LADDER[complexity - 1]
