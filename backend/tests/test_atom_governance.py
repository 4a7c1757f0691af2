"""What governance promises of `atom_main`: what it may do, and how it earns more."""

from decimal import Decimal
from unittest.mock import AsyncMock, patch

import pytest
from core.agent_governance_service import AgentGovernanceService
from core.atom_meta_agent import AtomMetaAgent
from core.llm import ScriptedLLM
from core.maturity import AgentStatus
from core.models import AgentExecution, AgentRegistry, Workspace
from saas.models import UsageEvent
from sqlalchemy import func, select
from sqlalchemy.orm import Session

DONE = "Thought: I should finish.\nFinal Answer: Done."


def usage_events(db_session: Session) -> int:
    return db_session.scalars(select(func.count()).select_from(UsageEvent)).one()


def test_atom_governance_gating(governance: AgentGovernanceService, atom: AgentRegistry) -> None:
    refused = governance.can_perform_action(atom.id, "delete_file")
    allowed = governance.can_perform_action(atom.id, "read_file")

    assert refused["allowed"] is False
    assert "maturity" in refused["reason"]
    assert refused["required_status"] == AgentStatus.AUTONOMOUS
    assert allowed["allowed"] is True


@patch("core.agent_governance_service.AgentGovernanceService.record_outcome", autospec=True)
@pytest.mark.asyncio
async def test_atom_learning_progression(
    record_outcome: AsyncMock, db_session: Session, atom: AgentRegistry
) -> None:
    llm = ScriptedLLM([DONE])

    result = await AtomMetaAgent(llm=llm).execute("Do something trivial")

    assert result["status"] == "success"
    assert result["final_output"] == "Done."
    assert len(llm.prompts) == 1
    record_outcome.assert_awaited_once()
    call = record_outcome.await_args
    assert call is not None
    assert call.args[1:] == (atom.id, True)
    assert call.kwargs == {"execution_id": result["execution_id"]}
    assert usage_events(db_session) == 0


@pytest.mark.asyncio
async def test_a_successful_run_lifts_a_student_at_049_to_an_intern_at_050(
    db_session: Session, atom: AgentRegistry
) -> None:
    result = await AtomMetaAgent(llm=ScriptedLLM([DONE])).execute("Do something trivial")

    db_session.refresh(atom)
    assert result["status"] == "success"
    assert atom.confidence_score == Decimal("0.50")
    assert atom.status is AgentStatus.INTERN


@pytest.mark.asyncio
async def test_a_run_writes_the_usage_event_whose_subscription_is_the_workspaces(
    db_session: Session, workspace: Workspace, atom: AgentRegistry
) -> None:
    result = await AtomMetaAgent(llm=ScriptedLLM([DONE])).execute("Do something trivial")

    event = db_session.scalars(select(UsageEvent)).one()
    assert event.event_type == "agent_execution"
    assert event.quantity == 1
    assert event.idempotency_key == f"agent_execution:{result['execution_id']}"
    assert event.subscription.workspace is workspace
    assert event.subscription.customer_id is None


@pytest.mark.asyncio
async def test_a_run_whose_outcome_is_counted_says_so_in_its_row(
    db_session: Session, atom: AgentRegistry
) -> None:
    result = await AtomMetaAgent(llm=ScriptedLLM([DONE])).execute("Do something trivial")

    execution = db_session.get_one(AgentExecution, result["execution_id"])
    assert execution.status == "success"
    assert execution.finished_at is not None
    assert execution.outcome_recorded_at is not None
