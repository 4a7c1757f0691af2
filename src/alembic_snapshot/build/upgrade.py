"""A later revision on a database that exists already, in a builder."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alembic_snapshot.build.heads import Verifier
from alembic_snapshot.build.lookup import look_up
from alembic_snapshot.build.process import HANDOVERS, AttemptFailed, BuilderProcess
from alembic_snapshot.builder.protocol import Step
from alembic_snapshot.database.target import Target
from alembic_snapshot.project.config import Project


def upgrade(project: Project, handover: str | None, database: Target, revision: str) -> None:
    """Upgrade a clone to a later revision, or to ``heads``.

    ``handover`` is how ``env.py`` took the snapshot's database, if it has run.

    Raises:
        ConfigError: there is no such revision.
        BuildError: the upgrade failed; the clone is as far as it came.
    """
    wanted = None if revision == "heads" else revision
    status = look_up(project, revision=wanted)
    heads = None if status.chain.opaque else list(status.chain.heads)
    step = Step("upgrade", revisions=heads)
    with tempfile.TemporaryDirectory() as folder:
        builder = BuilderProcess(project, status.chain, status.store, _silent)
        try:
            job = builder.job(database, [step], handover or HANDOVERS[0], check=False)
            report = builder.run(Path(folder), job).facts
            Verifier(project, status.chain, report).compare(database, status.chain.target)
        except AttemptFailed as failed:
            raise failed.error from None


def _silent(_event: Mapping[str, Any]) -> None:
    return None
