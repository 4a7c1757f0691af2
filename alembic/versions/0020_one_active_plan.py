"""A workspace has at most one active plan of its own.

Of several the one that was made last stays active, by its id where two were made at once. The
others are paused: nothing more is counted on them, and whoever cancels them settles what they used.
Going back leaves them paused.
"""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

OWN_AND_ACTIVE = "customer_id IS NULL AND status = 'active'"

REPLACED = f"""
UPDATE ecommerce_subscriptions SET status = 'paused' WHERE id IN (
    SELECT id FROM (
        SELECT id, row_number() OVER (
            PARTITION BY workspace_id ORDER BY created_at DESC, id DESC
        ) AS place
        FROM ecommerce_subscriptions WHERE {OWN_AND_ACTIVE}
    ) AS plans WHERE place > 1
)
"""


def upgrade() -> None:
    op.execute(REPLACED)
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
