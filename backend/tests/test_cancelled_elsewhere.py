"""What a run awaits may be cancelled, and the run is not."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from core.agent_tools import TOOLS
from core.atom_meta_agent import AtomMetaAgent
from core.errors import ModelFailed
from core.llm import ScriptedLLM
from core.models import AgentExecution, AgentRegistry
from core.tools import ToolContext, ToolRegistry, tool
from saas.models import UsageEvent
from sqlalchemy import select
from sqlalchemy.orm import Session

DONE = "Thought: I should finish.\nFinal Answer: Done."
READ = "Thought: I look.\nAction: read_remote\nAction Input: {}"


async def await_cancelled_task() -> None:
    other = asyncio.create_task(asyncio.sleep(3600))
    other.cancel()
    await other


async def await_cancelled_future() -> None:
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


async def raise_it() -> None:
    raise asyncio.CancelledError


CANCELLED: list[Callable[[], Awaitable[None]]] = [
    await_cancelled_task,
    await_cancelled_future,
    raise_it,
]


@pytest.mark.parametrize("cancelled", CANCELLED)
class TestElsewhere:
    @pytest.mark.asyncio
    async def test_a_callback_does_not_end_the_run(
        self,
        atom: AgentRegistry,
        db_session: Session,
        caplog: pytest.LogCaptureFixture,
        cancelled: Callable[[], Awaitable[None]],
    ) -> None:
        async def tell(_: dict[str, Any]) -> None:
            await cancelled()

        result = await AtomMetaAgent(llm=ScriptedLLM([DONE])).execute("Do", step_callback=tell)

        assert result["status"] == "success"
        assert len(db_session.scalars(select(UsageEvent)).all()) == 1
        assert f"the step callback of execution {result['execution_id']} failed" in caplog.text

    @pytest.mark.asyncio
    async def test_a_tool_has_failed(
        self, atom: AgentRegistry, cancelled: Callable[[], Awaitable[None]]
    ) -> None:
        @tool("Read.")
        async def read_remote(context: ToolContext) -> None:
            await cancelled()

        llm = ScriptedLLM([READ, DONE])
        result = await AtomMetaAgent(llm=llm, tools=ToolRegistry([read_remote])).execute("Do")

        assert (result["status"], result["actions_executed"]) == ("success", [])
        assert "Observation: read_remote failed: CancelledError" in llm.prompts[1]

    @pytest.mark.asyncio
    async def test_a_model_gave_no_reply(
        self,
        atom: AgentRegistry,
        db_session: Session,
        cancelled: Callable[[], Awaitable[None]],
    ) -> None:
        class Gone:
            async def generate_response(self, prompt: str, *, system: str | None = None) -> str:
                await cancelled()
                return DONE

        result = await AtomMetaAgent(llm=Gone()).execute("Do", execution_id="r")

        assert result["status"] == db_session.get_one(AgentExecution, "r").status == "failed"
        assert result["failure_reason"] == str(ModelFailed(asyncio.CancelledError()))


@pytest.mark.parametrize("where", ["callback", "tool", "model"])
@pytest.mark.asyncio
async def test_the_runs_own_task_interrupts_it_wherever_it_waits(
    atom: AgentRegistry, db_session: Session, where: str
) -> None:
    reached = asyncio.Event()

    async def at(place: str) -> None:
        if place == where and not reached.is_set():
            reached.set()
            await asyncio.Event().wait()

    async def tell(_: dict[str, Any]) -> None:
        await at("callback")

    @tool("Read.")
    async def read_remote(context: ToolContext) -> None:
        await at("tool")

    class Model:
        async def generate_response(self, prompt: str, *, system: str | None = None) -> str:
            await at("model")
            return READ

    agent = AtomMetaAgent(llm=Model(), tools=ToolRegistry([*TOOLS, read_remote]))
    run = asyncio.create_task(agent.execute("Do", step_callback=tell, execution_id="r"))
    await reached.wait()
    run.cancel()

    with pytest.raises(asyncio.CancelledError):
        await run

    assert db_session.get_one(AgentExecution, "r").status == "interrupted"
