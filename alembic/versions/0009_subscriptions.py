"""Subscriptions to a tier, and what was done to them."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ecommerce_subscriptions",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("workspace_id", sa.String(36), nullable=False),
        sa.Column("customer_id", sa.String(36), nullable=True),
        sa.Column("tier_id", sa.String(36), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("current_period_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("current_period_end", sa.DateTime(timezone=True), nullable=False),
        sa.Column("canceled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ecommerce_subscriptions"),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name="fk_ecommerce_subscriptions_workspace_id"
        ),
        sa.ForeignKeyConstraint(
            ["customer_id"],
            ["ecommerce_customers.id"],
            name="fk_ecommerce_subscriptions_customer_id",
        ),
        sa.ForeignKeyConstraint(
            ["tier_id"], ["saas_tiers.id"], name="fk_ecommerce_subscriptions_tier_id"
        ),
        sa.CheckConstraint(
            "status IN ('active', 'paused', 'canceled')",
            name=op.f("ck_ecommerce_subscriptions_status"),
        ),
        sa.CheckConstraint(
            "current_period_start < current_period_end",
            name=op.f("ck_ecommerce_subscriptions_period"),
        ),
    )
    op.create_index(
        "ix_ecommerce_subscriptions_customer_id", "ecommerce_subscriptions", ["customer_id"]
    )
    op.create_index("ix_ecommerce_subscriptions_tier_id", "ecommerce_subscriptions", ["tier_id"])
    op.create_table(
        "ecommerce_subscription_audit",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("subscription_id", sa.String(36), nullable=False),
        sa.Column("event", sa.String(20), nullable=False),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ecommerce_subscription_audit"),
        sa.ForeignKeyConstraint(
            ["subscription_id"],
            ["ecommerce_subscriptions.id"],
            name="fk_ecommerce_subscription_audit_subscription_id",
        ),
        sa.CheckConstraint(
            "event IN ('canceled', 'renewed')", name=op.f("ck_ecommerce_subscription_audit_event")
        ),
    )
    op.create_index(
        "ix_ecommerce_subscription_audit_subscription_id",
        "ecommerce_subscription_audit",
        ["subscription_id"],
    )


def downgrade() -> None:
    op.drop_table("ecommerce_subscription_audit")
    op.drop_table("ecommerce_subscriptions")
