"""Each part of the benchmarks can be measured: here next to nothing of it, whatever comes out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.campaign
BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
# The rows of each.
PARTS = {
    "tests": 10,
    "builds": 6,
    "reset": 9,
    "checkpoints": 1,
    "recording": 2,
    "shared": 1,
    "tests --postgres": 14,
    "checkpoints --postgres": 1,
    "recording --postgres": 2,
    "shared --postgres": 2,
}


@pytest.fixture
def measure(tmp_path):
    def run(*options: str) -> list[str]:
        folder = tmp_path / "projects"
        folder.mkdir()
        command = [sys.executable, BENCHMARKS / "run.py", "--smallest", *options]
        places = ["--folder", folder, "--results", tmp_path / "results"]
        # A run that is started by hand is not started by a test.
        own = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
        done = subprocess.run(
            [*command, *places], env=own, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert list(folder.iterdir()) == []
        [result] = (tmp_path / "results").iterdir()
        record = json.loads(result.read_text())
        assert record["skipped"] == []
        return [row["name"] for row in record["rows"] if row["ratio"] > 0]

    return run


@pytest.mark.parametrize("part", PARTS)
def test_a_part_is_measured(measure, request, part):
    if part.endswith("--postgres"):
        request.getfixturevalue("postgres")

    assert len(measure("--only", *part.split())) == PARTS[part]
