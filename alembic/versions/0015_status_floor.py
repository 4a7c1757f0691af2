"""A manual promotion sets a floor under an agent's status."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("agent_registry") as batch:
        batch.add_column(sa.Column("status_floor", sa.String(20), nullable=True))
        batch.create_check_constraint(
            op.f("ck_agent_registry_status_floor"),
            "status_floor IN ('student', 'intern', 'supervised', 'autonomous')",
        )


def downgrade() -> None:
    with op.batch_alter_table("agent_registry") as batch:
        batch.drop_constraint(op.f("ck_agent_registry_status_floor"), type_="check")
        batch.drop_column("status_floor")
