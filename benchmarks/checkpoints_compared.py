"""Many tests on one expensive scenario: made once as a checkpoint, or made once and paid by nobody.

What the checkpoint costs is whatever it takes longer than one scenario and as many plain clones.
"""

from __future__ import annotations

import functools

from measure import Row, interleaved, last_record, row, run_tests
from projects import ProjectFolder
from sides import FRESH, Side

_TESTS, _GOAL = 50, 1.3
_SCENARIO = """\
import time

import bench_app
import pytest
from pytest_alembic_snapshot import checkpoint_fixture
from sqlalchemy import text


def scenario():
    time.sleep(2)
    with bench_app.engine.begin() as connection:
        connection.execute(text("CREATE TABLE scenario (id INTEGER)"))
        connection.execute(text("INSERT INTO scenario VALUES (1)"))


"""
CHECKPOINT = Side(
    "checkpoint",
    "alembic-snapshot, checkpoint_fixture",
    f"""{_SCENARIO}
@checkpoint_fixture("session", autouse=True)
def made():
    scenario()
""",
    FRESH.options,
)
ONCE = Side(
    "scenario once",
    "alembic-snapshot, the first test makes the scenario",
    f"""{_SCENARIO}
made = []


@pytest.fixture(autouse=True)
def make(db_clone):
    if not made:
        made.append(scenario())
""",
    FRESH.options,
)


def compare(project: ProjectFolder, rounds: int) -> Row:
    """Fifty tests on a scenario of two seconds ÷ one scenario and fifty clones."""
    # None of the measured runs builds.
    run_tests(project, FRESH, 1)
    ways = (CHECKPOINT, ONCE)
    actions = {way.name: functools.partial(_span, project, way) for way in ways}
    taken = interleaved(actions, rounds)
    name = f"{_TESTS} tests on a scenario: checkpoint ÷ one scenario and clones"
    return row(name, project.name, taken[CHECKPOINT.name], taken[ONCE.name], _GOAL)


def _span(project: ProjectFolder, way: Side) -> float:
    """The seconds from the start of the first test to the end of the last."""
    run_tests(project, way, _TESTS)
    started, ended = last_record(project)["span"]
    return float(ended - started)
