"""Usage events: counted once, on active subscriptions only, and never less than nothing."""

from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from core.database import SessionLocal
from core.errors import NotFound
from core.models import Workspace
from core.types import NotExact
from ecommerce.models import Customer, Store, Subscription, SubscriptionStatus
from ecommerce.subscriptions import SubscriptionService
from saas.metering import KeyReused, NegativeQuantity, SubscriptionInactive, UsageMeter, active_plan
from saas.models import UsageEvent
from sqlalchemy import func, select
from sqlalchemy.orm import Session

MARCH = datetime(2026, 3, 1, tzinfo=UTC)
NOON = MARCH + timedelta(hours=12)


@pytest.fixture
def plan(workspace: Workspace, db_session: Session) -> Subscription:
    """The workspace's own active plan, in the period of thirty days to the end of March."""
    plan = db_session.scalars(select(Subscription)).one()
    plan.current_period_start, plan.current_period_end = MARCH, MARCH + timedelta(30)
    db_session.commit()
    return plan


@pytest.fixture
def meter(db_session: Session) -> UsageMeter:
    """A meter at noon."""
    return UsageMeter(db_session, clock=lambda: NOON)


def events(db_session: Session) -> int:
    return db_session.scalars(select(func.count()).select_from(UsageEvent)).one()


def test_an_event_says_what_was_used_when_and_by_whom(
    meter: UsageMeter, plan: Subscription
) -> None:
    event = meter.record(plan.id, "api_call", Decimal("1.5"), "key-1", {"path": "/"})

    assert (event.subscription, event.workspace_id) == (plan, plan.workspace_id)
    assert (event.event_type, event.quantity) == ("api_call", Decimal("1.5"))
    assert (event.occurred_at, event.details) == (NOON, {"path": "/"})


def test_a_quantity_has_fourteen_digits_and_four_places(
    meter: UsageMeter, plan: Subscription, db_session: Session
) -> None:
    most = Decimal("99999999999999.9999")
    event = meter.record(plan.id, "api_call", most, "key-1")
    db_session.commit()
    db_session.expire_all()

    assert event.quantity == most
    for wrong in ("100000000000000", "0.00001"):
        with pytest.raises(NotExact):
            meter.record(plan.id, "api_call", Decimal(wrong), "key-2")


def test_the_same_key_twice_counts_once(
    meter: UsageMeter, plan: Subscription, db_session: Session
) -> None:
    first = meter.record(plan.id, "api_call", 3, "key-1")
    second = meter.record(plan.id, "api_call", 3, "key-1")

    assert first is second
    assert events(db_session) == 1


def test_the_same_key_still_counts_once_after_the_subscription_ended(
    meter: UsageMeter, plan: Subscription, db_session: Session
) -> None:
    first = meter.record(plan.id, "api_call", 3, "key-1")
    plan.status = SubscriptionStatus.CANCELED
    db_session.flush()

    assert meter.record(plan.id, "api_call", 3, "key-1") is first


@pytest.mark.parametrize(("event_type", "quantity"), [("api_call", 4), ("upload", 3)])
def test_a_key_cannot_be_used_for_another_event(
    meter: UsageMeter, plan: Subscription, event_type: str, quantity: int
) -> None:
    meter.record(plan.id, "api_call", 3, "key-1")

    with pytest.raises(KeyReused) as caught:
        meter.record(plan.id, event_type, quantity, "key-1")

    assert caught.value.idempotency_key == "key-1"


def test_a_negative_quantity_is_refused_and_zero_is_not(
    meter: UsageMeter, plan: Subscription, db_session: Session
) -> None:
    with pytest.raises(NegativeQuantity) as caught:
        meter.record(plan.id, "api_call", -1, "key-1")
    meter.record(plan.id, "api_call", 0, "key-2")

    assert caught.value.quantity == -1
    assert events(db_session) == 1


def test_a_quantity_may_be_a_float_and_is_what_it_prints(
    meter: UsageMeter, plan: Subscription
) -> None:
    event = meter.record(plan.id, "api_call", 0.1, "key-1")

    assert event.quantity == Decimal("0.1")
    assert meter.record(plan.id, "api_call", Decimal("0.1"), "key-1") is event


@pytest.mark.parametrize("quantity", [float("nan"), Decimal("Infinity"), 0.1 + 0.2, True, "1"])
def test_a_quantity_that_is_no_exact_number_is_refused(
    meter: UsageMeter, plan: Subscription, db_session: Session, quantity: Any
) -> None:
    with pytest.raises(NotExact):
        meter.record(plan.id, "api_call", quantity, "key-1")

    assert events(db_session) == 0


def test_an_unknown_subscription_is_refused(meter: UsageMeter, plan: Subscription) -> None:
    with pytest.raises(NotFound) as caught:
        meter.record("nothing", "api_call", 1, "key-1")

    assert (caught.value.kind, caught.value.key) == ("subscription", "nothing")


@pytest.mark.parametrize("status", [SubscriptionStatus.PAUSED, SubscriptionStatus.CANCELED])
def test_an_inactive_subscription_is_refused(
    meter: UsageMeter, plan: Subscription, db_session: Session, status: SubscriptionStatus
) -> None:
    plan.status = status
    db_session.commit()

    with pytest.raises(SubscriptionInactive) as caught:
        meter.record(plan.id, "api_call", 1, "key-1")

    assert (caught.value.subscription_id, caught.value.status) == (plan.id, status)
    assert events(db_session) == 0


def test_one_event_recorded_by_ten_at_once_counts_once(
    plan: Subscription, db_session: Session
) -> None:
    plan_id = plan.id
    db_session.rollback()

    def record(_: int) -> str:
        with SessionLocal.begin() as session:
            return UsageMeter(session).record(plan_id, "api_call", 1, "key-1").id

    with ThreadPoolExecutor(10) as threads:
        ids = set(threads.map(record, range(10)))

    assert len(ids) == events(db_session) == 1


def test_nothing_is_counted_on_a_subscription_that_is_being_canceled(
    plan: Subscription, workspace: Workspace, db_session: Session
) -> None:
    plan_id = plan.id
    db_session.commit()

    def record() -> None:
        with SessionLocal.begin() as session:
            UsageMeter(session).record(plan_id, "api_call", 1, "key-1")

    with ThreadPoolExecutor(1) as threads:
        SubscriptionService(db_session, workspace.id).cancel(plan_id, "ada")
        recording = threads.submit(record)
        wait([recording], timeout=0.2)
        waited = not recording.done()
        db_session.commit()
        with pytest.raises(SubscriptionInactive):
            recording.result()

    assert waited
    assert events(db_session) == 0


class TestTotal:
    def test_a_total_is_added_up_from_the_events_of_the_period(
        self, plan: Subscription, db_session: Session
    ) -> None:
        hour = timedelta(hours=1)
        for number, at in enumerate([NOON - hour, NOON, NOON + hour, NOON + 2 * hour]):
            meter = UsageMeter(db_session, clock=partial(min, at, at))
            meter.record(plan.id, "api_call", Decimal("0.1"), f"key-{number}")
            meter.record(plan.id, "upload", 7, f"upload-{number}")

        total = UsageMeter(db_session).total(plan.id, "api_call", NOON, NOON + 2 * hour)

        assert total == Decimal("0.2")

    def test_a_deleted_event_is_no_longer_in_the_total(
        self, meter: UsageMeter, plan: Subscription, db_session: Session
    ) -> None:
        meter.record(plan.id, "api_call", 5, "key-1")
        db_session.delete(meter.record(plan.id, "api_call", 2, "key-2"))
        db_session.flush()

        assert meter.total(plan.id, "api_call", NOON, NOON + timedelta(1)) == 5

    def test_nothing_used_is_zero(self, meter: UsageMeter, plan: Subscription) -> None:
        assert meter.total(plan.id, "api_call", NOON, NOON + timedelta(1)) == 0


class TestPlan:
    def test_what_a_customer_subscribes_to_is_not_the_workspaces_plan(
        self, plan: Subscription, db_session: Session
    ) -> None:
        store = Store(workspace=plan.workspace, name="Shop")
        customer = Customer(store=store, name="Ada", email="ada@example.com")
        SubscriptionService(db_session).cancel(plan.id, "ada")
        SubscriptionService(db_session).start(plan.tier, customer)

        assert active_plan(db_session, "default") is None
        assert UsageMeter(db_session).record_run("default", "run-1") is None

    def test_a_run_is_counted_on_its_own_workspaces_plan(
        self, plan: Subscription, db_session: Session
    ) -> None:
        db_session.add(Workspace(id="elsewhere", name="Elsewhere"))
        db_session.flush()
        other = SubscriptionService(db_session, "elsewhere").start(plan.tier)
        meter = UsageMeter(db_session)

        counted = [meter.record_run(each, "run-1") for each in ("default", "elsewhere")]
        SubscriptionService(db_session).cancel(plan.id, "ada")

        assert [event and event.subscription_id for event in counted] == [plan.id, other.id]
        assert meter.record_run("default", "run-2") is None
