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
from dataclasses import asdict, dataclass
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
_PACKAGES = ("SQLAlchemy", "alembic", "pytest", "alembic-snapshot")


@dataclass(frozen=True)
class Scale:
    """How much is measured: numbers of revisions, tables, tests of a run and rounds.

    ``recorded`` is the tests of a run in which a hundredth has to show, ``data`` the megabytes that
    tests run beside with the number of tests, ``is_whole`` whether all rows are wanted.
    """

    name: str
    revisions: int
    many: int
    tables: tuple[int, ...]
    postgres_tables: tuple[int, ...]
    tests: int
    postgres_tests: int
    recorded: int
    rounds: int
    data: tuple[tuple[int, int], ...]
    is_whole: bool


_SQLITE_TABLES = (10, 40, 100, 400)
_DATA = ((10, 25), (100, 15), (1000, 6))
_FULL = Scale("full", 100, 400, _SQLITE_TABLES, (10, 100, 400), 100, 40, 1000, 5, _DATA, True)
_QUICK = Scale("quick", 100, 400, (400,), (10,), 25, 25, 200, 3, _DATA, False)
# What the tests run: whether each row can be measured, and not what it is.
_SMALLEST = Scale("smallest", 3, 4, (2,), (2,), 2, 2, 2, 1, ((1, 2),), False)


def main() -> int:
    """Run, report, and exit with 0 although a goal is missed: that is for the reader to see."""
    parser = argparse.ArgumentParser(description=__doc__)
    scales = parser.add_mutually_exclusive_group()
    scales.add_argument(
        "--quick",
        dest="scale",
        action="store_const",
        const=_QUICK,
        default=_FULL,
        help="the main rows, in two minutes",
    )
    scales.add_argument(
        "--smallest",
        dest="scale",
        action="store_const",
        const=_SMALLEST,
        help="next to nothing of everything: whether the benchmarks work",
    )
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
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the JSON goes")
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
    name = "postgres-" * options.postgres + options.scale.name
    is_part = options.only in ("reset", "checkpoints", "recording", "shared")
    if is_part and options.scale is not _SMALLEST:
        name = "postgres-" * options.postgres + options.only
    options.results.mkdir(parents=True, exist_ok=True)
    result = options.results / f"{name}.json"
    record = _record(rows, skipped)
    if options.postgres:
        record["postgresql"] = major_version()
    result.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    missed = [row for row in rows if row.met is False]
    taken = f"{time.monotonic() - started:.0f} s"
    print(f"\n{len(rows)} rows, {len(missed)} goals missed, {taken}; written to {result}")
    return 0


def _rows(folder: Path, options: argparse.Namespace) -> Iterator[Row | Skipped]:
    scale: Scale = options.scale
    rounds = options.rounds or scale.rounds
    fewer = options.rounds or min(3, scale.rounds)
    if options.only == "checkpoints":
        yield from _checkpoint_rows(folder, options, fewer)
    elif options.only == "recording":
        yield from _recording_rows(folder, options, rounds)
    elif options.only == "shared" and options.postgres:
        yield from shared.on_postgresql(folder, scale.revisions, fewer)
    elif options.only == "shared":
        yield shared.from_empty_store(folder, scale.revisions, fewer)
    elif options.postgres:
        yield from _postgres_rows(folder, options, fewer)
    elif options.only == "reset":
        yield from _reset_rows(folder, scale, fewer)
    else:
        if options.only != "tests":
            yield from _build_rows(folder / "builds", options, fewer)
        if options.only != "builds":
            yield from _test_rows(folder / "tests", options, rounds)


def _postgres_rows(
    folder: Path, options: argparse.Namespace, rounds: int
) -> Iterator[Row | Skipped]:
    scale: Scale = options.scale
    theirs = options.packages if scale.is_whole else None
    sizes, tests = scale.postgres_tables, scale.postgres_tests
    yield from postgres_compared.compare(folder, sizes, theirs, tests, rounds)
    if scale.is_whole:
        yield from _recording_rows(folder / "recording", options, rounds)
        yield from _checkpoint_rows(folder / "checkpoints", options, rounds)
        yield from shared.on_postgresql(folder / "shared", scale.revisions, rounds)


def _test_rows(folder: Path, options: argparse.Namespace, rounds: int) -> Iterator[Row | Skipped]:
    folder.mkdir()
    scale: Scale = options.scale
    every = [projects.application(folder)]
    every += [projects.generated(folder, tables) for tables in scale.tables]
    for project in every:
        projects.migrate(project)
    compared.warm_up(every)
    fast = [sides.FRESH, sides.RESET, sides.SAVEPOINT, sides.HAND_WRITTEN]
    slow = [*fast, sides.CREATE_ALL, sides.UPGRADE]
    for project in every:
        ways = slow if scale.is_whole or project is every[0] else fast
        yield from compared.compare_writes([project], ways, scale.tests, rounds)
    asynchronous = projects.generated(folder, min(10, scale.tables[0]), is_async=True)
    projects.migrate(asynchronous)
    yield from compared.compare_async(asynchronous, scale.tests, rounds)
    if scale.is_whole:
        yield checkpoints_compared.compare(every[1], min(3, rounds))
        yield from recording_compared.compare(every[0], scale.recorded, rounds)
        yield from compared.compare_packages(every[1], options.packages, scale.tests, rounds)
        yield from _data_rows(folder, scale, rounds)


def _recording_rows(folder: Path, options: argparse.Namespace, rounds: int) -> Iterator[Row]:
    folder.mkdir(exist_ok=True)
    project = projects.application(folder)
    if options.postgres:
        with postgres_compared.on_server(project) as placed:
            yield from recording_compared.compare(placed, options.scale.recorded, rounds)
        return
    projects.migrate(project)
    yield from recording_compared.compare(project, options.scale.recorded, rounds)


def _checkpoint_rows(folder: Path, options: argparse.Namespace, rounds: int) -> Iterator[Row]:
    folder.mkdir(exist_ok=True)
    project = projects.generated(folder, min(10, options.scale.tables[0]))
    if options.postgres:
        with postgres_compared.on_server(project) as placed:
            yield checkpoints_compared.compare(placed, rounds)
        return
    projects.migrate(project)
    yield checkpoints_compared.compare(project, rounds)


def _reset_rows(folder: Path, scale: Scale, rounds: int) -> Iterator[Row | Skipped]:
    every = [projects.application(folder)]
    every += [
        projects.generated(folder, tables) for tables in {scale.tables[0]: 0, scale.tables[-1]: 0}
    ]
    for project in every:
        projects.migrate(project)
    compared.warm_up(every)
    ways = [sides.RESET, sides.REWRITE, sides.REWIND, sides.SAVEPOINT]
    yield from compared.compare_writes(every, ways, scale.tests, rounds)
    yield from _data_rows(folder, scale, rounds)


def _data_rows(folder: Path, scale: Scale, rounds: int) -> Iterator[Row | Skipped]:
    for megabytes, tests in scale.data:
        yield from compared.compare_data(folder, megabytes, tests, min(3, rounds))


def _build_rows(folder: Path, options: argparse.Namespace, rounds: int) -> Iterator[Row | Skipped]:
    folder.mkdir()
    scale: Scale = options.scale
    yield builds.build_from_empty(folder, scale.revisions, rounds)
    yield shared.from_empty_store(folder, scale.revisions, rounds)
    yield builds.what_hearing_costs(folder, scale.revisions, 3 * rounds)
    yield from builds.with_many_revisions(folder, scale.many, rounds)
    yield builds.plugin_without_databases(folder, (5 if scale.is_whole else 2) * rounds)
    if scale.is_whole:
        python = packages.python_of(options.packages, "pytest-alembic")
        yield builds.stairway(folder, python, scale.revisions, rounds)


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
