"""An error that can't say what it is ends a run as any other does."""

from collections.abc import Callable
from typing import Any

import pytest
from core.atom_meta_agent import AtomMetaAgent
from core.errors import AtomError, NotShowable, said
from core.llm import ScriptedLLM
from core.models import AgentExecution, AgentRegistry
from core.tools import Tool, ToolContext, ToolRegistry
from sqlalchemy import select
from sqlalchemy.orm import Session

ACT = "Thought: So.\nAction: read_it\nAction Input: {}"
DONE = "Thought: I should finish.\nFinal Answer: Done."


class Speechless:
    def __str__(self) -> str:
        raise RuntimeError("nobody is to know")

    __repr__ = __str__


class Mute(Speechless, Exception): ...


class MuteOfAtom(Speechless, AtomError): ...


class MuteStop(Speechless, BaseException): ...


class Worse(BaseException):
    def __repr__(self) -> str:
        raise KeyboardInterrupt


class Model:
    """Raises in place of a reply."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    async def generate_response(self, prompt: str, *, system: str | None = None) -> str:
        raise self._error


def raising(error: BaseException) -> Callable[..., Any]:
    def function(*_: Any) -> None:
        raise error

    return function


async def run(tool: Callable[..., Any], llm: Any, callback: Callable[..., Any] | None) -> Any:
    tools = ToolRegistry([Tool("read_it", "For a test.", {"type": "object"}, tool)])
    return await AtomMetaAgent(llm=llm, tools=tools).execute("Do it", step_callback=callback)


def works(_: ToolContext) -> int:
    return 1


# What raises, with what, and how the run is recorded.
CASES: dict[str, tuple[Callable[..., Any], Any, Callable[..., Any] | None, str]] = {
    "a tool": (raising(Mute()), ScriptedLLM([ACT, DONE]), None, "success"),
    "a tool, on purpose": (raising(MuteOfAtom()), ScriptedLLM([ACT, DONE]), None, "success"),
    "a model": (works, Model(Mute()), None, "failed"),
    "a callback": (works, ScriptedLLM([ACT, DONE]), raising(Mute()), "success"),
    "a tool that stops all": (raising(MuteStop()), ScriptedLLM([ACT]), None, "interrupted"),
    "a model that stops all": (works, Model(MuteStop()), None, "interrupted"),
    "a callback that stops all": (works, ScriptedLLM([ACT]), raising(MuteStop()), "interrupted"),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.asyncio
async def test_the_run_ends_and_is_recorded(
    atom: AgentRegistry, db_session: Session, case: str
) -> None:
    tool, llm, callback, status = CASES[case]

    if status == "interrupted":
        with pytest.raises(MuteStop):
            await run(tool, llm, callback)
    else:
        assert (await run(tool, llm, callback))["status"] == status

    recorded = db_session.scalars(select(AgentExecution)).one()
    assert (recorded.status, recorded.finished_at is None) == (status, False)
    assert status == "success" or "Mute" in str(recorded.failure_reason)


@pytest.mark.asyncio
async def test_one_that_stops_whoever_asks_what_it_is_is_recorded_too(
    atom: AgentRegistry, db_session: Session
) -> None:
    with pytest.raises(KeyboardInterrupt):
        await run(works, Model(Worse()), None)

    assert db_session.scalars(select(AgentExecution.status)).one() == "interrupted"


def test_what_they_say_is_said_where_they_can() -> None:
    assert said(ValueError("x")) == "x"
    assert said(ValueError("x"), repr) == "ValueError('x')"
    assert said(Mute()) == said(Mute(), repr) == "Mute, which can't be shown: RuntimeError"
    assert str(NotShowable("context", Mute())).endswith(said(Mute()))
