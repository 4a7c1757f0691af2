"""What was billed has rows, tiers have a currency, and the start of a subscription is audited.

A tier was priced in the currency of the stores that sell it, if those agree, and else in EUR, which
is what a store has unless somebody says otherwise. What was renewed before this has its audit row
alone. Going back drops the invoices, and the audit rows of starts, which there was no word for.
"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

MONEY = sa.Numeric(14, 2).with_variant(sa.BigInteger(), "sqlite")
QUANTITY = sa.Numeric(18, 4).with_variant(sa.BigInteger(), "sqlite")
CURRENCY = "length(currency) = 3 AND currency = upper(currency)"
SOLD_IN = """
UPDATE saas_tiers SET currency = coalesce((
    SELECT CASE
        WHEN count(DISTINCT upper(ecommerce_stores.currency)) = 1
            AND max(length(ecommerce_stores.currency)) = 3
        THEN max(upper(ecommerce_stores.currency))
    END
    FROM ecommerce_subscriptions
    JOIN ecommerce_customers ON ecommerce_customers.id = ecommerce_subscriptions.customer_id
    JOIN ecommerce_stores ON ecommerce_stores.id = ecommerce_customers.store_id
    WHERE ecommerce_subscriptions.tier_id = saas_tiers.id
), 'EUR')
"""


def upgrade() -> None:
    op.create_table(
        "invoices",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("subscription_id", sa.String(36), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("period_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("period_end", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used", QUANTITY, nullable=False),
        sa.Column("amount", MONEY, nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_invoices"),
        sa.ForeignKeyConstraint(
            ["subscription_id"],
            ["ecommerce_subscriptions.id"],
            name="fk_invoices_subscription_id",
        ),
        sa.UniqueConstraint(
            "subscription_id", "period_start", name="uq_invoices_subscription_id_period_start"
        ),
        sa.CheckConstraint("kind IN ('renewal', 'settlement')", name=op.f("ck_invoices_kind")),
        sa.CheckConstraint("period_start <= period_end", name=op.f("ck_invoices_period")),
        sa.CheckConstraint("amount >= 0", name=op.f("ck_invoices_amount")),
        sa.CheckConstraint(CURRENCY, name=op.f("ck_invoices_currency")),
    )
    op.add_column("saas_tiers", sa.Column("currency", sa.String(3), nullable=True))
    op.execute(SOLD_IN)
    with op.batch_alter_table("saas_tiers") as batch:
        batch.alter_column("currency", existing_type=sa.String(3), nullable=False)
        batch.create_check_constraint(op.f("ck_saas_tiers_currency"), CURRENCY)
    with op.batch_alter_table("ecommerce_subscription_audit") as batch:
        batch.drop_constraint(op.f("ck_ecommerce_subscription_audit_event"), type_="check")
        batch.create_check_constraint(
            op.f("ck_ecommerce_subscription_audit_event"),
            "event IN ('started', 'renewed', 'canceled')",
        )


def downgrade() -> None:
    op.execute("DELETE FROM ecommerce_subscription_audit WHERE event = 'started'")
    with op.batch_alter_table("ecommerce_subscription_audit") as batch:
        batch.drop_constraint(op.f("ck_ecommerce_subscription_audit_event"), type_="check")
        batch.create_check_constraint(
            op.f("ck_ecommerce_subscription_audit_event"), "event IN ('canceled', 'renewed')"
        )
    with op.batch_alter_table("saas_tiers") as batch:
        batch.drop_constraint(op.f("ck_saas_tiers_currency"), type_="check")
        batch.drop_column("currency")
    op.drop_table("invoices")
