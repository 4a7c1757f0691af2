"""Snapshots by digest: find, publish, list, prune; and the manifest that makes one exist.

The store is a directory::

    snapshots/DIGEST[-VARIANT]/snapshot.db, manifest.json, verified.json
    building/    databases under construction
    failed/      the last failed build of each digest, for a look
    locks/       one lock for each digest
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from alembic_snapshot import sqlite
from alembic_snapshot.errors import SnapshotError, StoreError, from_record
from alembic_snapshot.key.inputs import Files
from alembic_snapshot.key.layers import FORMAT, State
from alembic_snapshot.manifest import DATABASE, MANIFEST, VERIFIED, Entry, Manifest, write_whole

_NAME_LENGTH = 32


@dataclass(frozen=True)
class Lookup:
    """What looking for a snapshot found: an entry, or the reasons why there is none."""

    entry: Entry | None
    reasons: Sequence[str] = ()


class Store:
    """A directory of snapshots; made when something is first written to it."""

    def __init__(self, root: Path):
        self.root = root
        self.snapshots = root / "snapshots"
        self.building = root / "building"
        self.failed = root / "failed"
        self.facts = root / "facts.json"

    def prepare(self) -> None:
        """Make the directory, ignored by git and by backups.

        Raises:
            StoreError: it can't be written.
        """
        try:
            for folder in (self.snapshots, self.building, self.failed, self.root / "locks"):
                folder.mkdir(parents=True, exist_ok=True)
            for name, text in (
                (".gitignore", "*\n"),
                ("CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n"),
            ):
                if not (self.root / name).exists():
                    (self.root / name).write_text(text)
        except OSError as error:
            raise self.unwritable(error) from error

    def unwritable(self, error: OSError) -> StoreError:
        """The error for a store that can't be written."""
        return StoreError(
            f"can't write to the store {self.root}: {error.strerror or error}",
            hint="make it writable, or choose another with --store or ALEMBIC_SNAPSHOT_DIR",
        )

    @contextlib.contextmanager
    def lock(self, digest: str) -> Iterator[None]:
        """Hold the lock of one digest; the operating system releases it if the process dies."""
        import filelock

        lock = filelock.FileLock(self.root / "locks" / f"{digest[:_NAME_LENGTH]}.lock")
        try:
            lock.acquire()
        except OSError as error:
            raise self.unwritable(error) from error
        try:
            yield
        finally:
            lock.release()

    def find(self, state: State, root: Path, files: Files) -> Lookup:
        """The snapshot of a state, for what its build read beside its inputs as it is now."""
        reasons: list[str] = []
        for folder in self._folders(state.digest):
            entry = self._read(folder)
            if entry is None or entry.manifest.digest != state.digest:
                continue
            changes = list(entry.manifest.observed.changes(root, files, state.digest))
            if changes:
                reasons.extend(changes)
            elif not self.is_intact(entry):
                reasons.append(f"{entry.database} is damaged or was changed")
            else:
                return Lookup(entry)
        return Lookup(None, reasons)

    def is_intact(self, entry: Entry) -> bool:
        """Whether the file's content is what was published.

        Hashed again whenever size, inode or modification time differ from this machine's record
        of the last verification.
        """
        try:
            stat = entry.database.stat()
        except OSError:
            return False
        seen = [stat.st_size, stat.st_ino, stat.st_mtime_ns]
        if stat.st_size != entry.manifest.size:
            return False
        verified = entry.folder / VERIFIED
        with contextlib.suppress(OSError, ValueError):
            if json.loads(verified.read_bytes()) == seen:
                return True
        if sqlite.content_hash(entry.database) != entry.manifest.sha256:
            return False
        with contextlib.suppress(OSError):
            write_whole(verified, json.dumps(seen))
        return True

    def touch(self, entry: Entry) -> None:
        """Note that a snapshot was asked for, which `prune` goes by."""
        with contextlib.suppress(OSError):
            os.utime(entry.folder)

    def update(self, entry: Entry, manifest: Manifest) -> Entry:
        """Replace the manifest of a snapshot; the database stays."""
        with contextlib.suppress(OSError):
            write_whole(entry.folder / MANIFEST, manifest.to_json())
        return Entry(entry.folder, manifest)

    def entries(self) -> list[Entry]:
        """Every snapshot with a manifest, the latest made first."""
        folders = self.snapshots.iterdir() if self.snapshots.is_dir() else ()
        found = [entry for folder in folders if (entry := self._read(folder))]
        return sorted(found, key=lambda entry: entry.manifest.created, reverse=True)

    def workspace(self, digest: str) -> Path:
        """An empty directory to build in; what killed builders of this digest left is deleted."""
        prefix = digest[:_NAME_LENGTH] + "."
        try:
            for leftover in self.building.glob(prefix + "*"):
                shutil.rmtree(leftover, ignore_errors=True)
            return Path(tempfile.mkdtemp(prefix=prefix, dir=self.building))
        except OSError as error:
            raise self.unwritable(error) from error

    def publish(self, database: Path, manifest: Manifest, *, replace: bool = True) -> Entry:
        """Move a sealed database in; it exists from the last rename on, whole.

        What is there under its name already is replaced, or else kept if it is sound.

        Raises:
            StoreError: the store can't be written.
        """
        name = manifest.digest[:_NAME_LENGTH]
        if manifest.observed:
            name += "-" + manifest.observed.digest[:8]
        final = self.snapshots / name
        present = None if replace else self._read(final)
        if present and present.manifest.digest == manifest.digest and self.is_intact(present):
            return present
        try:
            staged = Path(tempfile.mkdtemp(dir=self.building, prefix="publish."))
            os.rename(database, staged / DATABASE)
            os.chmod(staged / DATABASE, 0o444)
            stat = (staged / DATABASE).stat()
            seen = [stat.st_size, stat.st_ino, stat.st_mtime_ns]
            write_whole(staged / VERIFIED, json.dumps(seen))
            write_whole(staged / MANIFEST, manifest.to_json())
            os.chmod(staged, 0o755)
            self._move_into_place(staged, final)
        except OSError as error:
            raise self.unwritable(error) from error
        return Entry(final, manifest)

    def keep_failure(self, digest: str, error: SnapshotError, database: Path | None) -> None:
        """Remember a failed build: its error for those who waited, its database for a look."""
        record = {"id": time.time_ns(), "run": _run_id(), "error": error.to_record()}
        with contextlib.suppress(OSError):
            kept = self.failed_database(digest)
            sqlite.remove(kept)
            if database and database.exists():
                os.replace(database, kept)
                for side, kept_side in zip(
                    sqlite.side_files(database), sqlite.side_files(kept), strict=True
                ):
                    if side.exists():
                        os.replace(side, kept_side)
            write_whole(self._failure_record(digest), json.dumps(record))

    def failed_database(self, digest: str) -> Path:
        """Where the half-built database of a failed build is kept."""
        return self.failed / f"{digest[:_NAME_LENGTH]}.db"

    def failure(self, digest: str) -> tuple[int, SnapshotError, bool] | None:
        """The last failed build: its id, its error, and whether it was of this very test run."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            record = json.loads(self._failure_record(digest).read_bytes())
            same_run = record["run"] is not None and record["run"] == _run_id()
            return record["id"], from_record(record["error"]), same_run
        return None

    def forget_failure(self, digest: str) -> None:
        """Delete what :meth:`keep_failure` kept."""
        with contextlib.suppress(OSError):
            self._failure_record(digest).unlink(missing_ok=True)
            sqlite.remove(self.failed_database(digest))

    def prune(self, keep: int | None = None, older_than: float | None = None) -> list[Entry]:
        """Delete snapshots by when they were last asked for; the deleted ones are returned.

        The states that one build published go or stay together. ``keep`` is how many builds stay;
        ``older_than`` is an age in seconds. A snapshot that a process is using stays.
        """
        families: dict[str, list[Entry]] = {}
        for entry in self.entries():
            families.setdefault(entry.manifest.family, []).append(entry)
        ranked = sorted(families.values(), key=lambda f: max(e.used for e in f), reverse=True)
        deleted: list[Entry] = []
        for rank, family in enumerate(ranked):
            age = time.time() - max(entry.used for entry in family)
            too_many = keep is not None and rank >= keep
            too_old = older_than is not None and age > older_than
            if too_many or too_old:
                deleted.extend(entry for entry in family if self._delete(entry))
        self._sweep()
        return deleted

    @contextlib.contextmanager
    def in_use(self, entry: Entry) -> Iterator[None]:
        """Keep a snapshot from being pruned by another process meanwhile."""
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):
                file = stack.enter_context(open(entry.folder / MANIFEST, "rb"))
                fcntl.flock(file, fcntl.LOCK_SH)
            yield

    def _folders(self, digest: str) -> list[Path]:
        name = digest[:_NAME_LENGTH]
        first = self.snapshots / name
        return [first, *sorted(self.snapshots.glob(name + "-*"))]

    def _read(self, folder: Path) -> Entry | None:
        try:
            record = json.loads((folder / MANIFEST).read_bytes())
            if record.get("format") != FORMAT:
                return None
            return Entry(folder, Manifest.from_record(record))
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None

    def _move_into_place(self, staged: Path, final: Path) -> None:
        if final.exists():
            os.rename(final, self.building / f"replaced.{os.getpid()}.{time.time_ns()}")
        try:
            os.rename(staged, final)
        except OSError:
            if not final.exists():
                raise
            shutil.rmtree(staged, ignore_errors=True)
        for leftover in self.building.glob(f"replaced.{os.getpid()}.*"):
            shutil.rmtree(leftover, ignore_errors=True)
        folder = os.open(self.snapshots, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _delete(self, entry: Entry) -> bool:
        try:
            with open(entry.folder / MANIFEST, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                trash = self.building / f"pruned.{os.getpid()}.{entry.folder.name}"
                os.rename(entry.folder, trash)
        except OSError:
            return False
        shutil.rmtree(trash, ignore_errors=True)
        return True

    def _sweep(self) -> None:
        """Delete what dead builders and failed builds left, where nobody holds the lock."""
        import filelock

        names = {path.name.split(".")[0] for path in self.building.glob(f"{'?' * _NAME_LENGTH}.*")}
        names |= {path.stem for path in self.failed.glob("*.json")}
        for name in names:
            lock = filelock.FileLock(self.root / "locks" / f"{name}.lock")
            with contextlib.suppress(OSError, filelock.Timeout), lock.acquire(timeout=0):
                for leftover in self.building.glob(name + ".*"):
                    shutil.rmtree(leftover, ignore_errors=True)
                self.forget_failure(name)

    def _failure_record(self, digest: str) -> Path:
        return self.failed / f"{digest[:_NAME_LENGTH]}.json"


def _run_id() -> str | None:
    """What tells the processes of one distributed test run from those of another."""
    return os.environ.get("PYTEST_XDIST_TESTRUNUID")
