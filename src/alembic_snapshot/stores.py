"""The store that a project's snapshots are in."""

from __future__ import annotations

from alembic_snapshot.config import Project
from alembic_snapshot.file_store import FileStore
from alembic_snapshot.store import Store


def store_of(project: Project) -> Store:
    """The store of a project's kind of database."""
    if project.backend == "postgresql":
        from alembic_snapshot.postgres.store import ServerStore

        return ServerStore(project.store)
    return FileStore(project.store)
