"""Whether an agent may do something: the rules, without a database."""

from decimal import Decimal
from enum import StrEnum
from typing import TypedDict

from core.maturity import (
    LADDER,
    UNKNOWN_SCORE,
    VERBS,
    AgentStatus,
    complexity_of,
    required_status,
)

APPROVAL_COMPLEXITY = 3


class GovernanceDecision(TypedDict):
    """What governance says about one action; the same keys on every path."""

    allowed: bool
    reason: str
    agent_status: AgentStatus | None
    action_complexity: int
    required_status: AgentStatus
    requires_human_approval: bool
    confidence: Decimal


class EnforcementStatus(StrEnum):
    """What became of an action that was put before governance."""

    APPROVED = "APPROVED"
    PENDING_APPROVAL = "PENDING_APPROVAL"
    BLOCKED = "BLOCKED"


class Enforcement(TypedDict):
    """Whether to proceed with an action, and the request that was filed if a human decides."""

    proceed: bool
    status: EnforcementStatus
    reason: str
    action_id: str | None


class Capabilities(TypedDict):
    """What an agent may do, by verb."""

    agent_id: str
    agent_status: AgentStatus
    confidence: Decimal
    max_complexity: int
    allowed: list[str]
    needs_approval: list[str]
    forbidden: list[str]


def may_perform(status: AgentStatus | None, complexity: int) -> bool:
    """Whether a status is mature enough; off the ladder nothing is, and no status is not on it."""
    return status in LADDER and status >= required_status(complexity)


def needs_approval(status: AgentStatus | None, complexity: int) -> bool:
    """Whether a human has to agree, even though the agent is mature enough."""
    return status == AgentStatus.SUPERVISED and complexity >= APPROVAL_COMPLEXITY


def decide_action(
    status: AgentStatus | None,
    score: Decimal | None,
    action_type: str,
    require_approval: bool = False,
) -> GovernanceDecision:
    """Judge an action of an agent with this status and score; `None` is an agent that is missing.

    Only an allowed action can need approval: a refusal is not approvable.
    """
    complexity = complexity_of(action_type)
    allowed = may_perform(status, complexity)
    return GovernanceDecision(
        allowed=allowed,
        reason=_reason(status, action_type, complexity, allowed),
        agent_status=status,
        action_complexity=complexity,
        required_status=required_status(complexity),
        requires_human_approval=allowed
        and (require_approval or needs_approval(status, complexity)),
        confidence=UNKNOWN_SCORE if score is None else score,
    )


def capabilities(agent_id: str, status: AgentStatus, score: Decimal | None) -> Capabilities:
    """What an agent may do at once, after approval, and not at all."""
    by_level = {level: sorted(verbs) for level, verbs in VERBS.items()}
    may = [level for level in by_level if may_perform(status, level)]
    ask = [level for level in may if needs_approval(status, level)]
    return Capabilities(
        agent_id=agent_id,
        agent_status=status,
        confidence=UNKNOWN_SCORE if score is None else score,
        max_complexity=max(may, default=0),
        allowed=[verb for level in may if level not in ask for verb in by_level[level]],
        needs_approval=[verb for level in ask for verb in by_level[level]],
        forbidden=[verb for level in by_level if level not in may for verb in by_level[level]],
    )


def _reason(status: AgentStatus | None, action_type: str, complexity: int, allowed: bool) -> str:
    required = required_status(complexity)
    if status is None:
        return f"the agent that asks for {action_type!r} does not exist"
    if status not in LADDER:
        return f"the agent is {status} and may do nothing"
    if allowed:
        return f"{status} agents may perform {action_type!r} (complexity {complexity})"
    return (
        f"insufficient maturity: {action_type!r} (complexity {complexity}) requires {required}, "
        f"the agent is {status}"
    )
