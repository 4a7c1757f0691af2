"""Measured runs: whole pytest processes and whole commands, interleaved, as medians and ratios."""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from projects import ProjectFolder
from sides import Side

_WARM_UP = 3
_RESULT = "result.json"


class RunFailed(Exception):
    """A measured process did not do what is measured; its output is the message."""


@dataclass(frozen=True)
class Skipped:
    """What could not be measured here, and why."""

    what: str
    why: str


@dataclass(frozen=True)
class Row:
    """One line of the table: a ratio, measured in ``rounds`` pairs, and the goal if there is one.

    ``low`` and ``high`` are the smallest and the largest ratio of a round.
    """

    name: str
    schema: str
    ratio: float
    low: float
    high: float
    rounds: int
    goal: float | None = None
    at_least: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without one."""
        if self.goal is None:
            return None
        return self.ratio >= self.goal if self.at_least else self.ratio <= self.goal


def row(
    name: str,
    schema: str,
    seconds: Sequence[float],
    reference: Sequence[float],
    goal: float | None = None,
    *,
    at_least: bool = False,
) -> Row:
    """The row of two series that were taken in the same rounds."""
    ratios = [mine / theirs for mine, theirs in zip(seconds, reference, strict=True)]
    middle = statistics.median(ratios)
    return Row(name, schema, middle, min(ratios), max(ratios), len(ratios), goal, at_least)


def interleaved(actions: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """What each action returned in each round; their order is another one in every round."""
    taken: dict[str, list[float]] = {name: [] for name in actions}
    for number in range(rounds):
        order = list(actions)
        random.Random(number).shuffle(order)
        for name in order:
            taken[name].append(actions[name]())
    return taken


def environment(**more: str) -> dict[str, str]:
    """This process's environment; bytecode is kept, as it is for whoever installs a package."""
    return {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"} | more


def prepare(project: ProjectFolder, side: Side) -> Path:
    """The folder of the side's tests in a project: they are the same, the conftest is its own."""
    folder = project.folder / "sides" / side.name
    if not folder.is_dir():
        folder.mkdir(parents=True)
        (folder / "conftest.py").write_text(side.conftest)
        (folder / "test_bench.py").write_text((project.folder / "bench_tests.py").read_text())
    return folder


def run_tests(
    project: ProjectFolder,
    side: Side,
    tests: int,
    *,
    python: str | Path = sys.executable,
) -> dict[str, list[float]]:
    """The seconds of each whole test, in a pytest process of its own, by the test's name.

    Raises:
        RunFailed: not every test passed.
    """
    folder = prepare(project, side)
    result = project.folder / _RESULT
    result.unlink(missing_ok=True)
    command = [
        *(str(python), "-m", "pytest", "-q", "-p", "bench_timer", "-p", "no:cacheprovider"),
        *(f"--basetemp={project.folder / 'tmp'}", *side.options),
        str(folder / "test_bench.py"),
    ]
    told = {"BENCH_TEMPLATE": str(project.template), **project.variables}
    variables = environment(
        PYTEST_DISABLE_PLUGIN_AUTOLOAD="1",
        BENCH_TESTS=str(tests),
        BENCH_WARM_UP=str(_WARM_UP),
        BENCH_RESULT=str(result),
        **told,
    )
    done = subprocess.run(
        command, cwd=project.folder, env=variables, capture_output=True, text=True
    )
    record: dict[str, Any] = {"exitstatus": done.returncode}
    if result.exists():
        record = last_record(project)
    if record["exitstatus"] != 0:
        raise RunFailed(f"{' '.join(command)}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return {name: values[_WARM_UP:] or values for name, values in record["seconds"].items()}


def typical_test(*arguments: object, **options: object) -> float:
    """The median seconds of one test of a run of :func:`run_tests`."""
    taken = run_tests(*arguments, **options)  # type: ignore[arg-type]
    return statistics.median(taken["test_write"])


def processor_time(project: ProjectFolder, side: Side, tests: int) -> float:
    """The processor's seconds for one test that writes: of pytest's process and of the server."""
    run_tests(project, side, tests)
    return float(last_record(project)["processor"]) / (tests - _WARM_UP)


def last_record(project: ProjectFolder) -> dict[str, Any]:
    """What ``bench_timer`` wrote of the last run of :func:`run_tests`."""
    record: dict[str, Any] = json.loads((project.folder / _RESULT).read_text())
    return record


def process(
    command: Sequence[str | Path], cwd: Path, variables: Mapping[str, str] | None = None
) -> float:
    """The seconds of a command from start to exit.

    Raises:
        RunFailed: it did not exit with 0.
    """
    started = time.perf_counter()
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment(**(variables or {})),
        capture_output=True,
        text=True,
    )
    seconds = time.perf_counter() - started
    if done.returncode != 0:
        raise RunFailed(f"{command}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return seconds
