"""G3: what ``env.py`` gives to Alembic is part of every state, and not only of the last one."""

from __future__ import annotations

import pytest

UNIQUE = "op.create_table('t_{0}', sa.Column('x', sa.Integer), sa.UniqueConstraint('x'))"


@pytest.fixture
def named(project):
    """A project whose constraints get their names from the models' naming convention."""
    env = project.root / "migrations/env.py"
    imported = "from models import metadata as target_metadata"
    env.write_text(env.read_text().replace("target_metadata = None", imported))
    project.revision("0001", upgrade=UNIQUE.format(1))
    project.revision("0002", "0001", UNIQUE.format(2))
    convention(project, "old")
    return project


def convention(project, prefix, more=""):
    names = f"{{'uq': '{prefix}_%(table_name)s'}}"
    text = f"import sqlalchemy as sa\nmetadata = sa.MetaData(naming_convention={names})\n"
    project.write("models.py", text)
    env = project.root / "models.py"
    env.write_text(env.read_text() + more)


@pytest.fixture
def schema(rows):
    return lambda snapshot: str(rows(snapshot.path, "SELECT sql FROM sqlite_master"))


def test_an_ancestor_of_another_naming_convention_is_not_built_upon(named, schema):
    assert "old_t_1" in schema(named.ensure())

    convention(named, "new")
    named.revision("0003", "0002", UNIQUE.format(3))
    snapshot, ran = named.build()

    assert "old_" not in schema(snapshot)
    assert ran[-3:] == ["0001", "0002", "0003"]


def test_a_state_on_the_way_is_replaced_when_the_options_differ(named, schema):
    named.ensure()
    convention(named, "new")
    named.ensure()

    named.revision("0002", "0001", UNIQUE.format("second"))
    snapshot, ran = named.build()

    assert ran == ["0002"]
    assert "old_" not in schema(snapshot)


def test_a_snapshot_at_a_revision_is_compared_too(named, schema):
    named.ensure(revision="0001")

    convention(named, "new")

    assert "new_t_1" in schema(named.ensure(revision="0001"))
    assert not named.ensure(revision="0001").built


def test_another_version_table_makes_all_run_again(named, rows):
    env = named.root / "migrations/env.py"
    option = "version_table=target_metadata.info.get('table', 'alembic_version')"
    env.write_text(env.read_text().replace("target_metadata=target_metadata", (
        f"target_metadata=target_metadata, {option}"
    )))  # fmt: skip
    named.ensure()

    convention(named, "old", "metadata.info['table'] = 'applied'\n")
    named.revision("0003", "0002")
    snapshot = named.ensure()

    assert rows(snapshot.path, "SELECT version_num FROM applied") == [("0003",)]


def test_changed_models_with_the_same_options_cost_one_revision(named):
    named.ensure()

    convention(named, "old", "# changed\n")
    named.revision("0003", "0002")

    assert named.build()[1] == ["0003"]
