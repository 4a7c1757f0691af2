"""SQLite: a database as a file."""
