"""Runs that nobody works on any more, because their process died."""

from dataclasses import asdict

from sqlalchemy import select, update

from core import database
from core.clock import utc_now
from core.executions import interrupted
from core.models import AgentExecution, ApprovalStatus, ExecutionStatus, HITLAction
from core.processes import is_dead

REASON = "its process died"


def interrupt_dead_runs(workspace_id: str) -> list[str]:
    """Finalise the workspace's runs whose process was on this machine and is gone.

    They are interrupted, and what they asked people is expired. Of a process of another machine or
    container nothing can be known here: its run stays as it is.
    """
    with database.SessionLocal.begin() as db:
        running = db.execute(
            select(AgentExecution.id, AgentExecution.process).where(
                AgentExecution.workspace_id == workspace_id,
                AgentExecution.status == ExecutionStatus.RUNNING,
                AgentExecution.process.is_not(None),
            )
        ).all()
        dead = [run.id for run in running if is_dead(run.process)]
        if not dead:
            return []
        # It may have been another command that was quicker.
        ended = db.scalars(
            update(AgentExecution)
            .where(AgentExecution.id.in_(dead), AgentExecution.status == ExecutionStatus.RUNNING)
            .values(**asdict(interrupted(REASON)), finished_at=utc_now())
            .returning(AgentExecution.id)
        ).all()
        db.execute(
            update(HITLAction)
            .where(
                HITLAction.workspace_id == workspace_id,
                HITLAction.status == ApprovalStatus.PENDING,
                HITLAction.execution_id.in_(dead),
            )
            .values(status=ApprovalStatus.EXPIRED, expires_at=utc_now())
        )
        return sorted(ended)
