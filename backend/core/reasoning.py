"""The loop of a run: ask the model, read its reply, act, look, and ask again."""

import asyncio
import copy
import inspect
import json
import logging
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict
from typing import Any, TypedDict

from core import executions
from core.errors import ActionRejected, AtomError, ModelFailed, faults, said
from core.executions import Ending, Run, Step
from core.gate import Gate
from core.listener import Listener
from core.llm import LLM
from core.models import ExecutionStatus, StepKind
from core.react import Act, Finish, UnreadableReply, parse, system_prompt, written
from core.replies import readable
from core.tools import Tool, ToolContext
from core.types import storable

MAX_STEPS = 10
MAX_UNREADABLE = 3

logger = logging.getLogger(__name__)


class ExecutedAction(TypedDict):
    """A tool that ran, with what it was given and what it gave back."""

    action: str
    action_input: dict[str, Any]
    observation: str


class ReasoningLoop:
    """Runs one agent on one request; `executed` grows with every tool that ran."""

    def __init__(
        self, run: Run, llm: LLM, context: ToolContext, gate: Gate, listener: Listener
    ) -> None:
        self._run = run
        self._llm = llm
        self._context = context
        self._gate = gate
        self._listener = listener
        self._unreadable = 0
        self.executed: list[ExecutedAction] = []

    async def go(self, task: str) -> Ending:
        """Take steps until there is an answer to `task`, but at most `MAX_STEPS`.

        Raises:
            ModelFailed: the model gave no reply.
        """
        system = system_prompt(
            self._run.agent_name, self._run.agent_description, self._context.tools
        )
        transcript = [task]
        for number in range(1, MAX_STEPS + 1):
            # A run can be cancelled between any two steps, even if nothing in them ever waits.
            await asyncio.sleep(0)
            reply = await self._ask("\n\n".join(transcript), system)
            step, ending = await self._take(number, reply)
            await self._record(step)
            if ending is not None:
                return ending
            transcript += [_retold(step), f"Observation: {step.observation}"]
        return Ending(
            ExecutionStatus.MAX_STEPS_EXCEEDED, failure_reason=f"no answer after {MAX_STEPS} steps"
        )

    async def _ask(self, prompt: str, system: str) -> str:
        try:
            reply = await self._llm.generate_response(storable(prompt), system=storable(system))
            return storable(reply)
        except faults() as error:
            raise ModelFailed(error) from error

    async def _take(self, number: int, reply: str) -> tuple[Step, Ending | None]:
        try:
            turn = parse(reply)
        except UnreadableReply as error:
            return self._not_read(number, reply, error)
        self._unreadable = 0
        if isinstance(turn, Finish):
            step = Step(number, StepKind.FINAL, turn.thought, observation=turn.answer)
            return step, Ending(ExecutionStatus.SUCCESS, final_output=turn.answer)
        return await self._act(number, turn)

    def _not_read(
        self, number: int, reply: str, error: UnreadableReply
    ) -> tuple[Step, Ending | None]:
        self._unreadable += 1
        step = Step(number, StepKind.INVALID, thought=readable(reply), observation=error.problem)
        if self._unreadable < MAX_UNREADABLE:
            return step, None
        reason = f"{MAX_UNREADABLE} replies in a row could not be read: {error.problem}"
        return step, Ending(ExecutionStatus.FAILED, failure_reason=reason)

    async def _act(self, number: int, turn: Act) -> tuple[Step, Ending | None]:
        ending = None
        try:
            observation = await self._observe(turn)
        except ActionRejected as error:
            observation = str(error)
            ending = Ending(ExecutionStatus.REJECTED, failure_reason=observation)
        observation = storable(observation)
        step = Step(
            number, StepKind.ACTION, turn.thought, turn.action, turn.action_input, observation
        )
        return step, ending

    async def _observe(self, turn: Act) -> str:
        tool = self._context.tools.get(turn.action)
        if tool is None:
            names = ", ".join(each.name for each in self._context.tools)
            return f"there is no tool {turn.action!r}; there are: {names}"
        try:
            tool.check(turn.action_input)
        except AtomError as error:
            return str(error)
        refusal = await self._gate.refusal(self._run, turn)
        if refusal is not None:
            return f"refused: {refusal}"
        return await self._use(tool, turn.action_input)

    async def _use(self, tool: Tool, arguments: dict[str, Any]) -> str:
        try:
            # What is recorded is what was asked for, whatever the tool does with its arguments.
            result = tool.function(self._context, **copy.deepcopy(arguments))
            if inspect.isawaitable(result):
                result = await result
        except AtomError as error:
            return f"{tool.name} failed: {said(error)}"
        except faults() as error:
            logger.exception("tool %s failed", tool.name)
            return f"{tool.name} failed: {type(error).__name__}: {said(error)}"
        observation = storable(_shown(tool, result))
        self.executed.append(
            ExecutedAction(action=tool.name, action_input=arguments, observation=observation)
        )
        return observation

    async def _record(self, step: Step) -> None:
        executions.add_step(self._run, step)
        await self._listener.tell(self._run, **asdict(step))


def _shown(tool: Tool, result: object) -> str:
    """A tool's result for the model; one that can't be shown is no reason to do it again."""
    try:
        return json.dumps(result, default=_text, ensure_ascii=False)
    except Exception as error:
        logger.exception("the result of tool %s can't be shown", tool.name)
        return f"{tool.name} is done, but its result can't be shown: {type(error).__name__}"


def _text(value: object) -> str:
    """What a value of a result says of itself, where that is something."""
    if isinstance(value, Iterator | AsyncIterator):
        raise TypeError("nobody has asked it for what it gives")
    return str(value)


def _retold(step: Step) -> str:
    """What the model is shown of its own reply: what was read, or else what was written."""
    if step.action is None:
        return step.thought
    return written(Act(step.thought, step.action, step.action_input or {}))
