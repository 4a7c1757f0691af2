"""Measure every row of the goals, print the table, write JSON and draw the chart.

Ratios only: both sides of each ran in turn, on the same machine, in the same rounds.
"""

from __future__ import annotations

import argparse
import json
import platform
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import builds
import checkpoints_compared
import packages
import postgres_compared
import projects
import recording_compared
import shared
import sides
import tests_compared as compared
from measure import Row, Skipped

from alembic_snapshot.postgres.server import major_version

RESULTS = Path(__file__).with_name("results")
PACKAGES = Path(__file__).parents[1] / "build" / "packages"
# A hundredth is the goal: so few tests would not show it.
_RECORDED = 1000
_PACKAGES = ("SQLAlchemy", "alembic", "pytest", "alembic-snapshot")


def main() -> int:
    """Run, report, and exit with 0 although a goal is missed: that is for the reader to see."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the main rows, in two minutes")
    parser.add_argument(
        "--only",
        choices=("tests", "builds", "reset", "checkpoints", "recording", "shared"),
        help="one part",
    )
    parser.add_argument(
        "--postgres", action="store_true", help="whole tests on PostgreSQL instead of SQLite"
    )
    parser.add_argument("--rounds", type=int, help="rounds of each comparison")
    parser.add_argument(
        "--packages",
        type=Path,
        default=PACKAGES,
        help="where the packages to compare with have their environments, which are made there",
    )
    parser.add_argument("--folder", type=Path, help="where to make the projects (a temporary one)")
    options = parser.parse_args()
    started = time.monotonic()
    rows: list[Row] = []
    skipped: list[Skipped] = []
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.folder) as folder:
        for row in _rows(Path(folder), options):
            if isinstance(row, Skipped):
                print(f"skipped: {row.what}: {row.why}", flush=True)
                skipped.append(row)
            else:
                print(_line(row), flush=True)
                rows.append(row)
    name = "postgres-" * options.postgres + ("quick" if options.quick else "full")
    if options.only in ("reset", "checkpoints", "recording", "shared"):
        name = "postgres-" * options.postgres + options.only
    RESULTS.mkdir(exist_ok=True)
    result = RESULTS / f"{name}.json"
    record = _record(rows, skipped)
    if options.postgres:
        record["postgresql"] = major_version()
    result.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    missed = [row for row in rows if row.met is False]
    taken = f"{time.monotonic() - started:.0f} s"
    print(f"\n{len(rows)} rows, {len(missed)} goals missed, {taken}; written to {result}")
    return 0


def _rows(folder: Path, options: argparse.Namespace) -> Iterator[Row | Skipped]:
    if options.only == "checkpoints":
        yield from _checkpoint_rows(folder, options)
        return
    if options.only == "recording":
        yield from _recording_rows(folder, options)
        return
    if options.postgres and options.only == "shared":
        yield from shared.on_postgresql(folder, 100, options.rounds or 3)
        return
    if options.postgres:
        sizes = (10,) if options.quick else (10, 100, 400)
        rounds, tests = options.rounds or 3, 25 if options.quick else 40
        theirs = None if options.quick else options.packages
        yield from postgres_compared.compare(folder, sizes, theirs, tests, rounds)
        if not options.quick:
            yield from _recording_rows(folder / "recording", options)
            yield from _checkpoint_rows(folder / "checkpoints", options)
            yield from shared.on_postgresql(folder / "shared", 100, rounds)
        return
    if options.only == "reset":
        yield from _reset_rows(folder, options.rounds or 3)
        return
    if options.only == "shared":
        yield shared.from_empty_store(folder, 100, options.rounds or 3)
        return
    if options.only != "tests":
        yield from _build_rows(folder / "builds", options)
    if options.only != "builds":
        yield from _test_rows(folder / "tests", options)


def _test_rows(folder: Path, options: argparse.Namespace) -> Iterator[Row | Skipped]:
    folder.mkdir()
    rounds = options.rounds or (3 if options.quick else 5)
    tests = 25 if options.quick else 100
    every = [projects.application(folder)]
    sizes = (400,) if options.quick else (10, 40, 100, 400)
    every += [projects.generated(folder, tables) for tables in sizes]
    for project in every:
        projects.migrate(project)
    compared.warm_up(every)
    fast = [sides.FRESH, sides.RESET, sides.SAVEPOINT, sides.HAND_WRITTEN]
    slow = [*fast, sides.CREATE_ALL, sides.UPGRADE]
    for project in every:
        ways = fast if options.quick and project is not every[0] else slow
        yield from compared.compare_writes([project], ways, tests, rounds)
    asynchronous = projects.generated(folder, 10, is_async=True)
    projects.migrate(asynchronous)
    yield from compared.compare_async(asynchronous, tests, rounds)
    if not options.quick:
        yield checkpoints_compared.compare(every[1], 3)
        yield from recording_compared.compare(every[0], _RECORDED, rounds)
        yield from compared.compare_packages(every[1], options.packages, tests, rounds)
        yield from _data_rows(folder)


def _recording_rows(folder: Path, options: argparse.Namespace) -> Iterator[Row]:
    folder.mkdir(exist_ok=True)
    project = projects.application(folder)
    rounds, tests = options.rounds or 5, 200 if options.quick else _RECORDED
    if options.postgres:
        with postgres_compared.on_server(project) as placed:
            yield from recording_compared.compare(placed, tests, rounds)
        return
    projects.migrate(project)
    yield from recording_compared.compare(project, tests, rounds)


def _checkpoint_rows(folder: Path, options: argparse.Namespace) -> Iterator[Row]:
    folder.mkdir(exist_ok=True)
    project = projects.generated(folder, 10)
    rounds = options.rounds or 3
    if options.postgres:
        with postgres_compared.on_server(project) as placed:
            yield checkpoints_compared.compare(placed, rounds)
        return
    projects.migrate(project)
    yield checkpoints_compared.compare(project, rounds)


def _reset_rows(folder: Path, rounds: int) -> Iterator[Row | Skipped]:
    every = [projects.application(folder)]
    every += [projects.generated(folder, tables) for tables in (10, 400)]
    for project in every:
        projects.migrate(project)
    compared.warm_up(every)
    ways = [sides.RESET, sides.REWRITE, sides.REWIND, sides.SAVEPOINT]
    yield from compared.compare_writes(every, ways, 100, rounds)
    yield from _data_rows(folder)


def _data_rows(folder: Path) -> Iterator[Row | Skipped]:
    for megabytes, fewer in ((10, 25), (100, 15), (1000, 6)):
        yield from compared.compare_data(folder, megabytes, fewer, 3)


def _build_rows(folder: Path, options: argparse.Namespace) -> Iterator[Row | Skipped]:
    folder.mkdir()
    rounds = options.rounds or 3
    yield builds.build_from_empty(folder, 100, rounds)
    yield shared.from_empty_store(folder, 100, rounds)
    yield builds.what_hearing_costs(folder, 100, 3 * rounds)
    yield from builds.with_many_revisions(folder, 400, rounds)
    yield builds.plugin_without_databases(folder, (2 if options.quick else 5) * rounds)
    if not options.quick:
        python = packages.python_of(options.packages, "pytest-alembic")
        yield builds.stairway(folder, python, 100, rounds)


def _line(row: Row) -> str:
    goal = "" if row.goal is None else f"{'≥' if row.at_least else '≤'} {row.goal:g}"
    verdict = {None: "", True: "met", False: "MISSED"}[row.met]
    spread = f"({row.low:.2f} to {row.high:.2f})"
    return f"{row.name:62} {row.schema:14} {row.ratio:7.2f} {spread:20} {goal:7} {verdict}"


def _record(rows: Sequence[Row], skipped: Sequence[Skipped]) -> dict[str, object]:
    return {
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "system": f"{platform.system()} {platform.machine()}",
        "packages": {name: version(name) for name in _PACKAGES},
        "rows": [{**asdict(row), "met": row.met} for row in rows],
        "skipped": [asdict(item) for item in skipped],
    }


if __name__ == "__main__":
    raise SystemExit(main())
