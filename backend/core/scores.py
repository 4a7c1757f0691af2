"""Changing an agent's score and status, each in one statement.

A score is never read, changed in Python and written back: concurrent changes each reach the
database as `score + delta`, and none is lost.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, case, func, literal, or_, update
from sqlalchemy.orm import Session

from core.database import flushed
from core.errors import AgentOffLadder
from core.maturity import LADDER, THRESHOLDS, UNKNOWN_SCORE, AgentStatus
from core.models import AgentRegistry, Score

SUCCESS = Decimal("0.01")
FAILURE = Decimal("-0.02")
CORRECTION = Decimal("-0.10")


def change_score(db: Session, agent_id: str, delta: Decimal, *, off_ladder: bool = False) -> bool:
    """Add `delta` to an agent's score, within 0 and 1, and let its status follow.

    A missing score counts as 0.50. The status never falls below the floor. An agent off the ladder
    keeps its status in any case, and its score unless `off_ladder` is set. Returns whether the
    agent was changed.
    """
    score = _score_after(delta)
    status = case(
        (AgentRegistry.status.not_in(LADDER), AgentRegistry.status),
        else_=_earned(score, AgentRegistry.status_floor),
    )
    statuses = tuple(AgentStatus) if off_ladder else LADDER
    return _update(db, agent_id, statuses, confidence_score=score, status=status)


def promote(db: Session, agent: AgentRegistry, floor: AgentStatus) -> None:
    """Set the floor of an agent on the ladder, and its status to what floor and score say."""
    status = _earned(AgentRegistry.confidence_score, literal(floor, AgentRegistry.status.type))
    _move(db, agent, LADDER, "promote it", status_floor=floor, status=status)


def leave_ladder(
    db: Session, agent: AgentRegistry, origin: Sequence[AgentStatus], to: AgentStatus
) -> None:
    """Give an agent a status off the ladder, if it has one of `origin`."""
    _move(db, agent, origin, f"make it {to}", status=to)


def rejoin_ladder(db: Session, agent: AgentRegistry, origin: AgentStatus) -> None:
    """Give an agent that is `origin` the status that its floor and score say."""
    status = _earned(AgentRegistry.confidence_score, AgentRegistry.status_floor)
    _move(db, agent, (origin,), "resume it", status=status)


def _move(
    db: Session,
    agent: AgentRegistry,
    origin: Sequence[AgentStatus],
    deed: str,
    **values: Any,
) -> None:
    moved = _update(db, agent.id, origin, **values)
    db.refresh(agent)
    if not moved:
        raise AgentOffLadder(agent.id, agent.status, deed)


def _update(db: Session, agent_id: str, statuses: Sequence[AgentStatus], **values: Any) -> bool:
    statement = (
        update(AgentRegistry)
        .where(AgentRegistry.id == agent_id, AgentRegistry.status.in_(statuses))
        .values(**values)
        .returning(AgentRegistry.id)
        .execution_options(synchronize_session="fetch")
    )
    return flushed(db).execute(statement).first() is not None


def _score_after(delta: Decimal) -> ColumnElement[Any]:
    zero, one = literal(Decimal(0), Score), literal(Decimal(1), Score)
    score = func.coalesce(AgentRegistry.confidence_score, literal(UNKNOWN_SCORE, Score))
    changed = score + literal(delta, Score)
    return case((changed < zero, zero), (changed > one, one), else_=changed)


def _earned(score: Any, floor: Any) -> ColumnElement[Any]:
    # A score that is NULL, before the first outcome, has earned nothing.
    kind = AgentRegistry.status.type
    return case(
        *(
            (or_(score >= literal(least, Score), floor == status), literal(status, kind))
            for status, least in THRESHOLDS
        ),
        else_=literal(AgentStatus.STUDENT, kind),
    )
