"""Tasks to do."""
