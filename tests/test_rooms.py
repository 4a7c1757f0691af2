"""Where the time of a run went, by folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts/rooms.py"
REPORT = """<testsuites><testsuite>
<testcase classname="tests.key.test_key.TestAMiss" name="a" time="3.0"/>
<testcase classname="tests.key.test_layers" name="b" time="3"/>
<testcase classname="backend.tests.test_react" name="c" time="2"/>
<testcase classname="tests.test_newcomer" name="d[x.y]" time="0"/>
</testsuite></testsuites>"""


def rooms(report):
    command = [sys.executable, str(SCRIPT), str(report)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_each_folder_has_its_share(tmp_path):
    (tmp_path / "report.xml").write_text(REPORT)

    assert rooms(tmp_path / "report.xml").stdout.splitlines() == [
        "4 tests, 8 seconds of work",
        " 75.0%      2 tests  tests/key",
        " 25.0%      1 tests  backend/tests",
        "  0.0%      1 tests  tests",
    ]


@pytest.mark.parametrize("left", ["", REPORT[:100], None])
def test_a_report_that_is_none_or_a_part_of_one_is_an_error(tmp_path, left):
    report = tmp_path / "report.xml"
    report.mkdir() if left is None else report.write_text(left)

    asked = rooms(report)

    assert (asked.returncode, asked.stdout) == (2, "")
    assert asked.stderr.startswith(f"error: {report} is no report: ")
    assert asked.stderr.endswith("\nhint: run make test again\n")


def test_without_a_run_it_says_what_to_do(tmp_path):
    asked = rooms(tmp_path / "none.xml")

    assert asked.returncode == 2
    assert asked.stderr.endswith("is not there\nhint: run make test before\n")
