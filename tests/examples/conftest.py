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
_CELLS = 5


@pytest.fixture
def folder(tmp_path: Path, postgres_folder: Path) -> Folder:
    """An empty folder; the private server is the tests'."""
    made = Folder(tmp_path / "project")
    made.variables["ALEMBIC_SNAPSHOT_POSTGRES_DIR"] = str(postgres_folder)
    return made


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
        """Lines of configuration, layers, drift; of the ``whole`` row reset and PostgreSQL, too."""
        toml = self.root / "pyproject.toml"
        table = tomllib.loads(toml.read_text())["tool"][TABLE]
        databases = ["default", *table.pop("databases", {})]
        project = load_project(self.root)
        status = look_up(project)
        checks = status.entry.manifest.checks if status.entry else {}
        layers = "one" if status.chain.opaque else "each revision"
        drift = checks.get("drift_error") or "compared"
        lines = f"{len(table)}" + (f" for each of {len(databases)}" if databases[1:] else "")
        more = (self._reset(toml), self._on_postgresql()) if whole else ()
        return (lines, layers, drift, *more)

    def _reset(self, toml: Path) -> str:
        """Whether its tests pass on one clone that is put back."""
        before = toml.read_text()
        toml.write_text(before.replace(f"[tool.{TABLE}]\n", f'[tool.{TABLE}]\nclones = "reset"\n'))
        done = self.folder.pytest()
        toml.write_text(before)
        assert done.returncode == 0, done.stdout + done.stderr
        return _why_fresh(done.stdout) or "yes"

    def _on_postgresql(self) -> str:
        """Whether its tests pass there, in two processes, on fresh clones and on one put back."""
        self.folder.variables["ALEMBIC_SNAPSHOT_BACKEND"] = "postgresql"
        self.folder.variables["SNAPSHOT_POSTGRES_URL"] = ""
        try:
            for mode in ("fresh", "reset"):
                done = self.folder.pytest_in_two(f"--snapshot-clones={mode}")
                if "speaks sqlite, but the snapshot is a PostgreSQL database" in done.stdout:
                    return "its URL is SQLite's"
                assert done.returncode == 0, done.stdout + done.stderr
            return _why_fresh(done.stdout) or "yes"
        finally:
            del self.folder.variables["ALEMBIC_SNAPSHOT_BACKEND"]


def _why_fresh(said: str) -> str | None:
    """Why clones were fresh in a run that was to put one back."""
    found = re.search(r"fresh clones instead of reset ones: (.*)", said)
    return found[1] if found else None


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
