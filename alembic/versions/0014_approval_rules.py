"""Approvals have a known status, a deadline, and the run that asked.

A request without a deadline was never going to be answered: it is due at once. A status is read
without regard to its case and the space around it. One that is none of the four is nothing that
anybody may act on: it becomes `expired`, and the reason says what it was. Going back leaves both.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

KNOWN = "status IN ('pending', 'approved', 'rejected', 'expired')"


def upgrade() -> None:
    op.execute("UPDATE hitl_actions SET expires_at = requested_at WHERE expires_at IS NULL")
    op.execute(f"UPDATE hitl_actions SET status = lower(trim(status)) WHERE NOT {KNOWN}")
    op.execute(
        "UPDATE hitl_actions SET status = 'expired', "
        f"reason = reason || ' (its status was ' || status || ')' WHERE NOT {KNOWN}"
    )
    with op.batch_alter_table("hitl_actions") as batch:
        batch.add_column(sa.Column("execution_id", sa.String(36), nullable=True))
        batch.alter_column("expires_at", existing_type=sa.DateTime(timezone=True), nullable=False)
        batch.create_foreign_key(
            "fk_hitl_actions_execution_id", "agent_executions", ["execution_id"], ["id"]
        )
        batch.create_check_constraint(op.f("ck_hitl_actions_status"), KNOWN)
        batch.create_index("ix_hitl_actions_execution_id", ["execution_id"])


def downgrade() -> None:
    with op.batch_alter_table("hitl_actions") as batch:
        batch.drop_index("ix_hitl_actions_execution_id")
        batch.drop_constraint(op.f("ck_hitl_actions_status"), type_="check")
        batch.drop_constraint("fk_hitl_actions_execution_id", type_="foreignkey")
        batch.alter_column("expires_at", existing_type=sa.DateTime(timezone=True), nullable=True)
        batch.drop_column("execution_id")
