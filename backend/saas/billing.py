"""What a subscription costs."""

from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal

from ecommerce.models import Subscription
from sqlalchemy.orm import Session

from saas.metering import NegativeQuantity, UsageMeter

CENT = Decimal("0.01")

# From when, and to before when.
Period = tuple[datetime, datetime]


def calculate(subscription: Subscription, usage: Decimal | int) -> Decimal:
    """The price of a period with this much usage: the base price, and the overage step by step.

    Rounded once, at the end, half a cent upwards.

    Raises:
        NegativeQuantity: the usage is below zero.
    """
    used = Decimal(usage)
    if used < 0:
        raise NegativeQuantity(used)
    tier = subscription.tier
    overage = max(used - tier.included_units, Decimal(0))
    price = tier.base_price + tier.overage_rates.price(overage)
    return price.quantize(CENT, ROUND_HALF_UP)


def billed_usage(db: Session, subscription: Subscription, period: Period | None = None) -> Decimal:
    """What the subscription used of its tier's billed event in a period, or else the current."""
    since, until = period or (subscription.current_period_start, subscription.current_period_end)
    return UsageMeter(db).total(subscription.id, subscription.tier.billed_event_type, since, until)


def amount_due(db: Session, subscription: Subscription, period: Period | None = None) -> Decimal:
    """The price of a period of the subscription, or else the current, from its usage events."""
    return calculate(subscription, billed_usage(db, subscription, period))
