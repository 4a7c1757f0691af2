"""Stores, the people who buy in them, and what they subscribe to."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from core.clock import utc_now
from core.database import Base, new_id
from core.documents import Document
from core.models import Workspace
from core.types import ExactDecimal, UtcDateTime, lowercase_enum
from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Index,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

if TYPE_CHECKING:
    from saas.models import Invoice, SaaSTier, UsageEvent

Money = ExactDecimal(14, 2)

# Which subscriptions a workspace has at most one of.
OWN_AND_ACTIVE = "customer_id IS NULL AND status = 'active'"


class OrderStatus(StrEnum):
    """How far an order has come."""

    PLACED = "placed"
    PAID = "paid"
    SHIPPED = "shipped"
    CANCELED = "canceled"


class SubscriptionStatus(StrEnum):
    """Whether a subscription may be used and renewed; only an active one may."""

    ACTIVE = "active"
    PAUSED = "paused"
    CANCELED = "canceled"


class SubscriptionEvent(StrEnum):
    """What happened to a subscription."""

    STARTED = "started"
    RENEWED = "renewed"
    CANCELED = "canceled"


class Store(Base):
    """A shop that a workspace runs."""

    __tablename__ = "ecommerce_stores"
    __table_args__ = (UniqueConstraint("workspace_id", "name"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspaces.id"))
    name: Mapped[str] = mapped_column(String(200))
    currency: Mapped[str] = mapped_column(String(3), default="EUR")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)

    workspace: Mapped[Workspace] = relationship()


class Customer(Base):
    """Someone who buys in a store."""

    __tablename__ = "ecommerce_customers"
    __table_args__ = (UniqueConstraint("store_id", "email"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    store_id: Mapped[str] = mapped_column(ForeignKey("ecommerce_stores.id"))
    email: Mapped[str] = mapped_column(String(320), index=True)
    name: Mapped[str] = mapped_column(String(200))
    phone: Mapped[str | None] = mapped_column(String(50))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)

    store: Mapped[Store] = relationship()


class Order(Base):
    """What a customer bought at once."""

    __tablename__ = "ecommerce_orders"
    __table_args__ = (
        UniqueConstraint("store_id", "number"),
        CheckConstraint("total >= 0", name="total"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    store_id: Mapped[str] = mapped_column(ForeignKey("ecommerce_stores.id"))
    customer_id: Mapped[str] = mapped_column(ForeignKey("ecommerce_customers.id"), index=True)
    number: Mapped[str] = mapped_column(String(50))
    status: Mapped[OrderStatus] = mapped_column(
        lowercase_enum(OrderStatus, "status"), default=OrderStatus.PLACED
    )
    total: Mapped[Decimal] = mapped_column(Money)
    placed_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)

    store: Mapped[Store] = relationship()
    customer: Mapped[Customer] = relationship()
    items: Mapped[list["OrderItem"]] = relationship(back_populates="order")


class OrderItem(Base):
    """One line of an order."""

    __tablename__ = "ecommerce_order_items"
    __table_args__ = (
        UniqueConstraint("order_id", "line"),
        CheckConstraint("quantity > 0", name="quantity"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    order_id: Mapped[str] = mapped_column(ForeignKey("ecommerce_orders.id"))
    line: Mapped[int]
    product: Mapped[str] = mapped_column(String(200))
    quantity: Mapped[int]
    unit_price: Mapped[Decimal] = mapped_column(Money)

    order: Mapped[Order] = relationship(back_populates="items")


class Subscription(Base):
    """A tier that someone pays for, period by period.

    With a customer it is something that the workspace sells; without one it is the workspace's own
    plan, against which the runs of its agents are metered. A workspace has at most one active plan.
    """

    __tablename__ = "ecommerce_subscriptions"
    __table_args__ = (
        CheckConstraint("current_period_start < current_period_end", name="period"),
        Index(
            "uq_ecommerce_subscriptions_active_plan",
            "workspace_id",
            unique=True,
            sqlite_where=text(OWN_AND_ACTIVE),
            postgresql_where=text(OWN_AND_ACTIVE),
        ),
        Index("ix_ecommerce_subscriptions_due", "workspace_id", "status", "current_period_end"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspaces.id"))
    customer_id: Mapped[str | None] = mapped_column(
        ForeignKey("ecommerce_customers.id"), index=True
    )
    tier_id: Mapped[str] = mapped_column(ForeignKey("saas_tiers.id"), index=True)
    status: Mapped[SubscriptionStatus] = mapped_column(
        lowercase_enum(SubscriptionStatus, "status"), default=SubscriptionStatus.ACTIVE
    )
    current_period_start: Mapped[datetime] = mapped_column(UtcDateTime)
    current_period_end: Mapped[datetime] = mapped_column(UtcDateTime)
    canceled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)

    workspace: Mapped[Workspace] = relationship()
    tier: Mapped["SaaSTier"] = relationship()
    customer: Mapped[Customer | None] = relationship()
    usage_events: Mapped[list["UsageEvent"]] = relationship(back_populates="subscription")
    invoices: Mapped[list["Invoice"]] = relationship(
        back_populates="subscription", order_by="Invoice.period_start"
    )
    audits: Mapped[list["SubscriptionAudit"]] = relationship(back_populates="subscription")


class SubscriptionAudit(Base):
    """What was done to a subscription, by whom and when; never changed afterwards."""

    __tablename__ = "ecommerce_subscription_audit"

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    subscription_id: Mapped[str] = mapped_column(
        ForeignKey("ecommerce_subscriptions.id"), index=True
    )
    event: Mapped[SubscriptionEvent] = mapped_column(lowercase_enum(SubscriptionEvent, "event"))
    actor: Mapped[str] = mapped_column(String(200))
    details: Mapped[dict[str, Any]] = mapped_column(Document, default=dict)
    occurred_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)

    subscription: Mapped[Subscription] = relationship(back_populates="audits")
