"""People have a specialty, customers a phone."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("specialty", sa.String(100), nullable=True))
    op.add_column("ecommerce_customers", sa.Column("phone", sa.String(50), nullable=True))


def downgrade() -> None:
    op.drop_column("ecommerce_customers", "phone")
    op.drop_column("users", "specialty")
