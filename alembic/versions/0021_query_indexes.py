"""Indexes for what the services ask: pending approvals, due subscriptions, usage of a period."""

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_hitl_actions_workspace_id_status", "hitl_actions", ["workspace_id", "status"]
    )
    op.create_index("ix_ecommerce_customers_email", "ecommerce_customers", ["email"])
    op.create_index(
        "ix_ecommerce_subscriptions_due",
        "ecommerce_subscriptions",
        ["workspace_id", "status", "current_period_end"],
    )
    op.create_index(
        "ix_saas_usage_events_subscription_id_event_type_occurred_at",
        "saas_usage_events",
        ["subscription_id", "event_type", "occurred_at"],
    )


def downgrade() -> None:
    op.drop_index(
        "ix_saas_usage_events_subscription_id_event_type_occurred_at", "saas_usage_events"
    )
    op.drop_index("ix_ecommerce_subscriptions_due", "ecommerce_subscriptions")
    op.drop_index("ix_ecommerce_customers_email", "ecommerce_customers")
    op.drop_index("ix_hitl_actions_workspace_id_status", "hitl_actions")
