"""Runs know who asked, which run delegated them, and whether their outcome was counted.

The outcome of a run that ended before this was counted when it ended. Where nobody wrote down when
that was, its start stands for it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("agent_executions") as batch:
        batch.add_column(sa.Column("parent_execution_id", sa.String(36), nullable=True))
        batch.add_column(sa.Column("user_id", sa.String(36), nullable=True))
        batch.add_column(
            sa.Column("outcome_recorded_at", sa.DateTime(timezone=True), nullable=True)
        )
        batch.create_foreign_key(
            "fk_agent_executions_parent_execution_id",
            "agent_executions",
            ["parent_execution_id"],
            ["id"],
        )
        batch.create_foreign_key("fk_agent_executions_user_id", "users", ["user_id"], ["id"])
        batch.create_index("ix_agent_executions_parent_execution_id", ["parent_execution_id"])
        batch.create_index("ix_agent_executions_user_id", ["user_id"])
    op.execute(
        "UPDATE agent_executions SET outcome_recorded_at = coalesce(finished_at, started_at)"
        " WHERE status <> 'running'"
    )


def downgrade() -> None:
    with op.batch_alter_table("agent_executions") as batch:
        batch.drop_index("ix_agent_executions_user_id")
        batch.drop_index("ix_agent_executions_parent_execution_id")
        batch.drop_constraint("fk_agent_executions_user_id", type_="foreignkey")
        batch.drop_constraint("fk_agent_executions_parent_execution_id", type_="foreignkey")
        batch.drop_column("outcome_recorded_at")
        batch.drop_column("user_id")
        batch.drop_column("parent_execution_id")
