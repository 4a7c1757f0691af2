"""Scripts are loaded when Alembic loads them: after ``env.py`` has prepared what they rely on."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from alembic_snapshot.build.stairway import run_stairway

# What env.py does before it migrates, and what a revision makes of it when it is imported.
CASES = {
    "a variable": ("os.environ['TT'] = 'a'", "import os\nT = os.environ.get('TT', 'default')"),
    "a file of variables": (
        "os.environ.update(line.strip().split('=') for line in open('.vars'))",
        "import os\nT = os.getenv('TENANT', 'public')",
    ),
    "settings that both import": (
        "os.environ['TT'] = 'a'; import settings",
        "import settings\nT = settings.T",
    ),
    "a registry": (
        "import registry; registry.S['t'] = 'x'",
        "import registry\nT = registry.S.get('t')",
    ),
    "a library's setting": (
        "import decimal; decimal.getcontext().prec = 3",
        "from decimal import Decimal\nT = str(Decimal(1) / 3)",
    ),
    "a search path": ("import sys; sys.path.insert(0, 'lib')", "import hidden\nT = hidden.T"),
    "an attribute": (
        "config.attributes['t'] = 'x'",
        "from alembic import context\nT = context.config.attributes['t']",
    ),
    "an option": (
        "config.set_main_option('t', 'x')",
        "from alembic import context\nT = context.config.get_main_option('t')",
    ),
}


INI = "[alembic]\nscript_location = %(here)s/migrations\nprepend_sys_path = .\n"


@pytest.fixture(params=CASES)
def prepared(project, request):
    does, asks = CASES[request.param]
    project.write("alembic.ini", INI)
    project.write(".vars", "TENANT=acme\n")
    project.write("settings.py", "import os\nT = os.getenv('TT', 'none')\n")
    project.write("registry.py", "S = {}\n")
    project.write("lib/hidden.py", "T = 'hidden'\n")
    env = (project.root / "migrations/env.py").read_text()
    project.write(
        "migrations/env.py",
        env.replace("config = context.config", f"import os\nconfig = context.config\n{does}", 1),
    )
    project.revision(
        "0001", None, "op.execute(f\"create table told as select '{T}' as t\")", header=asks
    )
    project.revision(
        "0002", "0001", "op.execute(f\"insert into told values ('{T}')\")", header=asks
    )
    return project


def told(database):
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return connection.execute("SELECT t FROM told").fetchall()


def test_what_a_revision_finds_when_it_is_imported_is_what_alembic_lets_it_find(prepared):
    by_hand = prepared.root / "by_hand.db"
    ini = (prepared.root / "alembic.ini").read_text()
    prepared.write("alembic.ini", f"{ini}sqlalchemy.url = sqlite:///{by_hand}\n")
    done = subprocess.run(
        [Path(sys.executable).with_name("alembic"), "upgrade", "head"],
        cwd=prepared.root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr

    assert told(prepared.ensure().path) == told(by_hand)


def test_the_same_on_a_state_that_is_there_already(prepared):
    second = prepared.versions / "0002_made.py"
    text = second.read_text()
    second.unlink()
    first = told(prepared.ensure().path)
    second.write_text(text)

    assert told(prepared.ensure().path) == first * 2


def test_each_revision_goes_down_and_up_with_what_env_py_has_prepared(prepared):
    for path in prepared.versions.glob("*.py"):
        text = path.read_text()
        back = (
            "op.drop_table('told')"
            if path.stem.startswith("0001")
            else "op.execute('delete from told where rowid = 2')"
        )
        path.write_text(
            text.partition("def downgrade")[0] + f"def downgrade():\n    assert T\n    {back}\n"
        )

    assert not run_stairway(prepared.load()).findings
