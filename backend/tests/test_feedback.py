"""Corrections: whose count at once, and what the others wait for."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from core.agent_governance_service import AgentGovernanceService
from core.errors import AlreadyDecided, NotAllowed, NotFound, RatingOutOfRange
from core.maturity import AgentStatus
from core.models import AgentFeedback, AgentRegistry, User, UserRole, Workspace
from sqlalchemy.orm import Session

Person = Callable[..., str]


@pytest.fixture
def person(db_session: Session, workspace: Workspace) -> Person:
    """Make a user and return the id."""

    def make(
        role: str = "member", specialty: str | None = None, home: Workspace = workspace
    ) -> str:
        user = User(workspace=home, email=f"{role}-{specialty}@{home.id}", name=role)
        user.role, user.specialty = UserRole(role), specialty
        db_session.add(user)
        db_session.commit()
        return user.id

    return make


@pytest.fixture
def elsewhere(db_session: Session) -> Workspace:
    """Another workspace."""
    workspace = Workspace(id="elsewhere", name="Elsewhere")
    db_session.add(workspace)
    db_session.commit()
    return workspace


@pytest.fixture
def correct(
    governance: AgentGovernanceService, atom: AgentRegistry
) -> Callable[..., AgentFeedback]:
    """Correct `atom_main` as a user."""

    def submit(user_id: str, rating: int | None = None) -> AgentFeedback:
        return governance.submit_feedback(atom.id, user_id, "2 + 2 = 5", "4", rating)

    return submit


@pytest.mark.parametrize(
    ("role", "specialty"),
    [
        ("workspace_admin", None),
        ("super_admin", None),
        ("member", "general"),
        ("member", " General "),
    ],
)
def test_the_feedback_of_admins_and_specialists_is_accepted_and_costs_010(
    correct: Callable[..., AgentFeedback],
    atom: AgentRegistry,
    person: Person,
    role: str,
    specialty: str | None,
) -> None:
    feedback = correct(person(role, specialty))

    assert feedback.status == "accepted"
    assert atom.confidence_score == Decimal("0.39")


@pytest.mark.parametrize("specialty", [None, "", "sales"])
def test_anyone_elses_waits_and_changes_nothing(
    correct: Callable[..., AgentFeedback],
    atom: AgentRegistry,
    person: Person,
    specialty: str | None,
) -> None:
    feedback = correct(person("member", specialty))

    assert feedback.status == "pending"
    assert atom.confidence_score == Decimal("0.49")


def test_an_admin_of_another_workspace_is_not_known_here(
    correct: Callable[..., AgentFeedback], person: Person, elsewhere: Workspace
) -> None:
    with pytest.raises(NotFound) as caught:
        correct(person("workspace_admin", None, elsewhere))

    assert caught.value.kind == "user"


def test_a_super_admin_of_another_workspace_is_trusted_everywhere(
    correct: Callable[..., AgentFeedback], person: Person, elsewhere: Workspace
) -> None:
    assert correct(person("super_admin", None, elsewhere)).status == "accepted"


def test_accepted_feedback_takes_the_status_along_but_not_below_the_floor(
    correct: Callable[..., AgentFeedback],
    atom: AgentRegistry,
    person: Person,
    db_session: Session,
) -> None:
    admin = person("workspace_admin")
    atom.confidence_score, atom.status = Decimal("0.75"), AgentStatus.SUPERVISED
    db_session.commit()
    correct(admin)
    without_floor = atom.status
    atom.confidence_score, atom.status_floor = Decimal("0.75"), AgentStatus.SUPERVISED
    db_session.commit()
    correct(admin)

    assert (without_floor, atom.status) == ("intern", "supervised")


def test_feedback_on_a_paused_agent_costs_it_but_does_not_wake_it(
    correct: Callable[..., AgentFeedback],
    atom: AgentRegistry,
    person: Person,
    db_session: Session,
) -> None:
    atom.status = AgentStatus.PAUSED
    db_session.commit()

    correct(person("workspace_admin"))

    assert (atom.status, atom.confidence_score) == ("paused", Decimal("0.39"))


class TestReview:
    def test_pending_feedback_costs_010_once_it_is_accepted(
        self,
        governance: AgentGovernanceService,
        correct: Callable[..., AgentFeedback],
        atom: AgentRegistry,
        person: Person,
    ) -> None:
        feedback, admin = correct(person("member")), person("workspace_admin")

        governance.review_feedback(feedback.id, True, admin)

        assert (feedback.status, feedback.reviewer_id) == ("accepted", admin)
        assert feedback.reviewed_at is not None
        assert atom.confidence_score == Decimal("0.39")

    def test_a_review_is_of_one_correction(
        self,
        governance: AgentGovernanceService,
        correct: Callable[..., AgentFeedback],
        person: Person,
        db_session: Session,
    ) -> None:
        member = person("member")
        reviewed, other = correct(member), correct(member)

        governance.review_feedback(reviewed.id, True, person("workspace_admin"))

        db_session.refresh(other)
        assert (other.status, other.reviewer_id) == ("pending", None)

    def test_a_correction_accepted_later_costs_a_paused_agent_too(
        self,
        governance: AgentGovernanceService,
        correct: Callable[..., AgentFeedback],
        atom: AgentRegistry,
        person: Person,
    ) -> None:
        feedback = correct(person("member"))
        governance.pause(atom.id)

        governance.review_feedback(feedback.id, True, person("workspace_admin"))

        assert (atom.status, atom.confidence_score) == ("paused", Decimal("0.39"))

    def test_rejected_feedback_costs_nothing(
        self,
        governance: AgentGovernanceService,
        correct: Callable[..., AgentFeedback],
        atom: AgentRegistry,
        person: Person,
    ) -> None:
        feedback = correct(person("member"))

        governance.review_feedback(feedback.id, False, person("workspace_admin"))

        assert feedback.status == "rejected"
        assert atom.confidence_score == Decimal("0.49")

    def test_a_review_is_final(
        self,
        governance: AgentGovernanceService,
        correct: Callable[..., AgentFeedback],
        atom: AgentRegistry,
        person: Person,
    ) -> None:
        feedback, admin = correct(person("member")), person("workspace_admin")
        governance.review_feedback(feedback.id, True, admin)

        with pytest.raises(AlreadyDecided) as caught:
            governance.review_feedback(feedback.id, True, admin)

        assert caught.value.status == "accepted"
        assert atom.confidence_score == Decimal("0.39")

    def test_feedback_that_was_accepted_at_once_cannot_be_accepted_again(
        self,
        governance: AgentGovernanceService,
        correct: Callable[..., AgentFeedback],
        person: Person,
    ) -> None:
        admin = person("workspace_admin")

        with pytest.raises(AlreadyDecided):
            governance.review_feedback(correct(admin).id, True, admin)

    def test_the_author_of_pending_feedback_cannot_accept_it(
        self,
        governance: AgentGovernanceService,
        correct: Callable[..., AgentFeedback],
        person: Person,
    ) -> None:
        member = person("member")
        feedback = correct(member)

        with pytest.raises(NotAllowed):
            governance.review_feedback(feedback.id, True, member)

        assert feedback.status == "pending"

    def test_unknown_feedback_is_not_found(
        self, governance: AgentGovernanceService, person: Person
    ) -> None:
        with pytest.raises(NotFound, match="feedback"):
            governance.review_feedback("none", True, person("workspace_admin"))


@pytest.mark.parametrize("rating", [None, 1, 5])
def test_all_of_a_correction_is_filed(
    correct: Callable[..., AgentFeedback], atom: AgentRegistry, person: Person, rating: int | None
) -> None:
    member = person("member")

    feedback = correct(member, rating)

    assert (feedback.agent_id, feedback.user_id, feedback.rating) == (atom.id, member, rating)
    assert (feedback.original_output, feedback.user_correction) == ("2 + 2 = 5", "4")
    assert (feedback.reviewer_id, feedback.reviewed_at) == (None, None)


@pytest.mark.parametrize("rating", [0, 6, True, 2.0])
def test_a_rating_is_between_1_and_5(
    correct: Callable[..., AgentFeedback], person: Person, rating: int
) -> None:
    with pytest.raises(RatingOutOfRange, match=f"from 1 to 5, and not {rating}"):
        correct(person("member"), rating)
