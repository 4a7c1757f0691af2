"""Whose error is told when env.py fails: the true one, whatever is installed.

CI runs this folder twice: with all extras, and where the package alone is installed.
"""

from __future__ import annotations

import importlib.util
import textwrap

import pytest

from alembic_snapshot import MigrationError, ensure, load_project

HAS_ASYNC = all(map(importlib.util.find_spec, ("aiosqlite", "greenlet")))
INSTALL = 'pip install "alembic-snapshot[async]"'
SYNC = """
from alembic import context
from sqlalchemy import engine_from_config, pool
with open("tries.log", "a") as log: log.write("x")
config = context.config
HERE
section = config.get_section(config.config_ini_section, {})
with engine_from_config(section, poolclass=pool.NullPool).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
# The stock async env.py; a HERE before its engine is made, a THERE when it is connected.
ASYNC = """
import asyncio
from alembic import context
from sqlalchemy import pool
from sqlalchemy.ext.asyncio import async_engine_from_config
with open("tries.log", "a") as log: log.write("x")
config = context.config

def run(connection):
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()

async def main():
    HERE
    section = config.get_section(config.config_ini_section, {})
    engine = async_engine_from_config(section, poolclass=pool.NullPool)
    async with engine.connect() as connection:
        THERE
        await connection.run_sync(run)
        await connection.commit()
    await engine.dispose()

asyncio.run(main())
"""
TAKES_CONNECTION = """
from alembic import context
with open("tries.log", "a") as log: log.write("x")
connection = context.config.attributes["connection"]
context.configure(connection=connection)
HERE
with context.begin_transaction():
    context.run_migrations()
"""
# Each with what is told of it, in an env.py of either kind.
MISTAKES = {
    'import os; os.environ["SHOP_SECRET"]': "KeyError: 'SHOP_SECRET'",
    "import shop_settings": "ModuleNotFoundError: No module named 'shop_settings'",
    "from shop import nothing": "ImportError: cannot import name 'nothing'",
    "target_metadata = Bse.metadata": "NameError: name 'Bse' is not defined",
    "target_metadata = config.metadata": "AttributeError: 'Config' object has no attribute",
    "import shop.models": "ValueError: tables of the same name",
    "raise SystemExit('set SHOP_SECRET first')": "SystemExit: set SHOP_SECRET first",
    "assert config.get_main_option('shop')": "AssertionError",
    "raise LookupError(object())": "LookupError: <object object at",
}


class Project:
    """A folder with one revision, and an ``env.py`` that notes each time that it runs."""

    def __init__(self, root):
        self.root = root
        self.write("alembic.ini", "[alembic]\nscript_location = %(here)s/migrations\n")
        self.write("pyproject.toml", "[tool.alembic-snapshot]\n")
        self.write("shop/__init__.py", "")
        self.write("shop/models.py", "raise ValueError('tables of the same name')\n")
        self.revision("op.execute('create table t (x)')")

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))

    def revision(self, body):
        self.write(
            "migrations/versions/a.py",
            f"from alembic import op\nrevision = 'a'\ndown_revision = None\n"
            f"def upgrade():\n    {body}\n",
        )

    def env(self, text, here="pass", there="pass"):
        self.write("migrations/env.py", text.replace("THERE", there).replace("HERE", here))

    def ensure(self):
        return ensure(load_project(self.root))

    def error(self):
        """What building it raises."""
        with pytest.raises(MigrationError) as raised:
            self.ensure()
        return raised.value

    @property
    def tries(self):
        """How often ``env.py`` ran."""
        return len((self.root / "tries.log").read_text())


@pytest.fixture
def project(tmp_path, monkeypatch):
    for name in ("ALEMBIC_SNAPSHOT_DIR", "ALEMBIC_SNAPSHOT_BACKEND", "PYTHONPATH"):
        monkeypatch.delenv(name, raising=False)
    return Project(tmp_path)


class TestAMistakeInASynchronousEnvPy:
    @pytest.mark.parametrize("mistake", MISTAKES)
    def test_is_what_is_told_and_is_not_tried_in_every_way(self, project, mistake):
        project.env(SYNC, mistake)

        error = project.error()

        assert MISTAKES[mistake] in error.message
        assert error.message.startswith(
            "env.py failed at shop/models.py line 1"
            if "models" in mistake
            else "env.py failed at migrations/env.py line 6"
        )
        assert "aiosqlite" not in f"{error} {error.details}"
        assert INSTALL not in error.hint
        assert project.tries <= 2

    def test_is_told_with_what_was_tried(self, project):
        project.env(SYNC, "Bse.metadata")

        details = project.error().details

        assert "What was tried:\n  offered as url: env.py failed" in details
        assert "offered as connection: env.py failed" in details
        assert "offered as async" not in details

    def test_of_a_variable_names_it_in_the_hint(self, project):
        project.env(SYNC, "import os; os.environ['shop_secret']")

        assert 'environment = { shop_secret = "…" }' in project.error().hint

    def test_of_a_key_is_no_variable(self, project):
        project.env(SYNC, "config.attributes['tenant']")

        assert "is it a variable" not in project.error().hint

    def test_in_one_way_only_is_none(self, project):
        otherwise = "connection = config.attributes.get('connection') or Bse.metadata"
        project.env(SYNC, otherwise)

        assert project.ensure().manifest.handover == "connection"


class TestAnEnvPyThatNeedsOneWay:
    def test_of_a_connection_is_told_by_its_revision_not_by_the_ways_before(self, project):
        project.env(TAKES_CONNECTION)
        project.revision("op.execute('select * from nowhere')")

        error = project.error()

        assert error.message.startswith("revision a failed at migrations/versions/a.py line 5")
        assert "offered as url: env.py failed" in error.details

    def test_of_a_connection_is_told_by_where_it_led(self, project):
        project.env(TAKES_CONNECTION + "connection.close()\nraise LookupError('afterwards')\n")

        assert "LookupError: afterwards" in project.error().message

    def test_of_an_engine_is_found(self, project):
        project.env(SYNC, "config.attributes['connection'].dispose()")

        assert project.ensure().manifest.handover == "engine"


class TestAnAsynchronousEnvPy:
    @pytest.mark.parametrize("mistake", list(MISTAKES)[:4])
    def test_is_told_by_its_mistake(self, project, mistake):
        project.env(ASYNC, mistake)

        error = project.error()

        if HAS_ASYNC or "greenlet" not in error.message:
            assert MISTAKES[mistake] in error.message
        else:
            assert INSTALL in error.hint

    def test_is_told_by_the_mistake_that_only_an_async_driver_comes_to(self, project):
        project.env(ASYNC, there="Bse.metadata")

        error = project.error()

        if HAS_ASYNC:
            assert "NameError: name 'Bse' is not defined" in error.message
            assert project.tries <= 3
        else:
            assert INSTALL in error.hint

    def test_is_built_or_told_what_to_install(self, project):
        project.env(ASYNC)

        if HAS_ASYNC:
            assert project.ensure().manifest.handover == "async"
            assert project.tries <= 4
        else:
            assert INSTALL in project.error().hint

    def test_with_a_url_of_its_own_is_built_or_told_what_to_install(self, project):
        own = 'config.set_main_option("sqlalchemy.url", "sqlite+aiosqlite:///shop.db")'
        project.env(ASYNC, own)

        if HAS_ASYNC:
            assert project.ensure().built
        else:
            assert INSTALL in project.error().hint
