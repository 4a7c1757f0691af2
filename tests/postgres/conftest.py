"""A project whose snapshots are on the tests' server."""

from __future__ import annotations

import pytest

from alembic_snapshot.postgres import databases


@pytest.fixture
def project(project, postgres, monkeypatch):
    """A project without revisions, for PostgreSQL."""
    monkeypatch.delenv("ALEMBIC_SNAPSHOT_BACKEND", raising=False)
    project.configure('backend = "postgresql"')
    return project


@pytest.fixture
def no_snapshots(postgres):
    """A server without the snapshots of tests before."""
    with postgres.connect() as connection:
        for name, _ in list(databases.named(connection, databases.SNAPSHOT)):
            databases.drop(connection, name)
