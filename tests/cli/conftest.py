"""A newcomer's folder, and the commands in it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from .shapes import Shape, write

_NOT_THE_PROJECTS = ("ALEMBIC_SNAPSHOT", "PYTEST", "PYTHONPATH", "DATABASE_URL", "SHOP_", "CI")
_QUIET = ("-p", "no:randomly", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:anyio")


class Folder:
    """A project in a folder of its own, in which commands are run as its developer would."""

    def __init__(self, root: Path):
        self.root = root
        self.variables: dict[str, str] = {}
        root.mkdir(parents=True, exist_ok=True)

    def write(self, name: str, text: str) -> Path:
        """Write a file of the project."""
        write(self.root / name, textwrap.dedent(text).lstrip("\n"))
        return self.root / name

    def read(self, name: str) -> str:
        """The text of a file."""
        return (self.root / name).read_bytes().decode("utf-8")

    def shape(self, layout: str = "flat", engine: str = "object", url: str = "option") -> Folder:
        """Write a project of a shape into it."""
        Shape(layout, engine, url).write(self.root)
        return self

    def command(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run the command line."""
        return self._run("alembic_snapshot", *arguments, **options)

    def pytest(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run pytest as its program does, which does not look for modules where it is started."""
        return self._run("pytest", *_QUIET, *arguments)

    def pytest_in_two(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run pytest in random order and two processes."""
        return self._run("pytest", "-n", "2", "-p", "no:cacheprovider", "-p", "no:anyio",
                         *arguments)  # fmt: skip

    def init(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """``init --yes``, which has to end well."""
        done = self.command("init", "--yes", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    def save_test(self, shown: str) -> Path:
        """Save what ``init`` shows where it says; the test comes last."""
        names = re.findall(r"save this as (.*):$", shown, re.MULTILINE)
        for name in names:
            block = shown.partition(f"save this as {name}:\n")[2]
            lines = block.split("\n")
            end = next(at for at, line in enumerate(lines) if line and not line.startswith("    "))
            self.write(name, "\n".join(lines[:end]) + "\n")
        return self.root / names[-1]

    def files(self) -> set[str]:
        """Every file but those of git, of the store and of Python."""
        found = (path.relative_to(self.root) for path in self.root.rglob("*") if path.is_file())
        ours = {".git", ".alembic-snapshot", "__pycache__"}
        return {path.as_posix() for path in found if not ours & set(path.parts)}

    def _run(self, module: str, *arguments: str, before: Sequence[str] = (), **options: Any) -> Any:
        kept = {n: v for n, v in os.environ.items() if not n.startswith(_NOT_THE_PROJECTS)}
        options.setdefault("cwd", self.root)
        return subprocess.run(
            [*before, sys.executable, "-P", "-m", module, *arguments],
            env={**kept, **self.variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            **options,
        )


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """An empty folder."""
    return Folder(tmp_path / "project")
