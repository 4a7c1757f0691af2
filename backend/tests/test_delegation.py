"""Agents that give tasks to agents: each with its own maturity, and not for ever."""

import asyncio
import json
from decimal import Decimal

import pytest
from core.agent_governance_service import AgentGovernanceService
from core.atom_meta_agent import AtomMetaAgent
from core.llm import ScriptedLLM
from core.maturity import AgentStatus
from core.models import AgentExecution, AgentRegistry, User, Workspace
from saas.models import UsageEvent
from sqlalchemy import select
from sqlalchemy.orm import Session

DONE = "Thought: I should finish.\nFinal Answer: Done."


def act(action: str, **arguments: str) -> str:
    return f"Thought: So be it.\nAction: {action}\nAction Input: {json.dumps(arguments)}"


def delegate(agent: str, task: str = "Do it") -> str:
    return act("delegate_task", agent=agent, task=task)


@pytest.fixture
def boss(atom: AgentRegistry, db_session: Session) -> AgentRegistry:
    """`atom_main`, autonomous."""
    atom.status, atom.confidence_score = AgentStatus.AUTONOMOUS, Decimal("0.95")
    db_session.commit()
    return atom


@pytest.fixture
def student(governance: AgentGovernanceService, db_session: Session) -> AgentRegistry:
    """Another agent, `sam`, a student at 0.30."""
    sam = governance.register_or_update_agent("sam", "sales", "agents.sam", "Sam", "Sells.")
    sam.confidence_score = Decimal("0.30")
    db_session.commit()
    return sam


@pytest.mark.asyncio
async def test_a_delegated_task_is_a_run_of_the_other_agent(
    boss: AgentRegistry, student: AgentRegistry, db_session: Session
) -> None:
    llm = ScriptedLLM([delegate("sam", "Sell"), DONE.replace("Done", "Sold"), DONE])

    result = await AtomMetaAgent(llm=llm).execute("Sell something", execution_id="parent")

    child = db_session.scalars(
        select(AgentExecution).where(AgentExecution.parent_execution_id == "parent")
    ).one()
    assert result["status"] == "success"
    assert (child.agent, child.request, child.final_output) == (student, "Sell", "Sold.")
    assert (child.trigger_mode, child.status) == ("delegated", "success")
    assert "Sold." in llm.prompts[2]


@pytest.mark.asyncio
async def test_a_delegated_task_is_done_for_whoever_asked(
    boss: AgentRegistry, student: AgentRegistry, admin: str, db_session: Session
) -> None:
    llm = ScriptedLLM([delegate("sam", "Sell"), DONE, DONE])

    await AtomMetaAgent(user=db_session.get_one(User, admin), llm=llm).execute("Sell something")

    runs = db_session.scalars(select(AgentExecution)).all()
    assert [run.user_id for run in runs] == [admin] * 2


@pytest.mark.asyncio
async def test_each_agent_learns_from_its_own_run(
    boss: AgentRegistry, student: AgentRegistry, db_session: Session
) -> None:
    llm = ScriptedLLM([delegate("sam"), *["Hm."] * 3, DONE])

    await AtomMetaAgent(llm=llm).execute("Sell something")

    db_session.expire_all()
    assert student.confidence_score == Decimal("0.28")
    assert boss.confidence_score == Decimal("0.96")


@pytest.mark.asyncio
async def test_a_delegated_agent_acts_with_its_own_maturity(
    boss: AgentRegistry, student: AgentRegistry
) -> None:
    llm = ScriptedLLM([delegate("sam"), act("delete_customer", customer_id="anybody"), DONE, DONE])

    await AtomMetaAgent(llm=llm).execute("Sell something")

    assert "insufficient maturity" in llm.prompts[2]
    assert "the agent is student" in llm.prompts[2]


@pytest.mark.asyncio
async def test_delegation_does_not_bypass_governance(
    atom: AgentRegistry, student: AgentRegistry, db_session: Session
) -> None:
    llm = ScriptedLLM([delegate("sam"), DONE])

    await AtomMetaAgent(llm=llm).execute("Sell something")

    assert "insufficient maturity" in llm.prompts[1]
    assert len(db_session.scalars(select(AgentExecution)).all()) == 1


@pytest.mark.asyncio
async def test_a_delegation_six_deep_is_refused(boss: AgentRegistry, db_session: Session) -> None:
    llm = ScriptedLLM([delegate("atom_main")] * 6 + [DONE] * 6)

    result = await AtomMetaAgent(llm=llm).execute("Pass it on")

    assert result["status"] == "success"
    assert len(db_session.scalars(select(AgentExecution)).all()) == 6
    assert "5 deep already" in llm.prompts[6]


@pytest.mark.asyncio
async def test_a_task_for_nobody_and_a_task_for_one_of_two_are_explained(
    boss: AgentRegistry, student: AgentRegistry, governance: AgentGovernanceService
) -> None:
    governance.register_or_update_agent("sam", "sales", "agents.sam", "Samuel")
    governance.db.commit()
    llm = ScriptedLLM([delegate("max"), delegate("sam"), delegate(student.id), DONE, DONE])

    result = await AtomMetaAgent(llm=llm).execute("Sell something")

    assert "agent 'max' does not exist" in llm.prompts[1]
    assert "2 agents are called 'sam'" in llm.prompts[2]
    assert len(result["actions_executed"]) == 1


@pytest.mark.asyncio
async def test_an_agent_of_another_workspace_takes_no_task_by_name_or_by_id(
    boss: AgentRegistry, db_session: Session
) -> None:
    db_session.add(Workspace(id="elsewhere", name="Elsewhere"))
    db_session.flush()
    elsewhere = AgentGovernanceService(db_session, "elsewhere")
    max_id = elsewhere.register_or_update_agent("max", "sales", "agents.max", "Max").id
    db_session.commit()
    llm = ScriptedLLM([delegate("max"), delegate(max_id), DONE])

    await AtomMetaAgent(llm=llm).execute("Sell something")

    assert "agent 'max' does not exist" in llm.prompts[1]
    assert f"agent '{max_id}' does not exist" in llm.prompts[2]


@pytest.mark.asyncio
async def test_a_paused_agent_takes_no_task(
    boss: AgentRegistry, student: AgentRegistry, governance: AgentGovernanceService
) -> None:
    governance.pause(student.id)
    governance.db.commit()
    llm = ScriptedLLM([delegate("sam"), DONE])

    await AtomMetaAgent(llm=llm).execute("Sell something")

    assert '"status": "rejected"' in llm.prompts[1]


@pytest.mark.asyncio
async def test_an_interruption_ends_every_run_of_the_chain_and_costs_nobody_trust(
    boss: AgentRegistry, student: AgentRegistry, db_session: Session
) -> None:
    asked = asyncio.Event()

    class Silent(ScriptedLLM):
        async def generate_response(self, prompt: str, *, system: str | None = None) -> str:
            if self.prompts:
                asked.set()
                await asyncio.Event().wait()
            return await super().generate_response(prompt, system=system)

    task = asyncio.create_task(AtomMetaAgent(llm=Silent([delegate("sam")])).execute("Do it"))
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    runs = db_session.scalars(select(AgentExecution)).all()
    db_session.refresh(student)
    db_session.refresh(boss)
    assert [(run.status, run.counts) for run in runs] == [("interrupted", False)] * 2
    assert (boss.confidence_score, student.confidence_score) == (Decimal("0.95"), Decimal("0.30"))


@pytest.mark.asyncio
async def test_a_task_for_an_agent_off_the_ladder_is_a_run_that_does_not_count(
    boss: AgentRegistry, student: AgentRegistry, db_session: Session
) -> None:
    student.status = AgentStatus.PAUSED
    db_session.commit()
    llm = ScriptedLLM([delegate("sam"), DONE])

    await AtomMetaAgent(llm=llm).execute("Do it", execution_id="parent")

    child = db_session.scalars(
        select(AgentExecution).where(AgentExecution.parent_execution_id == "parent")
    ).one()
    billed = db_session.scalars(select(UsageEvent.idempotency_key)).all()
    assert (child.status, child.counts, child.outcome_recorded_at) == ("rejected", False, None)
    assert "the agent is paused" in llm.prompts[1]
    assert billed == ["agent_execution:parent"]
