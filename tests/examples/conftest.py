"""A copy of an example, and the row of the documentation's table that it makes."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

import pytest

from alembic_snapshot import load_project
from alembic_snapshot.build.lookup import look_up

from ..cli.conftest import Folder

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/frameworks.md"
TABLE = "alembic-snapshot"
_CELLS = 4


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """An empty folder."""
    return Folder(tmp_path / "project")


class Taken:
    """What is known of a project that was taken through everything."""

    def __init__(self, folder: Folder, root: Path):
        self.folder = folder
        self.root = root

    def through(self) -> None:
        """Its tests, `check` and `doctor`, which all have to end well."""
        for done in (
            self.folder.pytest(),
            self.folder.command("check"),
            self.folder.command("doctor"),
        ):
            assert done.returncode == 0, done.stdout + done.stderr

    def row(self, *, whole: bool = True) -> tuple[str, ...]:
        """Lines of configuration, layers, drift, and if it is the ``whole`` row reset."""
        toml = self.root / "pyproject.toml"
        table = tomllib.loads(toml.read_text())["tool"][TABLE]
        databases = ["default", *table.pop("databases", {})]
        project = load_project(self.root)
        status = look_up(project)
        checks = status.entry.manifest.checks if status.entry else {}
        layers = "one" if status.chain.opaque else "each revision"
        drift = checks.get("drift_error") or "compared"
        lines = f"{len(table)}" + (f" for each of {len(databases)}" if databases[1:] else "")
        return (lines, layers, drift, *([self._reset(toml)] if whole else []))

    def _reset(self, toml: Path) -> str:
        """Whether its tests pass on one clone that is put back."""
        before = toml.read_text()
        toml.write_text(before.replace(f"[tool.{TABLE}]\n", f'[tool.{TABLE}]\nclones = "reset"\n'))
        done = self.folder.pytest()
        toml.write_text(before)
        assert done.returncode == 0, done.stdout + done.stderr
        no = re.search(r"fresh clones instead of reset ones: (.*)", done.stdout)
        return no[1] if no else "yes"


def check_row(situation: str, cells: tuple[str, ...]) -> None:
    """Compare a row of the table in the documentation, or write it if that is asked for."""
    wanted = f"| {' | '.join((situation, *cells))} |"
    is_whole = len(cells) == _CELLS
    page = PAGE.read_text(encoding="utf-8")
    begins = f"| {situation} |"
    there = next((line for line in page.splitlines() if line.startswith(begins)), None)
    assert there is not None, f"no row {begins!r} in {PAGE}"
    if "WRITE_FRAMEWORKS" in os.environ and is_whole:
        PAGE.write_text(page.replace(there, wanted), encoding="utf-8")
        return
    seen = there == wanted if is_whole else there.startswith(wanted)
    assert seen, (
        f"{there} is {wanted}; WRITE_FRAMEWORKS=1 pytest tests/examples -p no:xdist writes it"
    )
