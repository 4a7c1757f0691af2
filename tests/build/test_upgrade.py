"""A data migration, tested on data: rows at the old revision, upgrade, rows at the new one."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from alembic_snapshot import BuildError, CloneError, ConfigError, MigrationError
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


@pytest.mark.parametrize("at", ["b", "c"])
def test_an_upgrade_goes_on_from_either_of_two_branches(project, tmp_path, tables, at):
    project.configure('heads = "many"')
    project.revision("a")
    project.revision("b", "a")
    project.revision("c", "a")
    clone = project.ensure(revision=at).clone(tmp_path / "clone.db")

    clone.upgrade()

    assert {"t_a", "t_b", "t_c"} < set(tables(clone.path))


def test_an_upgrade_leaves_nothing_beside_the_clone(halfway):
    halfway.upgrade()

    assert [path.name for path in halfway.path.parent.iterdir() if path.is_file()] == ["clone.db"]


def test_an_unknown_revision_is_an_error(halfway):
    with pytest.raises(ConfigError, match="no revision '0009'"):
        halfway.upgrade("0009")


@pytest.mark.parametrize("name", ["0001", "00", "head", "heads"])
def test_a_clone_that_is_past_a_revision_is_told_so(halfway, rows, name):
    halfway.upgrade("heads")
    if name.startswith("head"):
        halfway.upgrade(name)
        assert rows(halfway.path, "select version_num from alembic_version") == [("0003",)]
        return

    with pytest.raises(ConfigError) as caught:
        halfway.upgrade(name)

    if name == "0001":
        told, hint = str(caught.value).splitlines()
        assert told == "the clone is at 0003, and 0001 is not after it"
        assert hint.endswith('if it has @pytest.mark.db_clone(revision="0001")')
    else:
        assert str(caught.value).startswith("'00' is several revisions: 0001, 0002, 0003")


def test_the_revision_at_which_a_clone_is_changes_nothing(halfway, rows):
    halfway.upgrade("0001")

    assert rows(halfway.path, "select version_num from alembic_version") == [("0001",)]


def test_an_upgrade_of_one_branch_leaves_the_other_where_it_is(project, tmp_path, rows):
    for name, down in (("a1", None), ("a2", "a1"), ("b1", None), ("b2", "b1")):
        project.revision(name, down)
    clone = project.ensure(revision="a1").clone(tmp_path / "clone.db")

    clone.upgrade("b1")
    clone.upgrade("b2")
    clone.upgrade("a2")

    versions = rows(clone.path, "select version_num from alembic_version order by 1")
    assert versions == [("a2",), ("b2",)]
    with pytest.raises(ConfigError, match="the clone is at a2, b2, and b1 is not after it"):
        clone.upgrade("b1")


def test_a_revision_that_is_no_text_is_refused(halfway):
    with pytest.raises(ConfigError, match="upgrade does not take 2"):
        halfway.upgrade(2)


def test_a_failing_migration_names_no_database_that_is_not_kept(halfway, project):
    project.revision("0002", "0001", 'op.execute("insert into missing values (1)")')

    with pytest.raises(MigrationError) as caught:
        halfway.upgrade("0002")

    assert "no such table: missing" in str(caught.value)
    assert "kept" not in str(caught.value)
    assert "set migrate" not in str(caught.value)
    assert str(caught.value).endswith("correct it, or what was in the database before it")


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

    upgrade(project.load(), wants, database, "heads", table="alembic_version")

    assert database.heads("alembic_version") == ["0002"]


@pytest.mark.parametrize("call", ["engine", "upgrade"])
def test_a_clone_that_was_deleted_is_not_made_anew(project, tmp_path, call):
    project.history(1)
    clone = project.ensure().clone(tmp_path / "own.db")
    clone.delete()

    with pytest.raises(CloneError, match=r"own\.db was deleted"):
        getattr(clone, call)()

    assert not (tmp_path / "own.db").exists()
