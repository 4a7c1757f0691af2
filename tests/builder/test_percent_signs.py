"""Percent signs in the target's URL: Alembic's configuration takes them for interpolations."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from alembic_snapshot.sqlite.clone import ReadOnlyFile
from tests.sample import SampleProject
from tests.server import as_role

ENV = """
import os
from alembic import context
from sqlalchemy import create_engine, engine_from_config, pool

config = context.config
url = os.environ["APP_URL"]
SPELLED
section = config.get_section(config.config_ini_section)
with engine_from_config(section, poolclass=pool.NullPool).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
SPELLED = {
    "as it is": 'config.set_main_option("sqlalchemy.url", url)',
    "doubled": 'config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))',
    "of a section": 'config.set_section_option("alembic", "sqlalchemy.url", url)',
    "with more": 'config.set_main_option("sqlalchemy.url", url + "?timeout=9")',
    "with another driver": 'config.set_main_option("sqlalchemy.url", '
    'url.replace("sqlite://", "sqlite+pysqlite://"))',
    "only where it is needed": "try:\n"
    '    config.set_main_option("sqlalchemy.url", url)\n'
    "except ValueError:\n"
    '    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))',
}
NAMES = ["100%", "a%40b", "%(here)s", "50%%", "%s%d", "plain"]


@pytest.fixture
def made(tmp_path):
    """A project in a folder of that name, whose ``env.py`` has the URL from a variable."""

    def make(name, spelled):
        project = SampleProject(tmp_path / name / "project")
        project.configure('environment = { APP_URL = "{url}" }')
        project.write("migrations/env.py", ENV.replace("SPELLED", SPELLED[spelled]))
        project.revision("0001")
        return project

    return make


@pytest.mark.parametrize("spelled", SPELLED)
@pytest.mark.parametrize("name", NAMES)
def test_a_folder_may_have_them_however_env_py_puts_its_url_in(made, name, spelled):
    project = made(name, spelled)

    snapshot, ran = project.build()

    assert ran == ["0001"]
    assert not snapshot.manifest.warnings


def test_other_values_are_as_alembic_takes_them(made):
    project = made("100%", "as it is")
    env = project.root / "migrations/env.py"
    more = "config.set_main_option('other', '%(half)s')\nconfig.set_main_option('half', '50%%')\n"
    more += "assert config.get_main_option('other') == '50%'\n"
    env.write_text(env.read_text().replace("section =", f"{more}section ="))

    assert project.ensure().built


@pytest.mark.parametrize("name", [*NAMES, "a?b=c", "a#b", "a b+c", "Bücher"])
@pytest.mark.parametrize("read_only", [False, True])
def test_the_url_of_a_clone_leads_to_its_file_and_to_no_other(made, name, read_only):
    project = made(name, "as it is")
    snapshot = project.ensure()
    clone = ReadOnlyFile(snapshot) if read_only else snapshot.clone(project.root / "clone.db")

    before = {path for path in project.root.parents[1].rglob("*") if path.is_file()}
    engine = sa.create_engine(clone.url)
    with engine.connect() as connection:
        (_, _, file), *_ = connection.exec_driver_sql("PRAGMA database_list").all()
        tables = sa.inspect(connection).get_table_names()
    engine.dispose()

    assert file == str(clone.path)
    assert "t_0001" in tables
    assert {path for path in project.root.parents[1].rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("spelled", ["as it is", "doubled", "of a section"])
def test_a_servers_password_may_have_them_too(made, postgres, monkeypatch, spelled):
    project = made("plain", spelled)
    project.configure('backend = "postgresql"\nenvironment = { APP_URL = "{url}" }')
    role = sa.make_url(postgres.url).username
    monkeypatch.setenv("SNAPSHOT_POSTGRES_URL", as_role(postgres, role, "a%b@c%40"))

    snapshot, ran = project.build()

    assert ran == ["0001"]
    assert not snapshot.manifest.warnings
