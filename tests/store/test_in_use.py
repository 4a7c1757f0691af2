"""What is being built or used is not deleted, and what was asked for last is deleted last."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys

import pytest

from alembic_snapshot.build.stairway import run_stairway
from alembic_snapshot.sqlite.store import FileStore

HOUR = 3600
CREATE = """
    from alembic import command
    from alembic.config import Config

    def create(url):
        config = Config("alembic.ini")
        config.set_main_option("sqlalchemy.url", url)
        command.upgrade(config, "heads")
"""


@pytest.fixture
def store(project):
    return FileStore(project.root / ".alembic-snapshot")


def age(snapshot, seconds=1.0):
    """Make it a snapshot that was last asked for so long after the epoch."""
    os.utime(snapshot.path.parent, (seconds, seconds))


@contextlib.contextmanager
def building(project, tmp_path, name, down=None):
    """While another process is in the middle of a revision; it ends well."""
    ready, go = tmp_path / "ready", tmp_path / "go"
    os.mkfifo(ready)
    os.mkfifo(go)
    waits = f"open({str(ready)!r}, 'w').close()\nopen({str(go)!r}).readline()"
    project.revision(name, down, upgrade=f"{waits}\nop.execute('create table made (x)')")
    # Opened so that nobody waits for a builder that has failed before.
    hears, tells = os.open(ready, os.O_RDONLY | os.O_NONBLOCK), os.open(go, os.O_RDWR)
    build = subprocess.Popen(
        [sys.executable, "-m", "alembic_snapshot", "build"],
        cwd=project.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert select.select([hears], [], [], 60)[0], "it has not come so far"
    yield
    os.write(tells, b"\n")
    out, error = build.communicate(timeout=60)
    os.close(tells)
    os.close(hears)
    assert build.returncode == 0, error
    assert os.path.isfile(out.strip())


@pytest.mark.parametrize("other", ["nothing else", "a failed build", "a killed builder"])
def test_a_build_goes_on_while_others_prune(project, store, tmp_path, other):
    project.revision("0001")
    with building(project, tmp_path, "0002", "0001"):
        leftover = store.building / f"{'0' * 32}.x"
        failed = store.failed / f"{'0' * 32}.json"
        if other != "nothing else":
            (leftover if other == "a killed builder" else failed).mkdir()

        store.prune(keep=0)

        assert list(store.building.iterdir())
        assert not leftover.exists()


def test_what_a_build_stands_on_stays_while_others_prune(project, store, tmp_path):
    project.history(1)
    ancestor = project.ensure()
    with building(project, tmp_path, "0002", "0001"):
        store.prune(keep=0)

        assert ancestor.path.exists()


# Prunes when the first file is written to where databases are made: in the middle of a copy.
CLIMB = """
import sys
from pathlib import Path
from alembic_snapshot import load_project
from alembic_snapshot.build.stairway import run_stairway
from alembic_snapshot.sqlite.store import FileStore

store = FileStore(Path.cwd() / ".alembic-snapshot")
pruned = []

def hear(event, arguments):
    is_made = event == "open" and str(store.building) in str(arguments[0]) and not pruned
    if is_made and str(arguments[0]).endswith(".db"):
        pruned.append(True)
        store.prune(keep=0)

project = load_project(Path.cwd())
sys.addaudithook(hear)
found = run_stairway(project)
assert pruned and not found.findings
"""


@pytest.mark.parametrize("way", ["from below", "from above"])
def test_what_a_stairway_begins_with_stays_while_others_prune(project, store, way):
    project.history(2)
    if way == "from above":
        project.write("setup_db.py", CREATE)
        project.configure('migrate = "setup_db:create"')
        base = project.ensure()
    else:
        base = run_stairway(project.load()).snapshot
        project.revision("0003", "0002")
        project.ensure()

    climb = subprocess.run([sys.executable, "-c", CLIMB], cwd=project.root, check=False)

    assert climb.returncode == 0
    assert base.path.exists()


ASKS = [
    ("build",),
    ("build", "--json"),
    ("build", "--revision", "0002"),
    ("clone", "copy.db"),
    ("check", "--no-stairway", "--allow-unchecked"),
]


@pytest.mark.parametrize("command", ASKS, ids=" ".join)
def test_what_a_command_uses_counts_as_asked_for_now(project, store, command):
    project.history(2)
    revision = {"revision": "0002"} if "--revision" in command else {}
    snapshot = project.ensure(**revision)
    # Together they are as old as the one that was asked for last.
    for entry in store.entries():
        os.utime(os.path.dirname(entry.database.name), (1, 1))

    assert project.command(*command).returncode == 0

    gone = store.prune(older_than=HOUR)
    assert snapshot.path.exists(), gone


def test_a_family_is_as_old_as_what_was_asked_for_last_of_it(project, store):
    project.history(2)
    project.ensure()
    folders = [os.path.dirname(entry.database.name) for entry in store.entries()]
    assert len(folders) == 2

    for recent in folders:
        for folder in folders:
            os.utime(folder, (1, 1) if folder != recent else None)
        assert store.prune(older_than=HOUR) == []

    os.utime(recent, (1, 1))
    assert len(store.prune(older_than=HOUR)) == 2


def test_of_two_families_the_one_stays_of_which_something_was_asked_for_last(project, store):
    project.history(2)
    first = project.ensure()
    project.revision("0001", upgrade="op.execute('create table other (x)')")
    second = project.ensure()
    # The first has both the oldest of all states and the newest.
    for entry in store.entries():
        seconds = 100 if entry.manifest.family == first.manifest.family else 300
        os.utime(os.path.dirname(entry.database.name), (seconds, seconds))
    age(first, 500)

    store.prune(keep=1)

    assert first.path.exists()
    assert not second.path.exists()


def _checked_again(project):
    project.write("models.py", MODELS.format("other"))
    assert not project.ensure().built


def _rebuilt(project):
    assert project.ensure(rebuild=True).built


def _asked_for(project):
    assert not project.ensure().built


MODELS = """
    import sqlalchemy as sa

    metadata = sa.MetaData()
    sa.Table({!r}, metadata, sa.Column("id", sa.Integer, primary_key=True))
"""
# What others do with a snapshot that somebody is using.
MEANWHILE = {"ask for it": _asked_for, "check it again": _checked_again, "rebuild it": _rebuilt}


@pytest.mark.parametrize("by", ["prune", "trim", "discard"])
@pytest.mark.parametrize("what", MEANWHILE)
def test_what_is_used_stays_whatever_others_did_with_it_meanwhile(project, store, what, by):
    project.write("models.py", MODELS.format("t_0001"))
    env = project.root / "migrations/env.py"
    env.write_text(
        "import models\n" + env.read_text().replace("metadata = None", "metadata = models.metadata")
    )
    project.history(1)
    used = project.ensure()

    def delete():
        age(used)
        if by == "prune":
            store.prune(keep=0)
        elif by == "trim":
            store.trim(0)
        else:
            store.discard(used.entry)

    with used.in_use():
        MEANWHILE[what](project)
        delete()
        assert used.path.exists()

    delete()
    assert not used.path.exists()
