"""Indexes for what the services ask: pending approvals, due subscriptions, usage of a period."""

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for column in ("name", "category", "status"):
        op.create_index(
            f"ix_agent_registry_workspace_id_{column}", "agent_registry", ["workspace_id", column]
        )
    op.create_index(
        "ix_hitl_actions_workspace_id_status_expires_at",
        "hitl_actions",
        ["workspace_id", "status", "expires_at"],
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
    op.drop_index("ix_hitl_actions_workspace_id_status_expires_at", "hitl_actions")
    for column in ("status", "category", "name"):
        op.drop_index(f"ix_agent_registry_workspace_id_{column}", "agent_registry")
