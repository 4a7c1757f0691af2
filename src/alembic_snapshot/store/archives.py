"""Snapshots of a server as files in the store's folder, for a CI's cache and for another server.

Each is two files, of which the second is written last and has the first one's hash::

    archives/NAME.archive   the database
    archives/NAME.json      its manifest
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from alembic_snapshot.key.layers import FORMAT
from alembic_snapshot.store.manifest import Manifest, move_whole, write_whole

_FILE, _MANIFEST = ".archive", ".json"


@dataclass(frozen=True)
class Archived:
    """A snapshot as a file; its manifest has the file's size and hash.

    ``used`` is when it was last asked for, in seconds since the epoch.
    """

    name: str
    file: Path
    manifest: Manifest
    used: float

    def is_intact(self) -> bool:
        """Whether the file is what was written."""
        with contextlib.suppress(OSError):
            return hashed(self.file) == (self.manifest.size, self.manifest.sha256)
        return False


class Archives:
    """The folder of archives, which is made when there is one."""

    def __init__(self, folder: Path):
        self.folder = folder

    def all(self) -> list[Archived]:
        """Every archive with a manifest, the latest made first."""
        paths = self.folder.glob(f"*{_MANIFEST}")
        found = [one for path in paths if (one := self._read(path))]
        return sorted(found, key=lambda one: one.manifest.created, reverse=True)

    def unreadable(self) -> list[Path]:
        """The manifests of archives that are damaged, or another version's."""
        return sorted(path for path in self.folder.glob(f"*{_MANIFEST}") if not self._read(path))

    def of(self, name: str, manifest: Manifest) -> Archived | None:
        """The archive of the snapshot of that name, if it is of the same build."""
        archived = self._read(self.folder / f"{name}{_MANIFEST}")
        return archived if archived is not None and _is_same(archived, manifest) else None

    def remove_other(self, name: str, manifest: Manifest) -> None:
        """Delete the archive of that name, if there is one of another build."""
        archived = self._read(self.folder / f"{name}{_MANIFEST}")
        if archived is not None and not _is_same(archived, manifest):
            self.remove(name)

    def publish(self, name: str, file: Path, manifest: Manifest) -> None:
        """Move a file in; it counts from the last step on."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(file, "rb") as written:
            os.fsync(written.fileno())
        move_whole(file, self.folder / f"{name}{_FILE}")
        write_whole(self.folder / f"{name}{_MANIFEST}", manifest.to_json())

    def touch(self, name: str) -> None:
        """Note that a snapshot was asked for."""
        with contextlib.suppress(OSError):
            os.utime(self.folder / f"{name}{_MANIFEST}")

    def remove(self, name: str) -> None:
        """Delete an archive, if it is there."""
        for ending in (_MANIFEST, _FILE):
            (self.folder / f"{name}{ending}").unlink(missing_ok=True)

    def sweep(self) -> None:
        """Delete files without a manifest, which somebody left who was killed."""
        for file in self.folder.glob(f"*{_FILE}"):
            if not file.with_suffix(_MANIFEST).exists():
                file.unlink(missing_ok=True)

    def _read(self, path: Path) -> Archived | None:
        try:
            manifest = Manifest.from_json(path.read_text(encoding="utf-8"))
            used = path.stat().st_mtime
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None
        if manifest.format != FORMAT:
            return None
        return Archived(path.stem, path.with_suffix(_FILE), manifest, used)


def _is_same(archived: Archived, manifest: Manifest) -> bool:
    return archived.manifest.created == manifest.created


def hashed(file: Path) -> tuple[int, str]:
    """A file's size in bytes, and its SHA-256."""
    with open(file, "rb") as content:
        digest = hashlib.file_digest(content, "sha256")
        return content.tell(), digest.hexdigest()
