"""Approval statuses in lower case, like every other status."""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("UPDATE hitl_actions SET status = lower(status)")


def downgrade() -> None:
    op.execute("UPDATE hitl_actions SET status = upper(status)")
