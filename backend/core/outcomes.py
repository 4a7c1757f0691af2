"""Counting how runs ended: each once, whoever reports it and however often."""

from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core.database import flushed
from core.errors import ExecutionOfAnother, NotFound, OutcomeContradicted
from core.inserts import insert_once
from core.models import AgentExecution, AgentRegistry, ExecutionStatus


def require_run_of(db: Session, agent: AgentRegistry, execution_id: str) -> None:
    """Raise unless a run is the agent's.

    Raises:
        NotFound: the agent's workspace has no such run.
        ExecutionOfAnother: the run is another agent's.
    """
    columns = (AgentExecution.workspace_id, AgentExecution.agent_id)
    run = (
        flushed(db).execute(select(*columns).where(AgentExecution.id == execution_id)).one_or_none()
    )
    if run is None or run.workspace_id != agent.workspace_id:
        raise NotFound("execution", execution_id)
    if run.agent_id != agent.id:
        raise ExecutionOfAnother(execution_id, agent.id)


def claim_outcome(
    db: Session, agent: AgentRegistry, execution_id: str, success: bool, at: datetime
) -> bool:
    """Claim the right to count a run's outcome: true for the first claim, false for all others.

    Of a run that does not count, because it was refused or interrupted, nobody's claim is true.
    How a run ended that was recorded here is in its row, and nobody can say otherwise.

    A run that was not recorded here, because it happened elsewhere, leaves its row now.

    Raises:
        NotFound: the run is one of another workspace.
        ExecutionOfAnother: the run is another agent's.
        OutcomeContradicted: the run is still running, or ended otherwise.
    """
    if insert_once(db, AgentExecution, _row(agent, execution_id, success, at), [AgentExecution.id]):
        return True
    require_run_of(db, agent, execution_id)
    columns = (AgentExecution.status, AgentExecution.counts, AgentExecution.outcome_recorded_at)
    # Locked, so that what is judged is what is counted; SQLite's is, since the INSERT.
    run = flushed(db).execute(
        select(*columns).where(AgentExecution.id == execution_id).with_for_update()
    )
    status, counts, recorded_at = run.one()
    if recorded_at is not None or not counts:
        return False
    if status == ExecutionStatus.RUNNING or (status == ExecutionStatus.SUCCESS) != success:
        raise OutcomeContradicted(execution_id, status, success)
    flushed(db).execute(
        update(AgentExecution)
        .where(AgentExecution.id == execution_id)
        .values(outcome_recorded_at=at)
    )
    return True


def _row(agent: AgentRegistry, execution_id: str, success: bool, at: datetime) -> dict[str, object]:
    return {
        "id": execution_id,
        "workspace_id": agent.workspace_id,
        "agent_id": agent.id,
        "request": "",
        "status": ExecutionStatus.SUCCESS if success else ExecutionStatus.FAILED,
        "started_at": at,
        "finished_at": at,
        "outcome_recorded_at": at,
    }
