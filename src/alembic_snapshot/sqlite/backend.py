"""SQLite: snapshots and clones are files."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import signal
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import quote, unquote

from alembic_snapshot.errors import CloneError
from alembic_snapshot.project.config import Project
from alembic_snapshot.project.owner import owner
from alembic_snapshot.project.placeholders import NOWHERE
from alembic_snapshot.sqlite import files
from alembic_snapshot.sqlite.database import DatabaseFile
from alembic_snapshot.sqlite.store import FileStore
from alembic_snapshot.store.opened import OpenedDatabase

if TYPE_CHECKING:
    from alembic_snapshot.build.snapshot import Snapshot
    from alembic_snapshot.database.target import Workspace
    from alembic_snapshot.sqlite.clone import FileClone, FileClones
    from alembic_snapshot.sqlite.reset.clones import LastingFiles
    from alembic_snapshot.store.manifest import Entry, Manifest
    from alembic_snapshot.tokens.changeset import Changeset, Fingerprint


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

    def nowhere(self) -> dict[str, str]:
        """A file in a folder that is not there."""
        folder = Path(tempfile.gettempdir(), "alembic-snapshot-is-not-here")
        return DatabaseFile(folder / f"{NOWHERE}-{self.project.name}.db").places()

    def require_drivers(self) -> None:
        """Nothing: Python has SQLite's."""

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

    def capture(
        self, before: DatabaseFile | None, after: DatabaseFile
    ) -> tuple[Changeset, str, Fingerprint]:
        """As :func:`alembic_snapshot.sqlite.changeset.capture`."""
        from alembic_snapshot.sqlite.changeset import capture

        try:
            return capture(before.path if before else None, after.path)
        except sqlite3.Error as error:
            raise CloneError(
                f"{after} can't be read: {error}", hint="does somebody still hold a lock in it?"
            ) from error

    def apply(self, target: DatabaseFile, changes: Changeset) -> Fingerprint:
        """As :func:`alembic_snapshot.sqlite.changeset.apply`."""
        from alembic_snapshot.sqlite import catalog, changeset

        changeset.apply(target.path, changes)
        return catalog.fingerprint(target.path)

    def fingerprint(self, target: DatabaseFile) -> str:
        """As :func:`alembic_snapshot.sqlite.catalog.fingerprint`."""
        from alembic_snapshot.sqlite.catalog import fingerprint

        return fingerprint(target.path).whole

    def free_name(self, stem: str) -> str:
        """A path in the store's folder."""
        store = self.store()
        store.prepare()
        folder = self._opened / quote(owner(self.project), safe="")
        folder.mkdir(parents=True, exist_ok=True)
        first = f"{quote(self.project.name, safe='')}-{stem}"
        names = (f"{first}{f'_{n}' if n > 1 else ''}.db" for n in itertools.count(1))
        return str(next(folder / name for name in names if not (folder / name).exists()))

    @property
    def _opened(self) -> Path:
        return self.store().root / "opened"

    def note_opened(self, target: DatabaseFile) -> None:
        """Nothing: the path says it."""

    def opened(self) -> list[OpenedDatabase]:
        """The files in the store's folder."""
        found = []
        for path in sorted(self._opened.glob("*/*-*.db")):
            with contextlib.suppress(FileNotFoundError):
                facts, name = path.stat(), unquote(path.name.rpartition("-")[0])
                whose = unquote(path.parent.name)
                target = DatabaseFile(path)
                found.append(OpenedDatabase(target, whose, name, facts.st_mtime, facts.st_size))
        return found

    def delete_opened(self, opened: OpenedDatabase) -> bool:
        """Delete the file. Nobody can see who reads it."""
        path = Path(opened.target.name)
        try:
            files.remove(path)
        except OSError as error:
            raise self.store().unwritable(error) from error
        with contextlib.suppress(OSError):
            path.parent.rmdir()
        return True

    def open_shell(self, target: DatabaseFile) -> int | None:
        """``sqlite3``, with nothing of the schema trusted."""
        program = shutil.which("sqlite3")
        if program is None:
            return None
        options = ("-cmd", "PRAGMA trusted_schema=OFF")
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            return subprocess.run([program, *options, target.name], check=False).returncode
        finally:
            signal.signal(signal.SIGINT, before)
