"""Whole tests on PostgreSQL, side by side, all on the one private server of this user."""

from __future__ import annotations

import contextlib
import functools
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import postgres_sides as sides
import projects as made
from measure import (
    Row,
    Skipped,
    environment,
    interleaved,
    processor_time,
    row,
    run_tests,
    typical_test,
)
from packages import python_of
from projects import ProjectFolder

from alembic_snapshot.postgres.databases import drop, named
from alembic_snapshot.postgres.server import Server, server_in_use
from alembic_snapshot.project.variables import BACKEND_VARIABLE

# How the names of all databases begin that are made here.
_PREFIX = "bench_"
# From a hundred tables on, where the slow ways take most of a second, a few tests tell enough.
_LARGE, _SLOW_TESTS = ("100 tables", "400 tables"), 12
_GOALS = {("fresh", "pytest-postgresql"): 0.25, ("reset", "savepoint"): 1.2}
_PROCESSOR_GOALS = {"reset": 2.0}


def compare(
    folder: Path, sizes: tuple[int, ...], packages: Path | None, tests: int, rounds: int
) -> Iterator[Row | Skipped]:
    """Every way on the application's schema and on generated ones of so many tables.

    Published packages are among them if there is a folder for their environments.
    """
    server = server_in_use()
    python = python_of(packages, str(sides.PYTEST_POSTGRESQL.venv)) if packages else None
    _clear(server)
    try:
        for project in [made.application(folder), *(made.generated(folder, n) for n in sizes)]:
            yield from _compare(_on(server, project), python, tests, rounds)
    finally:
        _clear(server)


@contextlib.contextmanager
def on_server(project: ProjectFolder) -> Iterator[ProjectFolder]:
    """A project with its database on the server, which is gone afterwards."""
    server = server_in_use()
    _clear(server)
    try:
        yield _on(server, project)
    finally:
        _clear(server)


def _compare(
    project: ProjectFolder, python: Path | None, tests: int, rounds: int
) -> Iterator[Row | Skipped]:
    ways = [sides.FRESH, sides.RESET, sides.SAVEPOINT, sides.HAND_WRITTEN, sides.TRUNCATE]
    if python is not None:
        ways.append(sides.PYTEST_POSTGRESQL)
    actions = {
        way.name: functools.partial(
            typical_test,
            project,
            way,
            _SLOW_TESTS if way.slow and project.name in _LARGE else tests,
            python=python if way.venv else sys.executable,
        )
        for way in ways
    }
    # None of the measured runs builds.
    run_tests(project, sides.FRESH, 1)
    taken = interleaved(actions, rounds)
    for way in ways:
        if way is not sides.REFERENCE:
            yield _row(project, taken, way.name, sides.REFERENCE.name)
    for way in ways[3:]:
        yield _row(project, taken, sides.FRESH.name, way.name)
    if project.name == "application":
        yield from _processor_rows(project, tests, rounds)


def _processor_rows(project: ProjectFolder, tests: int, rounds: int) -> Iterator[Row | Skipped]:
    """What the cores do for a test, whoever waits for it: pytest's process and the server's."""
    if not project.variables["BENCH_SERVER_PROCESS"]:
        yield Skipped("processor time", "the server's process can't be looked at from here")
        return
    ways = (sides.FRESH, sides.RESET, sides.SAVEPOINT)
    actions = {way.name: functools.partial(processor_time, project, way, 3 * tests) for way in ways}
    taken = interleaved(actions, rounds)
    reference = taken[sides.REFERENCE.name]
    for way in ways[:-1]:
        title = f"processor time of a test: {way.name} ÷ {sides.REFERENCE.name}"
        goal = _PROCESSOR_GOALS.get(way.name)
        yield row(title, project.name, taken[way.name], reference, goal)


def _row(
    project: ProjectFolder, taken: Mapping[str, list[float]], name: str, reference: str
) -> Row:
    goal = _GOALS.get((name, reference))
    title = f"whole test: {name} ÷ {reference}"
    return row(title, project.name, taken[name], taken[reference], goal)


def _on(server: Server, project: ProjectFolder) -> ProjectFolder:
    """A project with a migrated database on the server, as `alembic upgrade head` leaves it."""
    template = f"{_PREFIX}template_{project.name.split()[0]}"
    with server.connect() as connection:
        connection.execute(f"CREATE DATABASE {template}")
    url = server.address(template)
    subprocess.run(
        [sys.executable, "-m", "alembic", "-x", f"url={url}", "upgrade", "head"],
        cwd=project.folder,
        env=environment(DATABASE_URL=url),
        check=True,
        capture_output=True,
    )
    variables = {
        BACKEND_VARIABLE: "postgresql",
        "BENCH_SERVER": server.address(""),
        "BENCH_TEMPLATE": template,
        "BENCH_SERVER_PROCESS": _process_of(server),
        # Where the application's engine leads if nothing points it elsewhere: nowhere.
        "DATABASE_URL": "postgresql+psycopg://localhost/bench",
    }
    return replace(project, variables=variables)


def _process_of(server: Server) -> str:
    """The number of the server's process; empty where it is not this user's, or elsewhere."""
    with server.connect() as connection:
        (folder,) = connection.execute("SHOW data_directory").fetchone() or ("",)
    try:
        return Path(folder, "postmaster.pid").read_text().split()[0]
    except OSError:
        return ""


def _clear(server: Server) -> None:
    with server.connect() as connection:
        for name, _ in list(named(connection, _PREFIX)):
            with contextlib.suppress(Exception):
                drop(connection, name)
