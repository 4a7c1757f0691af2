"""The server of our own. Nothing in here knows Alembic."""
