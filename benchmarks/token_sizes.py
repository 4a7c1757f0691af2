"""How long the tokens of failing tests are: this repository's application's tests, made to fail.

``python benchmarks/token_sizes.py [--postgres] [backend/tests/test_money.py …]`` runs tests, each
of which fails when it is over, and prints the sizes of the tokens in JUnit's file. Without names
all of the application's tests but those of its migrations run. ``--postgres`` runs them on a
private server of the library's, or on the server that ``SNAPSHOT_POSTGRES_URL`` names.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Generator, Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest

from alembic_snapshot.project.variables import BACKEND_VARIABLE

ROOT = Path(__file__).parents[1]
_LINE, _FILE = "alembic_snapshot_token", "alembic_snapshot_token_file"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Fail a test that has passed."""
    yield
    raise AssertionError("it was made to fail")


def main(arguments: Sequence[str]) -> None:
    """Run the tests, and print the sizes."""
    named = [one for one in arguments if one != "--postgres"]
    tests = named or ["backend/tests", "--ignore-glob=*migrations*"]
    kind = {BACKEND_VARIABLE: "postgresql"} if "--postgres" in arguments else {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "junit.xml"
        options = [
            "-q",
            "-p",
            "token_sizes",
            "--tb=short",
            f"--junitxml={file}",
        ]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *tests],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent), **kind},
            capture_output=True,
            text=True,
            check=False,
        )
        sizes = sorted(_sizes(file))
    reasons = re.findall(r"^no token: (.*)$", done.stdout, re.MULTILINE)
    if not sizes:
        sys.exit(f"no token at all\n{done.stdout[-3000:]}{done.stderr[-2000:]}")
    print(f"{len(sizes)} tokens, {len(reasons)} tests without one")
    print(f"median {statistics.median(sizes):,.0f} characters")
    print(f"nine of ten at most {sizes[len(sizes) * 9 // 10]:,}, the largest {sizes[-1]:,}")
    for reason in sorted(set(reasons)):
        print(f"without: {reasons.count(reason)} tests: {reason}")


def _sizes(file: Path) -> list[int]:
    found = []
    for one in ElementTree.parse(file).iter("property"):
        value = one.get("value", "")
        if one.get("name", "").startswith(_FILE):
            found.append(len(Path(value).read_text().strip()))
        elif one.get("name", "").startswith(_LINE):
            found.append(len(value))
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
