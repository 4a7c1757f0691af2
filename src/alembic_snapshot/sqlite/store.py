"""Snapshots as files: a directory for each, which exists from one rename on.

The store is a directory::

    snapshots/DIGEST[-VARIANT]/snapshot.db, manifest.json, verified.json
    snapshots/.*.publish.*    one that is on its way there
    building/    databases under construction
    failed/      the last failed build of each digest, for a look
    locks/       one lock for each digest, and one for the use of each snapshot
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from alembic_snapshot.database.target import Target
from alembic_snapshot.errors import StoreError
from alembic_snapshot.key.layers import FORMAT, State
from alembic_snapshot.sqlite import database as databases
from alembic_snapshot.sqlite import files
from alembic_snapshot.sqlite.database import DatabaseFile
from alembic_snapshot.store.manifest import Entry, Manifest, move_whole, write_whole
from alembic_snapshot.store.store import NAME_LENGTH, Store

_DATABASE, _MANIFEST, _VERIFIED = "snapshot.db", "manifest.json", "verified.json"


@dataclass(frozen=True)
class FileWorkspace:
    """The folder in which one build works, with the database in it."""

    folder: Path

    @property
    def database(self) -> DatabaseFile:
        """The file under construction."""
        return DatabaseFile(self.folder / "database.db")

    def state(self, index: int) -> DatabaseFile:
        """A file for a copy of a state that is passed on the way."""
        return DatabaseFile(self.folder / f"state-{index}.db")

    def clear(self) -> None:
        """Delete the database and its states."""
        self.database.remove()
        for copied in self.folder.glob("state-*"):
            copied.unlink()

    def close(self) -> None:
        """Delete all of it."""
        shutil.rmtree(self.folder, ignore_errors=True)


class FileStore(Store):
    """A directory of snapshots."""

    def __init__(self, root: Path):
        super().__init__(root)
        self.snapshots = root / "snapshots"

    def closed(self) -> StoreError | None:
        """Make the directory; why no snapshot can be put into it: read-only, or another user's."""
        try:
            self.prepare()
        except StoreError as error:
            return error
        for folder in (self.snapshots, self.building, self.root / "locks"):
            try:
                with tempfile.TemporaryFile(dir=folder):
                    pass
            except OSError as error:
                return self.unwritable(OSError(error.errno, error.strerror, str(folder)))
        return None

    @contextlib.contextmanager
    def lock(self, digest: str) -> Iterator[None]:
        """Hold the lock of one digest; the operating system releases it if the process dies."""
        import filelock

        lock = filelock.FileLock(self.root / "locks" / f"{digest[:NAME_LENGTH]}.lock")
        try:
            lock.acquire()
        except OSError as error:
            raise self.unwritable(error) from error
        try:
            yield
        finally:
            lock.release()

    def is_intact(self, entry: Entry) -> bool:
        """Whether it is where it was published, and the file's content is what it was then.

        Hashed again whenever size, inode or modification time differ from this machine's record
        of the last verification. Under another name it would be one beside its own.
        """
        if entry.name.partition("-")[0] != entry.manifest.digest[:NAME_LENGTH]:
            return False
        database = _folder(entry) / _DATABASE
        try:
            stat = database.stat()
        except OSError:
            return False
        seen = [stat.st_size, stat.st_ino, stat.st_mtime_ns]
        verified = database.with_name(_VERIFIED)
        with contextlib.suppress(OSError, ValueError):
            if json.loads(verified.read_bytes()) == seen:
                return True
        if databases.content_hash(database) != entry.manifest.sha256:
            return False
        with contextlib.suppress(OSError):
            write_whole(verified, json.dumps(seen))
        return True

    def touch(self, entry: Entry) -> None:
        """Note that a snapshot was asked for, which `prune` goes by."""
        with contextlib.suppress(OSError):
            os.utime(_folder(entry))

    def update(self, entry: Entry, manifest: Manifest) -> Entry:
        """Replace the manifest of a snapshot; the database stays."""
        with contextlib.suppress(OSError):
            write_whole(_folder(entry) / _MANIFEST, manifest.to_json())
        return dataclasses.replace(entry, manifest=manifest)

    def entries(self) -> list[Entry]:
        """Every snapshot with a manifest, the latest made first."""
        entries = [entry for folder in self._finished() if (entry := self._read(folder))]
        return sorted(entries, key=lambda entry: entry.manifest.created, reverse=True)

    def is_there(self) -> bool:
        """Whether its folder is."""
        return self.root.is_dir()

    def unreadable(self) -> list[str]:
        """The folders of snapshots whose manifests are damaged, or another version's."""
        return sorted(str(folder) for folder in self._finished() if self._read(folder) is None)

    def workspace(self, digest: str, *, elsewhere: bool = False) -> FileWorkspace:
        """An empty directory to build in; what killed builders of this digest left is deleted."""
        prefix = digest[:NAME_LENGTH] + "."
        try:
            self._delete_leftovers(prefix)
            parent = None if elsewhere else self.building
            return FileWorkspace(Path(tempfile.mkdtemp(prefix=prefix, dir=parent)))
        except OSError as error:
            raise self.unwritable(error) from error

    def publish(self, database: Target, manifest: Manifest, *, replace: bool = True) -> Entry:
        """Move a sealed database in; it exists from the last rename on, whole.

        What is there under its name already is replaced, or else kept if it is sound.

        Raises:
            StoreError: the store can't be written.
        """
        name = manifest.digest[:NAME_LENGTH]
        if manifest.observed:
            name += "-" + manifest.observed.digest[:8]
        final = self.snapshots / name
        present = None if replace else self._read(final)
        if present and present.manifest.stands_for(manifest) and self.is_intact(present):
            return present
        try:
            # Whoever builds the same next deletes what is under its name. It is where the snapshot
            # will be: a folder is renamed on one disk only.
            prefix = f"{manifest.family[:NAME_LENGTH]}.publish."
            staged = Path(tempfile.mkdtemp(dir=self.snapshots, prefix=f".{prefix}"))
            move_whole(Path(database.name), staged / _DATABASE)
            stat = (staged / _DATABASE).stat()
            seen = [stat.st_size, stat.st_ino, stat.st_mtime_ns]
            write_whole(staged / _VERIFIED, json.dumps(seen))
            write_whole(staged / _MANIFEST, manifest.to_json())
            # Who may read the manifest, as the umask has it, may read the rest, and nobody else.
            readers = (staged / _MANIFEST).stat().st_mode & 0o444
            os.chmod(staged / _DATABASE, readers)
            os.chmod(staged, 0o700 | readers | readers >> 2)
            # For those who may read the store, and not write to it.
            self._use_of(name).close()
            self._move_into_place(staged, final, prefix)
        except OSError as error:
            raise self.unwritable(error) from error
        return _entry(final, manifest)

    def failed_database(self, digest: str) -> DatabaseFile:
        """The half-built database that is kept of a failed build."""
        return DatabaseFile(self.failed / f"{digest[:NAME_LENGTH]}.db")

    @contextlib.contextmanager
    def in_use(self, entry: Entry) -> Iterator[None]:
        """Keep a snapshot from being pruned by another process meanwhile."""
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):
                file = stack.enter_context(self._use_of(entry.name))
                fcntl.flock(file, fcntl.LOCK_SH)
            yield

    def rename_folder(self, folder: Path, target: Path) -> None:
        """Give a folder another name, which not every file system can."""
        os.rename(folder, target)

    def _folders(self) -> Iterable[Path]:
        return (self.snapshots, self.building, *super()._folders(), self.root / "locks")

    def _candidates(self, digest: str) -> Iterator[Entry]:
        name = digest[:NAME_LENGTH]
        for folder in (self.snapshots / name, *sorted(self.snapshots.glob(name + "-*"))):
            entry = self._read(folder)
            if entry:
                yield entry

    def _damaged(self, state: State) -> Iterator[Path]:
        name = state.digest[:NAME_LENGTH]
        for folder in (self.snapshots / name, *sorted(self.snapshots.glob(name + "-*"))):
            if _is_damaged(folder):
                yield folder / _MANIFEST

    def _keep(self, database: Target, digest: str, owner: str) -> None:
        del owner
        source, kept = Path(database.name), self.failed_database(digest).path
        move_whole(source, kept)
        for side, kept_side in zip(files.side_files(source), files.side_files(kept), strict=True):
            if side.exists():
                move_whole(side, kept_side)

    def _read(self, folder: Path) -> Entry | None:
        try:
            manifest = Manifest.from_json((folder / _MANIFEST).read_text(encoding="utf-8"))
            return _entry(folder, manifest) if manifest.format == FORMAT else None
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None

    def _move_into_place(self, staged: Path, final: Path, prefix: str) -> None:
        if final.exists():
            self._take_away(final, self.building / f"{prefix}{time.time_ns()}")
        try:
            self.rename_folder(staged, final)
        except OSError:
            if not (final / _MANIFEST).exists():
                raise
            shutil.rmtree(staged, ignore_errors=True)
        folder = os.open(self.snapshots, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _take_away(self, folder: Path, trash: Path) -> None:
        """Have a snapshot be gone at once, and then its files.

        A folder of a layer below (overlayfs, as of Docker's images) and one on another disk can't
        be renamed. Then its manifest goes first, without which it is no snapshot.
        """
        try:
            self.rename_folder(folder, trash)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            (folder / _MANIFEST).unlink(missing_ok=True)
            shutil.rmtree(folder)
        else:
            shutil.rmtree(trash, ignore_errors=True)

    def _delete(self, entry: Entry) -> bool:
        return self._delete_folder(_folder(entry))

    def _delete_folder(self, folder: Path) -> bool:
        """Delete a snapshot unless a process is using it."""
        try:
            self.building.mkdir(exist_ok=True)
            with self._use_of(folder.name) as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                trash = self.building / f"{folder.name[:NAME_LENGTH]}.pruned.{time.time_ns()}"
                self._take_away(folder, trash)
        except (BlockingIOError, FileNotFoundError):
            return False
        except OSError as error:
            raise self.unwritable(error) from error
        return True

    def _use_of(self, name: str) -> BinaryIO:
        """The file whose lock says that a snapshot of that name is in use.

        It is none of the snapshot's own files, which others may replace meanwhile.
        """
        path = self.root / "locks" / f"{name}.use"
        try:
            return open(path, "rb")
        except FileNotFoundError:
            path.parent.mkdir(exist_ok=True)
            return open(path, "ab")

    def _sweep(self, owner: str | None) -> None:
        """Delete what dead builders left, and an owner's failed builds, or all of these."""
        import filelock

        damaged = list(self._damaged_folders())
        left = (*self._leftovers("?" * NAME_LENGTH + "."), *damaged)
        names = {path.name.lstrip(".")[:NAME_LENGTH] for path in left}
        records = self.failed.glob("*.json")
        failed = {path.stem for path in records if self._is_owned(path, owner)}
        for name in names | failed:
            lock = filelock.FileLock(self.root / "locks" / f"{name}.lock")
            with contextlib.suppress(OSError, filelock.Timeout), lock.acquire(timeout=0):
                self._delete_leftovers(name + ".")
                for folder in damaged:
                    # Somebody may have built it anew meanwhile.
                    if folder.name.startswith(name) and _is_damaged(folder):
                        self._delete_folder(folder)
                if name in failed:
                    self.forget_failure(name)

    def _finished(self) -> Iterator[Path]:
        """The folders of snapshots, without those on their way there."""
        folders = self.snapshots.iterdir() if self.snapshots.is_dir() else ()
        return (folder for folder in folders if not folder.name.startswith("."))

    def _damaged_folders(self) -> Iterator[Path]:
        """The folders of snapshots that somebody had begun to delete, or whose manifest is none."""
        digits = "?" * NAME_LENGTH
        folders = (*self.snapshots.glob(digits), *self.snapshots.glob(f"{digits}-*"))
        return (folder for folder in folders if _is_damaged(folder))

    def _leftovers(self, prefix: str) -> Iterator[Path]:
        """What builds whose names begin so have made, and did not delete or publish."""
        yield from self.building.glob(f"{prefix}*")
        yield from self.snapshots.glob(f".{prefix}*")

    def _delete_leftovers(self, prefix: str) -> None:
        for leftover in self._leftovers(prefix):
            shutil.rmtree(leftover, ignore_errors=True)


def _entry(folder: Path, manifest: Manifest) -> Entry:
    used = folder.stat().st_mtime
    return Entry(folder.name, DatabaseFile(folder / _DATABASE), manifest, used)


def _is_damaged(folder: Path) -> bool:
    """Whether a snapshot has no manifest, or one that is no JSON, which no version writes."""
    try:
        Manifest.from_json((folder / _MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return folder.is_dir()
    except ValueError:
        return True
    except (OSError, TypeError, KeyError, AttributeError):
        return False
    return False


def _folder(entry: Entry) -> Path:
    return Path(entry.database.name).parent
