"""What a subscription may use, what it used, and what was billed for it."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from core.clock import utc_now
from core.database import Base, new_id
from core.documents import Document
from core.types import ExactDecimal, UtcDateTime, lowercase_enum
from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Index,
    String,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from saas.rates import OverageRates, OverageRatesType

if TYPE_CHECKING:
    from ecommerce.models import Subscription

Money = ExactDecimal(14, 2)
Quantity = ExactDecimal(18, 4)

# Three capital letters, as in ISO 4217.
CURRENCY = "length(currency) = 3 AND currency = upper(currency)"


class InvoiceKind(StrEnum):
    """Why a period was billed: another one began, or the subscription ended."""

    RENEWAL = "renewal"
    SETTLEMENT = "settlement"


class SaaSTier(Base):
    """A price list: what a month costs, what it includes, what more costs, in one currency."""

    __tablename__ = "saas_tiers"
    __table_args__ = (
        CheckConstraint("base_price >= 0", name="base_price"),
        CheckConstraint("included_units >= 0", name="included_units"),
        CheckConstraint(CURRENCY, name="currency"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    base_price: Mapped[Decimal] = mapped_column(Money)
    billed_event_type: Mapped[str] = mapped_column(String(100), default="api_call")
    included_units: Mapped[Decimal] = mapped_column(Quantity, default=Decimal(0))
    overage_rates: Mapped[OverageRates] = mapped_column(OverageRatesType)
    currency: Mapped[str] = mapped_column(String(3), default="EUR")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)


class UsageEvent(Base):
    """Something used, once, at one moment, by one subscription."""

    __tablename__ = "saas_usage_events"
    __table_args__ = (
        UniqueConstraint("subscription_id", "idempotency_key"),
        CheckConstraint("quantity >= 0", name="quantity"),
        Index(None, "subscription_id", "event_type", "occurred_at"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspaces.id"), index=True)
    subscription_id: Mapped[str] = mapped_column(ForeignKey("ecommerce_subscriptions.id"))
    event_type: Mapped[str] = mapped_column(String(100))
    quantity: Mapped[Decimal] = mapped_column(Quantity)
    occurred_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    idempotency_key: Mapped[str] = mapped_column(String(200))
    details: Mapped[dict[str, Any]] = mapped_column(Document, default=dict)

    subscription: Mapped["Subscription"] = relationship(back_populates="usage_events")


class Invoice(Base):
    """What a period of a subscription came to; there is one for each period, and it never changes.

    A period ends before `period_end`. That of a settlement holds all that was used since its start.
    """

    __tablename__ = "invoices"
    __table_args__ = (
        UniqueConstraint("subscription_id", "period_start"),
        CheckConstraint("period_start <= period_end", name="period"),
        CheckConstraint("amount >= 0", name="amount"),
        CheckConstraint(CURRENCY, name="currency"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    subscription_id: Mapped[str] = mapped_column(ForeignKey("ecommerce_subscriptions.id"))
    kind: Mapped[InvoiceKind] = mapped_column(lowercase_enum(InvoiceKind, "kind"))
    period_start: Mapped[datetime] = mapped_column(UtcDateTime)
    period_end: Mapped[datetime] = mapped_column(UtcDateTime)
    used: Mapped[Decimal] = mapped_column(Quantity)
    amount: Mapped[Decimal] = mapped_column(Money)
    currency: Mapped[str] = mapped_column(String(3))
    issued_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)

    subscription: Mapped["Subscription"] = relationship(back_populates="invoices")
