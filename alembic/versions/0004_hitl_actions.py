"""Actions that wait for a human: status in upper case, a deadline if somebody set one."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "hitl_actions",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("workspace_id", sa.String(36), nullable=False),
        sa.Column("agent_id", sa.String(36), nullable=False),
        sa.Column("action_type", sa.String(200), nullable=False),
        sa.Column("params", sa.JSON(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reviewer_id", sa.String(36), nullable=True),
        sa.Column("reviewed_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_hitl_actions"),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name="fk_hitl_actions_workspace_id"
        ),
        sa.ForeignKeyConstraint(
            ["agent_id"], ["agent_registry.id"], name="fk_hitl_actions_agent_id"
        ),
        sa.ForeignKeyConstraint(["reviewer_id"], ["users.id"], name="fk_hitl_actions_reviewer_id"),
    )
    op.create_index("ix_hitl_actions_agent_id", "hitl_actions", ["agent_id"])
    op.create_index("ix_hitl_actions_reviewer_id", "hitl_actions", ["reviewer_id"])


def downgrade() -> None:
    op.drop_table("hitl_actions")
