"""Whole tests, side by side: each way to give a test its database, on each schema."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import projects as made
import sides
from measure import Row, Skipped, interleaved, row, run_tests, typical_test
from packages import python_of
from projects import ProjectFolder
from sides import Side

# A migration for each test takes seconds from a hundred tables on: a few tests tell enough.
_SLOW_TESTS = 5
_SLOWEST_ABOVE = 10


def compare_writes(
    projects: Sequence[ProjectFolder], ways: Sequence[Side], tests: int, rounds: int
) -> list[Row]:
    """A test that writes three rows, commits and queries, on each schema in each way."""
    rows: list[Row] = []
    for project in projects:
        taken = interleaved(_actions(project, ways, tests), rounds)
        reference = taken[sides.REFERENCE.name]
        for way in ways:
            if way is not sides.REFERENCE and way.name in taken:
                name = f"whole test: {way.name} ÷ {sides.REFERENCE.name}"
                goal = _GOALS.get((way.name, project.name))
                rows.append(row(name, project.name, taken[way.name], reference, goal))
    return rows


def compare_async(project: ProjectFolder, tests: int, rounds: int) -> list[Row]:
    """The same test with an async session."""
    ways = (sides.ASYNC_FRESH, sides.ASYNC_RESET, sides.ASYNC_SAVEPOINT)
    actions = {way.name: functools.partial(typical_test, project, way, tests) for way in ways}
    taken = interleaved(actions, rounds)
    reference = taken[sides.ASYNC_SAVEPOINT.name]
    goals = {sides.ASYNC_RESET.name: 0.8}
    return [
        row(
            f"whole test: {way.name} ÷ {sides.ASYNC_SAVEPOINT.name}",
            project.name,
            taken[way.name],
            reference,
            goals.get(way.name),
        )
        for way in ways[:2]
    ]


def compare_data(folder: Path, megabytes: int, tests: int, rounds: int) -> Iterator[Row | Skipped]:
    """The same test beside so many megabytes of rows in another table."""
    scale = f"10 tables, {megabytes} MB"
    # The template, the two snapshots of a build and its workspace, and clones.
    needed, free = 8 * megabytes * 10**6, shutil.disk_usage(folder).free
    if free < needed:
        yield Skipped(scale, f"{needed / 1e9:.0f} GB of disk are needed, {free / 1e9:.0f} are free")
        return
    filled = made.generated(folder, 10, rows=1000 * megabytes)
    made.migrate(filled)
    warm_up([filled])
    ways = (sides.FRESH, sides.RESET, sides.REWRITE, sides.SAVEPOINT)
    actions = {way.name: functools.partial(typical_test, filled, way, tests) for way in ways}
    taken = interleaved(actions, rounds)
    for way in ways[:-1]:
        name = f"whole test: {way.name} ÷ {sides.REFERENCE.name}"
        goal = 1.0 if way is sides.RESET else None
        yield row(name, scale, taken[way.name], taken[sides.REFERENCE.name], goal)
    shutil.rmtree(filled.folder)


def compare_packages(
    project: ProjectFolder, packages: Path, tests: int, rounds: int
) -> Iterator[Row]:
    """Published packages, each in an environment of its own, with the same Python."""
    for way in (sides.SQLA, sides.SQLALCHEMY_ALEMBIC):
        python = python_of(packages, str(way.venv))
        theirs = functools.partial(typical_test, project, way, tests, python=python)
        actions: dict[str, Callable[[], float]] = {
            way.name: theirs,
            **_actions(project, (sides.FRESH, sides.RESET, sides.REFERENCE), tests),
        }
        taken = interleaved(actions, rounds)
        name = f"whole test: {way.name} ÷ {sides.REFERENCE.name}"
        yield row(name, project.name, taken[way.name], taken[sides.REFERENCE.name])
        for ours in (sides.FRESH, sides.RESET):
            name = f"whole test: {ours.name} ÷ {way.name}"
            yield row(name, project.name, taken[ours.name], taken[way.name])


def warm_up(projects: Sequence[ProjectFolder]) -> None:
    """Build what the measured runs need, so that none of them builds."""
    for project in projects:
        run_tests(project, sides.FRESH, 1)


def _actions(
    project: ProjectFolder, ways: Sequence[Side], tests: int
) -> Mapping[str, Callable[[], float]]:
    tables = int(project.name.split()[0]) if project.name.endswith("tables") else 0
    return {
        way.name: functools.partial(typical_test, project, way, _SLOW_TESTS if way.slow else tests)
        for way in ways
        if not (way is sides.UPGRADE and tables > _SLOWEST_ABOVE)
    }


_RESET_GOAL = 0.95
_GOALS = {("fresh", "application"): 1.25, ("reset", "application"): _RESET_GOAL} | {
    ("reset", f"{tables} tables"): _RESET_GOAL for tables in (10, 40, 100, 400)
}
