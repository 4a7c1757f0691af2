"""Snapshots by digest: find, publish, list, prune. A subclass says where they are kept.

Beside the snapshots, a store has a directory::

    failed/      the last failed build of each digest, for a look
    stairways/   which revisions went up, down and up again
    facts.json   what was parsed of files, by their contents
"""

from __future__ import annotations

import abc
import contextlib
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from alembic_snapshot.database.target import Target, Workspace
from alembic_snapshot.errors import SnapshotError, StoreError, from_record
from alembic_snapshot.key.layers import State
from alembic_snapshot.key.observed import Change, Present
from alembic_snapshot.project.places import is_in_store
from alembic_snapshot.project.spelling import beginning
from alembic_snapshot.store.archives import Archived, Archives
from alembic_snapshot.store.code import age, by_code
from alembic_snapshot.store.manifest import Entry, Manifest, write_whole

NAME_LENGTH = 32
_TAGS = {".gitignore": "*\n", "CACHEDIR.TAG": "Signature: 8a477f597d28d172789f06886806bc55\n"}
# Seconds for which a snapshot is not deleted by itself after somebody has asked for it.
_RECENT = 600.0


@dataclass(frozen=True)
class Lookup:
    """The result of looking for a snapshot: an entry, or the reasons why there is none."""

    entry: Entry | None
    reasons: Sequence[Change] = ()


class Store(abc.ABC):
    """Snapshots by digest; its directory is made when something is first written to it.

    ``archives`` are those that it has as files, too; None where a snapshot is a file itself.
    """

    archives: Archives | None = None

    def __init__(self, root: Path):
        self.root = root
        self.building = root / "building"
        self.failed = root / "failed"
        self.stairways = root / "stairways"
        self.parse_cache = root / "facts.json"

    def prepare(self) -> None:
        """Make the directory, ignored by git and by backups.

        Raises:
            StoreError: it can't be written.
        """
        try:
            for folder in self._folders():
                folder.mkdir(parents=True, exist_ok=True)
            for name, text in _TAGS.items():
                # What somebody else has there is neither to be ignored nor left out.
                if not (self.root / name).exists() and self._is_alone():
                    (self.root / name).write_text(text)
        except OSError as error:
            raise self.unwritable(error) from error

    def _is_alone(self) -> bool:
        """Whether the folder has nothing but what is the store's own."""
        root = str(self.root)
        return all(is_in_store(str(path), root) for path in self.root.iterdir())

    def unwritable(self, error: OSError) -> StoreError:
        """The error for a store that can't be written; it names what in it, if that is known."""
        name = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else ""
        within = name.removeprefix(beginning(str(self.root)))
        where = f" ({within})" if within != name else ""
        return StoreError(
            f"can't write to the store {self.root}: {error.strerror or error}{where}",
            hint="make it writable, or choose another with ALEMBIC_SNAPSHOT_DIR",
        )

    def closed(self) -> StoreError | None:
        """Make the directory; why no snapshot can be put into it, if that is why."""
        self.prepare()
        return None

    @abc.abstractmethod
    def lock(self, digest: str) -> AbstractContextManager[None]:
        """Hold the lock of one digest; it is released if the process dies."""

    def find(self, state: State, present: Present) -> Lookup:
        """The snapshot of a state, if everything that its build read is as it was.

        Of several that read other things the reasons are those of the one that is most alike.
        """
        differing: list[list[Change]] = []
        reasons: list[Change] = []
        for entry in self._candidates(state.digest):
            if entry.manifest.digest != state.digest:
                continue
            changes = list(present.changes(entry.manifest.observed, state.digest))
            if changes:
                differing.append(changes)
            elif damage := self.damage(entry):
                reasons.append(Change(damage))
            else:
                return Lookup(entry)
        reasons += (Change(f"{place} is damaged or was changed") for place in self._damaged(state))
        return Lookup(None, [*min(differing, key=len, default=()), *reasons])

    @abc.abstractmethod
    def is_intact(self, entry: Entry) -> bool:
        """Whether the database's content is what was published, and would be again."""

    def damage(self, entry: Entry) -> str | None:
        """In words, why one can't be used that everything fits; None if it can be."""
        return None if self.is_intact(entry) else f"{entry.database} is damaged or was changed"

    def usable_archives(self) -> Sequence[Archived]:
        """The archives that a snapshot may be restored from."""
        return self.archives.all() if self.archives is not None else ()

    @abc.abstractmethod
    def touch(self, entry: Entry) -> None:
        """Note that a snapshot was asked for, which `prune` goes by."""

    @abc.abstractmethod
    def update(self, entry: Entry, manifest: Manifest) -> Entry:
        """Replace the manifest of a snapshot; the database stays."""

    @abc.abstractmethod
    def entries(self) -> list[Entry]:
        """Every snapshot with a manifest, the latest made first."""

    def is_there(self) -> bool:
        """Whether there is a store at all, with or without snapshots; a server has one always."""
        return True

    @abc.abstractmethod
    def unreadable(self) -> list[str]:
        """The places of snapshots whose manifests are damaged, or another version's."""

    @abc.abstractmethod
    def workspace(self, digest: str, *, elsewhere: bool = False) -> Workspace:
        """A place to build in; what killed builders of this digest left is deleted.

        Its folder is in the store's, or ``elsewhere``, in the system's temporary one.
        """

    @abc.abstractmethod
    def publish(self, database: Target, manifest: Manifest, *, replace: bool = True) -> Entry:
        """Move a sealed database in; it exists from the last step on, whole.

        What is there under its name already is replaced, or else kept if it is sound.

        Raises:
            StoreError: the store can't be written.
        """

    def keep_failure(
        self, digest: str, error: SnapshotError, database: Target | None, owner: str = ""
    ) -> None:
        """Remember a failed build: its error for those who waited, its database for a look.

        A hint that says where the database is kept says why instead, where it can't be.
        """
        if lost := self._lost(digest, database, owner):
            kept = str(self.failed_database(digest))
            if error.hint and kept in error.hint:
                error.hint = f"the half-built database is lost: it can't be kept at {kept}: {lost}"
        record = {
            "id": time.time_ns(),
            "run": run_id(),
            "owner": owner,
            "error": error.to_record(),
        }
        with contextlib.suppress(OSError):
            write_whole(self._failure_record(digest), json.dumps(record))

    def _lost(self, digest: str, database: Target | None, owner: str) -> str:
        """Keep the database of a failed build; why it can't be, or nothing if it is kept."""
        try:
            self.failed_database(digest).remove()
            if database and database.is_there():
                self._keep(database, digest, owner)
                return ""
        except OSError as error:
            return error.strerror or str(error)
        except SnapshotError as error:
            return error.message
        return "it is gone"

    @abc.abstractmethod
    def failed_database(self, digest: str) -> Target:
        """The half-built database that is kept of a failed build."""

    def failure(self, digest: str) -> tuple[int, SnapshotError, bool] | None:
        """The last failed build: its id, its error, and whether this very test run made it."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            record = json.loads(self._failure_record(digest).read_bytes())
            same_run = record["run"] is not None and record["run"] == run_id()
            return record["id"], from_record(record["error"]), same_run
        return None

    def forget_failure(self, digest: str) -> None:
        """Delete what :meth:`keep_failure` kept."""
        with contextlib.suppress(OSError):
            self._failure_record(digest).unlink(missing_ok=True)
            self.failed_database(digest).remove()

    def prune(
        self,
        keep: int | None = None,
        older_than: float | None = None,
        is_meant: Callable[[str], bool] = lambda _project: True,
        owner: str | None = None,
        used: list[Entry] | None = None,
    ) -> list[Entry]:
        """Delete snapshots by when they were last asked for; the deleted ones are returned.

        The states that one build published, or stands on, go or stay together, and so do the
        layers and revisions of one state of the code. ``keep`` is how many of these stay of each
        database of a project; ``older_than`` is an age in seconds. With
        both, only what is too old goes, and only of those that are too many. A snapshot that a
        process is using stays, and so does one whose manifest names a project that is not meant.
        Of failed builds those of the ``owner`` go, or all. ``used`` takes those that stay because a
        process is using them.
        """
        kept: list[Entry] = []
        gone: list[Entry] = []
        ranks: Counter[str] = Counter()
        for family in by_code(self._families()):
            project = family[0].manifest.project
            if not is_meant(project):
                kept += family
                continue
            rank, ranks[project] = ranks[project], ranks[project] + 1
            too_many = keep is None or rank >= keep
            too_old = older_than is None or age(family) > older_than
            is_asked = keep is not None or older_than is not None
            (gone if is_asked and too_many and too_old else kept).extend(family)
        deleted = self._delete_but(kept, gone, used)
        self._sweep(owner)
        return deleted

    def discard(self, entry: Entry) -> None:
        """Delete a snapshot that nothing is to be built on, unless a process is using it."""
        self._delete(entry)

    def trim(self, limit: int) -> tuple[list[Entry], int]:
        """Delete what was not asked for longest until the rest has at most ``limit`` bytes.

        The deleted ones are returned, and the bytes that are left. What was asked for in the last
        minutes stays, as does what :meth:`prune` leaves.
        """
        families = by_code(self._families())
        total = sum(_size(family) for family in families)
        kept, gone, over = [], [], total - limit
        for family in reversed(families):
            if over > 0 and age(family) > _RECENT:
                over -= _size(family)
                gone += family
            else:
                kept += family
        deleted = self._delete_but(kept, gone)
        return deleted, total - _size(deleted)

    def _families(self) -> list[list[Entry]]:
        """The snapshots by the build that published them, the one last asked for first."""
        families: dict[tuple[str, str], list[Entry]] = {}
        for entry in self._kept():
            key = (entry.manifest.project, entry.manifest.family)
            families.setdefault(key, []).append(entry)
        return sorted(families.values(), key=age)

    def _delete_but(
        self, kept: Sequence[Entry], gone: Sequence[Entry], used: list[Entry] | None = None
    ) -> list[Entry]:
        """Delete what is neither in use nor published with what is kept; what was deleted.

        ``used`` takes what is in use.
        """
        whole = [entry.manifest for entry in kept if entry.manifest.digest == entry.manifest.family]
        needless = [
            e for e in gone if not any(e.manifest.is_published_with(later) for later in whole)
        ]
        deleted: list[Entry] = []
        stayed: list[Entry] = [] if used is None else used
        for entry in needless:
            (deleted if self._delete(entry) else stayed).append(entry)
        return deleted

    def _kept(self) -> list[Entry]:
        """Everything that can be deleted."""
        return self.entries()

    @abc.abstractmethod
    def in_use(self, entry: Entry) -> AbstractContextManager[None]:
        """Keep a snapshot from being pruned by another process meanwhile."""

    def _folders(self) -> Iterable[Path]:
        """The directories that have to be there."""
        return (self.failed, self.stairways)

    @abc.abstractmethod
    def _candidates(self, digest: str) -> Iterable[Entry]:
        """The snapshots whose names fit a digest."""

    def _damaged(self, state: State) -> Iterable[object]:
        """The places of manifests of a state that can't be read."""
        del state
        return ()

    @abc.abstractmethod
    def _keep(self, database: Target, digest: str, owner: str) -> None:
        """Move a half-built database to where :meth:`failed_database` says."""

    @abc.abstractmethod
    def _delete(self, entry: Entry) -> bool:
        """Delete a snapshot unless a process is using it."""

    @abc.abstractmethod
    def _sweep(self, owner: str | None) -> None:
        """Delete what dead builders left, and an owner's failed builds, or all of these.

        What has no manifest that can be read goes, too; another version's stays. Nothing is deleted
        while somebody holds its lock.
        """

    def _is_owned(self, record: Path, owner: str | None) -> bool:
        """Whether a failed build is that owner's, or any."""
        if owner is None:
            return True
        with contextlib.suppress(OSError, ValueError, AttributeError):
            return bool(json.loads(record.read_bytes()).get("owner") == owner)
        return False

    def _failure_record(self, digest: str) -> Path:
        return self.failed / f"{digest[:NAME_LENGTH]}.json"


def _size(entries: Sequence[Entry]) -> int:
    return sum(entry.manifest.size for entry in entries)


def run_id() -> str | None:
    """The id that all processes of one distributed test run share."""
    return os.environ.get("PYTEST_XDIST_TESTRUNUID")
