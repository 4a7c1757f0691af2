"""People's corrections of agents, and whose count."""

from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core.database import current, flushed
from core.errors import AlreadyDecided, NotFound, RatingOutOfRange
from core.models import AgentFeedback, AgentRegistry, FeedbackStatus
from core.people import find_user, is_trusted, require_trusted
from core.registry import get_agent
from core.scores import CORRECTION, change_score

RATINGS = range(1, 6)


def pending(db: Session, workspace_id: str) -> list[AgentFeedback]:
    """The corrections that nobody has reviewed yet, the oldest first."""
    query = (
        select(AgentFeedback)
        .join(AgentRegistry, AgentRegistry.id == AgentFeedback.agent_id)
        .where(
            AgentRegistry.workspace_id == workspace_id,
            AgentFeedback.status == FeedbackStatus.PENDING,
        )
        .order_by(AgentFeedback.created_at, AgentFeedback.id)
    )
    return list(current(db, query))


def submit(
    db: Session,
    agent: AgentRegistry,
    user_id: str,
    original_output: str,
    user_correction: str,
    rating: int | None,
) -> AgentFeedback:
    """File a correction; a trusted person's is accepted at once and costs the agent 0.10.

    Raises:
        NotFound: the workspace has no such user.
        RatingOutOfRange: the rating is not from 1 to 5.
    """
    if rating is not None and (type(rating) is not int or rating not in RATINGS):
        raise RatingOutOfRange(rating)
    trusted = is_trusted(find_user(db, agent.workspace_id, user_id), agent)
    feedback = AgentFeedback(
        agent_id=agent.id,
        user_id=user_id,
        original_output=original_output,
        user_correction=user_correction,
        rating=rating,
        status=FeedbackStatus.ACCEPTED if trusted else FeedbackStatus.PENDING,
    )
    db.add(feedback)
    db.flush()
    if trusted:
        change_score(db, agent.id, CORRECTION, off_ladder=True)
    return feedback


def review(
    db: Session,
    workspace_id: str,
    feedback_id: str,
    accepted: bool,
    reviewer_id: str,
    now: datetime,
) -> AgentFeedback:
    """Accept or reject a pending correction, once; an accepted one costs the agent 0.10.

    Raises:
        NotFound: the workspace has no such feedback, or no such reviewer.
        NotAllowed: the reviewer is not trusted.
        AlreadyDecided: it was accepted or rejected before.
    """
    query = select(AgentFeedback).where(AgentFeedback.id == feedback_id)
    feedback = current(db, query).one_or_none()
    agent = None if feedback is None else get_agent(db, workspace_id, feedback.agent_id)
    if feedback is None or agent is None:
        raise NotFound("feedback", feedback_id)
    require_trusted(db, agent, reviewer_id, "review feedback")
    if not _settle(db, feedback_id, accepted, reviewer_id, now):
        status = flushed(db).scalar(
            select(AgentFeedback.status).where(AgentFeedback.id == feedback_id)
        )
        raise AlreadyDecided("feedback", feedback_id, str(status))
    if accepted:
        change_score(db, agent.id, CORRECTION, off_ladder=True)
    return feedback


def _settle(db: Session, feedback_id: str, accepted: bool, reviewer_id: str, now: datetime) -> bool:
    statement = (
        update(AgentFeedback)
        .where(AgentFeedback.id == feedback_id, AgentFeedback.status == FeedbackStatus.PENDING)
        .values(
            status=FeedbackStatus.ACCEPTED if accepted else FeedbackStatus.REJECTED,
            reviewer_id=reviewer_id,
            reviewed_at=now,
        )
        .returning(AgentFeedback.id)
        .execution_options(synchronize_session="fetch")
    )
    return flushed(db).execute(statement).first() is not None
