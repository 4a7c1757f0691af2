"""What a build, a hit and the installed plugin cost, against Alembic's own commands."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import projects
from measure import Row, environment, interleaved, process, row
from projects import ProjectFolder

_BUILD = [sys.executable, "-m", "alembic_snapshot", "build", "--quiet"]
_DEAF = [sys.executable, str(Path(__file__).with_name("deaf_build.py")), "build", "--quiet"]
_HEADS = [sys.executable, "-m", "alembic", "heads"]
# Timed from the inside, imports included: the key is computed in a process that is there already.
_LOOK_UP = """\
import time
started = time.perf_counter()
from alembic_snapshot.project.config import load_project
from alembic_snapshot.build.lookup import look_up
assert look_up(load_project()).entry
print(time.perf_counter() - started)
"""
_ALEMBIC_CONFTEST = """\
import pytest
from sqlalchemy import create_engine


@pytest.fixture
def alembic_config():
    return {"file": "alembic.ini"}


@pytest.fixture
def alembic_engine(tmp_path):
    return create_engine(f"sqlite:///{tmp_path / 'test.db'}")
"""
_ALEMBIC_TESTS = """\
from pytest_alembic.tests import (  # noqa: F401
    test_single_head_revision, test_up_down_consistency, test_upgrade,
)
"""
_PLAIN_TEST = """\
import sys


def test_nothing():
    assert not {"sqlalchemy", "alembic"} & sys.modules.keys()
"""


def build_from_empty(folder: Path, revisions: int, rounds: int) -> Row:
    """`alembic-snapshot build` into an empty store ÷ `alembic upgrade head`, both processes."""
    project = projects.generated(folder, tables=revisions, revisions=revisions)
    target = project.folder / "upgraded.db"

    def upgrade() -> float:
        target.unlink(missing_ok=True)
        command = [sys.executable, "-m", "alembic", "-x", f"url=sqlite:///{target}", "upgrade"]
        return process([*command, "head"], project.folder)

    actions = {"build": lambda: _build(project, empty=True), "upgrade": upgrade}
    taken = interleaved(actions, rounds)
    name = "build from empty ÷ alembic upgrade head"
    return row(name, f"{revisions} revisions", taken["build"], taken["upgrade"], 0.95)


def what_hearing_costs(folder: Path, revisions: int, rounds: int) -> Row:
    """A build into an empty store ÷ the same in a builder that hears nothing of what is read."""
    project = projects.generated(folder / "heard", tables=revisions, revisions=revisions)
    actions = {
        "hearing": lambda: _build(project, empty=True),
        "deaf": lambda: _build(project, empty=True, command=_DEAF),
    }
    taken = interleaved(actions, rounds)
    name = "build: hearing what is read ÷ hearing nothing"
    return row(name, f"{revisions} revisions", taken["hearing"], taken["deaf"], 1.05)


def with_many_revisions(folder: Path, revisions: int, rounds: int) -> Iterator[Row]:
    """Key and look-up ÷ `alembic heads`; then one more revision ÷ a project of one."""
    large = projects.generated(folder, tables=revisions, revisions=revisions)
    small = projects.generated(folder, tables=1)
    _build(large)
    scale = f"{revisions} revisions"

    actions: dict[str, Callable[[], float]] = {
        "look_up": lambda: _printed_seconds(large),
        "heads": lambda: process(_HEADS, large.folder),
    }
    taken = interleaved(actions, rounds)
    name = "hit: key and look-up, imports included ÷ alembic heads"
    yield row(name, scale, taken["look_up"], taken["heads"], 0.1)

    numbers = itertools.count(revisions)

    def one_more() -> float:
        table = next(numbers)
        projects.add_revision(large.folder, table + 1, range(table, table + 1))
        return _build(large)

    actions = {"more": one_more, "small": lambda: _build(small, empty=True)}
    taken = interleaved(actions, rounds)
    name = "build of one new revision ÷ build of a project of one"
    yield row(name, scale, taken["more"], taken["small"], 1.3)


def stairway(folder: Path, python: Path, revisions: int, rounds: int) -> Row:
    """`alembic-snapshot check` ÷ pytest-alembic's default tests, in its own environment.

    Of those, the one that compares the models is left out: the project's env.py has none. Ours
    also looks at the data, and starts from an empty store.
    """
    project = projects.generated(folder / "stairway", tables=revisions, revisions=revisions)
    (project.folder / "conftest.py").write_text(_ALEMBIC_CONFTEST)
    (project.folder / "test_stairs.py").write_text(_ALEMBIC_TESTS)
    command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_stairs.py"]

    def ours() -> float:
        shutil.rmtree(project.folder / ".alembic-snapshot", ignore_errors=True)
        command = [sys.executable, "-m", "alembic_snapshot", "check", "-q", "--allow-unchecked"]
        return process(command, project.folder)

    actions = {"ours": ours, "theirs": lambda: process(command, project.folder)}
    taken = interleaved(actions, rounds)
    name = "every revision up, down and up ÷ pytest-alembic"
    return row(name, f"{revisions} revisions", taken["ours"], taken["theirs"], 0.3)


def plugin_without_databases(folder: Path, rounds: int) -> Row:
    """A pytest process of one test without a database, with the plugin ÷ without it."""
    place = folder / "plain"
    place.mkdir()
    (place / "test_plain.py").write_text(_PLAIN_TEST)
    (place / "pytest.ini").write_text("[pytest]\n")

    def run(*options: str) -> Callable[[], float]:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
        return lambda: process(command, place, {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"})

    actions = {"with": run("-p", "pytest_alembic_snapshot"), "without": run()}
    taken = interleaved(actions, rounds)
    name = "pytest without databases: plugin ÷ no plugin"
    return row(name, "one test", taken["with"], taken["without"], 1.05)


def _build(
    project: ProjectFolder, *, empty: bool = False, command: Sequence[str] = _BUILD
) -> float:
    store = project.folder / ".alembic-snapshot"
    if empty:
        shutil.rmtree(store, ignore_errors=True)
    return process(command, project.folder)


def _printed_seconds(project: ProjectFolder) -> float:
    done = subprocess.run(
        [sys.executable, "-c", _LOOK_UP],
        cwd=project.folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)
