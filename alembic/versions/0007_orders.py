"""Orders, and the lines of each."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

MONEY = sa.Numeric(14, 2).with_variant(sa.BigInteger(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "ecommerce_orders",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("store_id", sa.String(36), nullable=False),
        sa.Column("customer_id", sa.String(36), nullable=False),
        sa.Column("number", sa.String(50), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("total", MONEY, nullable=False),
        sa.Column("placed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ecommerce_orders"),
        sa.ForeignKeyConstraint(
            ["store_id"], ["ecommerce_stores.id"], name="fk_ecommerce_orders_store_id"
        ),
        sa.ForeignKeyConstraint(
            ["customer_id"], ["ecommerce_customers.id"], name="fk_ecommerce_orders_customer_id"
        ),
        sa.UniqueConstraint("store_id", "number", name="uq_ecommerce_orders_store_id_number"),
        sa.CheckConstraint(
            "status IN ('placed', 'paid', 'shipped', 'canceled')",
            name=op.f("ck_ecommerce_orders_status"),
        ),
        sa.CheckConstraint("total >= 0", name=op.f("ck_ecommerce_orders_total")),
    )
    op.create_index("ix_ecommerce_orders_customer_id", "ecommerce_orders", ["customer_id"])
    op.create_table(
        "ecommerce_order_items",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("order_id", sa.String(36), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("product", sa.String(200), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("unit_price", MONEY, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ecommerce_order_items"),
        sa.ForeignKeyConstraint(
            ["order_id"], ["ecommerce_orders.id"], name="fk_ecommerce_order_items_order_id"
        ),
        sa.UniqueConstraint("order_id", "line", name="uq_ecommerce_order_items_order_id_line"),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_ecommerce_order_items_quantity")),
    )


def downgrade() -> None:
    op.drop_table("ecommerce_order_items")
    op.drop_table("ecommerce_orders")
