"""The language of the loop: what the model is told, and how its replies are read."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from core.errors import AtomError, NotShowable
from core.replies import Reply, take_apart
from core.tools import Tool


class UnreadableReply(AtomError):
    """A reply that is neither an action nor a final answer; `problem` is what to tell the model."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


@dataclass(frozen=True)
class Act:
    """The model wants to use a tool."""

    thought: str
    action: str
    action_input: dict[str, Any]


@dataclass(frozen=True)
class Finish:
    """The model has an answer."""

    thought: str
    answer: str


# As much of a name as a step has room for.
MAX_NAME = 200
# Nesting that whatever handles a step, by recursion, can handle.
MAX_NESTING = 50

FORMAT = """\
Reply in one of two forms and nothing else.

To use a tool:
Thought: why
Action: the tool's name
Action Input: its arguments, as a JSON object

When you have the answer:
Thought: why
Final Answer: the answer

Begin no line with "Observation:": your reply ends there."""

_FENCE = re.compile(r"\A(`{1,3})(?:json)?\s*(?=[\[{])", re.IGNORECASE)
_DECODER = json.JSONDecoder()


def parse(text: str) -> Act | Finish:
    """Read a reply as an action or a final answer.

    Raises:
        UnreadableReply: it is neither, or both.
    """
    reply = take_apart(text)
    if reply.action is None and reply.answer is None:
        raise UnreadableReply(f"the reply has neither an Action nor a Final Answer{_why(reply)}")
    if reply.action is None:
        if not reply.answer:
            raise UnreadableReply("the Final Answer is empty")
        return Finish(reply.thought, reply.answer)
    if reply.answer is not None:
        raise UnreadableReply("the reply has both an Action and a Final Answer: give one")
    if not reply.action:
        raise UnreadableReply("the Action names no tool")
    if len(reply.action) > MAX_NAME:
        raise UnreadableReply("the Action is too long to be a tool's name")
    return Act(reply.thought, reply.action, _arguments(reply.action_input))


def written(turn: Act) -> str:
    """An action in the form that was asked for, and nothing that the model put around it."""
    arguments = json.dumps(turn.action_input, ensure_ascii=False)
    thought = f"Thought: {turn.thought}\n" if turn.thought else ""
    return f"{thought}Action: {turn.action}\nAction Input: {arguments}"


def system_prompt(name: str, description: str | None, tools: Iterable[Tool]) -> str:
    """What an agent is told before its task: who it is, its tools, and how to reply."""
    lines = [
        f"- {tool.name}: {tool.description} Arguments: {json.dumps(tool.parameters)}"
        for tool in tools
    ]
    who = f"You are {name}. {description or ''}".strip()
    return "\n\n".join([who, "Tools:\n" + "\n".join(lines), FORMAT])


def task_prompt(request: str, context: Mapping[str, Any] | None) -> str:
    """The task, as the beginning of the transcript that grows with every step.

    Raises:
        NotShowable: the context can't be written as JSON.
    """
    if not context:
        return f"Task: {request}"
    try:
        about = json.dumps(dict(context), default=str, ensure_ascii=False, allow_nan=False)
    except Exception as error:
        raise NotShowable("context", error) from error
    return f"Task: {request}\nContext: {about}"


def _why(reply: Reply) -> str:
    if reply.unfinished_thinking:
        return ": it ends inside of <think>"
    if reply.cut:
        return " before its Observation: an observation is what a tool gives, never yours to write"
    return ""


def _arguments(text: str | None) -> dict[str, Any]:
    """The JSON object at the start of a text, which may be fenced; no text at all is `{}`."""
    if text is None:
        raise UnreadableReply("the Action is not followed by an Action Input")
    raw = _FENCE.sub("", text)
    if not raw.strip("`* \t\n"):
        return {}
    try:
        arguments, _ = _DECODER.raw_decode(raw)
        # Python reads NaN, 1e999 and half of a surrogate pair, which are no JSON to anybody else.
        json.dumps(arguments, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise UnreadableReply(f"the Action Input is not JSON: {error}") from error
    if not isinstance(arguments, dict):
        raise UnreadableReply("the Action Input is not a JSON object")
    if _is_deeper(arguments, MAX_NESTING):
        raise UnreadableReply(f"the Action Input is nested more than {MAX_NESTING} deep")
    return arguments


def _is_deeper(value: object, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    parts = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(part, levels - 1) for part in parts)
