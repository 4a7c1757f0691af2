"""A database as a file."""
