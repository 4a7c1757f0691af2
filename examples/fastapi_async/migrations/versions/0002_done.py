"""Tasks can be done."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    with op.batch_alter_table("tasks") as tasks:
        tasks.add_column(sa.Column("is_done", sa.Boolean, nullable=False, server_default="0"))
    with op.batch_alter_table("tasks") as tasks:
        tasks.alter_column("is_done", server_default=None)


def downgrade() -> None:
    with op.batch_alter_table("tasks") as tasks:
        tasks.drop_column("is_done")
