"""What is empty is nobody's id, key or name."""

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from core.agent_governance_service import AgentGovernanceService
from core.atom_meta_agent import AtomMetaAgent
from core.errors import Blank
from core.llm import ScriptedLLM
from core.maturity import AgentStatus
from core.models import AgentExecution, AgentRegistry, Workspace
from core.operators import initialise
from ecommerce.models import Subscription
from saas.metering import UsageMeter
from saas.models import UsageEvent
from sqlalchemy import func, select
from sqlalchemy.orm import Session

DONE = "Thought: I should finish.\nFinal Answer: Done."


def register(missing: str) -> Callable[[Session, str], object]:
    """Register an agent, of which one thing that is said is empty."""
    said: dict[str, Any] = {"name": "n", "category": "c", "module_path": "m", "class_name": "C"}
    return lambda db, empty: AgentGovernanceService(db).register_or_update_agent(
        **{**said, missing: empty}
    )


def outcome(db: Session, empty: str) -> object:
    return asyncio.run(AgentGovernanceService(db).record_outcome("atom_main", False, empty))


def record(db: Session, event_type: str, key: str) -> object:
    plan = db.scalars(select(Subscription)).one()
    return UsageMeter(db).record(plan.id, event_type, 1, key)


DEEDS: dict[str, Callable[[Session, Any], object]] = {
    "execution_id": outcome,
    "execution_id of a run": lambda db, empty: asyncio.run(
        AtomMetaAgent(llm=ScriptedLLM([DONE])).execute("Do it", execution_id=empty)
    ),
    "request": lambda db, empty: asyncio.run(AtomMetaAgent(llm=ScriptedLLM([DONE])).execute(empty)),
    "idempotency_key": lambda db, empty: record(db, "api_call", empty),
    "event_type": lambda db, empty: record(db, empty, "key"),
    "name": register("name"),
    "category": register("category"),
    "module_path": register("module_path"),
    "class_name": register("class_name"),
    "user": lambda db, empty: initialise("acme", empty, demo=False),
    "workspace": lambda db, empty: initialise(empty, "ada@example.com", demo=False),
}


@pytest.mark.parametrize("what", DEEDS)
def test_it_is_refused(
    atom: AgentRegistry, workspace: Workspace, db_session: Session, what: str
) -> None:
    for empty in ("", "  ", "\t\n"):
        with pytest.raises(Blank, match=f"^{what.partition(' ')[0]} is empty$"):
            DEEDS[what](db_session, empty)

    db_session.commit()
    for table, rows in ((AgentRegistry, 1), (AgentExecution, 0), (UsageEvent, 0), (Workspace, 1)):
        assert db_session.scalar(select(func.count()).select_from(table)) == rows


def test_an_empty_task_is_told_to_the_agent_that_gives_it(
    atom: AgentRegistry, db_session: Session
) -> None:
    atom.status, atom.confidence_score = AgentStatus.AUTONOMOUS, Decimal(1)
    db_session.commit()
    given = (
        "Thought: So.\nAction: delegate_task\nAction Input: "
        + '{"agent": "atom_main", "task": " "}'
    )
    llm = ScriptedLLM([given, DONE])

    assert asyncio.run(AtomMetaAgent(llm=llm).execute("Do it"))["status"] == "success"

    assert llm.prompts[1].endswith("delegate_task failed: task is empty")
    assert db_session.scalar(select(func.count()).select_from(AgentExecution)) == 1


def test_a_key_that_is_none_is_empty(workspace: Workspace, db_session: Session) -> None:
    with pytest.raises(Blank):
        DEEDS["idempotency_key"](db_session, None)
