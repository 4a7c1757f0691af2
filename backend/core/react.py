"""The language of the loop: what the model is told, and how its replies are read."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from core.errors import AtomError
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
Final Answer: the answer"""

_THOUGHT = re.compile(r"^\s*Thought:[ \t]*", re.IGNORECASE)
_ACTION = re.compile(r"^[ \t]*Action:[ \t]*(.*)$", re.IGNORECASE | re.MULTILINE)
_INPUT = re.compile(r"\s*^[ \t]*Action Input:\s*", re.IGNORECASE | re.MULTILINE)
_FINAL = re.compile(r"^[ \t]*Final Answer:", re.IGNORECASE | re.MULTILINE)
_FENCE = re.compile(r"\A```(?:json)?\s*\n(.*?)\n?```", re.DOTALL)


def parse(reply: str) -> Act | Finish:
    """Read a reply as an action or a final answer.

    Raises:
        UnreadableReply: it is neither, or both.
    """
    final, action = _FINAL.search(reply), _ACTION.search(reply)
    if final and (action is None or final.start() < action.start()):
        answer = reply[final.end() :].strip()
        if not answer:
            raise UnreadableReply("the Final Answer is empty")
        return Finish(_thought(reply[: final.start()]), answer)
    if action is None:
        raise UnreadableReply("the reply has neither an Action nor a Final Answer")
    if final:
        raise UnreadableReply("the reply has both an Action and a Final Answer: give one")
    if not action[1].strip():
        raise UnreadableReply("the Action names no tool")
    if len(action[1].strip()) > MAX_NAME:
        raise UnreadableReply("the Action is too long to be a tool's name")
    arguments = _arguments(reply[action.end() :])
    return Act(_thought(reply[: action.start()]), action[1].strip(), arguments)


def system_prompt(name: str, description: str | None, tools: Iterable[Tool]) -> str:
    """What an agent is told before its task: who it is, its tools, and how to reply."""
    lines = [
        f"- {tool.name}: {tool.description} Arguments: {json.dumps(tool.parameters)}"
        for tool in tools
    ]
    who = f"You are {name}. {description or ''}".strip()
    return "\n\n".join([who, "Tools:\n" + "\n".join(lines), FORMAT])


def task_prompt(request: str, context: Mapping[str, Any] | None) -> str:
    """The task, as the beginning of the transcript that grows with every step."""
    if not context:
        return f"Task: {request}"
    return f"Task: {request}\nContext: {json.dumps(context, default=str, ensure_ascii=False)}"


def _thought(text: str) -> str:
    return _THOUGHT.sub("", text).strip()


def _arguments(text: str) -> dict[str, Any]:
    label = _INPUT.match(text)
    if label is None:
        raise UnreadableReply("the Action is not followed by an Action Input")
    raw = text[label.end() :].strip()
    fenced = _FENCE.match(raw)
    try:
        arguments = json.loads(fenced[1] if fenced else raw)
        # Python reads NaN and 1e999, which are no JSON to anybody else.
        json.dumps(arguments, allow_nan=False)
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
