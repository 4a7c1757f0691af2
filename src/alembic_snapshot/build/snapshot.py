"""A snapshot in use."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from alembic_snapshot.backend import backend_of
from alembic_snapshot.errors import CloneError
from alembic_snapshot.project.config import Project
from alembic_snapshot.store.manifest import Entry, Manifest

if TYPE_CHECKING:
    from alembic_snapshot.database.clone import Clone
    from alembic_snapshot.database.target import Target
    from alembic_snapshot.remote.shared import Report


@dataclass(frozen=True)
class Snapshot:
    """A migrated database that nobody writes to.

    ``built`` says whether this call built it, and ``why`` what made that necessary; ``restored``
    says whether it came from its archive. ``entry`` is None for the empty snapshot, which is no
    file at all. ``shared`` is what the shared store did
    for it, None if it was not asked; ``notes`` says what was deleted to make room, and what is
    wrong with archives.
    """

    project: Project
    entry: Entry | None
    built: bool = False
    why: tuple[str, ...] = ()
    shared: Report | None = None
    notes: tuple[str, ...] = ()
    restored: bool = False

    @property
    def title(self) -> str:
        """What reports call it."""
        return "the snapshot"

    def checkpoints(self) -> Iterator[Checkpoint]:
        """The checkpoints that it is, and stands on, the newest first: none."""
        yield from ()

    @property
    def path(self) -> Path:
        """The sealed database file: open it read-only, or copy it."""
        if self.entry is None:
            raise CloneError("the empty snapshot has no file", hint="make a clone of it")
        file = self.entry.database.file
        if file is None:
            raise CloneError(f"{self.entry.database} is no file", hint="make a clone of it")
        return file

    @property
    def database(self) -> str:
        """The sealed database: a file's path, or a name on the server."""
        if self.entry is None:
            raise CloneError("the empty snapshot is no database", hint="make a clone of it")
        return self.entry.database.name

    @property
    def manifest(self) -> Manifest:
        """The snapshot's manifest."""
        if self.entry is None:
            raise CloneError("the empty snapshot has no manifest", hint="ask for a migrated one")
        return self.entry.manifest

    @property
    def digest(self) -> str:
        """The digest of everything that the snapshot is made of."""
        return self.manifest.digest

    def clone(self, path: Path | str) -> Clone:
        """A clone of your own at ``path``, or of that name on the server, made at once.

        Raises:
            CloneError: there is such a one already, or it can't be written.
        """
        return backend_of(self.project).clone(self, str(path))

    def upgrade(self, database: Target, revision: str) -> None:
        """Upgrade a clone to a later revision, or to ``heads``, in a builder.

        Raises:
            ConfigError: there is no such revision, or the clone is past it.
            BuildError: the upgrade failed; the clone is as far as it came.
        """
        from alembic_snapshot.build.upgrade import upgrade

        manifest = self.entry.manifest if self.entry else None
        table = manifest.version_table if manifest else "alembic_version"
        handover = manifest.handover if manifest else None
        upgrade(self.project, handover, database, revision, table=table)

    def in_use(self) -> contextlib.AbstractContextManager[None]:
        """Keep other processes from pruning the snapshot meanwhile."""
        if self.entry is None:
            return contextlib.nullcontext()
        return backend_of(self.project).store().in_use(self.entry)


@dataclass(frozen=True)
class Checkpoint(Snapshot):
    """What a fixture's function committed on a clone: a state that clones begin with.

    ``name`` is the fixture's, ``place`` the line of its function; it stands on ``parent``.
    """

    name: str = ""
    place: str = ""
    parent: Snapshot | None = None

    @property
    def title(self) -> str:
        """What reports call it."""
        return f"the checkpoint {self.name} ({self.place})"

    def checkpoints(self) -> Iterator[Checkpoint]:
        """The checkpoint itself, and those that it stands on."""
        yield self
        if self.parent is not None:
            yield from self.parent.checkpoints()
