"""Every usage event has an idempotency key; older ones take their own id."""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("UPDATE saas_usage_events SET idempotency_key = id WHERE idempotency_key IS NULL")


def downgrade() -> None:
    op.execute("UPDATE saas_usage_events SET idempotency_key = NULL WHERE idempotency_key = id")
