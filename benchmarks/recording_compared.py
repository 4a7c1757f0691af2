"""What a green test pays for the report of a red one: its statements and the lines that wrote.

Nobody can switch that off. So every other test of one run is with deaf ears here: whatever else the
machine does, both kinds have the same of it.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import replace

import sides
from measure import Row, row, run_tests
from projects import ProjectFolder

_TURNS = """\
import pytest
from alembic_snapshot.engines.added import Added
from alembic_snapshot.engines.recorder import Recorder

listened, dialects, state = [], [], {"deaf": False}
listen, added_listen, watch, begin = Recorder.listen, Added.listen, Recorder.watch, Added.begin


def noting(real):
    def listening(self, hear):
        def heard(*what):
            listened.append(what)
            hear(*what)
        real(self, heard)
    return listening


def watching(self, dialect):
    dialects.append((self, dialect))
    if not state["deaf"]:
        watch(self, dialect)


Recorder.listen, Added.listen = noting(listen), noting(added_listen)
Recorder.watch = watching
Added.begin = lambda self, *what: None if state["deaf"] else begin(self, *what)


def turn(deaf):
    from sqlalchemy import event

    state["deaf"] = deaf
    for what in listened:
        (event.remove if deaf else event.listen)(*what)
    for recorder, dialect in dialects:
        recorder.release() if deaf else watch(recorder, dialect)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item):
    # Outside of what is timed; the first ones warm up.
    if dialects:
        turn(not state["deaf"])
    if state["deaf"]:
        item.originalname = "deaf"
    return (yield)


@pytest.fixture(autouse=True)
def as_it_is_said(request, db_clone):
    yield
    assert bool(db_clone.recording.steps) is not state["deaf"]
"""


def compare(project: ProjectFolder, tests: int, rounds: int) -> Iterator[Row]:
    """A test that writes three rows, commits and queries, with and without what is kept of it."""
    for way in (sides.FRESH, sides.RESET):
        side = replace(way, name=f"{way.name}, in turns", conftest=_TURNS)
        run_tests(project, way, 1)
        taken = [run_tests(project, side, tests) for _ in range(rounds)]
        heard, deaf = (
            [statistics.median(one[name]) for one in taken] for name in ("test_write", "deaf")
        )
        name = f"whole test, {way.name}: recorded ÷ not recorded"
        yield row(name, project.name, heard, deaf, 1.02)
