"""Workspaces know when they last changed; older ones, since they were made."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("workspaces", sa.Column("updated_at", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE workspaces SET updated_at = created_at")
    with op.batch_alter_table("workspaces") as batch:
        batch.alter_column("updated_at", existing_type=sa.DateTime(timezone=True), nullable=False)


def downgrade() -> None:
    op.drop_column("workspaces", "updated_at")
