"""What agents can do: plain functions with a name, a description and a JSON schema."""

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from inspect import isasyncgenfunction, isgeneratorfunction
from typing import Any

from sqlalchemy.orm import Session

from core import composition, database
from core.errors import AtomError
from core.schemas import problem, require_checked

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


class InvalidArguments(AtomError):
    """Arguments that do not fit a tool's schema."""

    def __init__(self, tool: str, problem: str) -> None:
        super().__init__(f"{tool}: {problem}")
        self.tool = tool
        self.problem = problem


Delegate = Callable[[str, str], Awaitable[dict[str, Any]]]


@dataclass(frozen=True)
class ToolContext:
    """On whose behalf a tool runs, and what it may use."""

    workspace_id: str
    agent_id: str
    execution_id: str
    tools: "ToolRegistry"
    delegate: Delegate

    @property
    def actor(self) -> str:
        """The agent, as audit rows name it."""
        return f"agent:{self.agent_id}"

    def begin(self) -> AbstractContextManager[Session]:
        """A session of the tool's own, which commits at the end and rolls back on an error."""
        return database.SessionLocal.begin()


@dataclass(frozen=True)
class Tool:
    """A function of a `ToolContext` and keyword arguments; it may be a coroutine function.

    Raises:
        ValueError: its schema asks for something that `check` does not check, or it yields.
    """

    name: str
    description: str
    parameters: dict[str, Any]
    function: Callable[..., Any]

    def __post_init__(self) -> None:
        try:
            require_checked(self.parameters)
        except ValueError as error:
            raise ValueError(f"tool {self.name!r}: {error}") from error
        if isgeneratorfunction(self.function) or isasyncgenfunction(self.function):
            raise ValueError(f"tool {self.name!r}: a function that yields does nothing when called")

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Raise `InvalidArguments` unless the arguments fit the schema."""
        for name in self.parameters.get("required", ()):
            if name not in arguments:
                raise InvalidArguments(self.name, f"argument {name!r} is missing")
        for name in arguments:
            if name not in self.parameters.get("properties", {}):
                raise InvalidArguments(self.name, f"there is no argument {name!r}")
        found = problem(self.parameters, dict(arguments))
        if found is not None:
            raise InvalidArguments(self.name, found)


def tool(description: str, **properties: dict[str, Any]) -> Callable[[Callable[..., Any]], Tool]:
    """Make a tool of a function, with its name; properties with a `default` are optional."""

    def make(function: Callable[..., Any]) -> Tool:
        required = [name for name, schema in properties.items() if "default" not in schema]
        schema = {
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": False,
        }
        return Tool(function.__name__, description, schema, function)

    return make


class ToolRegistry:
    """The tools that an agent can name."""

    def __init__(self, tools: Iterable[Tool] = ()) -> None:
        self._tools: dict[str, Tool] = {}
        for each in tools:
            self.add(each)

    def add(self, tool: Tool) -> None:
        """Add a tool under its name.

        Raises:
            ValueError: the name is taken, or is not words in lower case joined by underscores,
                which is what governance can read.
        """
        if not _NAME.fullmatch(tool.name):
            raise ValueError(f"{tool.name!r} is not a tool's name")
        if tool.name in self._tools:
            raise ValueError(f"there is a tool {tool.name!r} already")
        self._tools[tool.name] = tool

    def get(self, name: str) -> Tool | None:
        """The tool of that name, if there is one."""
        return self._tools.get(name)

    def search(self, query: str) -> list[Tool]:
        """The tools whose name or description has every word of the query."""
        words = query.casefold().split()
        return [
            each
            for each in self
            if all(word in f"{each.name} {each.description}".casefold() for word in words)
        ]

    def __iter__(self) -> Iterator[Tool]:
        return iter(self._tools.values())

    def __len__(self) -> int:
        return len(self._tools)


def default_tools() -> ToolRegistry:
    """A registry of every tool that Atom comes with."""
    return ToolRegistry(composition.every_tool())
