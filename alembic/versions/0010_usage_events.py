"""What a subscription used; not yet safe against counting an event twice."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

QUANTITY = sa.Numeric(18, 4).with_variant(sa.BigInteger(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "saas_usage_events",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("workspace_id", sa.String(36), nullable=False),
        sa.Column("subscription_id", sa.String(36), nullable=False),
        sa.Column("event_type", sa.String(100), nullable=False),
        sa.Column("quantity", QUANTITY, nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("idempotency_key", sa.String(200), nullable=True),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_saas_usage_events"),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name="fk_saas_usage_events_workspace_id"
        ),
        sa.ForeignKeyConstraint(
            ["subscription_id"],
            ["ecommerce_subscriptions.id"],
            name="fk_saas_usage_events_subscription_id",
        ),
        sa.CheckConstraint("quantity >= 0", name=op.f("ck_saas_usage_events_quantity")),
    )
    op.create_index("ix_saas_usage_events_workspace_id", "saas_usage_events", ["workspace_id"])


def downgrade() -> None:
    op.drop_table("saas_usage_events")
