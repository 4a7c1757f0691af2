"""A project's settings: its table, Alembic's settings, and which files are its own."""
