"""How far an agent has come, and how far an action needs it to have come."""

import operator
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from enum import StrEnum

from core.errors import NotOnLadder


def _by_rung(compare: Callable[[int, int], bool]) -> Callable[["AgentStatus", str], bool]:
    def compared(one: "AgentStatus", other: str) -> bool:
        return compare(_rung(one), _rung(other))

    return compared


class AgentStatus(StrEnum):
    """Where an agent stands: a rung of the ladder, or off it.

    A status is less than another if its rung is lower: `STUDENT < INTERN`.

    Raises:
        NotOnLadder: one of them is off the ladder, which is neither above nor below.
    """

    STUDENT = "student"
    INTERN = "intern"
    SUPERVISED = "supervised"
    AUTONOMOUS = "autonomous"
    PAUSED = "paused"
    STOPPED = "stopped"
    DEPRECATED = "deprecated"
    DELETED = "deleted"

    __lt__ = _by_rung(operator.lt)
    __le__ = _by_rung(operator.le)
    __gt__ = _by_rung(operator.gt)
    __ge__ = _by_rung(operator.ge)


LADDER = (
    AgentStatus.STUDENT,
    AgentStatus.INTERN,
    AgentStatus.SUPERVISED,
    AgentStatus.AUTONOMOUS,
)


def _rung(status: str) -> int:
    if status not in LADDER:
        raise NotOnLadder(status)
    return LADDER.index(AgentStatus(status))


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
_ALL_BUT_LETTERS = re.compile(r"[\W\d_]+")
_FOREIGN = re.compile(r"[^\w\-.\s]")
_WORD_STARTS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_CASE_CHANGES = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z]{2})(?=[a-z])")


def tokens(action_type: str, separators: re.Pattern[str] = _SEPARATORS) -> frozenset[str]:
    """The words of an action's name, split at `_`, `-`, `.`, space and case changes.

    An acronym may end before its last capital (`HTTPDelete`) or after it (`FILEdelete`): the words
    of both readings count, so that no verb hides behind a spelling.
    """
    spellings = (_marked(action_type, starts) for starts in (_WORD_STARTS, _CASE_CHANGES))
    words = (word.lower() for spelling in spellings for word in separators.split(spelling))
    return frozenset(word for word in words if word)


def _marked(name: str, starts: re.Pattern[str]) -> str:
    """The name with `_` where a word starts by its case, in the letters of any language."""
    cases = "".join("A" if each.isupper() else "a" if each.isalpha() else each for each in name)
    at = {found.start() for found in starts.finditer(cases)}
    return "".join(f"_{each}" if place in at else each for place, each in enumerate(name))


def complexity_of(action_type: str) -> int:
    """How much an action does, 1 (reads) to 4 (critical).

    An override of the whole name wins, then the highest verb among its words; an action without a
    known verb changes something, for all we know. What else stands in a name makes it no less: a
    verb behind it counts (`read_v2delete`), and so does that a name like `list_db:frobnicate` may
    be more than one.
    """
    if action_type in OVERRIDES:
        return OVERRIDES[action_type]
    name = unicodedata.normalize("NFKC", action_type)
    levels = _levels(tokens(name)) or {UNKNOWN_COMPLEXITY}
    levels |= _levels(tokens(name, _ALL_BUT_LETTERS))
    if _FOREIGN.search(name):
        levels.add(UNKNOWN_COMPLEXITY)
    return max(levels)


def _levels(words: Iterable[str]) -> set[int]:
    return {_COMPLEXITY_OF_VERB[word] for word in words if word in _COMPLEXITY_OF_VERB}


def required_status(complexity: int) -> AgentStatus:
    """The least mature status that may perform an action of this complexity."""
    return LADDER[complexity - 1]
