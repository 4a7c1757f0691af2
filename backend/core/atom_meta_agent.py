"""Atom's own agent: it takes a request, reasons, uses tools, and sends others."""

import logging
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import Any, NotRequired, TypedDict

from sqlalchemy import inspect

from core import database, executions, registry
from core.approvals import DEFAULT_TIME_TO_DECIDE
from core.database import new_id
from core.errors import DelegationTooDeep, ModelFailed, NotFound, require_text, said
from core.executions import Ending, Run
from core.gate import Gate
from core.listener import Listener, StepCallback
from core.llm import LLM, LLMClient
from core.maturity import LADDER
from core.models import AgentTriggerMode, ExecutionStatus, User
from core.people import find_user
from core.react import task_prompt
from core.reasoning import ExecutedAction, ReasoningLoop
from core.recovery import count_outcome
from core.tools import ToolContext, ToolRegistry, default_tools

__all__ = ["AgentTriggerMode", "AtomMetaAgent", "ExecutionResult"]

MAX_DEPTH = 5

logger = logging.getLogger(__name__)


class ExecutionResult(TypedDict):
    """How a run ended, and what it did."""

    status: ExecutionStatus
    final_output: str | None
    actions_executed: list[ExecutedAction]
    trigger_mode: AgentTriggerMode
    execution_id: str
    failure_reason: NotRequired[str]


class AtomMetaAgent:
    """Runs requests in a workspace, as the agent `atom_main`, for a user or for nobody.

    It works as the agent with the id `atom_main` if the workspace has one, else as the one of that
    name, and registers one where there is neither.

    Opens sessions of its own, at the time of use. Without an `llm` it asks the model that the
    environment names; without `tools` it has all that Atom comes with. `time_to_decide` is how long
    a human has for an approval, `poll_interval` the seconds between two looks at it.

    Raises:
        NotFound: the user has no id, because it was not saved yet.
    """

    def __init__(
        self,
        workspace_id: str = "default",
        user: User | None = None,
        *,
        llm: LLM | None = None,
        tools: ToolRegistry | None = None,
        time_to_decide: timedelta = DEFAULT_TIME_TO_DECIDE,
        poll_interval: float = 1.0,
    ) -> None:
        self.workspace_id = workspace_id
        self.user_id = None if user is None else _id_of(user)
        self.llm: LLM = LLMClient() if llm is None else llm
        self.tools = default_tools() if tools is None else tools
        self._time_to_decide = time_to_decide
        self._poll_interval = poll_interval

    async def execute(
        self,
        request: str,
        context: Mapping[str, Any] | None = None,
        trigger_mode: AgentTriggerMode = AgentTriggerMode.MANUAL,
        step_callback: StepCallback | None = None,
        execution_id: str | None = None,
    ) -> ExecutionResult:
        """Work on a request until there is an answer, and return it with what was done.

        A failure of the model, a refusal by a human and a lack of progress are endings, not
        exceptions. The run is recorded on every path, and its outcome counted once.

        Args:
            request: what to do, in words.
            context: what the model should know besides.
            trigger_mode: what started the run.
            step_callback: is given a snapshot of each step as it happens, and of each request for
                approval (`kind` is `approval_required`); what it raises is logged.
            execution_id: the run's id, for a caller who must not run a request twice.

        Raises:
            NotFound: there is no such workspace, or the user is not one of it.
            AmbiguousName: several agents are called `atom_main`, and none of them is Atom's own.
            ExecutionExists: there is a run with that id.
            Blank: the request or the id is empty.
            NotShowable: the context can't be written as JSON.
        """
        require_text(request=request)
        task = task_prompt(request, context)
        execution_id = new_id() if execution_id is None else execution_id
        require_text(execution_id=execution_id)
        with database.SessionLocal.begin() as db:
            agent = registry.ensure_atom(db, self.workspace_id)
            if self.user_id is not None:
                find_user(db, self.workspace_id, self.user_id)
            run = Run.of(
                agent,
                execution_id,
                request,
                trigger_mode=trigger_mode,
                user_id=self.user_id,
            )
        return await self._execute(run, task, Listener(step_callback))

    async def _execute(self, run: Run, task: str, listener: Listener) -> ExecutionResult:
        executions.begin(run)
        loop = self._loop(run, listener)
        ending = executions.interrupted("interrupted")
        try:
            ending = await self._reason(run, loop, task)
        except Exception as error:
            ending = _failed(f"broken off by {said(error, repr)}")
            raise
        except BaseException as error:
            # Whoever stopped it, it was not the agent.
            ending = executions.interrupted(f"interrupted by {said(error, repr)}")
            raise
        finally:
            await self._record_execution(run, ending)
        return _result(run, ending, loop.executed)

    async def _reason(self, run: Run, loop: ReasoningLoop, task: str) -> Ending:
        if run.agent_status not in LADDER:
            reason = f"the agent is {run.agent_status} and may do nothing"
            return Ending(ExecutionStatus.REJECTED, failure_reason=reason, counts=False)
        try:
            return await loop.go(task)
        except ModelFailed as error:
            logger.warning("execution %s: %s", run.execution_id, error)
            return _failed(str(error))

    def _loop(self, run: Run, listener: Listener) -> ReasoningLoop:
        tool_context = ToolContext(
            workspace_id=run.workspace_id,
            agent_id=run.agent_id,
            execution_id=run.execution_id,
            tools=self.tools,
            delegate=partial(self._delegate, run, listener),
        )
        gate = Gate(
            listener, time_to_decide=self._time_to_decide, poll_interval=self._poll_interval
        )
        return ReasoningLoop(run, self.llm, tool_context, gate, listener)

    async def _delegate(
        self, parent: Run, listener: Listener, agent_key: str, task: str
    ) -> dict[str, Any]:
        if parent.depth >= MAX_DEPTH:
            raise DelegationTooDeep(parent.depth)
        require_text(task=task)
        with database.SessionLocal() as db:
            agent = registry.find_agent(db, self.workspace_id, agent_key)
            run = Run.of(
                agent,
                new_id(),
                task,
                trigger_mode=AgentTriggerMode.DELEGATED,
                user_id=parent.user_id,
                parent_execution_id=parent.execution_id,
                depth=parent.depth + 1,
            )
        return dict(await self._execute(run, task_prompt(task, None), listener))

    async def _record_execution(self, run: Run, ending: Ending) -> None:
        """Finalise the run's row, then count its outcome, once, if it counts.

        The row is final even if the outcome cannot be counted; that is logged, and leaves the row
        without an `outcome_recorded_at`, for `core.recovery.count_owed_outcomes`.
        """
        executions.finish(run, ending)
        if ending.counts:
            await count_outcome(run.workspace_id, run.agent_id, run.execution_id, ending.status)


def _id_of(user: User) -> str:
    # Its own id may not be there any more, when its session was closed after a commit.
    identity = inspect(user).identity
    key = user.id if identity is None else identity[0]
    # Without an id it would be nobody, whom every workspace lets in.
    if key is None:
        raise NotFound("user", str(user.email))
    return str(key)


def _failed(reason: str) -> Ending:
    return Ending(ExecutionStatus.FAILED, failure_reason=reason)


def _result(run: Run, ending: Ending, executed: list[ExecutedAction]) -> ExecutionResult:
    result = ExecutionResult(
        status=ending.status,
        final_output=ending.final_output,
        actions_executed=executed,
        trigger_mode=run.trigger_mode,
        execution_id=run.execution_id,
    )
    if ending.failure_reason is not None:
        result["failure_reason"] = ending.failure_reason
    return result
