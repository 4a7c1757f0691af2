"""Stores, and the people who buy in them."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ecommerce_stores",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("workspace_id", sa.String(36), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ecommerce_stores"),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name="fk_ecommerce_stores_workspace_id"
        ),
        sa.UniqueConstraint("workspace_id", "name", name="uq_ecommerce_stores_workspace_id_name"),
    )
    op.create_table(
        "ecommerce_customers",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("store_id", sa.String(36), nullable=False),
        sa.Column("email", sa.String(320), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ecommerce_customers"),
        sa.ForeignKeyConstraint(
            ["store_id"], ["ecommerce_stores.id"], name="fk_ecommerce_customers_store_id"
        ),
        sa.UniqueConstraint("store_id", "email", name="uq_ecommerce_customers_store_id_email"),
    )


def downgrade() -> None:
    op.drop_table("ecommerce_customers")
    op.drop_table("ecommerce_stores")
