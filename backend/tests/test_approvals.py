"""Requests to a human: decided once, by somebody who may, and in time."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from core.agent_governance_service import AgentGovernanceService
from core.database import SessionLocal
from core.errors import (
    ActionNotApprovable,
    AlreadyDecided,
    ApprovalExpired,
    AtomError,
    NotAllowed,
    NotFound,
)
from core.maturity import AgentStatus
from core.models import AgentRegistry, HITLAction, User, UserRole, Workspace
from sqlalchemy import event
from sqlalchemy.orm import Session

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def desk(db_session: Session, atom: AgentRegistry, clock: Clock) -> AgentGovernanceService:
    """The governance of a workspace whose `atom_main` is supervised, on a clock of our own."""
    atom.status = AgentStatus.SUPERVISED
    db_session.commit()
    return AgentGovernanceService(db_session, clock=clock)


@pytest.fixture
def person(db_session: Session, workspace: Workspace) -> Callable[..., str]:
    """Make a user and return the id."""

    def make(name: str, role: str = "member", specialty: str | None = None) -> str:
        user = User(workspace=workspace, email=f"{name}@example.com", name=name)
        user.role, user.specialty = UserRole(role), specialty
        db_session.add(user)
        db_session.commit()
        return user.id

    return make


def test_a_request_waits_with_its_deadline(
    desk: AgentGovernanceService, atom: AgentRegistry
) -> None:
    action_id = desk.request_approval(atom.id, "update_it", time_to_decide=HOUR)

    assert desk.get_approval_status(action_id) == {
        "action_id": action_id,
        "status": "pending",
        "reviewer_id": None,
        "reviewed_at": None,
        "expires_at": NOON + HOUR,
    }


def test_a_request_says_what_is_to_be_done_and_why(
    desk: AgentGovernanceService, atom: AgentRegistry
) -> None:
    asked = desk.request_approval(atom.id, "update_it", {"phone": "1"}, "She moved.")
    without_reason = desk.request_approval(atom.id, "update_it")

    filed = {each.id: (each.params, each.reason) for each in desk.pending_approvals()}
    assert filed[asked] == ({"phone": "1"}, "She moved.")
    assert "supervised agents may perform 'update_it'" in filed[without_reason][1]


def test_all_of_a_request_is_filed(
    desk: AgentGovernanceService, atom: AgentRegistry, db_session: Session
) -> None:
    asked = desk.request_approval(
        atom.id, "update_it", {"phone": "1"}, "She moved.", time_to_decide=HOUR, thought="Hm."
    )
    enforced = desk.enforce_action(
        atom.id, "update_it", {"phone": "1"}, time_to_decide=HOUR, thought="Hm."
    )
    plain = desk.enforce_action(atom.id, "update_it")

    reason = "supervised agents may perform 'update_it' (complexity 3)"
    assert enforced == {
        "proceed": False,
        "status": "PENDING_APPROVAL",
        "reason": reason,
        "action_id": enforced["action_id"],
    }
    for action_id, params, why, thought, time in (
        (asked, {"phone": "1"}, "She moved.", "Hm.", HOUR),
        (enforced["action_id"], {"phone": "1"}, reason, "Hm.", HOUR),
        (plain["action_id"], {}, reason, "", timedelta(hours=24)),
    ):
        row = db_session.get_one(HITLAction, action_id)
        assert (row.workspace_id, row.agent_id, row.execution_id) == ("default", atom.id, None)
        assert (row.action_type, row.params, row.reason) == ("update_it", params, why)
        assert (row.thought, row.requested_at, row.expires_at) == (thought, NOON, NOON + time)


REFUSED_SINCE = {
    "stopped": "the agent is stopped and may do nothing",
    "paused": "the agent is paused and may do nothing",
    "deleted": "the agent is deleted and may do nothing",
    "deprecated": "the agent is deprecated and may do nothing",
    "intern": "requires supervised, the agent is intern",
    "student": "requires supervised, the agent is student",
}


@pytest.mark.parametrize("status", REFUSED_SINCE)
def test_what_is_refused_since_it_was_asked_is_approved_by_nobody_and_can_be_rejected(
    desk: AgentGovernanceService,
    atom: AgentRegistry,
    person: Callable[..., str],
    db_session: Session,
    status: str,
) -> None:
    admin = person("admin", "workspace_admin")
    action_id = desk.request_approval(atom.id, "update_it")
    atom.status = AgentStatus(status)
    other = desk.register_or_update_agent("sam", "sales", "agents.sam", "Sam")
    other.status = AgentStatus.AUTONOMOUS
    db_session.commit()

    with pytest.raises(ActionNotApprovable, match=REFUSED_SINCE[status]) as caught:
        desk.decide(action_id, True, admin)

    assert caught.value.hint == f"python -m core decide {action_id} reject"
    assert desk.get_approval_status(action_id)["status"] == "pending"
    assert desk.decide(action_id, False, admin)["status"] == "rejected"


def test_a_request_is_approved_as_soon_as_its_agent_may_again(
    desk: AgentGovernanceService,
    atom: AgentRegistry,
    person: Callable[..., str],
    db_session: Session,
) -> None:
    admin = person("admin", "workspace_admin")
    action_id = desk.request_approval(atom.id, "update_it")
    for status, then in (("paused", "pending"), ("autonomous", "approved")):
        atom.status = AgentStatus(status)
        db_session.commit()
        with suppress(ActionNotApprovable):
            desk.decide(action_id, True, admin)
        assert desk.get_approval_status(action_id)["status"] == then


@pytest.mark.parametrize(("approved", "status"), [(True, "approved"), (False, "rejected")])
def test_a_decision_says_who_and_when(
    desk: AgentGovernanceService,
    atom: AgentRegistry,
    person: Callable[..., str],
    approved: bool,
    status: str,
) -> None:
    admin = person("admin", "workspace_admin")
    action_id = desk.request_approval(atom.id, "update_it")

    view = desk.decide(action_id, approved, admin)

    assert (view["status"], view["reviewer_id"], view["reviewed_at"]) == (status, admin, NOON)
    assert desk.get_approval_status(action_id) == view


def test_a_decision_is_final(
    desk: AgentGovernanceService, atom: AgentRegistry, person: Callable[..., str]
) -> None:
    admin = person("admin", "workspace_admin")
    action_id = desk.request_approval(atom.id, "update_it")
    desk.decide(action_id, False, admin)

    with pytest.raises(AlreadyDecided) as caught:
        desk.decide(action_id, True, admin)

    assert (caught.value.key, caught.value.status) == (action_id, "rejected")
    assert desk.get_approval_status(action_id)["status"] == "rejected"


def test_two_reviewers_at_once_get_one_winner(
    desk: AgentGovernanceService,
    atom: AgentRegistry,
    person: Callable[..., str],
    db_session: Session,
) -> None:
    reviewers = [person("ada", "workspace_admin"), person("grace", "workspace_admin")]
    action_id = desk.request_approval(atom.id, "update_it")
    db_session.commit()
    together = threading.Barrier(2)

    def review(reviewer_id: str) -> str | AtomError:
        with SessionLocal() as session:
            service = AgentGovernanceService(session, clock=lambda: NOON)
            together.wait(timeout=10)
            try:
                view = service.decide(action_id, reviewer_id == reviewers[0], reviewer_id)
            except AlreadyDecided as error:
                return error
            session.commit()
            return str(view["reviewer_id"])

    with ThreadPoolExecutor(2) as threads:
        results = list(threads.map(review, reviewers))

    winners = [result for result in results if isinstance(result, str)]
    assert len(winners) == 1
    assert desk.get_approval_status(action_id)["reviewer_id"] == winners[0]


def test_a_late_approval_is_refused_and_the_request_is_expired(
    desk: AgentGovernanceService, atom: AgentRegistry, person: Callable[..., str], clock: Clock
) -> None:
    admin = person("admin", "workspace_admin")
    action_id = desk.request_approval(atom.id, "update_it", time_to_decide=HOUR)
    clock.now = NOON + HOUR

    with pytest.raises(ApprovalExpired) as caught:
        desk.decide(action_id, True, admin)

    assert (caught.value.action_id, caught.value.expires_at) == (action_id, NOON + HOUR)
    assert desk.get_approval_status(action_id)["status"] == "expired"


def test_an_expired_request_stays_expired_when_the_clock_is_put_back(
    desk: AgentGovernanceService, atom: AgentRegistry, clock: Clock, db_session: Session
) -> None:
    action_id = desk.request_approval(atom.id, "update_it", time_to_decide=HOUR)
    clock.now = NOON + HOUR
    desk.get_approval_status(action_id)
    clock.now = NOON

    assert desk.get_approval_status(action_id)["status"] == "expired"
    assert db_session.get_one(HITLAction, action_id).status == "expired"


def test_a_decided_request_does_not_expire(
    desk: AgentGovernanceService, atom: AgentRegistry, person: Callable[..., str], clock: Clock
) -> None:
    action_id = desk.request_approval(atom.id, "update_it", time_to_decide=HOUR)
    desk.decide(action_id, True, person("admin", "workspace_admin"))
    clock.now = NOON + HOUR

    assert desk.get_approval_status(action_id)["status"] == "approved"


@pytest.mark.parametrize("is_decided", [True, False])
def test_whoever_only_looks_waits_for_no_lock(
    desk: AgentGovernanceService,
    atom: AgentRegistry,
    person: Callable[..., str],
    clock: Clock,
    db_session: Session,
    is_decided: bool,
) -> None:
    action_id = desk.request_approval(atom.id, "update_it", time_to_decide=HOUR)
    if is_decided:
        desk.decide(action_id, True, person("admin", "workspace_admin"))
        clock.now = NOON + HOUR
    db_session.commit()
    executed: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        executed.append(statement.split()[0])

    event.listen(db_session.get_bind(), "before_cursor_execute", note)
    try:
        desk.get_approval_status(action_id)
    finally:
        event.remove(db_session.get_bind(), "before_cursor_execute", note)

    assert set(executed) == {"SELECT"}


def test_a_request_that_is_withdrawn_is_expired_and_cannot_be_approved(
    desk: AgentGovernanceService, atom: AgentRegistry, person: Callable[..., str]
) -> None:
    action_id = desk.request_approval(atom.id, "update_it")

    withdrawn = desk.withdraw_request(action_id)

    assert (withdrawn["status"], withdrawn["expires_at"]) == ("expired", NOON)
    assert desk.pending_approvals() == []
    with pytest.raises(ApprovalExpired):
        desk.decide(action_id, True, person("admin", "workspace_admin"))


def test_a_decision_outlives_a_withdrawal(
    desk: AgentGovernanceService, atom: AgentRegistry, person: Callable[..., str]
) -> None:
    action_id = desk.request_approval(atom.id, "update_it")
    decided = desk.decide(action_id, True, person("admin", "workspace_admin"))

    assert desk.withdraw_request(action_id) == decided


def test_pending_are_the_requests_that_somebody_can_still_decide_the_most_urgent_first(
    desk: AgentGovernanceService, atom: AgentRegistry, person: Callable[..., str], clock: Clock
) -> None:
    late, later, soon, decided = (
        desk.request_approval(atom.id, "update_it", time_to_decide=hours * HOUR)
        for hours in (1, 9, 3, 5)
    )
    desk.decide(decided, True, person("admin", "workspace_admin"))
    clock.now = NOON + HOUR

    assert [each.id for each in desk.pending_approvals()] == [soon, later]
    assert desk.get_approval_status(late)["status"] == "expired"


def test_of_two_that_are_as_urgent_the_older_comes_first(
    desk: AgentGovernanceService, atom: AgentRegistry, clock: Clock
) -> None:
    clock.now = NOON + HOUR
    younger = desk.request_approval(atom.id, "update_it", time_to_decide=HOUR)
    clock.now = NOON
    older = desk.request_approval(atom.id, "update_it", time_to_decide=2 * HOUR)

    assert [each.id for each in desk.pending_approvals()] == [older, younger]


def test_a_refused_action_cannot_be_put_to_a_human(
    desk: AgentGovernanceService, atom: AgentRegistry
) -> None:
    with pytest.raises(ActionNotApprovable) as caught:
        desk.request_approval(atom.id, "delete_file")

    assert caught.value.action_type == "delete_file"
    assert "maturity" in caught.value.reason


class TestReviewers:
    @pytest.mark.parametrize(
        ("role", "specialty"),
        [("workspace_admin", None), ("super_admin", None), ("member", "General")],
    )
    def test_admins_and_specialists_may_decide(
        self,
        desk: AgentGovernanceService,
        atom: AgentRegistry,
        person: Callable[..., str],
        role: str,
        specialty: str | None,
    ) -> None:
        action_id = desk.request_approval(atom.id, "update_it")

        assert desk.decide(action_id, True, person("ada", role, specialty))["status"] == "approved"

    @pytest.mark.parametrize("specialty", [None, "", "sales"])
    def test_others_may_not(
        self,
        desk: AgentGovernanceService,
        atom: AgentRegistry,
        person: Callable[..., str],
        specialty: str | None,
    ) -> None:
        member = person("mallory", "member", specialty)
        action_id = desk.request_approval(atom.id, "update_it")

        with pytest.raises(NotAllowed) as caught:
            desk.decide(action_id, True, member)

        assert caught.value.user_id == member
        assert desk.get_approval_status(action_id)["status"] == "pending"

    def test_a_specialist_decides_for_the_agents_of_one_category(
        self, desk: AgentGovernanceService, atom: AgentRegistry, person: Callable[..., str]
    ) -> None:
        seller = desk.register_or_update_agent("sam", "sales", "agents.sam", "Sam")
        asked = {
            agent.category: desk.request_approval(agent.id, "read_it") for agent in (atom, seller)
        }
        specialist = person("ada", "member", "sales")

        with pytest.raises(NotAllowed):
            desk.decide(asked["general"], True, specialist)
        assert desk.decide(asked["sales"], True, specialist)["status"] == "approved"

    def test_nobody_decides_in_another_workspace(
        self,
        desk: AgentGovernanceService,
        atom: AgentRegistry,
        person: Callable[..., str],
        db_session: Session,
    ) -> None:
        admin = person("admin", "workspace_admin")
        action_id = desk.request_approval(atom.id, "update_it")
        elsewhere = AgentGovernanceService(db_session, "elsewhere")

        with pytest.raises(NotFound, match="approval"):
            elsewhere.decide(action_id, True, admin)
        with pytest.raises(NotFound, match="approval"):
            elsewhere.get_approval_status(action_id)
        with pytest.raises(NotFound, match="approval"):
            elsewhere.withdraw_request(action_id)
        assert elsewhere.pending_approvals() == []


class TestWaiting:
    @pytest.mark.asyncio
    async def test_waiting_ends_with_the_decision_of_another_session(
        self,
        desk: AgentGovernanceService,
        atom: AgentRegistry,
        person: Callable[..., str],
    ) -> None:
        admin, looks = person("admin", "workspace_admin"), 0
        action_id = desk.request_approval(atom.id, "update_it")

        def clock() -> datetime:
            nonlocal looks
            looks += 1
            if looks == 3:
                with SessionLocal.begin() as session:
                    other = AgentGovernanceService(session, clock=lambda: NOON)
                    other.decide(action_id, True, admin)
            return NOON

        view = await desk.wait_for_approval(action_id, poll_interval=0, clock=clock)

        assert (view["status"], looks) == ("approved", 3)

    @pytest.mark.asyncio
    async def test_waiting_ends_at_the_deadline(
        self, desk: AgentGovernanceService, atom: AgentRegistry
    ) -> None:
        action_id = desk.request_approval(atom.id, "update_it", time_to_decide=HOUR)
        minutes = iter(range(0, 600, 10))

        view = await desk.wait_for_approval(
            action_id, poll_interval=0, clock=lambda: NOON + timedelta(minutes=next(minutes))
        )

        assert view["status"] == "expired"
        assert next(minutes) == 70

    @pytest.mark.asyncio
    async def test_a_request_is_committed_before_it_is_waited_for(
        self, desk: AgentGovernanceService, atom: AgentRegistry
    ) -> None:
        action_id = desk.request_approval(atom.id, "update_it", time_to_decide=HOUR)
        seen = []

        def clock() -> datetime:
            with SessionLocal() as session:
                seen.append(session.get(HITLAction, action_id))
            return NOON + HOUR

        await desk.wait_for_approval(action_id, poll_interval=0, clock=clock)

        assert None not in seen
