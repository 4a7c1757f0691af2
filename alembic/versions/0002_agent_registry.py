"""Agents, and how much each is trusted."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SCORE = sa.Numeric(5, 4).with_variant(sa.BigInteger(), "sqlite")


def upgrade() -> None:
    full_score = 10000 if op.get_context().dialect.name == "sqlite" else 1
    op.create_table(
        "agent_registry",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("workspace_id", sa.String(36), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("category", sa.String(100), nullable=False),
        sa.Column("module_path", sa.String(200), nullable=False),
        sa.Column("class_name", sa.String(200), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("confidence_score", SCORE, nullable=True),
        sa.Column("version", sa.String(50), nullable=False),
        sa.Column("configuration", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_agent_registry"),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name="fk_agent_registry_workspace_id"
        ),
        sa.UniqueConstraint(
            "workspace_id",
            "module_path",
            "class_name",
            "name",
            name="uq_agent_registry_workspace_id_module_path_class_name_name",
        ),
        sa.CheckConstraint(
            "status IN ('student', 'intern', 'supervised', 'autonomous', "
            "'paused', 'stopped', 'deprecated', 'deleted')",
            name=op.f("ck_agent_registry_status"),
        ),
        sa.CheckConstraint(
            f"confidence_score BETWEEN 0 AND {full_score}",
            name=op.f("ck_agent_registry_confidence_score"),
        ),
    )


def downgrade() -> None:
    op.drop_table("agent_registry")
