"""The life of a subscription: once started, renewed once a period, canceled once."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from core.database import SessionLocal
from core.errors import NotFound
from core.models import Workspace
from ecommerce.models import (
    Customer,
    Store,
    Subscription,
    SubscriptionAudit,
    SubscriptionStatus,
)
from ecommerce.subscriptions import AlreadySubscribed, NotDue, SubscriptionService
from saas.metering import SubscriptionInactive, UsageMeter
from saas.models import SaaSTier
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


def audits(db_session: Session) -> list[str]:
    return [audit.event for audit in db_session.scalars(select(SubscriptionAudit))]


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


class TestCancel:
    def test_canceling_sets_canceled_at_and_writes_an_audit_row(
        self, at: At, plan: Subscription, db_session: Session
    ) -> None:
        at(MARCH + DAY).cancel(plan.id, "ada")

        audit = db_session.scalars(select(SubscriptionAudit)).one()
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

        audit = db_session.scalars(select(SubscriptionAudit)).one()
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

        audit = db_session.scalars(select(SubscriptionAudit)).one()
        assert audit.details["billed"] == "101.00"

    def test_a_period_renewed_by_two_at_once_is_renewed_once(
        self, plan: Subscription, db_session: Session, db_engine: Engine
    ) -> None:
        plan_id, both_have_read = plan.id, threading.Barrier(2)
        db_session.rollback()

        @event.listens_for(db_engine, "before_cursor_execute")
        def meet(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
            if statement.startswith("UPDATE ecommerce_subscriptions"):
                both_have_read.wait(timeout=10)

        def renew(number: int) -> bool:
            with SessionLocal() as session:
                service = SubscriptionService(session, clock=lambda: MARCH + MONTH)
                try:
                    service.renew(plan_id, f"clerk-{number}")
                except NotDue:
                    return False
                session.commit()
                return True

        with ThreadPoolExecutor(2) as threads:
            renewed = list(threads.map(renew, range(2)))
        event.remove(db_engine, "before_cursor_execute", meet)

        assert sum(renewed) == 1
        assert plan.current_period_end == MARCH + 2 * MONTH
        assert audits(db_session) == ["renewed"]


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


def test_a_workspaces_own_plan_is_not_among_its_customers_overdue_ones(
    at: At, plan: Subscription, db_session: Session
) -> None:
    assert plan.tier is db_session.scalars(select(SaaSTier)).one()
    assert at(MARCH + 2 * MONTH).overdue() == []
