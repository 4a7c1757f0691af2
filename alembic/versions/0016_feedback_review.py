"""Feedback has a rating, and somebody who accepted or rejected it."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("agent_feedback") as batch:
        batch.add_column(sa.Column("rating", sa.Integer(), nullable=True))
        batch.add_column(sa.Column("reviewer_id", sa.String(36), nullable=True))
        batch.add_column(sa.Column("reviewed_at", sa.DateTime(timezone=True), nullable=True))
        batch.create_check_constraint(op.f("ck_agent_feedback_rating"), "rating BETWEEN 1 AND 5")
        batch.create_foreign_key("fk_agent_feedback_reviewer_id", "users", ["reviewer_id"], ["id"])
        batch.create_index("ix_agent_feedback_reviewer_id", ["reviewer_id"])


def downgrade() -> None:
    with op.batch_alter_table("agent_feedback") as batch:
        batch.drop_index("ix_agent_feedback_reviewer_id")
        batch.drop_constraint("fk_agent_feedback_reviewer_id", type_="foreignkey")
        batch.drop_constraint(op.f("ck_agent_feedback_rating"), type_="check")
        batch.drop_column("reviewed_at")
        batch.drop_column("reviewer_id")
        batch.drop_column("rating")
