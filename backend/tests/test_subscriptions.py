"""The life of a subscription: once started, renewed once a period, canceled once."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from core.database import SessionLocal
from core.errors import AtomError, NotFound
from core.models import Workspace
from ecommerce.models import (
    Customer,
    Store,
    Subscription,
    SubscriptionAudit,
    SubscriptionEvent,
    SubscriptionStatus,
)
from ecommerce.subscriptions import AlreadySubscribed, NoPeriod, NotDue, SubscriptionService
from saas.metering import SubscriptionInactive, UsageMeter, active_plan
from saas.models import Invoice, SaaSTier, UsageEvent
from saas.rates import OverageRates
from sqlalchemy import Engine, event, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

MARCH = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
MONTH = timedelta(days=30)

At = Callable[[datetime], SubscriptionService]


@pytest.fixture
def at(workspace: Workspace, db_session: Session) -> At:
    """The service at a given time."""
    return lambda now: SubscriptionService(db_session, workspace.id, clock=lambda: now)


@pytest.fixture
def plan(workspace: Workspace, db_session: Session) -> Subscription:
    """The workspace's plan, in the period of thirty days from the first of March."""
    plan = db_session.scalars(select(Subscription)).one()
    plan.current_period_start, plan.current_period_end = MARCH, MARCH + MONTH
    db_session.commit()
    return plan


def changes(db_session: Session) -> list[SubscriptionAudit]:
    """The audit rows of all that was done to subscriptions after they were started."""
    started = SubscriptionAudit.event == SubscriptionEvent.STARTED
    return list(db_session.scalars(select(SubscriptionAudit).where(~started)))


def audits(db_session: Session) -> list[str]:
    return [audit.event for audit in changes(db_session)]


def invoices(db_session: Session) -> list[Invoice]:
    """Every invoice, in the order of the periods."""
    return list(db_session.scalars(select(Invoice).order_by(Invoice.period_start)))


class TestStart:
    def test_a_workspace_has_one_active_plan(self, at: At, plan: Subscription) -> None:
        with pytest.raises(AlreadySubscribed) as caught:
            at(MARCH).start(plan.tier)

        assert caught.value.subscription_id == plan.id

    def test_the_database_knows_that_too(self, plan: Subscription, db_session: Session) -> None:
        period = {"current_period_start": MARCH, "current_period_end": MARCH + DAY}
        db_session.add(Subscription(workspace=plan.workspace, tier=plan.tier, **period))

        with pytest.raises(IntegrityError, match="workspace_id"):
            db_session.flush()

    def test_after_one_is_canceled_another_may_start(self, at: At, plan: Subscription) -> None:
        at(MARCH).cancel(plan.id, "ada")

        started = at(MARCH + DAY).start(plan.tier)

        assert started.current_period_start == MARCH + DAY
        assert started.current_period_end == MARCH + DAY + MONTH

    def test_a_start_is_audited(self, at: At, plan: Subscription, db_session: Session) -> None:
        at(MARCH).cancel(plan.id, "ada")

        started = at(MARCH + DAY).start(plan.tier, actor="ada")

        (audit,) = started.audits
        assert (audit.event, audit.actor, audit.occurred_at) == ("started", "ada", MARCH + DAY)
        assert audit.details["tier"] == plan.tier.name

    def test_of_two_starts_at_once_one_wins_and_the_other_is_told(
        self, at: At, plan: Subscription, db_session: Session, db_engine: Engine
    ) -> None:
        at(MARCH).cancel(plan.id, "ada")
        tier_id = plan.tier.id
        db_session.commit()

        def start(session: Session) -> str:
            tier = session.get_one(SaaSTier, tier_id)
            return SubscriptionService(session, clock=lambda: MARCH).start(tier).id

        # On SQLite they meet before the transaction, in which there is one.
        first = {"sqlite": "BEGIN", "postgresql": "INSERT INTO ecommerce_subscriptions"}
        ended = at_once(db_engine, first[db_engine.dialect.name], start, start)

        (won,) = (each for each in ended if isinstance(each, str))
        (told,) = (each for each in ended if isinstance(each, AlreadySubscribed))
        assert told.subscription_id == won
        assert active_plan(db_session, "default") is db_session.get(Subscription, won)
        assert [audit.event for audit in db_session.get_one(Subscription, won).audits] == [
            "started"
        ]

    @pytest.mark.parametrize("is_saved", [True, False])
    def test_a_workspace_is_a_wall_for_a_customer_who_is_handed_in(
        self, at: At, plan: Subscription, db_session: Session, is_saved: bool
    ) -> None:
        elsewhere = Workspace(id="elsewhere", name="Elsewhere")
        customer = Customer(
            store=Store(workspace=elsewhere, name="Shop"), name="Eve", email="eve@example.com"
        )
        if is_saved:
            db_session.add(customer)
            db_session.commit()

        with pytest.raises(NotFound) as caught:
            at(MARCH).start(plan.tier, customer)

        assert (caught.value.kind, caught.value.key) == ("customer", customer.id)
        assert db_session.scalars(select(Subscription)).one() is plan


class TestCancel:
    def test_canceling_sets_canceled_at_and_writes_an_audit_row(
        self, at: At, plan: Subscription, db_session: Session
    ) -> None:
        at(MARCH + DAY).cancel(plan.id, "ada")

        (audit,) = changes(db_session)
        assert (plan.status, plan.canceled_at) == ("canceled", MARCH + DAY)
        assert (audit.subscription, audit.event, audit.actor) == (plan, "canceled", "ada")
        assert audit.occurred_at == MARCH + DAY

    def test_canceling_twice_is_refused_and_changes_nothing(
        self, at: At, plan: Subscription, db_session: Session
    ) -> None:
        at(MARCH).cancel(plan.id, "ada")

        with pytest.raises(SubscriptionInactive) as caught:
            at(MARCH + DAY).cancel(plan.id, "grace")

        assert caught.value.status == "canceled"
        assert plan.canceled_at == MARCH
        assert audits(db_session) == ["canceled"]

    def test_canceling_settles_what_is_due_up_to_now(
        self, at: At, plan: Subscription, db_session: Session
    ) -> None:
        plan.tier.overage_rates, plan.tier.currency = OverageRates.of((None, "0.5")), "CHF"
        db_session.commit()
        UsageMeter(db_session, clock=lambda: MARCH + DAY).record(plan.id, "api_call", 3, "key-1")

        at(MARCH + 2 * DAY).cancel(plan.id, "ada")

        (invoice,), (audit,) = invoices(db_session), changes(db_session)
        assert (invoice.subscription, invoice.kind, invoice.used) == (plan, "settlement", 3)
        assert (invoice.period_start, invoice.period_end) == (MARCH, MARCH + 2 * DAY)
        assert (invoice.amount, invoice.currency) == (Decimal("101.50"), "CHF")
        assert (audit.details["billed"], audit.details["currency"]) == ("101.50", "CHF")
        assert (audit.details["invoice"], audit.details["to"]) == (
            invoice.id,
            (MARCH + 2 * DAY).isoformat(),
        )

    def test_what_a_clock_that_is_ahead_has_counted_is_settled_too(
        self, at: At, plan: Subscription, db_session: Session
    ) -> None:
        UsageMeter(db_session, clock=lambda: MARCH + 9 * MONTH).record(plan.id, "api_call", 3, "k")

        at(MARCH + DAY).cancel(plan.id, "ada")

        assert [invoice.used for invoice in invoices(db_session)] == [3]

    def test_what_was_used_after_the_period_that_nobody_renewed_is_settled_once(
        self, at: At, plan: Subscription, db_session: Session
    ) -> None:
        for number, when in enumerate([MARCH, MARCH + MONTH, MARCH + 2 * MONTH]):
            meter = UsageMeter(db_session, clock=partial(min, when, when))
            meter.record(plan.id, "api_call", 1, f"key-{number}")

        at(MARCH + 3 * MONTH).cancel(plan.id, "ada")

        (invoice,) = invoices(db_session)
        assert (invoice.used, invoice.period_end) == (3, MARCH + 3 * MONTH)

    @pytest.mark.parametrize("back", [timedelta(0), DAY, MONTH])
    def test_a_clock_that_goes_back_does_not_end_a_period_before_it_began(
        self, at: At, plan: Subscription, db_session: Session, back: timedelta
    ) -> None:
        at(MARCH - back).cancel(plan.id, "ada")

        (invoice,) = invoices(db_session)
        assert (invoice.period_start, invoice.period_end) == (MARCH, MARCH)
        assert plan.canceled_at == MARCH

    def test_one_that_is_paused_is_settled_too(
        self, at: At, plan: Subscription, db_session: Session
    ) -> None:
        plan.status = SubscriptionStatus.PAUSED
        db_session.commit()

        at(MARCH + DAY).cancel(plan.id, "ada")

        assert [invoice.amount for invoice in invoices(db_session)] == [100]

    def test_canceled_by_two_at_once_it_is_settled_once(
        self, plan: Subscription, db_session: Session, db_engine: Engine
    ) -> None:
        cancel = partial(a_change, "cancel", plan.id)
        db_session.commit()

        ended = at_once(db_engine, "UPDATE ecommerce_subscriptions", cancel, cancel)

        assert [type(each) for each in ended].count(SubscriptionInactive) == 1
        assert [invoice.kind for invoice in invoices(db_session)] == ["settlement"]
        assert audits(db_session) == ["canceled"]

    def test_a_subscription_of_another_workspace_is_not_found(
        self, plan: Subscription, db_session: Session
    ) -> None:
        with pytest.raises(NotFound):
            SubscriptionService(db_session, "elsewhere").cancel(plan.id, "ada")

        assert plan.status == "active"


class TestRenew:
    def test_a_renewal_begins_the_next_period_and_is_audited_with_what_was_billed(
        self, at: At, plan: Subscription, db_session: Session
    ) -> None:
        UsageMeter(db_session, clock=lambda: MARCH).record(plan.id, "api_call", 1, "key-1")

        at(MARCH + MONTH).renew(plan.id, "ada")

        (audit,) = changes(db_session)
        assert plan.current_period_start == MARCH + MONTH
        assert plan.current_period_end == MARCH + 2 * MONTH
        assert (audit.event, audit.details["billed"]) == ("renewed", "100.00")

    def test_a_period_is_renewed_once(
        self, at: At, plan: Subscription, db_session: Session
    ) -> None:
        at(MARCH + MONTH).renew(plan.id, "ada")

        with pytest.raises(NotDue) as caught:
            at(MARCH + MONTH).renew(plan.id, "ada")

        assert caught.value.current_period_end == MARCH + 2 * MONTH
        assert audits(db_session) == ["renewed"]

    def test_a_period_that_another_session_renewed_is_not_renewed_again(
        self, at: At, plan: Subscription, db_session: Session
    ) -> None:
        plan_id, read = plan.id, plan.current_period_end
        db_session.commit()
        assert at(MARCH + MONTH).find(plan_id).current_period_end == read
        with SessionLocal.begin() as session:
            SubscriptionService(session, clock=lambda: MARCH + MONTH).renew(plan_id, "ada")

        with pytest.raises(NotDue) as caught:
            at(MARCH + MONTH).renew(plan_id, "ada")

        assert caught.value.current_period_end == MARCH + 2 * MONTH

    def test_a_period_that_has_not_ended_is_not_renewed(self, at: At, plan: Subscription) -> None:
        with pytest.raises(NotDue):
            at(MARCH + MONTH - timedelta(microseconds=1)).renew(plan.id, "ada")

    @pytest.mark.parametrize("status", [SubscriptionStatus.PAUSED, SubscriptionStatus.CANCELED])
    def test_only_an_active_subscription_renews(
        self, at: At, plan: Subscription, db_session: Session, status: SubscriptionStatus
    ) -> None:
        plan.status = status
        db_session.commit()

        with pytest.raises(SubscriptionInactive) as caught:
            at(MARCH + MONTH).renew(plan.id, "ada")

        assert caught.value.status == status
        assert plan.current_period_end == MARCH + MONTH
        assert audits(db_session) == []

    def test_an_event_that_is_being_counted_is_billed(
        self, plan: Subscription, db_session: Session
    ) -> None:
        plan.tier.overage_rates = OverageRates.of((None, 1))
        plan_id = plan.id
        db_session.commit()

        def renew() -> None:
            with SessionLocal.begin() as session:
                SubscriptionService(session, clock=lambda: MARCH + MONTH).renew(plan_id, "ada")

        with ThreadPoolExecutor(1) as threads:
            UsageMeter(db_session, clock=lambda: MARCH).record(plan_id, "api_call", 1, "key-1")
            renewing = threads.submit(renew)
            wait([renewing], timeout=0.2)
            db_session.commit()
            renewing.result()

        (audit,) = changes(db_session)
        assert audit.details["billed"] == "101.00"

    def test_a_renewal_is_an_invoice_of_the_period_that_ended(
        self, at: At, plan: Subscription, db_session: Session
    ) -> None:
        plan.tier.overage_rates, plan.tier.currency = OverageRates.of((None, 1)), "USD"
        db_session.commit()
        for number, when in enumerate([MARCH, MARCH + MONTH - DAY, MARCH + MONTH]):
            meter = UsageMeter(db_session, clock=partial(min, when, when))
            meter.record(plan.id, "api_call", 1, f"key-{number}")

        at(MARCH + MONTH + DAY).renew(plan.id, "ada")

        (invoice,) = invoices(db_session)
        assert (invoice.subscription, invoice.kind, invoice.used) == (plan, "renewal", 2)
        assert (invoice.period_start, invoice.period_end) == (MARCH, MARCH + MONTH)
        assert (invoice.amount, invoice.currency) == (Decimal("102.00"), "USD")
        assert invoice.issued_at == MARCH + MONTH + DAY
        assert plan.invoices == [invoice]

    def test_what_is_told_late_is_billed_in_the_period_in_which_it_is_told(
        self, at: At, plan: Subscription, db_session: Session
    ) -> None:
        at(MARCH + MONTH).renew(plan.id, "ada")

        late = UsageMeter(db_session, clock=lambda: MARCH + DAY)
        event = late.record(plan.id, "api_call", 1, "late")
        at(MARCH + 2 * MONTH).renew(plan.id, "ada")

        assert event.occurred_at == MARCH + MONTH
        assert [invoice.used for invoice in invoices(db_session)] == [0, 1]

    def test_an_event_that_waited_for_a_renewal_belongs_to_the_next_period(
        self, at: At, plan: Subscription, db_session: Session
    ) -> None:
        plan_id = plan.id
        db_session.commit()

        def record() -> None:
            with SessionLocal.begin() as session:
                UsageMeter(session, clock=lambda: MARCH + DAY).record(plan_id, "api_call", 1, "k")

        with ThreadPoolExecutor(1) as threads:
            at(MARCH + MONTH).renew(plan_id, "ada")
            recording = threads.submit(record)
            wait([recording], timeout=0.2)
            db_session.commit()
            recording.result()

        event = db_session.scalars(select(UsageEvent)).one()
        assert event.occurred_at == MARCH + MONTH
        assert [invoice.used for invoice in invoices(db_session)] == [0]

    def test_the_database_has_one_invoice_for_each_period(
        self, at: At, plan: Subscription, db_session: Session
    ) -> None:
        at(MARCH + MONTH).renew(plan.id, "ada")
        plan.current_period_start, plan.current_period_end = MARCH, MARCH + MONTH
        db_session.flush()

        with pytest.raises(IntegrityError, match="period_start"):
            at(MARCH + MONTH).renew(plan.id, "ada")

    def test_a_period_renewed_by_two_at_once_is_renewed_once(
        self, plan: Subscription, db_session: Session, db_engine: Engine
    ) -> None:
        renew = partial(a_change, "renew", plan.id)
        db_session.commit()

        ended = at_once(db_engine, "UPDATE ecommerce_subscriptions", renew, renew)

        assert [type(each) for each in ended].count(NotDue) == 1
        assert plan.current_period_end == MARCH + 2 * MONTH
        assert audits(db_session) == ["renewed"]
        assert [invoice.period_start for invoice in invoices(db_session)] == [MARCH]

    def test_a_renewal_and_a_cancel_at_once_bill_everything_once(
        self, plan: Subscription, db_session: Session, db_engine: Engine
    ) -> None:
        for number, when in enumerate([MARCH, MARCH + MONTH]):
            meter = UsageMeter(db_session, clock=partial(min, when, when))
            meter.record(plan.id, "api_call", number + 1, f"key-{number}")
        renew, cancel = (partial(a_change, deed, plan.id) for deed in ("renew", "cancel"))
        db_session.commit()

        renewed, canceled = at_once(db_engine, "UPDATE ecommerce_subscriptions", renew, cancel)

        billed = [(invoice.kind, invoice.used) for invoice in invoices(db_session)]
        assert canceled is None
        assert plan.status == "canceled"
        if renewed is None:
            assert billed == [("renewal", 1), ("settlement", 2)]
        else:
            assert isinstance(renewed, SubscriptionInactive)
            assert billed == [("settlement", 3)]


def a_change(deed: str, subscription_id: str, session: Session) -> None:
    """Renew or cancel a subscription when its first period has ended."""
    service = SubscriptionService(session, clock=lambda: MARCH + MONTH)
    getattr(service, deed)(subscription_id, "a clerk")


def at_once(engine: Engine, statement: str, *deeds: Callable[[Session], Any]) -> list[Any]:
    """What deeds returned or raised, each with a connection of its own.

    Each has read what it had to before any comes to the statement.
    """
    all_have_read = threading.Barrier(len(deeds))
    have_met = threading.local()

    def meet(_connection: Any, _cursor: Any, said: str, *_: Any) -> None:
        if said.startswith(statement) and not hasattr(have_met, "them"):
            have_met.them = True
            all_have_read.wait(timeout=30)

    def run(deed: Callable[[Session], Any]) -> Any:
        with SessionLocal() as session:
            try:
                returned = deed(session)
                session.commit()
            except AtomError as error:
                return error
            return returned

    event.listen(engine, "before_cursor_execute", meet)
    with ThreadPoolExecutor(len(deeds)) as threads:
        ended = list(threads.map(run, deeds))
    event.remove(engine, "before_cursor_execute", meet)
    return ended


def test_a_customers_subscription_is_overdue_from_when_it_may_be_renewed(
    at: At, plan: Subscription, workspace: Workspace, db_session: Session
) -> None:
    customer = Customer(
        store=Store(workspace=workspace, name="Shop"), name="Ada", email="ada@example.com"
    )
    sold = at(MARCH).start(plan.tier, customer)
    end = MARCH + MONTH

    assert at(end - timedelta(microseconds=1)).overdue() == []
    assert at(end).overdue() == [sold]
    assert at(end).renew(sold.id, "ada").current_period_start == end


def test_overdue_are_the_oldest_first(
    at: At, plan: Subscription, workspace: Workspace, db_session: Session
) -> None:
    shop = Store(workspace=workspace, name="Shop")
    sold: list[Subscription] = []
    for day in (3, 1, 2, 1):
        name = f"{day} of {len(sold)}"
        customer = Customer(store=shop, name=name, email=name)
        sold.append(at(MARCH + day * DAY).start(plan.tier, customer))

    assert at(MARCH + 2 * MONTH).overdue() == sorted(
        sold, key=lambda one: (one.current_period_end, one.id)
    )


def test_a_workspaces_own_plan_is_not_among_its_customers_overdue_ones(
    at: At, plan: Subscription, db_session: Session
) -> None:
    assert plan.tier is db_session.scalars(select(SaaSTier)).one()
    assert at(MARCH + 2 * MONTH).overdue() == []


@pytest.mark.parametrize("period", [timedelta(0), -DAY])
def test_a_period_that_does_not_end_after_it_begins_is_none(
    at: At, plan: Subscription, db_session: Session, period: timedelta
) -> None:
    at(MARCH).cancel(plan.id, "ada")

    with pytest.raises(NoPeriod, match="has no length"):
        at(MARCH + DAY).start(plan.tier, period=period)

    assert db_session.scalars(select(Subscription)).all() == [plan]


def test_a_period_is_as_long_as_it_was_asked_for_and_so_is_the_next(
    at: At, plan: Subscription
) -> None:
    week, start = 7 * DAY, MARCH + DAY
    at(MARCH).cancel(plan.id, "ada")

    started = at(start).start(plan.tier, period=week)
    first = (started.current_period_start, started.current_period_end)
    renewed = at(start + week).renew(started.id, "ada")

    assert first == (start, start + week)
    assert (renewed.current_period_start, renewed.current_period_end) == (
        start + week,
        start + 2 * week,
    )
