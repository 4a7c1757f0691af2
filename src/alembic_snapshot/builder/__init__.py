"""Building a snapshot: one build as its parent sees it, and the guarded child that runs Alembic."""
