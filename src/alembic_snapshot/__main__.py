"""``python -m alembic_snapshot``: the command line."""

from alembic_snapshot.cli import main

main()
