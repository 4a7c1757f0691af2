"""Databases that ``open`` made of a token: they stay until somebody deletes them."""

from __future__ import annotations

import time
from dataclasses import dataclass

from alembic_snapshot.database.target import Target


@dataclass(frozen=True)
class OpenedDatabase:
    """One that got a name of ours, and is not where somebody wanted it.

    ``owner`` is the project that it is of, ``database`` which of that project's, ``since`` when a
    file was changed last, or when a database on a server was made; ``size`` is in bytes.
    """

    target: Target
    owner: str
    database: str
    since: float
    size: int

    def is_of(self, owner: str | None, database: str | None) -> bool:
        """Whether it is that owner's and of that database; None is any."""
        return owner in (None, self.owner) and database in (None, self.database)

    def is_older_than(self, seconds: float) -> bool:
        """Whether nothing came of it for so long."""
        return time.time() - self.since > seconds
