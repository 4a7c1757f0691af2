"""Every class of error is on the page about them, with a message that was really provoked."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from alembic_snapshot import Snapshot, SnapshotError
from alembic_snapshot.checks import raise_for_checks
from alembic_snapshot.cli import commands
from alembic_snapshot.engines.application import Engines
from alembic_snapshot.postgres.private import binaries, folder

PAGE = (Path(__file__).parents[1] / "docs/errors.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"^## (\w+)\n.*?```text\n(.*?)\n```", PAGE, re.DOTALL | re.MULTILINE))
PROJECT = "/home/ada/shop"


def config_error(project):
    project.configure('drif = "error"')
    project.load()


def script_error(project):
    project.revision("0002", "0001")
    project.ensure()


def store_error(project):
    project.history(1)
    project.write(".alembic-snapshot", "a file")
    project.ensure()


def build_error(project):
    project.history(1)
    project.write("migrations/env.py", "from alembic import context\n")
    project.ensure()


def migration_error(project):
    project.revision("0001", upgrade="op.add_column('orders', sa.Column('note', sa.Text))")
    project.ensure()


def guard_error(project):
    project.revision("0001", header="import sqlite3", upgrade="sqlite3.connect('production.db')")
    project.ensure()


def check_error(project):
    env = (project.root / "migrations/env.py").read_text()
    project.write(
        "migrations/env.py", "from models import metadata\n" + env.replace("= None", "= metadata")
    )
    project.write(
        "models.py",
        """
        import sqlalchemy as sa

        metadata = sa.MetaData()
        sa.Table("t_0001", metadata, sa.Column("id", sa.Integer, primary_key=True))
        sa.Table("orders", metadata, sa.Column("id", sa.Integer, primary_key=True))
        """,
    )
    project.configure('drift = "error"')
    project.history(1)
    # As it is told in the project's folder.
    raise_for_checks(
        project.ensure().manifest.checks,
        drift="error",
        command=lambda: "",
        spell=lambda *words: " ".join(("alembic", *words)),
    )


def clone_error(project):
    Snapshot(project.load(), None).clone(project.write("play.db", ""))


def engine_error(project):
    project.configure('engine = "shop.databases:engine"')
    Engines(project.load(), {}).sync()


def server_error(project):
    programs = binaries.Binaries(project.root, "18.0", 18, binaries.INSTALLED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(folder.VARIABLE, os.devnull)
        folder.folder_for(programs)


def command_error(_project):
    commands.cli.main(["build", "--json", "--summary"], standalone_mode=False)


def database_not_requested(project):
    project.configure('engine = "shop_database:engine"')
    project.write(
        "shop_database.py",
        "import sqlalchemy as sa\n\nengine = sa.create_engine('sqlite:///shop.db')\n",
    )
    project.write(
        "test_orders.py",
        """
        from shop_database import engine

        def test_the_shop_opens():
            engine.connect()
        """,
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    environment = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
    done = subprocess.run(
        [*command, "--rootdir=.", "-c", "pyproject.toml"],
        cwd=project.root, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    (message,) = re.findall(r"^E +\S*DatabaseNotRequested: (.*)$", done.stdout, re.MULTILINE)
    (hint,) = re.findall(r"^E +hint: (.*)$", done.stdout, re.MULTILINE)
    raise SnapshotError.kinds["DatabaseNotRequested"](message, hint=hint)


PROVOKED = {
    "".join(part.title() for part in function.__name__.split("_")): function
    for function in (
        config_error, script_error, store_error, build_error, migration_error, guard_error,
        check_error, clone_error, engine_error, server_error, command_error, database_not_requested,
    )
}  # fmt: skip


def shown(error, root):
    """An error as a failed test shows it, with the project in a place that is always the same."""
    text = f"{type(error).__name__}: {error}".replace(str(root), PROJECT)
    return re.sub(r"[0-9a-f]{32}", "…", text)


@pytest.mark.parametrize("kind", SnapshotError.kinds)
def test_the_example_is_what_the_library_says(project, kind):
    with pytest.raises(SnapshotError) as caught:
        PROVOKED[kind](project)

    assert type(caught.value).__name__ == kind
    assert EXAMPLES[kind] == shown(caught.value, project.root)


def test_the_page_knows_no_other_errors():
    assert set(EXAMPLES) == set(SnapshotError.kinds)
