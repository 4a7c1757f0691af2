"""Tiers: a base price, what it includes, and what more costs."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

MONEY = sa.Numeric(14, 2).with_variant(sa.BigInteger(), "sqlite")
QUANTITY = sa.Numeric(18, 4).with_variant(sa.BigInteger(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "saas_tiers",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("base_price", MONEY, nullable=False),
        sa.Column("billed_event_type", sa.String(100), nullable=False),
        sa.Column("included_units", QUANTITY, nullable=False),
        sa.Column("overage_rates", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_saas_tiers"),
        sa.UniqueConstraint("name", name="uq_saas_tiers_name"),
        sa.CheckConstraint("base_price >= 0", name=op.f("ck_saas_tiers_base_price")),
        sa.CheckConstraint("included_units >= 0", name=op.f("ck_saas_tiers_included_units")),
    )


def downgrade() -> None:
    op.drop_table("saas_tiers")
