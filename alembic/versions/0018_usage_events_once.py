"""A usage event counts once for each key of its subscription.

Events that were written without a key since 0017 take their own id. Of events with the same key,
type and quantity the first counts, by moment and then by id: the others are the same event told
again, and go. An event of another type or quantity was given a key that was taken: it stays, under
its key with its id behind. So does one that took its own id where that is another's key. Going back
leaves the keys as they are, and does not bring back what counted twice.
"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

REPEATED = """
DELETE FROM saas_usage_events WHERE id IN (
    SELECT id FROM (
        SELECT id, row_number() OVER (
            PARTITION BY subscription_id, idempotency_key, event_type, quantity
            ORDER BY occurred_at, id
        ) AS place
        FROM saas_usage_events WHERE idempotency_key <> id
    ) AS events WHERE place > 1
)
"""
# As much of the key as leaves room for an id in 200 characters.
TAKEN = """
UPDATE saas_usage_events SET idempotency_key = substr(idempotency_key, 1, 163) || ':' || id
WHERE id IN (
    SELECT id FROM (
        SELECT id, row_number() OVER (
            PARTITION BY subscription_id, idempotency_key
            ORDER BY CASE WHEN idempotency_key = id THEN 1 ELSE 0 END, occurred_at, id
        ) AS place
        FROM saas_usage_events
    ) AS events WHERE place > 1
)
"""


def upgrade() -> None:
    op.execute("UPDATE saas_usage_events SET idempotency_key = id WHERE idempotency_key IS NULL")
    op.execute(REPEATED)
    op.execute(TAKEN)
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
