"""What a project says: its table, Alembic's settings, and which files are its own."""
