"""Runs of agents, and the steps of each."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "agent_executions",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("workspace_id", sa.String(36), nullable=False),
        sa.Column("agent_id", sa.String(36), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("trigger_mode", sa.String(20), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("final_output", sa.Text(), nullable=True),
        sa.Column("failure_reason", sa.Text(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_agent_executions"),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name="fk_agent_executions_workspace_id"
        ),
        sa.ForeignKeyConstraint(
            ["agent_id"], ["agent_registry.id"], name="fk_agent_executions_agent_id"
        ),
        sa.CheckConstraint(
            "trigger_mode IN ('manual', 'scheduled', 'event', 'delegated')",
            name=op.f("ck_agent_executions_trigger_mode"),
        ),
        sa.CheckConstraint(
            "status IN ('running', 'success', 'failed', 'max_steps_exceeded', 'rejected')",
            name=op.f("ck_agent_executions_status"),
        ),
    )
    op.create_index("ix_agent_executions_workspace_id", "agent_executions", ["workspace_id"])
    op.create_index("ix_agent_executions_agent_id", "agent_executions", ["agent_id"])
    op.create_table(
        "agent_reasoning_steps",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("execution_id", sa.String(36), nullable=False),
        sa.Column("step_number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("thought", sa.Text(), nullable=False),
        sa.Column("action", sa.String(200), nullable=True),
        sa.Column("action_input", sa.JSON(), nullable=True),
        sa.Column("observation", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_agent_reasoning_steps"),
        sa.ForeignKeyConstraint(
            ["execution_id"],
            ["agent_executions.id"],
            name="fk_agent_reasoning_steps_execution_id",
        ),
        sa.UniqueConstraint(
            "execution_id",
            "step_number",
            name="uq_agent_reasoning_steps_execution_id_step_number",
        ),
        sa.CheckConstraint(
            "kind IN ('action', 'final', 'invalid')", name=op.f("ck_agent_reasoning_steps_kind")
        ),
    )


def downgrade() -> None:
    op.drop_table("agent_reasoning_steps")
    op.drop_table("agent_executions")
