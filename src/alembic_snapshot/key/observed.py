"""What only a run reveals: files opened under computed names, listings, environment variables.

The builder records them, the manifest keeps them, and every hit compares them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from alembic_snapshot.key.inputs import Files


@dataclass(frozen=True)
class Observed:
    """What a build read beside its layers' inputs; values are digests.

    ``files`` and ``folders`` are relative to the project's root. Values of ``environment`` are
    salted with the snapshot's digest, so that a manifest does not carry secrets.
    """

    files: Mapping[str, str] = field(default_factory=dict)
    folders: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.files or self.folders or self.environment)

    @property
    def digest(self) -> str:
        """One digest for all of it."""
        parts = (sorted(part.items()) for part in (self.files, self.folders, self.environment))
        return hashlib.sha256(repr(list(parts)).encode()).hexdigest()

    def changes(self, root: Path, files: Files, salt: str) -> Iterator[str]:
        """What is different now, a line each."""
        for name, digest in self.files.items():
            if files.digest(os.path.join(root, name)) != digest:
                yield f"{name} changed (read while it ran)"
        for name, digest in self.folders.items():
            if folder_digest(root / name) != digest:
                yield f"the list of files in {name} changed (read while it ran)"
        for name, digest in self.environment.items():
            if variable_digest(name, os.environ.get(name), salt) != digest:
                yield f"the environment variable {name} changed"


def folder_digest(folder: Path) -> str:
    """The digest of a folder's listing, without the files that Python itself makes."""
    try:
        names = sorted(name for name in os.listdir(folder) if name != "__pycache__")
    except OSError:
        return "missing"
    return hashlib.sha256("\0".join(names).encode("utf-8", "surrogateescape")).hexdigest()


def variable_digest(name: str, value: str | None, salt: str) -> str:
    """The salted digest of an environment variable's value."""
    if value is None:
        return "unset"
    return hashlib.sha256(f"{salt}\0{name}\0{value}".encode("utf-8", "surrogateescape")).hexdigest()
