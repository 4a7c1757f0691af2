"""``python -m alembic_snapshot``: the command line."""

from alembic_snapshot.cli.commands import main

main()
