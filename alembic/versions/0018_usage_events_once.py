"""A usage event counts once for each key of its subscription."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("saas_usage_events") as batch:
        batch.alter_column("idempotency_key", existing_type=sa.String(200), nullable=False)
        batch.create_unique_constraint(
            "uq_saas_usage_events_subscription_id_idempotency_key",
            ["subscription_id", "idempotency_key"],
        )


def downgrade() -> None:
    with op.batch_alter_table("saas_usage_events") as batch:
        batch.drop_constraint(
            "uq_saas_usage_events_subscription_id_idempotency_key", type_="unique"
        )
        batch.alter_column("idempotency_key", existing_type=sa.String(200), nullable=True)
