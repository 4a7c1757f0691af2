"""Databases that last from test to test and are put back: what each kind of them brings.

Connections to one stay open too, if they are as they were when the test before took them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

from alembic_snapshot.database.clone import Clone

if TYPE_CHECKING:
    from alembic_snapshot.build.snapshot import Snapshot

_forks = 0


def forks() -> int:
    """How often this process has forked."""
    return _forks


def _count_fork() -> None:
    global _forks
    _forks += 1


os.register_at_fork(after_in_parent=_count_fork)


class Lasting(Protocol):
    """A database with a snapshot's content, and the means to give it that content again.

    ``resets`` counts how often that was necessary. One that ``is_guarded`` is not to be used in
    every way unless it is exposed.
    """

    resets: int
    is_guarded: bool

    def put_back(self) -> str | None:
        """Give it the content again; or the reason why not, and only :meth:`close` is left."""

    def expose(self, why: str) -> None:
        """Have nothing in anybody's way; ``why`` is a reason not to put it back any more."""

    def close(self) -> None:
        """Let go of it."""

    def remove(self) -> None:
        """Delete it, when it was let go of."""


class Lender(Protocol):
    """Who has one such database, and lends it to one test after another.

    ``lasting`` is None as long as no test has needed it.
    """

    @property
    def lasting(self) -> Lasting | None:
        """The database, if it has been made."""

    @property
    def was_used(self) -> bool:
        """Whether the test has taken a connection to it."""

    def start(self, lasting: Lasting) -> None:
        """Have a database, which was made now."""

    def expose(self, why: str) -> None:
        """Let others use the database in every way; it is not put back any more."""


class LentClone(Clone):
    """One test's turn on a database that is put back afterwards.

    Whoever is told where it is may come back to it when the test is over: ``is_known`` says that
    somebody was, and that the database has to go.
    """

    is_known = False


class LastingClones(Protocol):
    """Where a process has a database from that lasts.

    ``detour`` says in which other way than the one that fits databases are put back, and why.
    """

    detour: str | None

    def obstacle(self) -> str | None:
        """Why databases can't be put back here, and tests get fresh ones; None if they can."""

    def lend(self, snapshot: Snapshot, lender: Lender) -> LentClone:
        """The lender's database for one test; made when it is first needed, if there is none."""

    def close(self) -> None:
        """Let go of what is shared by the databases."""
