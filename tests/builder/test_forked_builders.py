"""What these tests' forked builders find is what started ones find."""

from __future__ import annotations

import dataclasses
import json
import subprocess

import pytest

from ..starts import forked

READING = """
    import csv, email.message, importlib, json, os, pathlib
    import helpers.names
    from helpers import late
    here = pathlib.Path(__file__).parents[2]
    (here / "data/one.txt").read_text()
    open(os.path.join(here, "data", "two.txt")).close()
    os.listdir(here / "data")
    os.path.exists(here / "missing.txt")
    os.environ.get("COLOUR"), os.environ["SHAPE"]
    importlib.import_module("helpers.named")
    try:
        import optional_module
    except ImportError:
        pass
"""


@pytest.fixture
def reading(project, monkeypatch):
    """A project whose env.py, revision and seed read in many ways."""
    monkeypatch.setenv("SHAPE", "round")
    monkeypatch.setenv("COLOUR", "red")
    project.configure('pythonpath = ["."]\nseeds = ["helpers.seeding:seed"]')
    for name in ("one.txt", "two.txt"):
        project.write(f"data/{name}", "text")
    for name in ("__init__", "names", "late", "named"):
        project.write(f"helpers/{name}.py", "import sqlalchemy.orm, decimal\n")
    project.write(
        "helpers/models.py",
        """
        import os
        import sqlalchemy as sa
        os.environ.get("OF_THE_MODELS")
        metadata = sa.MetaData()
        sa.Table("t_0001", metadata, sa.Column("id", sa.Integer, primary_key=True))
        """,
    )
    project.write(
        "helpers/seeding.py",
        """
        import sqlalchemy as sa
        def seed(connection):
            open("data/one.txt").close()
            connection.execute(sa.text("INSERT INTO t_0001 VALUES (7)"))
        """,
    )
    env = (project.root / "migrations/env.py").read_text()
    env = env.replace("target_metadata = None", "from helpers.models import metadata")
    env = env.replace("target_metadata=target_metadata", "target_metadata=metadata")
    project.write("migrations/env.py", env)
    project.revision("0001", header=READING)
    project.revision("0002", "0001", upgrade="import subprocess\nsubprocess.run(['true'])")
    return project


def manifest_of(project, monkeypatch, store):
    monkeypatch.setenv("ALEMBIC_SNAPSHOT_DIR", str(project.root.parent / store))
    snapshot, ran = project.build()
    found = dataclasses.asdict(snapshot.entry.manifest)
    for name in ("created", "timings"):
        del found[name]
    found["checks"].pop("tried_by")
    return json.loads(json.dumps(found)), ran


def test_their_manifests_are_those_of_started_ones(reading, monkeypatch):
    asked = []
    ask = forked.Popen._ask

    class Noted(forked.Popen):
        def _ask(self, job, given):
            answer = ask(self, job, given)
            asked.append((job["module"], answer is not None))
            return answer

    if not forked.Popen.socket_path:
        pytest.skip("everything is started in this run")
    monkeypatch.setattr(subprocess, "Popen", Noted)
    found = manifest_of(reading, monkeypatch, "forked")
    monkeypatch.setattr(subprocess, "Popen", forked.Real)
    expected = manifest_of(reading, monkeypatch, "started")

    assert found == expected
    # Where a seed ran, the checks have a builder of their own.
    assert asked == [(forked.BUILDER, True)] * 2
    text = json.dumps(found)
    for name in ("data/one.txt", "missing.txt", "COLOUR", "helpers/named.py", "optional_module"):
        assert name in text
