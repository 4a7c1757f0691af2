"""What a subscription costs, and the invoices that say so."""

from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal, localcontext

from core.types import EXACT, exact_number
from ecommerce.models import Subscription
from sqlalchemy.orm import Session

from saas.metering import NegativeQuantity, UsageMeter
from saas.models import Invoice, InvoiceKind

CENT = Decimal("0.01")

# From when, and to before when; to the end of time if that is None.
Period = tuple[datetime, datetime | None]


def calculate(subscription: Subscription, usage: Decimal | float) -> Decimal:
    """The price of a period with this much usage: the base price, and the overage step by step.

    Rounded once, at the end, half a cent upwards.

    Raises:
        NegativeQuantity: the usage is below zero.
        NotExact: it is no number, or not finite.
    """
    used = exact_number(usage)
    if used < 0:
        raise NegativeQuantity(used)
    tier = subscription.tier
    with localcontext(EXACT):
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


def invoice_renewal(
    db: Session, subscription: Subscription, start: datetime, end: datetime, at: datetime
) -> Invoice:
    """Bill a period that has ended, after the subscription has gone on to the next."""
    return _issue(db, subscription, InvoiceKind.RENEWAL, (start, end), end, at)


def invoice_settlement(db: Session, subscription: Subscription, at: datetime) -> Invoice:
    """Bill all since the current period began, after the subscription has ended.

    The base price of a period that was begun is due in full, and once. So is everything that was
    used, even by a clock that is ahead, and where the period should have been renewed before.
    """
    start = subscription.current_period_start
    return _issue(db, subscription, InvoiceKind.SETTLEMENT, (start, None), max(start, at), at)


def _issue(
    db: Session,
    subscription: Subscription,
    kind: InvoiceKind,
    period: Period,
    end: datetime,
    at: datetime,
) -> Invoice:
    used = billed_usage(db, subscription, period)
    invoice = Invoice(
        subscription_id=subscription.id,
        kind=kind,
        period_start=period[0],
        period_end=end,
        used=used,
        amount=calculate(subscription, used),
        currency=subscription.tier.currency,
        issued_at=at,
    )
    db.add(invoice)
    db.flush()
    return invoice
