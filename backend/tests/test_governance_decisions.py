"""What `can_perform_action`, `enforce_action` and the registry answer."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from core.agent_governance_service import AgentGovernanceService
from core.errors import NotFound
from core.maturity import VERBS, AgentStatus
from core.models import AgentRegistry, HITLAction, Workspace
from core.permission import GovernanceDecision, capabilities, decide_action
from sqlalchemy import select
from sqlalchemy.orm import Session

Become = Callable[[AgentStatus], AgentRegistry]

LADDER = ["student", "intern", "supervised", "autonomous"]
OFF_LADDER = ["paused", "stopped", "deprecated", "deleted"]


@pytest.fixture
def become(db_session: Session, atom: AgentRegistry) -> Become:
    """Give `atom_main` a status."""

    def set_status(status: AgentStatus) -> AgentRegistry:
        atom.status = AgentStatus(status)
        db_session.commit()
        return atom

    return set_status


class TestCanPerformAction:
    @pytest.mark.parametrize("rank", [1, 2, 3, 4])
    @pytest.mark.parametrize("complexity", [1, 2, 3, 4])
    def test_an_agent_may_do_what_its_rank_allows_and_no_more(
        self, governance: AgentGovernanceService, become: Become, rank: int, complexity: int
    ) -> None:
        agent = become(AgentStatus(LADDER[rank - 1]))
        action = ["read_it", "draft_it", "update_it", "delete_it"][complexity - 1]

        decision = governance.can_perform_action(agent.id, action)

        assert decision["allowed"] is (rank >= complexity)
        assert decision["action_complexity"] == complexity
        assert decision["required_status"] == LADDER[complexity - 1]

    def test_a_refusal_for_maturity_says_so_and_names_the_status_required(
        self, governance: AgentGovernanceService, atom: AgentRegistry
    ) -> None:
        decision = governance.can_perform_action(atom.id, "update_customer")

        assert "maturity" in decision["reason"]
        assert "supervised" in decision["reason"]

    @pytest.mark.parametrize("status", OFF_LADDER)
    def test_an_agent_off_the_ladder_may_do_nothing(
        self, governance: AgentGovernanceService, become: Become, status: str
    ) -> None:
        agent = become(AgentStatus(status))

        decision = governance.can_perform_action(agent.id, "read_file", require_approval=True)

        assert decision["allowed"] is False
        assert decision["requires_human_approval"] is False
        assert status in decision["reason"]

    def test_every_path_has_the_same_keys_and_a_missing_agent_is_refused(
        self, governance: AgentGovernanceService, atom: AgentRegistry
    ) -> None:
        allowed = governance.can_perform_action(atom.id, "read_file")
        refused = governance.can_perform_action(atom.id, "delete_file")
        missing = governance.can_perform_action("nobody", "read_file", require_approval=True)

        keys = GovernanceDecision.__required_keys__
        assert keys == {
            "allowed",
            "reason",
            "agent_status",
            "action_complexity",
            "required_status",
            "requires_human_approval",
            "confidence",
        }
        assert allowed.keys() == refused.keys() == missing.keys() == keys
        assert missing["allowed"] is False
        assert missing["requires_human_approval"] is False
        assert missing["agent_status"] is None

    def test_an_agent_of_another_workspace_is_missing(
        self, db_session: Session, atom: AgentRegistry
    ) -> None:
        elsewhere = AgentGovernanceService(db_session, "elsewhere")

        assert elsewhere.can_perform_action(atom.id, "read_file")["agent_status"] is None

    def test_a_supervised_agent_needs_approval_from_complexity_3_on(
        self, governance: AgentGovernanceService, become: Become
    ) -> None:
        agent = become(AgentStatus.SUPERVISED)

        def asks(action: str) -> bool:
            return governance.can_perform_action(agent.id, action)["requires_human_approval"]

        assert [asks("read_it"), asks("draft_it"), asks("update_it")] == [False, False, True]

    def test_an_autonomous_agent_needs_approval_only_when_it_is_asked_for(
        self, governance: AgentGovernanceService, become: Become
    ) -> None:
        agent = become(AgentStatus.AUTONOMOUS)

        plain = governance.can_perform_action(agent.id, "delete_it")
        asked = governance.can_perform_action(agent.id, "read_it", require_approval=True)

        assert plain["requires_human_approval"] is False
        assert asked["requires_human_approval"] is True

    def test_a_refusal_is_not_approvable_by_a_click(
        self, governance: AgentGovernanceService, atom: AgentRegistry
    ) -> None:
        decision = governance.can_perform_action(atom.id, "delete_file", require_approval=True)

        assert decision["allowed"] is False
        assert decision["requires_human_approval"] is False

    def test_zero_confidence_is_not_unknown_confidence(
        self, governance: AgentGovernanceService, atom: AgentRegistry, db_session: Session
    ) -> None:
        atom.confidence_score = Decimal(0)
        db_session.commit()
        zero = governance.can_perform_action(atom.id, "read_file")["confidence"]
        atom.confidence_score = None
        db_session.commit()
        unknown = governance.can_perform_action(atom.id, "read_file")["confidence"]

        assert (zero, unknown) == (Decimal(0), Decimal("0.50"))


class TestEnforceAction:
    def test_an_allowed_action_proceeds(
        self, governance: AgentGovernanceService, atom: AgentRegistry
    ) -> None:
        verdict = governance.enforce_action(atom.id, "read_file")

        assert (verdict["proceed"], verdict["status"]) == (True, "APPROVED")
        assert verdict["action_id"] is None

    def test_a_refused_action_is_blocked_and_nothing_is_filed(
        self, governance: AgentGovernanceService, atom: AgentRegistry, db_session: Session
    ) -> None:
        verdict = governance.enforce_action(atom.id, "delete_file", require_approval=True)

        assert (verdict["proceed"], verdict["status"]) == (False, "BLOCKED")
        assert "maturity" in verdict["reason"]
        assert verdict["action_id"] is None
        assert db_session.scalars(select(HITLAction)).all() == []

    def test_a_pending_approval_does_not_proceed_and_has_filed_the_request(
        self, governance: AgentGovernanceService, become: Become, db_session: Session
    ) -> None:
        agent = become(AgentStatus.SUPERVISED)

        verdict = governance.enforce_action(agent.id, "update_customer", {"phone": "1"})

        assert (verdict["proceed"], verdict["status"]) == (False, "PENDING_APPROVAL")
        filed = db_session.scalars(select(HITLAction)).one()
        assert filed.id == verdict["action_id"]
        assert (filed.action_type, filed.params) == ("update_customer", {"phone": "1"})
        assert filed.status == "pending"
        assert filed.expires_at > filed.requested_at


class TestRegistry:
    def test_an_agent_is_registered_as_a_student_whose_confidence_is_not_known(
        self, governance: AgentGovernanceService
    ) -> None:
        agent = governance.register_or_update_agent("sam", "sales", "agents.sam", "Sam")

        assert agent.status is AgentStatus.STUDENT
        assert agent.confidence_score is None
        assert agent.workspace_id == "default"

    def test_registering_again_updates_the_profile_and_keeps_what_was_earned(
        self, governance: AgentGovernanceService, db_session: Session
    ) -> None:
        first = governance.register_or_update_agent(
            "sam", "sales", "agents.sam", "Sam", configuration={"tone": "warm"}
        )
        first.confidence_score, first.status = Decimal("0.91"), AgentStatus.AUTONOMOUS
        db_session.commit()

        again = governance.register_or_update_agent(
            "sam", "support", "agents.sam", "Sam", version="2"
        )

        assert again is first
        assert (again.category, again.version) == ("support", "2")
        assert again.configuration == {"tone": "warm"}
        assert (again.confidence_score, again.status) == (Decimal("0.91"), "autonomous")

    @pytest.mark.parametrize(
        "given",
        [
            {},
            {"description": "Buys."},
            {"version": "2"},
            {"version": ""},
            {"configuration": {}},
            {"description": ""},
        ],
    )
    def test_what_is_not_given_stays_as_it_is(
        self, governance: AgentGovernanceService, db_session: Session, given: dict[str, Any]
    ) -> None:
        about: dict[str, Any] = {
            "description": "Sells.",
            "version": "1",
            "configuration": {"tone": "warm"},
        }
        identity = ("sam", "sales", "agents.sam", "Sam")
        governance.register_or_update_agent(*identity, **about)

        agent = governance.register_or_update_agent(*identity, **given)

        with db_session.no_autoflush:
            db_session.refresh(agent)
        assert {name: getattr(agent, name) for name in about} == {**about, **given}

    def test_another_class_or_name_is_another_agent(
        self, governance: AgentGovernanceService
    ) -> None:
        for name, class_name in (("sam", "Sam"), ("sam", "Samuel"), ("max", "Sam")):
            governance.register_or_update_agent(name, "sales", "agents.sam", class_name)

        assert len(governance.list_agents()) == 3

    def test_an_agent_is_not_registered_in_a_workspace_that_does_not_exist(
        self, db_session: Session
    ) -> None:
        governance = AgentGovernanceService(db_session, "nowhere")

        with pytest.raises(NotFound) as caught:
            governance.register_or_update_agent("sam", "sales", "agents.sam", "Sam")

        assert (caught.value.kind, caught.value.key) == ("workspace", "nowhere")

    def test_agents_are_listed_by_name_within_their_workspace_without_deleted_ones(
        self, governance: AgentGovernanceService, db_session: Session
    ) -> None:
        db_session.add(Workspace(id="elsewhere", name="Elsewhere"))
        db_session.flush()
        AgentGovernanceService(db_session, "elsewhere").register_or_update_agent(
            "eve", "sales", "m", "C"
        )
        for name, category in (("zoe", "sales"), ("abe", "support"), ("del", "sales")):
            governance.register_or_update_agent(name, category, "m", "C")
        governance.list_agents(category="sales")[0].status = AgentStatus.DELETED
        db_session.commit()

        assert [agent.name for agent in governance.list_agents()] == ["abe", "zoe"]
        assert [agent.name for agent in governance.list_agents(category="sales")] == ["zoe"]
        deleted = governance.list_agents(status=AgentStatus.DELETED)
        assert [agent.name for agent in deleted] == ["del"]

    def test_capabilities_say_what_an_agent_may_do_and_what_it_may_not(
        self, governance: AgentGovernanceService, become: Become
    ) -> None:
        agent = become(AgentStatus.SUPERVISED)

        capabilities = governance.get_agent_capabilities(agent.id)

        assert (capabilities["max_complexity"], capabilities["confidence"]) == (3, Decimal("0.49"))
        assert {"read", "draft"} <= set(capabilities["allowed"])
        assert "update" in capabilities["needs_approval"]
        assert "delete" in capabilities["forbidden"]
        assert not set(capabilities["allowed"]) & set(capabilities["forbidden"])

    @pytest.mark.parametrize("status", OFF_LADDER)
    def test_off_the_ladder_everything_is_forbidden(
        self, governance: AgentGovernanceService, become: Become, status: str
    ) -> None:
        capabilities = governance.get_agent_capabilities(become(AgentStatus(status)).id)

        assert capabilities["max_complexity"] == 0
        assert capabilities["allowed"] == capabilities["needs_approval"] == []


RUNGS = (
    AgentStatus.STUDENT,
    AgentStatus.INTERN,
    AgentStatus.SUPERVISED,
    AgentStatus.AUTONOMOUS,
)
OFF_THE_LADDER = (
    AgentStatus.PAUSED,
    AgentStatus.STOPPED,
    AgentStatus.DEPRECATED,
    AgentStatus.DELETED,
)
BY_COMPLEXITY = {"read_it": 1, "suggest_it": 2, "update_it": 3, "delete_it": 4}


class TestTheRules:
    @pytest.mark.parametrize("action", BY_COMPLEXITY)
    @pytest.mark.parametrize("status", RUNGS)
    def test_a_rung_may_do_what_is_as_complex_and_less(
        self, status: AgentStatus, action: str
    ) -> None:
        complexity, rung = BY_COMPLEXITY[action], RUNGS.index(status) + 1
        required = RUNGS[complexity - 1]
        allowed = rung >= complexity
        asks = status == AgentStatus.SUPERVISED and complexity == 3

        decision = decide_action(status, Decimal("0.75"), action)

        assert decision == {
            "allowed": allowed,
            "reason": f"{status} agents may perform {action!r} (complexity {complexity})"
            if allowed
            else f"insufficient maturity: {action!r} (complexity {complexity}) requires "
            f"{required}, the agent is {status}",
            "agent_status": status,
            "action_complexity": complexity,
            "required_status": required,
            "requires_human_approval": asks,
            "confidence": Decimal("0.75"),
        }
        asked = decide_action(status, None, action, require_approval=True)
        assert asked["requires_human_approval"] is allowed
        assert asked["confidence"] == Decimal("0.50")

    @pytest.mark.parametrize("status", [*OFF_THE_LADDER, None])
    def test_who_is_not_on_the_ladder_may_do_nothing(self, status: AgentStatus | None) -> None:
        decision = decide_action(status, None, "read_it", require_approval=True)

        assert (decision["allowed"], decision["requires_human_approval"]) == (False, False)
        assert decision["reason"] == (
            "the agent that asks for 'read_it' does not exist"
            if status is None
            else f"the agent is {status} and may do nothing"
        )

    @pytest.mark.parametrize("status", [*RUNGS, *OFF_THE_LADDER])
    def test_what_it_may_do_is_told_by_verb(self, status: AgentStatus) -> None:
        rung = RUNGS.index(status) + 1 if status in RUNGS else 0
        verbs = {level: sorted(VERBS[level]) for level in (1, 2, 3, 4)}
        asks = [3] if status == AgentStatus.SUPERVISED else []

        def those(levels: list[int]) -> list[str]:
            return [verb for level in levels for verb in verbs[level]]

        assert capabilities("id", status, None) == {
            "agent_id": "id",
            "agent_status": status,
            "confidence": Decimal("0.50"),
            "max_complexity": rung,
            "allowed": those([n for n in range(1, rung + 1) if n not in asks]),
            "needs_approval": those(asks),
            "forbidden": those(list(range(rung + 1, 5))),
        }
        assert capabilities("id", status, Decimal(0))["confidence"] == 0
