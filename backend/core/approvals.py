"""Requests to a human in the loop, and their decisions."""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypedDict

from sqlalchemy import ColumnElement, Update, select, update
from sqlalchemy.orm import Session

from core.clock import Clock
from core.database import current, flushed
from core.errors import ActionNotApprovable, AlreadyDecided, ApprovalExpired, NotFound
from core.maturity import AgentStatus, complexity_of
from core.models import AgentRegistry, ApprovalStatus, HITLAction
from core.people import require_trusted
from core.permission import decide_action, may_perform
from core.registry import find_by_id
from core.rollbacks import survive_rollback

DEFAULT_TIME_TO_DECIDE = timedelta(hours=24)


@dataclass(frozen=True)
class Request:
    """What a human is asked: may the agent do this, and what made it want to?"""

    action_type: str
    params: dict[str, Any]
    reason: str
    thought: str
    execution_id: str | None
    time_to_decide: timedelta


class ApprovalView(TypedDict):
    """How a request for approval stands."""

    action_id: str
    status: ApprovalStatus
    reviewer_id: str | None
    reviewed_at: datetime | None
    expires_at: datetime


class ApprovalDesk:
    """Files, decides and watches the requests of one workspace."""

    def __init__(self, db: Session, workspace_id: str, clock: Clock) -> None:
        self._db = db
        self._workspace_id = workspace_id
        self._clock = clock

    def file(self, agent_id: str, request: Request) -> str:
        """File an agent's request and return its id."""
        now = self._clock()
        action = HITLAction(
            workspace_id=self._workspace_id,
            agent_id=agent_id,
            execution_id=request.execution_id,
            action_type=request.action_type,
            params=request.params,
            reason=request.reason,
            thought=request.thought,
            requested_at=now,
            expires_at=now + request.time_to_decide,
        )
        self._db.add(action)
        self._db.flush()
        return action.id

    def decide(self, action_id: str, approved: bool, reviewer_id: str) -> ApprovalView:
        """Decide a pending request, as the one statement that only one reviewer can win.

        Raises:
            NotFound: the workspace has no such request, or no such reviewer.
            NotAllowed: the reviewer's word about the agent does not count.
            ActionNotApprovable: it is approved, and the agent may not perform the action now.
            AlreadyDecided: somebody else was first.
            ApprovalExpired: the deadline has passed.
        """
        action = self._find(action_id)
        agent = find_by_id(self._db, self._workspace_id, action.agent_id)
        require_trusted(self._db, agent, reviewer_id, f"decide on {action.action_type!r}")
        now = self._clock()
        status = ApprovalStatus.APPROVED if approved else ApprovalStatus.REJECTED
        won = self._settle(
            action_id,
            HITLAction.expires_at > now,
            *([_agent_may(action)] if approved else []),
            status=status,
            reviewer_id=reviewer_id,
            reviewed_at=now,
        )
        # The deadline may have passed while the row was waited for.
        now = self._clock()
        view = self.look(action_id, now)
        if won and now < view["expires_at"]:
            return view
        if won:
            flushed(self._db).execute(_expired(HITLAction.id == action_id))
        if won or view["status"] == ApprovalStatus.EXPIRED:
            # Whatever the caller's transaction does with the error.
            pending = HITLAction.status == ApprovalStatus.PENDING
            survive_rollback(self._db, _expired(HITLAction.id == action_id, pending))
            raise ApprovalExpired(action_id, view["expires_at"])
        if view["status"] == ApprovalStatus.PENDING:
            raise self._refused(action)
        raise AlreadyDecided("approval", action_id, view["status"])

    def look(self, action_id: str, now: datetime) -> ApprovalView:
        """How a request stands at `now`; one that is past its deadline becomes expired."""
        view = self._view(action_id)
        if view["status"] == ApprovalStatus.PENDING and view["expires_at"] <= now:
            self._settle(action_id, HITLAction.expires_at <= now, status=ApprovalStatus.EXPIRED)
            view = self._view(action_id)
        return view

    def withdraw(self, action_id: str) -> ApprovalView:
        """Let a pending request expire now; a decision that was made stays.

        Raises:
            NotFound: the workspace has no such request.
        """
        self._find(action_id)
        self._settle(action_id, status=ApprovalStatus.EXPIRED, expires_at=self._clock())
        return self._view(action_id)

    def pending(self) -> list[HITLAction]:
        """The requests that are neither decided nor past their deadline, the most urgent first."""
        query = select(HITLAction).where(
            HITLAction.workspace_id == self._workspace_id,
            HITLAction.status == ApprovalStatus.PENDING,
            HITLAction.expires_at > self._clock(),
        )
        urgent = (HITLAction.expires_at, HITLAction.requested_at, HITLAction.id)
        return list(current(self._db, query.order_by(*urgent)))

    async def wait(self, action_id: str, clock: Clock, poll_interval: float) -> ApprovalView:
        """Look at a request every `poll_interval` seconds until it is no longer pending.

        A unit of work: it commits before each look, because nobody can decide a request that is
        not committed, and after, because no transaction should be open while a human thinks.
        """
        self._db.commit()
        while True:
            view = self.look(action_id, clock())
            self._db.commit()
            if view["status"] != ApprovalStatus.PENDING:
                return view
            await asyncio.sleep(poll_interval)

    def _settle(self, action_id: str, *criteria: Any, **values: Any) -> bool:
        statement = (
            update(HITLAction)
            .where(
                HITLAction.id == action_id,
                HITLAction.status == ApprovalStatus.PENDING,
                *criteria,
            )
            .values(**values)
            .returning(HITLAction.id)
            .execution_options(synchronize_session="fetch")
        )
        return flushed(self._db).execute(statement).first() is not None

    def _refused(self, action: HITLAction) -> ActionNotApprovable:
        """Why a request stays pending: its agent was stopped or demoted after it had asked."""
        columns = (AgentRegistry.status, AgentRegistry.confidence_score)
        of_agent = select(*columns).where(AgentRegistry.id == action.agent_id)
        status, score = flushed(self._db).execute(of_agent).one()
        reason = decide_action(status, score, action.action_type)["reason"]
        return ActionNotApprovable(action.agent_id, action.action_type, reason, action.id)

    def _find(self, action_id: str) -> HITLAction:
        action = flushed(self._db).scalar(
            select(HITLAction).where(
                HITLAction.id == action_id, HITLAction.workspace_id == self._workspace_id
            )
        )
        if action is None:
            raise NotFound("approval", action_id)
        return action

    def _view(self, action_id: str) -> ApprovalView:
        # Columns, not the entity: the identity map would answer with what it saw before.
        row = (
            flushed(self._db)
            .execute(
                select(
                    HITLAction.status,
                    HITLAction.reviewer_id,
                    HITLAction.reviewed_at,
                    HITLAction.expires_at,
                ).where(HITLAction.id == action_id, HITLAction.workspace_id == self._workspace_id)
            )
            .one_or_none()
        )
        if row is None:
            raise NotFound("approval", action_id)
        return ApprovalView(
            action_id=action_id,
            status=row.status,
            reviewer_id=row.reviewer_id,
            reviewed_at=row.reviewed_at,
            expires_at=row.expires_at,
        )


def _agent_may(action: HITLAction) -> ColumnElement[bool]:
    """Whether the agent may perform the action, judged in the statement that approves it."""
    complexity = complexity_of(action.action_type)
    mature = [status for status in AgentStatus if may_perform(status, complexity)]
    agent = select(AgentRegistry.id).where(AgentRegistry.id == action.agent_id)
    return agent.where(AgentRegistry.status.in_(mature)).exists()


def _expired(*criteria: Any) -> Update:
    return (
        update(HITLAction)
        .where(*criteria)
        .values(status=ApprovalStatus.EXPIRED, reviewer_id=None, reviewed_at=None)
        .execution_options(synchronize_session="fetch")
    )
