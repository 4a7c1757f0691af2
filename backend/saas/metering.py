"""Counting what subscriptions use."""

from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from typing import Any

from core.clock import Clock, utc_now
from core.database import current, flushed, new_id
from core.documents import Document
from core.errors import AtomError, NotFound, require_text
from core.inserts import insert_for
from core.types import UtcDateTime
from ecommerce.models import Subscription, SubscriptionStatus
from sqlalchemy import ColumnElement, case, func, literal, select
from sqlalchemy.orm import Session

from saas.models import Quantity, UsageEvent

AGENT_EXECUTION = "agent_execution"


class NegativeQuantity(AtomError):
    """Usage cannot be taken back by counting less than nothing."""

    def __init__(self, quantity: Decimal) -> None:
        super().__init__(f"a quantity of {quantity} is negative")
        self.quantity = quantity


class SubscriptionInactive(AtomError):
    """Something was asked of a subscription that only an active one does."""

    def __init__(self, subscription_id: str, status: str) -> None:
        super().__init__(f"subscription {subscription_id!r} is {status}")
        self.subscription_id = subscription_id
        self.status = status


class KeyReused(AtomError):
    """An idempotency key came back with another event than before."""

    def __init__(self, subscription_id: str, idempotency_key: str) -> None:
        super().__init__(
            f"key {idempotency_key!r} of subscription {subscription_id!r} is another event's"
        )
        self.subscription_id = subscription_id
        self.idempotency_key = idempotency_key


class UsageMeter:
    """Records usage events, and adds them up; flushes, and leaves the commit to the caller."""

    def __init__(self, db: Session, *, clock: Clock = utc_now) -> None:
        self.db = db
        self._clock = clock

    def record(
        self,
        subscription_id: str,
        event_type: str,
        quantity: Decimal | float,
        idempotency_key: str,
        details: dict[str, Any] | None = None,
    ) -> UsageEvent:
        """Count `quantity` once for the key, however often it is called, and return the event.

        Its moment is now, or when the subscription's current period began if that is later: what is
        told by a clock that is behind belongs to no period that was billed.

        Raises:
            NegativeQuantity: the quantity is below zero.
            NotExact: it is no number, or has more than four places.
            NotFound: there is no such subscription.
            SubscriptionInactive: it is not active.
            KeyReused: the key belongs to an event of another type or quantity.
            Blank: the type or the key is empty.
        """
        require_text(event_type=event_type, idempotency_key=idempotency_key)
        amount = Quantity.exact(quantity)
        if amount < 0:
            raise NegativeQuantity(amount)
        self._insert_if_active(subscription_id, event_type, amount, idempotency_key, details or {})
        event = self._event(subscription_id, idempotency_key)
        if event is None:
            raise self._refusal(subscription_id)
        if (event.event_type, event.quantity) != (event_type, amount):
            raise KeyReused(subscription_id, idempotency_key)
        return event

    def record_run(self, workspace_id: str, run_id: str) -> UsageEvent | None:
        """Count an agent's run once on the workspace's own active plan, if it has one."""
        while (plan := active_plan(self.db, workspace_id)) is not None:
            # A plan may end while its lock is waited for, and another may have begun.
            with suppress(SubscriptionInactive):
                return self.record(plan.id, AGENT_EXECUTION, 1, f"{AGENT_EXECUTION}:{run_id}")
        return None

    def total(
        self, subscription_id: str, event_type: str, since: datetime, until: datetime | None
    ) -> Decimal:
        """What a subscription used from `since` to before `until`, added up from the events.

        Without `until` it is all from `since` on, ahead of this clock too.
        """
        query = select(func.sum(UsageEvent.quantity)).where(
            UsageEvent.subscription_id == subscription_id,
            UsageEvent.event_type == event_type,
            UsageEvent.occurred_at >= since,
        )
        if until is not None:
            query = query.where(UsageEvent.occurred_at < until)
        total = flushed(self.db).scalar(query)
        return Decimal(0) if total is None else total

    def _insert_if_active(
        self, subscription_id: str, event_type: str, quantity: Decimal, key: str, details: Any
    ) -> None:
        # One statement, and a lock that a server needs where SQLite has one writer at a time: until
        # the event is committed, the subscription can be neither canceled nor renewed without it.
        row = {
            "id": literal(new_id()),
            "workspace_id": Subscription.workspace_id,
            "subscription_id": Subscription.id,
            "event_type": literal(event_type),
            "quantity": literal(quantity, Quantity),
            "occurred_at": in_current_period(self._clock()),
            "idempotency_key": literal(key),
            "details": literal(details, Document()),
        }
        source = select(*row.values()).where(
            Subscription.id == subscription_id, Subscription.status == SubscriptionStatus.ACTIVE
        )
        source = source.with_for_update(read=True)
        insert = insert_for(self.db, UsageEvent).from_select(list(row), source)
        flushed(self.db).execute(
            insert.on_conflict_do_nothing(index_elements=["subscription_id", "idempotency_key"])
        )

    def _event(self, subscription_id: str, idempotency_key: str) -> UsageEvent | None:
        query = select(UsageEvent).where(
            UsageEvent.subscription_id == subscription_id,
            UsageEvent.idempotency_key == idempotency_key,
        )
        return current(self.db, query).one_or_none()

    def _refusal(self, subscription_id: str) -> AtomError:
        query = select(Subscription).where(Subscription.id == subscription_id)
        subscription = current(self.db, query).one_or_none()
        if subscription is None:
            return NotFound("subscription", subscription_id)
        return SubscriptionInactive(subscription_id, subscription.status)


def in_current_period(moment: datetime) -> ColumnElement[datetime]:
    """The moment, or when a subscription's current period began if that is later.

    It is decided in the statement that has it, after all that the statement had to wait for.
    """
    at, began = literal(moment, UtcDateTime()), Subscription.current_period_start
    return case((began > at, began), else_=at)


def active_plan(db: Session, workspace_id: str) -> Subscription | None:
    """The subscription by which the workspace itself pays, if it is active."""
    query = select(Subscription).where(
        Subscription.workspace_id == workspace_id,
        Subscription.customer_id.is_(None),
        Subscription.status == SubscriptionStatus.ACTIVE,
    )
    return current(db, query).one_or_none()
