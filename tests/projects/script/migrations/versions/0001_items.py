from alembic import op

revision = "0001"
down_revision = None


def upgrade():
    op.execute("CREATE TABLE items (name TEXT NOT NULL)")
    op.execute("INSERT INTO items VALUES ('salt')")
