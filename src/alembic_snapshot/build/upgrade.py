"""A later revision on a database that exists already, in a builder."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from alembic_snapshot.build.heads import Verifier
from alembic_snapshot.build.lookup import look_up
from alembic_snapshot.build.process import HANDOVERS, AttemptFailed, BuilderProcess
from alembic_snapshot.build.waiting import silent
from alembic_snapshot.builder.protocol import Step
from alembic_snapshot.database.target import Target
from alembic_snapshot.errors import ConfigError
from alembic_snapshot.key.layers import Chain
from alembic_snapshot.project.config import Project


def upgrade(
    project: Project, handover: str | None, database: Target, revision: str, *, table: str
) -> None:
    """Upgrade a clone to a later revision, or to ``heads``.

    ``handover`` is how ``env.py`` took the snapshot's database, if it has run, and ``table`` the
    version table.

    Raises:
        ConfigError: there is no such revision, or the clone is past it.
        BuildError: the upgrade failed; the clone is as far as it came.
    """
    if not isinstance(revision, str):
        raise ConfigError(f"upgrade does not take {revision!r}", hint="name a revision, in quotes")
    status = look_up(project)
    chain, tops = status.chain, None
    if not chain.opaque or revision != "heads":
        tops = look_up(project, revision=revision).chain.heads
        chain = _goal(chain, tops, database.heads(table) if database.is_there() else ())
    step = Step("upgrade", revisions=tops)
    with tempfile.TemporaryDirectory() as folder:
        builder = BuilderProcess(project, chain, status.store, silent, is_kept=False)
        try:
            job = builder.job(database, [step], handover or HANDOVERS[0], check=False)
            report = builder.run(Path(folder), job).facts
            Verifier(project, chain, report).compare(database, chain.target)
        except AttemptFailed as failed:
            raise failed.error from None


def _goal(chain: Chain, tops: Sequence[str], now: Sequence[str]) -> Chain:
    """The chain up to where a clone is going to be: at ``tops``, and where other branches are.

    Raises:
        ConfigError: the clone is past all of them.
    """
    known = [name for name in now if name in chain.revisions]
    passed = chain.below(known)
    if set(tops) <= passed and not set(tops) & set(known):
        raise ConfigError(
            f"the clone is at {', '.join(known)}, and {', '.join(tops)} is not after it",
            hint="an upgrade goes to a later revision; a test begins with this one if it has "
            f'@pytest.mark.db_clone(revision="{tops[0]}")',
        )
    return chain.up_to({*tops, *known})
