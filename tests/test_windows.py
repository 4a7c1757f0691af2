"""On Windows every way in says in a line that it is not supported. ``sys.platform`` plays it."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

COMMAND = Path(sysconfig.get_path("scripts"), "alembic-snapshot")
WINDOWS = "Windows is not supported yet"
PLAYED = "import runpy, sys; sys.platform = 'win32'; "
# Only for the plugin: pytest itself would ask Windows for what is not there.
PYTEST = """
import importlib.metadata as metadata
import sys
import pytest

def played(name, package=None):
    if "alembic_snapshot" in name:
        sys.platform = "win32"
    return import_module(name, package)

import_module, metadata.import_module = metadata.import_module, played
sys.exit(pytest.main(sys.argv[1:]))
"""

pytestmark = pytest.mark.usefixtures("real_starts")


def run(code, folder, *arguments):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "statement",
    [
        "import alembic_snapshot",
        "from alembic_snapshot import ensure, load_project",
        "import alembic_snapshot.errors",
        "from alembic_snapshot.cli.commands import main",
    ],
)
def test_an_import_of_the_package_ends_in_that_line(statement, tmp_path):
    done = run(PLAYED + statement, tmp_path)

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"RuntimeError: {WINDOWS}: use WSL")


@pytest.mark.parametrize(
    "start",
    [
        f"sys.argv = [{str(COMMAND)!r}, 'key']; runpy.run_path(sys.argv[0], None, '__main__')",
        r"sys.argv = [r'C:\env\Scripts\alembic-snapshot.exe']; import alembic_snapshot",
        "sys.argv = ['-m']; sys.orig_argv = ['python', '-I', '-m', 'alembic_snapshot', 'key']; "
        "import alembic_snapshot",
    ],
    ids=["script", "exe", "module"],
)
def test_a_command_is_an_error_with_a_hint(start, tmp_path):
    done = run(PLAYED + start, tmp_path)

    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        f"error: {WINDOWS}",
        "hint: use WSL, the Windows Subsystem for Linux",
    ]


def test_a_run_of_pytest_ends_in_that_line_and_says_how_to_go_on_without(tmp_path):
    (tmp_path / "test_it.py").write_text("def test_it(): pass\n")

    done = run(PYTEST, tmp_path)
    without = run(PYTEST, tmp_path, "-q", "-p", "no:alembic-snapshot")

    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert f"ERROR: alembic-snapshot: {WINDOWS}: use WSL" in done.stderr
    assert "Traceback" not in done.stderr
    assert without.returncode == 0, without.stdout + without.stderr
