"""Runs and their steps, as rows; each function is a transaction of its own."""

from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import update

from core import database
from core.clock import utc_now
from core.errors import ExecutionExists
from core.inserts import insert_once
from core.maturity import AgentStatus
from core.models import (
    AgentExecution,
    AgentReasoningStep,
    AgentRegistry,
    AgentTriggerMode,
    ExecutionStatus,
    StepKind,
)
from core.processes import this_process


@dataclass(frozen=True)
class Run:
    """One run of one agent: who, for whom, and how many delegations deep."""

    execution_id: str
    workspace_id: str
    agent_id: str
    agent_name: str
    agent_description: str | None
    agent_status: AgentStatus
    request: str
    trigger_mode: AgentTriggerMode
    user_id: str | None = None
    parent_execution_id: str | None = None
    depth: int = 0

    @classmethod
    def of(cls, agent: AgentRegistry, execution_id: str, request: str, **about: Any) -> "Run":
        """A run of an agent, with what is known of the agent now."""
        return cls(
            execution_id=execution_id,
            workspace_id=agent.workspace_id,
            agent_id=agent.id,
            agent_name=agent.name,
            agent_description=agent.description,
            agent_status=agent.status,
            request=request,
            **about,
        )


@dataclass(frozen=True)
class Step:
    """One turn of a run; `observation` is what came of it, the answer included."""

    step_number: int
    kind: StepKind
    thought: str = ""
    action: str | None = None
    action_input: dict[str, Any] | None = None
    observation: str = ""


@dataclass(frozen=True)
class Ending:
    """How a run ended, and whether that counts: in the agent's score and on the bill."""

    status: ExecutionStatus
    final_output: str | None = None
    failure_reason: str | None = None
    counts: bool = True


def interrupted(reason: str) -> Ending:
    """The ending of a run that was not the agent's to end: it costs neither trust nor money."""
    return Ending(ExecutionStatus.INTERRUPTED, failure_reason=reason, counts=False)


def begin(run: Run) -> None:
    """Record that a run has begun.

    Raises:
        ExecutionExists: another run has its id.
    """
    row = {
        "id": run.execution_id,
        "workspace_id": run.workspace_id,
        "agent_id": run.agent_id,
        "process": this_process(),
        "parent_execution_id": run.parent_execution_id,
        "user_id": run.user_id,
        "request": run.request,
        "trigger_mode": run.trigger_mode,
    }
    with database.SessionLocal.begin() as db:
        if not insert_once(db, AgentExecution, row, [AgentExecution.id]):
            raise ExecutionExists(run.execution_id)


def add_step(run: Run, step: Step) -> None:
    """Record a step."""
    with database.SessionLocal.begin() as db:
        db.add(AgentReasoningStep(execution_id=run.execution_id, **asdict(step)))


def finish(run: Run, ending: Ending) -> None:
    """Record how a run ended."""
    with database.SessionLocal.begin() as db:
        db.execute(
            update(AgentExecution)
            .where(AgentExecution.id == run.execution_id)
            .values(**asdict(ending), finished_at=utc_now())
        )
