"""Where a project's snapshots and clones are, by its kind of database."""

from __future__ import annotations

from pathlib import Path

from alembic_snapshot.config import Project
from alembic_snapshot.sqlite.files import DatabaseFile
from alembic_snapshot.sqlite.store import FileStore
from alembic_snapshot.store import Store
from alembic_snapshot.target import Target


def store_of(project: Project) -> Store:
    """The store of a project's kind of database."""
    if project.backend == "postgresql":
        from alembic_snapshot.postgres.store import ServerStore

        return ServerStore(project.store)
    return FileStore(project.store)


def target_named(project: Project, name: str) -> Target:
    """A database by its path, or by its name on the server in use."""
    if project.backend == "postgresql":
        from alembic_snapshot.postgres.database import ServerDatabase
        from alembic_snapshot.postgres.server import server_in_use

        return ServerDatabase(server_in_use(), name)
    return DatabaseFile(Path(name))
