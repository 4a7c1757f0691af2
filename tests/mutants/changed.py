"""Which lines differ from another commit, uncommitted changes included."""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from pathlib import Path

from .run import Broken


def changed_lines(root: Path) -> tuple[str, dict[str, set[int]]]:
    """What is compared with, and the lines that differ: from origin/main, or if none do, HEAD~."""
    lines = lines_since(root, "origin/main")
    if lines:
        return "origin/main", lines
    return "HEAD~", lines_since(root, "HEAD~")


def lines_since(root: Path, base: str) -> dict[str, set[int]]:
    """The numbers of the lines of each file that differ from where the branch left a commit.

    Raises:
        Broken: git can't say.
    """
    command = ["git", "diff", "-U0", "--no-color", "--merge-base", base, "--", "src", "backend"]
    told = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if told.returncode:
        raise Broken(f"git can't compare with {base}: {told.stderr.strip()}")
    lines: dict[str, set[int]] = defaultdict(set)
    path = ""
    for line in told.stdout.splitlines():
        if line.startswith("+++ b/"):
            path = line.removeprefix("+++ b/")
        elif found := re.match(r"@@ -\S+ \+(\d+)(?:,(\d+))? @@", line):
            first, many = int(found[1]), int(found[2] or 1)
            if many:
                lines[path] |= set(range(first, first + many))
    return lines
