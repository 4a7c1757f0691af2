"""A data migration, tested on data: rows at the old revision, upgrade, rows at the new one."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from alembic_snapshot import BuildError, ConfigError, MigrationError
from alembic_snapshot.build.upgrade import upgrade
from alembic_snapshot.sqlite.database import DatabaseFile


@pytest.fixture
def halfway(project, tmp_path):
    """A clone at the revision before a data migration, with a row in it."""
    project.revision("0001", upgrade="op.create_table('t', sa.Column('name', sa.Text))")
    project.revision("0002", "0001", 'op.execute("update t set name = lower(name)")')
    project.revision("0003", "0002", "op.execute('create table later (x)')")
    clone = project.ensure(revision="0001").clone(tmp_path / "clone.db")
    with closing(sqlite3.connect(clone.path)) as connection, connection:
        connection.execute("insert into t values ('ADA')")
    return clone


def test_an_upgrade_changes_the_rows_that_were_there(halfway, rows, tables):
    halfway.upgrade("0002")

    assert rows(halfway.path, "select name from t") == [("ada",)]
    assert rows(halfway.path, "select version_num from alembic_version") == [("0002",)]
    assert "later" not in tables(halfway.path)


def test_an_upgrade_goes_to_the_heads_by_default(halfway, tables):
    halfway.upgrade()

    assert "later" in tables(halfway.path)


def test_an_upgrade_works_on_an_empty_database(project, tmp_path, tables):
    project.history(2)
    clone = project.ensure(revision="0001").clone(tmp_path / "clone.db")

    clone.upgrade("0002")

    assert "t_0002" in tables(clone.path)


def test_an_upgrade_leaves_nothing_beside_the_clone(halfway):
    halfway.upgrade()

    assert [path.name for path in halfway.path.parent.iterdir() if path.is_file()] == ["clone.db"]


def test_an_unknown_revision_is_an_error(halfway):
    with pytest.raises(ConfigError, match="no revision '0009'"):
        halfway.upgrade("0009")


def test_a_failing_migration_is_named(halfway, project):
    project.revision("0002", "0001", "1 / 0")

    with pytest.raises(MigrationError, match=r"revision 0002 failed at .*ZeroDivisionError"):
        halfway.upgrade("0002")


def test_an_upgrade_that_ran_nothing_is_an_error(halfway, project):
    env = (project.root / "migrations/env.py").read_text()
    project.write("migrations/env.py", env.replace("context.run_migrations()", "pass"))

    with pytest.raises(BuildError, match="alembic upgraded to 0002, but the snapshot is at 0001"):
        halfway.upgrade("0002")


@pytest.mark.parametrize("wants", ["connection", "engine", None])
def test_env_py_is_given_the_database_in_the_way_that_is_known_to_work(project, tmp_path, wants):
    # Each way is given beside the URL, and this env.py takes no other than the one it wants.
    kind = {"connection": "Connection", "engine": "Engine", None: "NoneType"}[wants]
    check = f"assert type(config.attributes.get('connection')).__name__ == {kind!r}\n"
    env = project.root / "migrations/env.py"
    env.write_text(
        env.read_text().replace("target_metadata = None\n", f"target_metadata = None\n{check}")
    )
    project.history(2)
    path = tmp_path / "clone.db"
    database = DatabaseFile(path)

    upgrade(project.load(), wants, database, "heads")

    assert database.heads("alembic_version") == ["0002"]
