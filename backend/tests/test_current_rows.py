"""Rules are judged by what the database says now, not by what the session saw before."""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from core.agent_governance_service import AgentGovernanceService
from core.clock import utc_now
from core.database import SessionLocal
from core.errors import AtomError, NotAllowed
from core.maturity import AgentStatus
from core.models import AgentRegistry, User, UserRole, Workspace
from core.registry import ATOM_MAIN
from ecommerce.customers import CustomerService
from ecommerce.models import Customer, Store, Subscription, SubscriptionStatus
from ecommerce.subscriptions import SubscriptionService
from saas.metering import UsageMeter
from saas.models import Invoice, SaaSTier, UsageEvent
from sqlalchemy import Update, select, update
from sqlalchemy.orm import Session, object_session

BACKEND = Path(__file__).parents[1]
Look = Callable[[Session], Any]

SEEN = (Workspace, AgentRegistry, User, SaaSTier, Subscription, Store, Customer)


@pytest.fixture
def rows(atom: AgentRegistry, admin: str, db_session: Session) -> None:
    """An admin, a specialist, and a customer with a subscription."""
    tier = db_session.scalars(select(SaaSTier)).one()
    store = Store(workspace_id="default", name="Shop")
    customer = Customer(id="ada", store=store, name="Ada", email="ada@example.com", phone="1")
    specialist = User(
        id="sam", workspace_id="default", email="s@example.com", name="Sam", specialty="general"
    )
    db_session.add_all([customer, specialist])
    db_session.flush()
    SubscriptionService(db_session).start(tier, customer)
    db_session.commit()


@pytest.fixture(params=["in a transaction", "for ever"])
def seen(rows: None, request: pytest.FixtureRequest) -> Iterator[Session]:
    """A session that has seen every row, and holds them; one has committed since, too."""
    with SessionLocal(expire_on_commit=request.param == "in a transaction") as db:
        held = [list(db.scalars(select(model))) for model in SEEN]
        if request.param == "for ever":
            db.commit()
        yield db
        assert all(held)


def elsewhere(change: Update) -> None:
    with SessionLocal.begin() as db:
        db.execute(change)


def governance(db: Session) -> AgentGovernanceService:
    return AgentGovernanceService(db)


def admin_of(db: Session) -> str:
    return db.scalars(select(User.id).where(User.email == "admin@example.com")).one()


def promote(db: Session) -> str:
    try:
        return governance(db).promote("atom_main", AgentStatus.AUTONOMOUS, admin_of(db)).status
    except NotAllowed:
        return "not allowed"


def decide(db: Session) -> str:
    filed = governance(db).enforce_action("atom_main", "read_file", require_approval=True)
    try:
        return governance(db).decide(str(filed["action_id"]), True, admin_of(db))["status"]
    except NotAllowed:
        return "not allowed"


def renew(db: Session) -> list[Decimal]:
    plan = db.scalars(select(Subscription.id).where(Subscription.customer_id.is_not(None))).one()
    SubscriptionService(db, clock=lambda: utc_now() + timedelta(days=31)).renew(plan, "somebody")
    return list(db.scalars(select(Invoice.amount)))


def ask_for_stopped(db: Session) -> list[str]:
    return [agent.status for agent in governance(db).list_agents(status=AgentStatus.STOPPED)]


STOPPED = update(AgentRegistry).values(status=AgentStatus.STOPPED)
DEMOTED = update(User).where(User.role != UserRole.MEMBER).values(role=UserRole.MEMBER)
ANOTHER_FIELD = update(User).values(specialty=None)

CASES: dict[str, tuple[Update, Look, Any]] = {
    "a stopped agent acts": (
        STOPPED,
        lambda db: governance(db).enforce_action("atom_main", "read_file")["status"],
        "BLOCKED",
    ),
    "a stopped agent is asked about": (
        STOPPED,
        lambda db: governance(db).can_perform_action("atom_main", "read_file")["agent_status"],
        "stopped",
    ),
    "a stopped agent is capable": (
        STOPPED,
        lambda db: governance(db).get_agent_capabilities("atom_main")["allowed"],
        [],
    ),
    "stopped agents are listed": (STOPPED, ask_for_stopped, ["stopped"]),
    "a former admin decides": (DEMOTED, decide, "not allowed"),
    "a former admin promotes": (DEMOTED, promote, "not allowed"),
    "a former admin corrects": (
        DEMOTED,
        lambda db: governance(db).submit_feedback("atom_main", admin_of(db), "a", "b").status,
        "pending",
    ),
    "a former specialist corrects": (
        ANOTHER_FIELD,
        lambda db: governance(db).submit_feedback("atom_main", "sam", "a", "b").status,
        "pending",
    ),
    "a specialist corrects an agent of another field": (
        update(AgentRegistry).values(category="sales"),
        lambda db: governance(db).submit_feedback("atom_main", "sam", "a", "b").status,
        "pending",
    ),
    "a tier has another price": (
        update(SaaSTier).values(base_price=Decimal(250)),
        renew,
        [Decimal(250)],
    ),
    "a customer is found": (
        update(Customer).values(phone="2"),
        lambda db: [each.phone for each in CustomerService(db).find("ada@example.com")],
        ["2"],
    ),
    "a plan is overdue": (
        update(Subscription).values(current_period_end=utc_now() + timedelta(days=1)),
        lambda db: [
            each.current_period_end < utc_now() + timedelta(days=2)
            for each in SubscriptionService(
                db, clock=lambda: utc_now() + timedelta(days=31)
            ).overdue()
        ],
        [True],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_somebody_else_has_changed_counts(seen: Session, case: str) -> None:
    change, look, expected = CASES[case]

    elsewhere(change)

    assert look(seen) == expected


def paused(plan: Subscription) -> None:
    plan.status = SubscriptionStatus.PAUSED


def used(plan: Subscription) -> None:
    event = UsageEvent(event_type="api_call", quantity=Decimal(5), idempotency_key="unsent")
    event.workspace_id, event.subscription_id = plan.workspace_id, plan.id
    object_session(plan).add(event)  # type: ignore[union-attr]


def refused(deed: Callable[[Session, Subscription], Any]) -> Callable[[Session, Subscription], Any]:
    """What a deed gives, or the name of its error."""

    def attempt(db: Session, plan: Subscription) -> Any:
        try:
            return deed(db, plan)
        except AtomError as error:
            return type(error).__name__

    return attempt


UNSENT: dict[str, tuple[Callable[[Subscription], None], Callable[..., Any], Any]] = {
    "a paused plan counts nothing": (
        paused,
        lambda db, plan: UsageMeter(db).record(plan.id, "api_call", 1, "key"),
        "SubscriptionInactive",
    ),
    "a paused plan meters no run": (
        paused,
        lambda db, plan: UsageMeter(db).record_run("default", "run"),
        None,
    ),
    "an event is added up": (
        used,
        lambda db, plan: UsageMeter(db).total(
            plan.id, "api_call", plan.current_period_start - timedelta(1), None
        ),
        Decimal(5),
    ),
}


@pytest.mark.parametrize("case", UNSENT)
def test_what_a_session_has_not_sent_yet_counts(rows: None, case: str) -> None:
    change, look, expected = UNSENT[case]
    with SessionLocal(autoflush=False) as db:
        plan = db.scalars(select(Subscription).where(Subscription.customer_id.is_(None))).one()

        change(plan)

        assert refused(look)(db, plan) == expected


def test_a_plan_that_was_not_sent_yet_can_be_used(rows: None) -> None:
    with SessionLocal(autoflush=False) as db:
        tier, customer = db.scalars(select(SaaSTier)).one(), db.get_one(Customer, "ada")
        now = utc_now()
        plan = Subscription(id="new", workspace_id="default", tier=tier, customer=customer)
        plan.current_period_start, plan.current_period_end = now, now + timedelta(days=1)

        db.add(plan)

        assert UsageMeter(db).record("new", "api_call", 1, "key").subscription_id == "new"


def test_no_service_asks_a_session_that_may_hold_something_back() -> None:
    asking = re.compile(r"\b_?db\.(execute|scalars?|get|get_one|query)\(")
    found = [
        f"{path.name}:{number}"
        for package in ("core", "saas", "ecommerce")
        for path in sorted((BACKEND / package).glob("*.py"))
        # What opens a session of its own has nothing in it that nobody sent.
        if "SessionLocal" not in (code := path.read_text())
        for number, line in enumerate(code.splitlines(), 1)
        if asking.search(line)
    ]

    assert found == []


def test_what_is_set_is_set_though_the_session_saw_it_so_before(seen: Session) -> None:
    elsewhere(update(Customer).values(phone="2"))
    elsewhere(update(AgentRegistry).values(category="sales"))

    CustomerService(seen).set_phone("ada", "1")
    governance(seen).register_or_update_agent(
        ATOM_MAIN.name, "general", ATOM_MAIN.module_path, ATOM_MAIN.class_name
    )
    seen.commit()

    with SessionLocal() as db:
        assert db.scalars(select(Customer.phone)).one() == "1"
        assert db.scalars(select(AgentRegistry.category)).one() == "general"


def test_what_a_session_has_not_sent_yet_stays_and_counts(rows: None) -> None:
    with SessionLocal(autoflush=False) as db:
        agent, admin = db.scalars(select(AgentRegistry)).one(), db.get_one(User, admin_of(db))
        customer = db.get_one(Customer, "ada")
        plan = db.scalars(select(Subscription).where(Subscription.customer_id.is_(None))).one()
        agent.category, admin.role, customer.phone = "sales", UserRole.MEMBER, "3"
        plan.current_period_start -= timedelta(days=1)

        decided = decide(db)
        CustomerService(db).get("ada")
        SubscriptionService(db).find(plan.id)
        UsageMeter(db).record_run("default", "run-1")
        db.commit()
        admin_id, plan_id = admin.id, plan.id

    with SessionLocal() as db:
        assert decided == "not allowed"
        assert db.scalars(select(AgentRegistry.category)).one() == "sales"
        assert db.get_one(User, admin_id).role == UserRole.MEMBER
        assert db.get_one(Customer, "ada").phone == "3"
        found = db.get_one(Subscription, plan_id)
        assert found.current_period_end - found.current_period_start == timedelta(days=31)
