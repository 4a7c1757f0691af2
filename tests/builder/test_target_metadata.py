"""``target_metadata`` is for the comparison alone: whatever it is, the upgrade runs."""

from __future__ import annotations

import pytest
from alembic import command
from alembic.config import Config

MODELS = """
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase

class Base(DeclarativeBase): ...
class Other:
    @staticmethod
    def make(): ...

metadata = sa.MetaData()
"""
GIVEN = {
    "Base": "Base, which is no MetaData, and its metadata is one",
    "[metadata, Other]": "Other, which is no MetaData",
    "(Base, Other)": "Base, which is no MetaData, and its metadata is one",
    "Other()": "a Other, which is no MetaData",
    "Other.make": "Other.make, which is no MetaData",
    "'metadata'": "a str, which is no MetaData",
    "sa": "a module, which is no MetaData",
}


@pytest.fixture
def given(project):
    """Have ``env.py`` give a value as ``target_metadata``."""
    project.write("models.py", MODELS)
    env = project.root / "migrations/env.py"
    text = env.read_text()
    project.revision("0001", upgrade="op.create_table('t', sa.Column('x', sa.Integer))")

    def write(value):
        taken = f"from models import *\ntarget_metadata = {value}"
        env.write_text(text.replace("target_metadata = None", taken))
        return project

    return write


@pytest.mark.parametrize("value", GIVEN)
def test_what_is_no_metadata_is_no_error_of_a_build_and_the_comparison_says_so(given, value):
    snapshot, _ = given(value).build()

    checks = snapshot.manifest.checks
    assert snapshot.manifest.tables == 2
    assert checks["drift_error"] == f"env.py's target_metadata has {GIVEN[value]}"


@pytest.mark.parametrize("value", GIVEN)
def test_alembic_upgrades_with_it_too(given, value, monkeypatch):
    project = given(value)
    monkeypatch.syspath_prepend(project.root)
    config = Config(project.root / "alembic.ini")
    config.set_main_option("sqlalchemy.url", f"sqlite:///{project.root / 'by_hand.db'}")

    command.upgrade(config, "heads")

    assert (project.root / "by_hand.db").exists()


@pytest.mark.parametrize("value", ["metadata", "[metadata]", "{metadata}"])
def test_metadata_is_compared_in_whatever_it_is_given(given, value):
    snapshot, _ = given(value).build()

    assert snapshot.manifest.checks["drift_error"] is None
    assert snapshot.manifest.checks["drift"] == ["remove table t"]
