"""How a test comes by its clone and what becomes of it: the strategy named by ``clones``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from alembic_snapshot.plugin.marker import CloneOptions

if TYPE_CHECKING:
    from alembic_snapshot.backend import CloneSource
    from alembic_snapshot.build.snapshot import Snapshot
    from alembic_snapshot.database.clone import Clone
    from alembic_snapshot.engines.redirect import EngineRedirect
    from alembic_snapshot.project.callsite import Site


class Strategy(Protocol):
    """Lends a database to one test at a time, with the engines pointed at it."""

    def begin(self, snapshot: Snapshot, clone_options: CloneOptions) -> Clone:
        """A clone that holds what the snapshot holds."""

    def begin_apart(self, snapshot: Snapshot, clone_options: CloneOptions) -> Clone:
        """The same, and no other test has had its database, nor is going to."""

    def end(self, clone: Clone) -> list[Site | None]:
        """Take the engines off; the lines that had taken connections that were still in use."""

    def dispose(self, clone: Clone, kept: Path | None) -> None:
        """Undo or delete what the test left, or move it to ``kept``."""

    def close(self) -> None:
        """Delete what is left at the end of the run."""


@dataclass
class NewDatabaseEachTest:
    """A new database and new connections for each test."""

    redirect: EngineRedirect
    source: CloneSource

    def begin(self, snapshot: Snapshot, clone_options: CloneOptions) -> Clone:
        """A clone of its own."""
        clone = self.source.take(snapshot, read_only=clone_options.readonly)
        clone.durable = clone_options.durable
        self.redirect.point(clone, durable=clone_options.durable)
        return clone

    def begin_apart(self, snapshot: Snapshot, clone_options: CloneOptions) -> Clone:
        """The same: it is its own anyway."""
        return self.begin(snapshot, clone_options)

    def end(self, clone: Clone) -> list[Site | None]:
        """Close every connection."""
        held = self.redirect.release()
        clone.close()
        return held

    def dispose(self, clone: Clone, kept: Path | None) -> None:
        """Delete the database, or keep it."""
        if kept is not None and clone.made:
            clone.keep(kept)
        else:
            clone.delete()

    def close(self) -> None:
        """Delete what is left at the end of the run."""
        self.source.close()
