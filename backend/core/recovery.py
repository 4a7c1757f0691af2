"""What is owed to runs: an ending where the process died, an outcome that is counted."""

import logging
from dataclasses import asdict

from sqlalchemy import select, update

from core import database
from core.agent_governance_service import AgentGovernanceService
from core.clock import utc_now
from core.executions import interrupted
from core.models import AgentExecution, ApprovalStatus, ExecutionStatus, HITLAction
from core.processes import is_dead

REASON = "its process died"

logger = logging.getLogger(__name__)


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


async def count_outcome(
    workspace_id: str, agent_id: str, execution_id: str, status: ExecutionStatus
) -> bool:
    """Count how a run ended, and say whether this call did.

    What goes wrong is logged. The outcome is then owed: `count_owed_outcomes` tries again.
    """
    success = status is ExecutionStatus.SUCCESS
    try:
        with database.SessionLocal.begin() as db:
            service = AgentGovernanceService(db, workspace_id)
            return await service.record_outcome(agent_id, success, execution_id=execution_id)
    except Exception:
        logger.exception("the outcome of execution %s was not counted", execution_id)
        return False


async def count_owed_outcomes(workspace_id: str) -> list[str]:
    """Count the workspace's runs that ended and should count, and did not yet: the oldest first."""
    with database.SessionLocal() as db:
        owed = db.execute(
            select(AgentExecution.agent_id, AgentExecution.id, AgentExecution.status)
            .where(
                AgentExecution.workspace_id == workspace_id,
                AgentExecution.status != ExecutionStatus.RUNNING,
                AgentExecution.counts,
                AgentExecution.outcome_recorded_at.is_(None),
            )
            .order_by(AgentExecution.started_at, AgentExecution.id)
        ).all()
    return [run.id for run in owed if await count_outcome(workspace_id, *run)]
