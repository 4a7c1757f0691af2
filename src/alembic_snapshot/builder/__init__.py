"""The builder process: it alone runs Alembic, guarded and watched."""
