"""Every revision up, down and up again, with the schema compared at each step."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic_snapshot.build import ensure
from alembic_snapshot.builder.child import OFFERS, AttemptFailed, Workshop
from alembic_snapshot.config import Project
from alembic_snapshot.errors import CheckError
from alembic_snapshot.key.layers import Chain
from alembic_snapshot.sqlite import DatabaseFile
from alembic_snapshot.status import look_up
from alembic_snapshot.store import Store

# Starting a builder costs as much as some dozens of revisions.
_WORTH_A_PROCESS = 40


@dataclass(frozen=True)
class Stair:
    """A revision that does not go down and up again cleanly: what was tried, and what is wrong.

    ``kind`` is ``downgrade``, ``second upgrade`` (with the differences of the schema in
    ``lines``), ``downgrade failed`` or ``second upgrade failed`` (with the error).
    """

    revision: str
    kind: str
    lines: Sequence[str]

    def __str__(self) -> str:
        return "\n  ".join([f"revision {self.revision}: {self.kind}", *self.lines])


def climb(project: Project, *, workers: int | None = None) -> list[Stair]:
    """Take every revision up, down and up again; what does not go cleanly, in order.

    The history is cut into as many pieces as there are workers, each climbed in a builder of
    its own on a database of its own.

    Raises:
        CheckError: the revisions are known only when they run.
        BuildError: an upgrade fails.
    """
    status = look_up(project)
    chain = status.chain
    if chain.opaque:
        raise CheckError(
            "the revisions can't be climbed: they are known only when they run, or migrate makes "
            "the database",
            hint="leave the stairway out",
        )
    snapshot = ensure(project)
    store, offer = status.store, snapshot.manifest.offer or OFFERS[0]
    pieces = _pieces(list(chain.revisions), workers or os.cpu_count() or 1)
    with ThreadPoolExecutor(len(pieces)) as pool:
        found = pool.map(lambda piece: _climb(project, chain, store, offer, piece), pieces)
        return [stair for stairs in found for stair in stairs]


def _pieces(revisions: list[str], workers: int) -> list[tuple[int, list[str]]]:
    """Consecutive pieces of the history, each with how many revisions come before it."""
    count = max(1, min(workers, len(revisions) // _WORTH_A_PROCESS))
    size = -(-len(revisions) // count)
    return [(start, revisions[start : start + size]) for start in range(0, len(revisions), size)]


def _climb(
    project: Project, chain: Chain, store: Store, offer: str, piece: tuple[int, list[str]]
) -> list[Stair]:
    before, revisions = piece
    found: list[Stair] = []

    def listen(event: Any) -> None:
        if event["event"] == "stair":
            found.append(Stair(event["revision"], event["kind"], event["lines"]))

    workspace = Path(tempfile.mkdtemp(dir=store.building, prefix="stairs."))
    try:
        workshop = Workshop(project, chain, store, listen)
        foot = chain.state(list(chain.revisions)[:before]).heads
        steps: list[dict[str, Any]] = [{"climb": revisions}]
        if foot:
            steps.insert(0, {"upgrade": list(foot)})
        numbered = [{"index": i, "copy": None, **step} for i, step in enumerate(steps)]
        workshop.run(
            workspace,
            workshop.job(DatabaseFile(workspace / "stairs.db"), numbered, offer, check=False),
        )
    except AttemptFailed as failed:
        raise failed.error from None
    finally:
        shutil.rmtree(workspace, ignore_errors=True)
    return found
