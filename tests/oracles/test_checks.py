"""Drift is what `alembic check` lists, and the stairway what a process for each step would show.

``ORACLE_CASES`` says how many are tried, from the seed ``ORACLE_SEED`` on, which a failure prints.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from alembic_snapshot import ensure, load_project
from alembic_snapshot.build.stairway import run_stairway
from tests.oracles import generate_checks as generate

pytestmark = pytest.mark.campaign

HERE = Path(__file__).parent
CASES = int(os.environ.get("ORACLE_CASES", "8"))
FIRST = int(os.environ.get("ORACLE_SEED", "13"))


class Alembic:
    """Alembic on a project of which it knows nothing from one request to the next."""

    def __init__(self, root: Path):
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "real_alembic.py"), str(root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, database: Path, *words: str) -> dict[str, object]:
        assert self.process.stdin
        assert self.process.stdout
        print(json.dumps([str(database), words]), file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def __enter__(self) -> Alembic:
        return self

    def __exit__(self, *_error: object) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()
        assert self.process.stdout
        self.process.stdout.close()


def compare_drift(root: Path, seed: int) -> None:
    generate.drifting(root, seed)
    snapshot = ensure(load_project(root))
    copy = root / "copy.db"
    shutil.copyfile(snapshot.path, copy)
    copy.chmod(0o600)
    with Alembic(root) as alembic:
        real = alembic(copy, "check")
    checks = snapshot.manifest.checks
    if "error" in real:
        assert checks["drift_error"], f"seed {seed}: Alembic fails with {real['error']}"
        return
    ours = sorted(line.partition(":")[0] for line in checks["drift"])
    assert checks["drift_error"] is None, f"seed {seed}: {checks['drift_error']}"
    assert ours == real["found"], f"seed {seed}"


def compare_stairway(root: Path, seed: int) -> None:
    generate.history(root, seed)
    found = [(one.revision, one.kind) for one in run_stairway(load_project(root)).findings]
    with Alembic(root) as alembic:
        real = one_process_a_step(root, alembic)
    assert found == real, f"seed {seed}"


def one_process_a_step(root: Path, alembic: Alembic) -> list[tuple[str, str]]:
    """What is seen of each revision when each step is a process, and schemas are read between."""
    database, kept = root / "real.db", root / "kept.db"
    found = []
    below = "base"
    for name in sorted(path.stem for path in (root / "migrations/versions").glob("*.py")):
        foot = schema(database)
        assert "error" not in alembic(database, "upgrade", name)
        top = schema(database)
        with contextlib.closing(sqlite3.connect(database)) as connection:
            connection.execute("pragma wal_checkpoint(truncate)").fetchone()
        shutil.copyfile(database, kept)
        kinds = []
        if "error" in alembic(database, "downgrade", below):
            kinds.append("downgrade failed")
        else:
            kinds += ["downgrade"] * (schema(database) != foot)
            if "error" in alembic(database, "upgrade", name):
                kinds.append("second upgrade failed")
            else:
                kinds += ["second upgrade"] * (schema(database) != top)
        if kinds[-1:] and kinds[-1].endswith("failed"):
            for side in ("", "-wal", "-shm", "-journal"):
                Path(f"{database}{side}").unlink(missing_ok=True)
            shutil.copyfile(kept, database)
        found += [(name, kind) for kind in kinds]
        below = name
    return found


def schema(database: Path) -> set[str]:
    """What ``sqlite_master`` has, whatever the order of columns and the spelling."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        rows = connection.execute(
            "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL "
            "AND tbl_name <> 'alembic_version'"
        ).fetchall()
    return {f"{kind} {name}: {sorted(parts(sql))}" for kind, name, sql in rows}


def parts(sql: str) -> list[str]:
    """A statement's parts between the commas of its outermost brackets."""
    text = " ".join(sql.replace('"', "").split())
    found, depth = [""], 0
    for character in text.partition("(")[2].rpartition(")")[0] if "(" in text else text:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            found.append("")
        else:
            found[-1] += character
    return [part.strip() for part in found]


@pytest.fixture(autouse=True)
def as_if_run_by_hand(monkeypatch):
    for name in ("ALEMBIC_SNAPSHOT_DIR", "ALEMBIC_SNAPSHOT_BACKEND", "PYTEST_XDIST_TESTRUNUID"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("seed", range(FIRST, FIRST + CASES))
def test_drift_is_what_alembic_check_lists(tmp_path, seed):
    compare_drift(tmp_path / "project", seed)


@pytest.mark.parametrize("seed", range(FIRST, FIRST + CASES))
def test_the_stairway_finds_what_a_process_for_each_step_shows(tmp_path, seed):
    compare_stairway(tmp_path / "project", seed)
