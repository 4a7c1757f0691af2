"""What a subscription may use, and what it used."""

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from core.clock import utc_now
from core.database import Base, new_id
from core.types import ExactDecimal, UtcDateTime
from sqlalchemy import (
    JSON,
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


class SaaSTier(Base):
    """A price list: what a month costs, what it includes, what more costs."""

    __tablename__ = "saas_tiers"
    __table_args__ = (
        CheckConstraint("base_price >= 0", name="base_price"),
        CheckConstraint("included_units >= 0", name="included_units"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    base_price: Mapped[Decimal] = mapped_column(Money)
    billed_event_type: Mapped[str] = mapped_column(String(100), default="api_call")
    included_units: Mapped[Decimal] = mapped_column(Quantity, default=Decimal(0))
    overage_rates: Mapped[OverageRates] = mapped_column(OverageRatesType)
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
    details: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)

    subscription: Mapped["Subscription"] = relationship(back_populates="usage_events")
