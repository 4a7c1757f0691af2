"""The life of a subscription: started, overdue, renewed, canceled."""

from datetime import datetime, timedelta
from typing import Any

from core.clock import Clock, utc_now
from core.database import current, flushed, new_id
from core.errors import AtomError, NotFound
from core.inserts import insert_for
from saas.billing import invoice_renewal, invoice_settlement
from saas.metering import SubscriptionInactive, active_plan, in_current_period
from saas.models import Invoice, SaaSTier
from sqlalchemy import inspect, select, text, update
from sqlalchemy.orm import Session, joinedload

from ecommerce.customers import CustomerService
from ecommerce.models import (
    OWN_AND_ACTIVE,
    Customer,
    Subscription,
    SubscriptionAudit,
    SubscriptionEvent,
    SubscriptionStatus,
)

MONTH = timedelta(days=30)


class NotDue(AtomError):
    """A subscription was to be renewed before its period ended, or twice for the same period."""

    def __init__(self, subscription_id: str, current_period_end: datetime) -> None:
        super().__init__(
            f"subscription {subscription_id!r} is not due before {current_period_end.isoformat()}"
        )
        self.subscription_id = subscription_id
        self.current_period_end = current_period_end


class NoPeriod(AtomError):
    """A subscription was to be paid for by periods that have no length."""

    def __init__(self, period: timedelta) -> None:
        super().__init__(f"a period of {period} has no length")
        self.period = period


class AlreadySubscribed(AtomError):
    """A workspace has at most one active plan of its own."""

    def __init__(self, workspace_id: str, subscription_id: str) -> None:
        super().__init__(f"workspace {workspace_id!r} has the active plan {subscription_id!r}")
        self.workspace_id = workspace_id
        self.subscription_id = subscription_id


class SubscriptionService:
    """Starts, renews and cancels the subscriptions of a workspace, each change with an audit row.

    Flushes, and leaves the commit to the caller.
    """

    def __init__(self, db: Session, workspace_id: str = "default", *, clock: Clock = utc_now):
        self.db = db
        self.workspace_id = workspace_id
        self._clock = clock

    def start(
        self,
        tier: SaaSTier,
        customer: Customer | None = None,
        period: timedelta = MONTH,
        *,
        actor: str = "system",
    ) -> Subscription:
        """A new subscription from now on: a customer's, or the workspace's own plan.

        The tier and the customer are saved with it. If it is refused, nothing of them is.

        Raises:
            NotFound: the customer is not one of the workspace's.
            AlreadySubscribed: the workspace has an active plan, or got one just now.
            NoPeriod: the period does not end after it begins.
        """
        if period <= timedelta(0):
            raise NoPeriod(period)
        with self.db.begin_nested():
            return self._start(tier, customer, period, actor)

    def find(self, subscription_id: str) -> Subscription:
        """The subscription of that id and its tier, as they are in the database now.

        Raises:
            NotFound: the workspace has no such subscription.
        """
        query = select(Subscription).where(
            Subscription.id == subscription_id, Subscription.workspace_id == self.workspace_id
        )
        with_tier = query.options(joinedload(Subscription.tier))
        subscription = current(self.db, with_tier).one_or_none()
        if subscription is None:
            raise NotFound("subscription", subscription_id)
        return subscription

    def overdue(self) -> list[Subscription]:
        """The active subscriptions of customers whose period has ended, the oldest first."""
        query = select(Subscription).where(
            Subscription.workspace_id == self.workspace_id,
            Subscription.status == SubscriptionStatus.ACTIVE,
            Subscription.current_period_end <= self._clock(),
            Subscription.customer_id.is_not(None),
        )
        oldest_first = (Subscription.current_period_end, Subscription.id)
        return list(current(self.db, query.order_by(*oldest_first)))

    def cancel(self, subscription_id: str, actor: str) -> Subscription:
        """End a subscription now, once, and settle what is due up to now.

        Raises:
            NotFound: the workspace has no such subscription.
            SubscriptionInactive: it is canceled already.
        """
        now = self._clock()
        canceled = self._change(
            subscription_id,
            Subscription.status != SubscriptionStatus.CANCELED,
            status=SubscriptionStatus.CANCELED,
            canceled_at=in_current_period(now),
        )
        subscription = self.find(subscription_id)
        if not canceled:
            raise SubscriptionInactive(subscription_id, subscription.status)
        # Now, and not before: the change waited for every event that was being counted.
        invoice = invoice_settlement(self.db, subscription, now)
        self._audit(subscription, SubscriptionEvent.CANCELED, actor, now, _billed(invoice))
        return subscription

    def renew(self, subscription_id: str, actor: str) -> Subscription:
        """Bill the period that has ended and begin the next, which is as long; once per period.

        Raises:
            NotFound: the workspace has no such subscription.
            SubscriptionInactive: it is not active.
            NotDue: its period has not ended, or was renewed by somebody else just now.
        """
        now = self._clock()
        subscription = self.find(subscription_id)
        start, end = subscription.current_period_start, subscription.current_period_end
        renewed = end <= now and self._change(
            subscription_id,
            Subscription.status == SubscriptionStatus.ACTIVE,
            Subscription.current_period_end == end,
            current_period_start=end,
            current_period_end=end + (end - start),
        )
        subscription = self.find(subscription_id)
        if not renewed:
            raise self._refusal(subscription)
        # Now, and not before, as above.
        invoice = invoice_renewal(self.db, subscription, start, end, now)
        self._audit(subscription, SubscriptionEvent.RENEWED, actor, now, _billed(invoice))
        return subscription

    def _start(
        self, tier: SaaSTier, customer: Customer | None, period: timedelta, actor: str
    ) -> Subscription:
        if customer is not None:
            self._require_ours(customer)
        self.db.add(tier)
        self.db.flush()
        now, key = self._clock(), new_id()
        row = {
            "id": key,
            "workspace_id": self.workspace_id,
            "customer_id": customer and customer.id,
            "tier_id": tier.id,
            "current_period_start": now,
            "current_period_end": now + period,
        }
        while not self._insert(row):
            plan = active_plan(self.db, self.workspace_id)
            # The one that was in the way may have ended since.
            if plan is not None:
                raise AlreadySubscribed(self.workspace_id, plan.id)
        subscription = self.find(key)
        details = {"tier": tier.name, "from": now.isoformat(), "to": (now + period).isoformat()}
        self._audit(subscription, SubscriptionEvent.STARTED, actor, now, details)
        return subscription

    def _require_ours(self, customer: Customer) -> None:
        customers = CustomerService(self.db, self.workspace_id)
        # As the database has it, before what is handed in says where it belongs.
        identity = inspect(customer).identity
        if identity is not None:
            customers.require(*identity)
        self.db.add(customer)
        self.db.flush()
        customers.require(customer.id)

    def _insert(self, row: dict[str, Any]) -> bool:
        """Whether there is room for the subscription: it is not a second active plan."""
        statement = (
            insert_for(self.db, Subscription)
            .values(**row)
            .on_conflict_do_nothing(
                index_elements=["workspace_id"], index_where=text(OWN_AND_ACTIVE)
            )
            .returning(Subscription.id)
        )
        return flushed(self.db).execute(statement).first() is not None

    def _change(self, subscription_id: str, *criteria: Any, **values: Any) -> bool:
        statement = (
            update(Subscription)
            .where(
                Subscription.id == subscription_id,
                Subscription.workspace_id == self.workspace_id,
                *criteria,
            )
            .values(**values)
            .returning(Subscription.id)
            .execution_options(synchronize_session="fetch")
        )
        return flushed(self.db).execute(statement).first() is not None

    def _refusal(self, subscription: Subscription) -> AtomError:
        if subscription.status != SubscriptionStatus.ACTIVE:
            return SubscriptionInactive(subscription.id, subscription.status)
        return NotDue(subscription.id, subscription.current_period_end)

    def _audit(
        self,
        subscription: Subscription,
        event: SubscriptionEvent,
        actor: str,
        at: datetime,
        details: dict[str, Any] | None = None,
    ) -> None:
        self.db.add(
            SubscriptionAudit(
                subscription_id=subscription.id,
                event=event,
                actor=actor,
                occurred_at=at,
                details=details or {},
            )
        )
        self.db.flush()


def _billed(invoice: Invoice) -> dict[str, str]:
    return {
        "billed": str(invoice.amount),
        "currency": invoice.currency,
        "invoice": invoice.id,
        "from": invoice.period_start.isoformat(),
        "to": invoice.period_end.isoformat(),
    }
