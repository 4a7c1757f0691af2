"""Corrections of what an agent said."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "agent_feedback",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("agent_id", sa.String(36), nullable=False),
        sa.Column("user_id", sa.String(36), nullable=False),
        sa.Column("original_output", sa.Text(), nullable=False),
        sa.Column("user_correction", sa.Text(), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_agent_feedback"),
        sa.ForeignKeyConstraint(
            ["agent_id"], ["agent_registry.id"], name="fk_agent_feedback_agent_id"
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_agent_feedback_user_id"),
        sa.CheckConstraint(
            "status IN ('pending', 'accepted', 'rejected')",
            name=op.f("ck_agent_feedback_status"),
        ),
    )
    op.create_index("ix_agent_feedback_agent_id", "agent_feedback", ["agent_id"])
    op.create_index("ix_agent_feedback_user_id", "agent_feedback", ["user_id"])


def downgrade() -> None:
    op.drop_table("agent_feedback")
