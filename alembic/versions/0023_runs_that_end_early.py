"""Runs can be interrupted, know their process and whether they count; requests show the thought.

How a run ended before this counted, whatever it was. A request from before has no thought to show,
and a run no process that could be looked for. Going back, an interrupted run has failed, and one
that did not count is marked as counted, so that nobody counts it later.
"""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

ENDINGS = "'running', 'success', 'failed', 'max_steps_exceeded', 'rejected'"


def upgrade() -> None:
    with op.batch_alter_table("agent_executions") as batch:
        batch.add_column(sa.Column("process", sa.String(400), nullable=True))
        batch.add_column(
            sa.Column("counts", sa.Boolean(), nullable=False, server_default=sa.true())
        )
        batch.drop_constraint(op.f("ck_agent_executions_status"), type_="check")
        batch.create_check_constraint(
            op.f("ck_agent_executions_status"), f"status IN ({ENDINGS}, 'interrupted')"
        )
        batch.create_index("ix_agent_executions_workspace_id_status", ["workspace_id", "status"])
    with op.batch_alter_table("agent_executions") as batch:
        batch.alter_column("counts", existing_type=sa.Boolean(), server_default=None)
    with op.batch_alter_table("hitl_actions") as batch:
        batch.add_column(sa.Column("thought", sa.Text(), nullable=False, server_default=""))
    with op.batch_alter_table("hitl_actions") as batch:
        batch.alter_column("thought", existing_type=sa.Text(), server_default=None)
    op.create_index(
        "ix_agent_feedback_status_created_at", "agent_feedback", ["status", "created_at"]
    )


def downgrade() -> None:
    op.drop_index("ix_agent_feedback_status_created_at", "agent_feedback")
    with op.batch_alter_table("hitl_actions") as batch:
        batch.drop_column("thought")
    op.execute(
        "UPDATE agent_executions SET outcome_recorded_at = coalesce(finished_at, started_at)"
        " WHERE NOT counts AND outcome_recorded_at IS NULL"
    )
    op.execute("UPDATE agent_executions SET status = 'failed' WHERE status = 'interrupted'")
    with op.batch_alter_table("agent_executions") as batch:
        batch.drop_index("ix_agent_executions_workspace_id_status")
        batch.drop_constraint(op.f("ck_agent_executions_status"), type_="check")
        batch.create_check_constraint(op.f("ck_agent_executions_status"), f"status IN ({ENDINGS})")
        batch.drop_column("counts")
        batch.drop_column("process")
