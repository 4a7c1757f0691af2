"""SQLite: snapshots and clones are files."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from alembic_snapshot.project.config import Project
from alembic_snapshot.sqlite.database import DatabaseFile
from alembic_snapshot.sqlite.store import FileStore

if TYPE_CHECKING:
    from alembic_snapshot.build.snapshot import Snapshot
    from alembic_snapshot.database.target import Workspace
    from alembic_snapshot.sqlite.clone import FileClone, FileClones
    from alembic_snapshot.sqlite.reset.clones import LastingFiles
    from alembic_snapshot.store.manifest import Entry, Manifest


@dataclass(frozen=True)
class SQLite:
    """A project's SQLite files."""

    async_extras: ClassVar[str] = "async"
    async_drivers: ClassVar[tuple[str, ...]] = ("aiosqlite", "greenlet")
    project: Project

    def store(self) -> FileStore:
        """Where its snapshots are."""
        return FileStore(self.project.store)

    def target(self, name: str) -> DatabaseFile:
        """A database by its path."""
        return DatabaseFile(Path(name))

    def server(self) -> None:
        """None: there is no server."""

    def versions(self) -> dict[str, str]:
        """The version of SQLite that Python has."""
        return {"SQLite": sqlite3.sqlite_version}

    def clones(self, folder: Callable[[], Path], on_make: Callable[[float], None]) -> FileClones:
        """Files in the folder."""
        from alembic_snapshot.sqlite.clone import FileClones

        return FileClones(folder, self.project.name, on_make)

    def lasting(self, source: FileClones, how: str | None) -> LastingFiles:
        """Files that are rewritten or rewound, whichever fits or ``how`` says."""
        from alembic_snapshot.sqlite.reset.clones import LastingFiles
        from alembic_snapshot.sqlite.reset.rewind import Rewindable
        from alembic_snapshot.sqlite.reset.rewrite import Reusable

        if how is not None:
            return LastingFiles(source, Rewindable if how == "rewind" else Reusable)
        return LastingFiles(source, Reusable, for_large=Rewindable)

    def refuse_crowd(self, processes: int) -> None:
        """Nothing: any number of processes can have files."""

    def hint_for(self, text: str) -> None:
        """None: nothing of SQLite's can be installed."""

    def stand_in(self) -> Callable[[], None]:
        """Nothing: SQLite is what URLs say that are in no variable."""
        return lambda: None

    def as_file(self, entry: Entry, workspace: Workspace) -> tuple[Path, Manifest]:
        """A copy of its file, if others would believe it."""
        from alembic_snapshot.sqlite.received import verify

        copy = DatabaseFile(workspace.folder / "sent.db")
        copy.start(DatabaseFile(Path(entry.database.name)))
        verify(copy.path, entry.manifest)
        return copy.path, entry.manifest

    def from_file(
        self, file: Path, manifest: Manifest, workspace: Workspace, seconds: float
    ) -> tuple[DatabaseFile, Manifest]:
        """The file itself, as :func:`alembic_snapshot.sqlite.received.verify` has it."""
        from alembic_snapshot.sqlite.received import verify

        del workspace, seconds
        verify(file, manifest)
        return DatabaseFile(file), manifest

    def refuse_taken(self, name: str) -> None:
        """As :func:`alembic_snapshot.sqlite.clone.refuse_taken`."""
        from alembic_snapshot.sqlite.clone import refuse_taken

        refuse_taken(Path(name).absolute())

    def clone(self, snapshot: Snapshot, name: str) -> FileClone:
        """As :func:`alembic_snapshot.sqlite.clone.named_clone`."""
        from alembic_snapshot.sqlite.clone import named_clone

        return named_clone(snapshot, name)
