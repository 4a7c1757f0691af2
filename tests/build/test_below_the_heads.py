"""A database at an earlier revision is not compared with the models: that is no check not made."""

from __future__ import annotations

import dataclasses
import json

import pytest

from alembic_snapshot import MigrationError

MODELS = """
    import sqlalchemy as sa
    metadata = sa.MetaData()
    sa.Table("t_0001", metadata, sa.Column("id", sa.Integer, primary_key=True))
"""


@pytest.fixture
def modelled(project):
    """Three revisions, and models of the first table alone: the others are drift."""
    project.history(3)
    project.write("models.py", MODELS)
    env = (project.root / "migrations/env.py").read_text()
    project.write(
        "migrations/env.py",
        env.replace("target_metadata = None", "from models import metadata as target_metadata"),
    )
    return project


@pytest.mark.parametrize("before", [[], [None], [None, "0002"]])
def test_nothing_is_said_of_it(modelled, before):
    for revision in before:
        modelled.ensure(revision=revision)
    first = modelled.command("build", "--revision", "0002")
    again = modelled.command("build", "--revision", "0002")
    status = modelled.command("status", "--revision", "0002")
    listed = modelled.command("list", "--json")

    for one in (first, again, status, listed):
        assert "drift" not in one.stderr
        assert "not made" not in one.stderr
        assert "not checked" not in one.stdout + one.stderr
        assert "were not compared" not in one.stdout
    assert first.returncode == again.returncode == status.returncode == 0
    record = next(one for one in json.loads(listed.stdout)["snapshots"] if one["heads"] == ["0002"])
    assert record["unchecked"] == {}
    assert record["checks"] == []


def test_at_the_heads_it_is_compared_however_they_are_named(modelled):
    for name in ("0003", "head", "heads"):
        told = modelled.command("status", "--revision", name)
        if told.returncode:
            modelled.command("build", "--revision", name)
            told = modelled.command("status", "--revision", name)
        assert "drift: remove table t_0002" in told.stdout


def test_what_changed_for_env_py_is_looked_at_all_the_same(modelled):
    modelled.ensure(revision="0002")
    modelled.append("models.py", "# another\n")

    snapshot, ran = modelled.build(revision="0002")

    assert ran == []
    assert not snapshot.built
    assert "drift" not in snapshot.manifest.checks
    assert "drift_error" not in snapshot.manifest.checks


def test_an_env_py_that_fails_then_is_an_error_until_it_does_not(modelled):
    modelled.ensure(revision="0002")
    modelled.append("models.py", "raise ValueError('broken')\n")

    broken = modelled.command("build", "--revision", "0002")
    modelled.write("models.py", MODELS)
    mended = modelled.command("build", "--revision", "0002")

    assert broken.returncode == 2
    assert "ValueError: broken" in broken.stderr
    assert mended.stderr == ""


def test_what_an_earlier_version_wrote_of_it_is_forgotten(modelled):
    snapshot = modelled.ensure(revision="0002")
    store = modelled.look_up(revision="0002").store
    reason = "CommandError: Target database is not up to date."
    checks = {**snapshot.manifest.checks, "drift": [], "drift_error": reason}
    store.update(snapshot.entry, dataclasses.replace(snapshot.manifest, checks=checks))

    told = modelled.command("build", "--revision", "0002")

    assert "not made" not in told.stderr
    assert "drift_error" not in modelled.ensure(revision="0002").manifest.checks


def test_the_command_that_says_more_does(modelled):
    modelled.configure('layers = { demo = ["seed:run"] }')
    modelled.write("seed.py", "def run(connection): ...\n")
    for options in (["--layer", "demo"], ["--revision", "head"], []):
        modelled.command("build", *options)

        again = modelled.command("build", *options)

        said = " ".join(["alembic-snapshot", "status", *options])
        assert again.stderr.endswith(f"2 findings: `{said}` says more\n")
        assert modelled.command("status", *options).stdout.count("drift: remove table") == 2


TYPO = 'op.execute("insert into t_0O01 values (1)")'


@pytest.mark.parametrize("is_stored", [True, False])
def test_a_typo_is_not_taken_for_tables_that_others_make(project, is_stored):
    project.history(3)
    if is_stored:
        project.ensure()
    project.revision("0004", "0003", TYPO)

    with pytest.raises(MigrationError) as caught:
        project.ensure()

    assert "the half-built database is kept at" in caught.value.hint
    assert "set migrate" not in caught.value.hint


def test_tables_that_no_revision_before_makes_are(project):
    project.revision("0001", upgrade="pass")
    project.revision("0002", "0001", TYPO)

    with pytest.raises(MigrationError) as caught:
        project.ensure()

    assert caught.value.hint.endswith("first tables not made by Alembic? then set migrate")
