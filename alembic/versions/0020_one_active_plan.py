"""A workspace has at most one active plan of its own."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

OWN_AND_ACTIVE = "customer_id IS NULL AND status = 'active'"


def upgrade() -> None:
    op.create_index(
        "uq_ecommerce_subscriptions_active_plan",
        "ecommerce_subscriptions",
        ["workspace_id"],
        unique=True,
        sqlite_where=sa.text(OWN_AND_ACTIVE),
        postgresql_where=sa.text(OWN_AND_ACTIVE),
    )


def downgrade() -> None:
    op.drop_index("uq_ecommerce_subscriptions_active_plan", "ecommerce_subscriptions")
