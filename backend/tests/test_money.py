"""Months of use at random, by clocks that go back: every event is billed, once, and to the cent."""

import random
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise

import pytest
from core.models import Workspace
from ecommerce.models import Subscription
from ecommerce.subscriptions import NotDue, SubscriptionService
from saas.metering import SubscriptionInactive, UsageMeter
from saas.models import Invoice, SaaSTier, UsageEvent
from saas.rates import OverageRates
from sqlalchemy import select
from sqlalchemy.orm import Session

MARCH = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
STEPS = 250
BILLED = "api_call"


class Company:
    """A workspace that uses its plan, changes it, and renews it, as the dice fall.

    A ledger is kept beside the database: what was used and is not billed yet, with its moment, and
    for each subscription what each of its invoices should say was used.
    """

    def __init__(self, db: Session, dice: random.Random) -> None:
        self.db = db
        self.dice = dice
        self.now = MARCH
        self.tiers = [self.tier(number) for number in range(3)]
        db.add_all(self.tiers)
        db.flush()
        self.billed: dict[str, list[Decimal]] = {}
        self.open: list[tuple[datetime, Decimal]] = []
        self.keys: dict[str, list[tuple[str, str, Decimal]]] = defaultdict(list)
        # Whoever counts may have another clock than whoever bills.
        self.service = SubscriptionService(db, clock=lambda: self.now)
        self.meter = UsageMeter(db, clock=lambda: self.told_at)
        (first,) = db.scalars(select(Subscription))
        self.service.cancel(first.id, "test")
        self.start()

    def tier(self, number: int) -> SaaSTier:
        limit, rate = self.dice.randint(1, 40), self.dice.randint(1, 900)
        return SaaSTier(
            name=f"tier-{number}",
            base_price=Decimal(self.dice.randint(0, 20_000)) / 100,
            included_units=Decimal(self.dice.randint(0, 60)),
            overage_rates=OverageRates.of((limit, Decimal(rate) / 1000), (None, "0.005")),
            currency=self.dice.choice(["EUR", "USD"]),
        )

    def start(self) -> None:
        self.plan = self.service.start(self.dice.choice(self.tiers), period=timedelta(days=30))
        self.billed[self.plan.id] = []

    def use(self) -> None:
        """Something new, or something that was told before, by a clock that is right or behind."""
        behind = self.dice.choice([0, 0, 0, 1, 30, 24 * 20, 24 * 60])
        self.told_at = self.now - behind * HOUR
        told = self.keys[self.plan.id]
        if told and self.dice.random() < 0.2:
            key, kind, quantity = self.dice.choice(told)
        else:
            key, kind = f"key-{len(told)}", self.dice.choice([BILLED, BILLED, "upload"])
            quantity = Decimal(self.dice.randint(0, 500)) / 10
            told.append((key, kind, quantity))
            if kind == BILLED:
                self.open.append((max(self.told_at, self.plan.current_period_start), quantity))
        self.meter.record(self.plan.id, kind, quantity, key)

    def bill(self, end: datetime | None) -> None:
        """Move what was used before the end, or all of it, from what is open to what is billed."""
        due = [each for each in self.open if end is None or each[0] < end]
        self.open = [each for each in self.open if end is not None and each[0] >= end]
        self.billed[self.plan.id].append(sum((used for _, used in due), Decimal(0)))

    def renew(self) -> None:
        end = self.plan.current_period_end
        if end > self.now:
            with pytest.raises(NotDue):
                self.service.renew(self.plan.id, "test")
        else:
            self.service.renew(self.plan.id, "test")
            self.bill(end)

    def cancel(self) -> None:
        self.service.cancel(self.plan.id, "test")
        self.bill(None)
        with pytest.raises(SubscriptionInactive):
            self.service.renew(self.plan.id, "test")

    def change_plan(self) -> None:
        self.cancel()
        self.start()

    def live(self) -> None:
        deeds: list[Callable[[], None]] = [self.use] * 90 + [self.renew] * 12 + [self.change_plan]
        for _ in range(STEPS):
            # Sometimes the whole machine's clock is set back.
            self.now += self.dice.choice([HOUR, 9 * HOUR, 40 * HOUR, 40 * HOUR, -30 * HOUR])
            self.dice.choice(deeds)()
            self.db.commit()
        self.cancel()
        self.db.commit()


def price(tier: SaaSTier, used: Decimal) -> Decimal:
    """What a tenth of a unit after the other costs, said without the code that is tried."""
    (limit, first), (_, then) = ((step.up_to, step.rate) for step in tier.overage_rates.steps)
    total = tier.base_price
    for tenth in range(int(max(used - tier.included_units, Decimal(0)) * 10)):
        assert limit is not None
        total += (first if tenth < limit * 10 else then) / 10
    return total.quantize(Decimal("0.01"), ROUND_HALF_UP)


@pytest.mark.parametrize("seed", range(8))
def test_the_sums_of_the_invoices_are_what_the_events_say(
    workspace: Workspace, db_session: Session, seed: int
) -> None:
    company = Company(db_session, random.Random(seed))
    company.live()

    for key, used in company.billed.items():
        plan, about = db_session.get_one(Subscription, key), f"seed {seed}, subscription {key}"
        invoices = plan.invoices
        assert [invoice.used for invoice in invoices] == used, about
        assert [each.amount for each in invoices] == [price(plan.tier, u) for u in used], about
        assert {invoice.currency for invoice in invoices} == {plan.tier.currency}, about
        # One after the other, without a gap: nothing is billed twice, or not at all.
        assert all(a.period_end == b.period_start for a, b in pairwise(invoices)), about
        assert [i.kind for i in invoices] == ["renewal"] * (len(used) - 1) + ["settlement"], about
        counted = sum((e.quantity for e in plan.usage_events if e.event_type == BILLED), Decimal(0))
        assert counted == sum(used), about


def test_the_dice_fall_on_everything_that_there_is_to_try(
    workspace: Workspace, db_session: Session
) -> None:
    company = Company(db_session, random.Random(0))
    company.live()

    events = list(db_session.scalars(select(UsageEvent)))
    assert len(company.billed) > 1
    assert max(map(len, company.billed.values())) > 2
    # Late ones are where their period begins, and some are after the end of one that is overdue.
    starts = {invoice.period_start for invoice in db_session.scalars(select(Invoice))}
    assert any(event.occurred_at in starts for event in events)
