"""What these tests share: projects in which they run pytest."""

import pytest

from ..inner import mode, new_sample, own_store, shop, store

__all__ = ["mode", "new_sample", "own_store", "shop", "store"]

EVENTS_ENV = """
from alembic import context

with context.config.attributes["connection"] as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
EVENTS = """
import sqlalchemy as sa
from alembic import op

revision = "e1"
down_revision = None

def upgrade():
    op.create_table("events", sa.Column("id", sa.Integer, primary_key=True))
"""


@pytest.fixture
def add_events():
    """Gives a project a second database, for events, with migrations of its own."""

    def add(sample, more=""):
        with open(sample.root / "pyproject.toml", "a") as file:
            file.write(
                "\n[tool.alembic-snapshot.databases.events]\n"
                f'config = "events.ini"\nengine = "shop.events:engine"\n{more}'
            )
        sample.write("events.ini", "[alembic]\nscript_location = %(here)s/events\n")
        sample.write("events/env.py", EVENTS_ENV)
        sample.write("events/versions/e1.py", EVENTS)

    return add


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request):
    return request.param


@pytest.fixture
def on_either(kind, request, new_sample, monkeypatch):
    """A shop on files, or on the private server."""
    if kind == "postgresql":
        request.getfixturevalue("postgres")
        monkeypatch.setenv("ALEMBIC_SNAPSHOT_BACKEND", "postgresql")
    sample = new_sample("shop")
    sample.configure('environment = { SHOP_URL = "{url}" }')
    return sample


@pytest.fixture
def on_server(new_sample, postgres, monkeypatch):
    """Makes a copy of a project on PostgreSQL, whose one setting is the environment variable."""
    monkeypatch.setenv("ALEMBIC_SNAPSHOT_BACKEND", "postgresql")

    def made(project, variable, url="{url}"):
        sample = new_sample(project)
        sample.configure(f'environment = {{ {variable} = "{url}" }}')
        return sample

    return made
