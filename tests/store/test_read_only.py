"""A store that can only be read: what is in it is used, and what would go into it is told."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys

import pytest

ENV = """
    from alembic import context
    from sqlalchemy import create_engine
    from models import batch, metadata

    engine = create_engine(context.config.get_main_option("sqlalchemy.url"))
    with engine.connect() as connection:
        context.configure(connection=connection, target_metadata=metadata, render_as_batch=batch)
        with context.begin_transaction():
            context.run_migrations()
"""
MODELS = """
    import sqlalchemy as sa
    batch, metadata = False, sa.MetaData()
    sa.Table("t_0001", metadata, sa.Column("id", sa.Integer, primary_key=True))
"""
BIND = 'mount --bind "$1" "$1"; mount -o remount,ro,bind "$1"; shift; exec "$@"'


def on_a_read_only_disk(folder):
    """What is to come before a command, so that it can't write to a folder."""
    user = [] if os.getuid() == 0 else ["-r"]
    before = ["unshare", *user, "-m", "sh", "-ec", BIND, "sh", str(folder)]
    tried = ["sh", "-c", 'unshare -h && "$@"', "sh", *before, "true"]
    if subprocess.run(tried, capture_output=True, check=False).returncode:
        pytest.skip("nothing may be mounted here")
    return before


def without_its_rights(folder):
    """As another user's folder is: root keeps none of its powers."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o555 if path.is_dir() else 0o444)
    if os.getuid() != 0:
        return []
    if not shutil.which("setpriv"):
        pytest.skip("root can write everywhere, and there is no setpriv to give that up")
    return ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]


def run(before, project, *command):
    return subprocess.run(
        [*before, sys.executable, "-m", *command],
        cwd=project.root, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture
def modelled(project):
    project.configure('pythonpath = ["."]')
    project.write("migrations/env.py", ENV)
    project.write("models.py", MODELS)
    project.history(1)
    return project


@pytest.fixture(params=[on_a_read_only_disk, without_its_rights])
def read_only(request, modelled):
    """Runs a command of a project whose store has the snapshot, and can't be written any more."""
    modelled.snapshot = modelled.ensure()
    store = modelled.root / ".alembic-snapshot"
    yield functools.partial(run, request.param(store), modelled)
    for path in (store, *store.rglob("*")):
        path.chmod(0o755)


def test_what_it_has_is_compared_with_other_models_each_time(modelled, read_only):
    modelled.append("models.py", "sa.Table('more', metadata, sa.Column('id', sa.Integer))\n")
    modelled.write("tests/test_it.py", "def test_it(db_clone):\n    assert db_clone.path\n")
    path = str(modelled.snapshot.path)

    status = read_only("alembic_snapshot", "status")
    first, second = (read_only("alembic_snapshot", "build", "-q") for _ in range(2))
    tested = read_only("pytest", "-q", "-p", "no:cacheprovider", "tests")

    assert (status.returncode, status.stdout.splitlines()[0]) == (0, f"hit {path}")
    assert "  the next build runs env.py again: models.py changed" in status.stdout
    for done in (first, second):
        assert (done.returncode, done.stdout.strip()) == (0, path), done.stderr
        assert "more" in done.stderr, "the drift is told"
        assert "warning: its comparison with the models is made again by each run: can't write to" \
            in done.stderr  # fmt: skip
    assert tested.returncode == 0, tested.stdout
    assert "is made again by each run: can't write to the store" in tested.stdout


@pytest.mark.parametrize("change", ["revision", "option", "asked for"])
def test_what_it_has_not_is_an_error_that_says_why(modelled, read_only, change):
    reason, options = "", []
    if change == "revision":
        modelled.revision("0002", "0001", upgrade="open('ran', 'w').close()")
        reason = ", and a build is needed: migrations/versions/0002_made.py is new"
    elif change == "option":
        modelled.append("models.py", "batch = True\n")
        given = "render_as_batch, which env.py gives to context.configure()"
        reason = f", and a build is needed: {given}, changed"
    else:
        options = ["--from-scratch"]

    done = read_only("alembic_snapshot", "build", "-q", *options)

    assert (done.returncode, done.stdout) == (2, "")
    error, hint = done.stderr.splitlines()[-2:]
    assert error.startswith("error: can't write to the store ")
    assert error.endswith(f"){reason}")
    assert hint == "hint: make it writable, or choose another with ALEMBIC_SNAPSHOT_DIR"
    assert not (modelled.root / "ran").exists()
