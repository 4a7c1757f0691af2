"""Promotions by hand, and taking agents off the ladder and back."""

import asyncio
from decimal import Decimal

import pytest
from core.agent_governance_service import AgentGovernanceService
from core.database import SessionLocal
from core.errors import AgentOffLadder, NotAllowed, NotOnLadder
from core.maturity import AgentStatus
from core.models import AgentRegistry, User, Workspace
from sqlalchemy.orm import Session


class TestPromote:
    def test_a_promotion_lifts_the_status_and_leaves_the_score(
        self, governance: AgentGovernanceService, atom: AgentRegistry, admin: str
    ) -> None:
        governance.promote(atom.id, AgentStatus.SUPERVISED, admin)

        assert (atom.status, atom.status_floor) == ("supervised", "supervised")
        assert atom.confidence_score == Decimal("0.49")

    @pytest.mark.parametrize("success", [True, False])
    def test_the_next_outcome_keeps_a_promotion(
        self, governance: AgentGovernanceService, atom: AgentRegistry, admin: str, success: bool
    ) -> None:
        governance.promote(atom.id, AgentStatus.SUPERVISED, admin)

        asyncio.run(governance.record_outcome(atom.id, success))

        assert atom.status == "supervised"

    def test_a_promotion_needs_an_admin_even_of_a_specialist(
        self,
        governance: AgentGovernanceService,
        atom: AgentRegistry,
        workspace: Workspace,
        db_session: Session,
    ) -> None:
        user = User(workspace=workspace, email="sam@example.com", name="Sam", specialty="general")
        db_session.add(user)
        db_session.commit()

        with pytest.raises(NotAllowed) as caught:
            governance.promote(atom.id, AgentStatus.AUTONOMOUS, user.id)

        assert caught.value.user_id == user.id
        assert atom.status == "student"

    def test_a_lower_floor_takes_a_promotion_back(
        self, governance: AgentGovernanceService, atom: AgentRegistry, admin: str
    ) -> None:
        governance.promote(atom.id, AgentStatus.AUTONOMOUS, admin)
        governance.promote(atom.id, AgentStatus.STUDENT, admin)

        assert atom.status == "student"

    def test_a_floor_below_the_score_does_not_lower_the_status(
        self,
        governance: AgentGovernanceService,
        atom: AgentRegistry,
        admin: str,
        db_session: Session,
    ) -> None:
        atom.confidence_score, atom.status = Decimal("0.95"), AgentStatus.AUTONOMOUS
        db_session.commit()

        governance.promote(atom.id, AgentStatus.INTERN, admin)

        assert (atom.status, atom.status_floor) == ("autonomous", "intern")

    def test_an_agent_is_not_promoted_off_the_ladder(
        self, governance: AgentGovernanceService, atom: AgentRegistry, admin: str
    ) -> None:
        with pytest.raises(NotOnLadder):
            governance.promote(atom.id, AgentStatus.DELETED, admin)

    def test_a_paused_agent_is_not_promoted(
        self, governance: AgentGovernanceService, atom: AgentRegistry, admin: str
    ) -> None:
        governance.pause(atom.id)

        with pytest.raises(AgentOffLadder) as caught:
            governance.promote(atom.id, AgentStatus.AUTONOMOUS, admin)

        assert (caught.value.agent_id, caught.value.status) == (atom.id, "paused")
        assert (atom.status, atom.status_floor) == ("paused", None)

    def test_a_status_that_another_session_changed_is_the_one_that_the_refusal_names(
        self, governance: AgentGovernanceService, atom: AgentRegistry, db_session: Session
    ) -> None:
        agent_id = atom.id
        db_session.commit()
        assert governance.can_perform_action(agent_id, "read_file")["allowed"] is True
        with SessionLocal.begin() as session:
            AgentGovernanceService(session).pause(agent_id)

        with pytest.raises(AgentOffLadder) as caught:
            governance.pause(agent_id)

        assert caught.value.status == "paused"


class TestPause:
    def test_a_paused_agent_may_do_nothing_and_resumes_where_it_was(
        self, governance: AgentGovernanceService, atom: AgentRegistry
    ) -> None:
        governance.pause(atom.id)
        while_paused = governance.can_perform_action(atom.id, "read_file")["allowed"]
        governance.resume(atom.id)

        assert while_paused is False
        assert atom.status == "student"
        assert governance.can_perform_action(atom.id, "read_file")["allowed"] is True

    @pytest.mark.parametrize(
        ("score", "status"),
        [
            ("0", "student"),
            ("0.4999", "student"),
            ("0.5", "intern"),
            ("0.6999", "intern"),
            ("0.7", "supervised"),
            ("0.8999", "supervised"),
            ("0.9", "autonomous"),
            ("1", "autonomous"),
        ],
    )
    def test_a_resumed_agent_has_the_status_that_its_score_earns(
        self,
        governance: AgentGovernanceService,
        atom: AgentRegistry,
        db_session: Session,
        score: str,
        status: str,
    ) -> None:
        atom.confidence_score = Decimal(score)
        db_session.commit()
        governance.pause(atom.id)
        governance.resume(atom.id)

        assert atom.status == status

    def test_neither_a_pause_nor_a_floor_makes_an_intern_of_an_agent_that_never_ran(
        self, governance: AgentGovernanceService, admin: str
    ) -> None:
        agent = governance.register_or_update_agent("sam", "sales", "agents.sam", "Sam")

        governance.promote(agent.id, AgentStatus.STUDENT, admin)
        promoted = agent.status
        governance.pause(agent.id)
        governance.resume(agent.id)

        assert (promoted, agent.status) == ("student", "student")
        assert agent.confidence_score is None

    def test_resuming_respects_the_floor(
        self, governance: AgentGovernanceService, atom: AgentRegistry, admin: str
    ) -> None:
        governance.promote(atom.id, AgentStatus.SUPERVISED, admin)
        governance.pause(atom.id)
        governance.resume(atom.id)

        assert atom.status == "supervised"

    def test_only_a_paused_agent_resumes(
        self, governance: AgentGovernanceService, atom: AgentRegistry
    ) -> None:
        with pytest.raises(AgentOffLadder):
            governance.resume(atom.id)

    def test_a_stopped_agent_neither_resumes_nor_pauses(
        self, governance: AgentGovernanceService, atom: AgentRegistry
    ) -> None:
        governance.pause(atom.id)
        governance.stop(atom.id)

        with pytest.raises(AgentOffLadder):
            governance.resume(atom.id)
        with pytest.raises(AgentOffLadder):
            governance.pause(atom.id)
        assert atom.status == "stopped"
