"""What these tests share: projects in which they run pytest."""

import pytest

from ..inner import mode, new_sample, own_store, shop, store

__all__ = ["mode", "new_sample", "own_store", "shop", "store"]


@pytest.fixture
def on_server(new_sample, postgres, monkeypatch):
    """Makes a copy of a project on PostgreSQL, whose one setting is the environment variable."""
    monkeypatch.setenv("ALEMBIC_SNAPSHOT_BACKEND", "postgresql")

    def made(project, variable, url="{url}"):
        sample = new_sample(project)
        sample.configure(f'environment = {{ {variable} = "{url}" }}')
        return sample

    return made
