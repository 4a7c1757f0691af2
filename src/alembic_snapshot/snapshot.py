"""A snapshot in use, and the clones that are made of it."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic_snapshot import sqlite
from alembic_snapshot.config import Project
from alembic_snapshot.errors import CloneError
from alembic_snapshot.store import Entry, Manifest, Store

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from alembic_snapshot.diff import Diff


@dataclass(frozen=True)
class Snapshot:
    """A migrated database that nobody writes to.

    ``built`` says whether this call built it, and ``why`` what made that necessary. ``entry`` is
    None for the empty snapshot, which is no file at all.
    """

    project: Project
    entry: Entry | None
    built: bool = False
    why: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """The sealed database file: open it read-only, or copy it."""
        if self.entry is None:
            raise CloneError("the empty snapshot has no file", hint="make a clone of it")
        return self.entry.database

    @property
    def manifest(self) -> Manifest:
        """What is known of the snapshot."""
        if self.entry is None:
            raise CloneError("the empty snapshot has no manifest", hint="ask for a migrated one")
        return self.entry.manifest

    @property
    def digest(self) -> str:
        """The digest of everything that the snapshot is made of."""
        return self.manifest.digest

    def clone(self, path: Path | str) -> Clone:
        """A clone of your own at ``path``, made at once.

        Raises:
            CloneError: there is something at ``path`` already, or it can't be written.
        """
        target = Path(path).absolute()
        if target.exists():
            raise CloneError(f"there is already a file {target}", hint="choose another path")
        clone = Clone(self, target)
        clone.make()
        return clone

    def in_use(self) -> contextlib.AbstractContextManager[None]:
        """Keep other processes from pruning the snapshot meanwhile."""
        if self.entry is None:
            return contextlib.nullcontext()
        return Store(self.project.store).in_use(self.entry)


class Clone:
    """One test's own copy of a snapshot.

    The file is made once, when something first needs it: ``path``, ``url``, ``environ``, an
    engine's first connection, from whichever thread comes first. ``on_make`` is told.
    """

    def __init__(
        self, snapshot: Snapshot, path: Path, on_make: Callable[[Clone], None] | None = None
    ):
        self.snapshot = snapshot
        self._path = path
        self._on_make = on_make
        self._lock = threading.Lock()
        self._made = False
        self._engines: list[Engine] = []

    def __repr__(self) -> str:
        return f"<Clone {self._path}{'' if self._made else ', not made yet'}>"

    @property
    def made(self) -> bool:
        """Whether the file has been made."""
        return self._made

    @property
    def path(self) -> Path:
        """The database file."""
        self.make()
        return self._path

    @property
    def url(self) -> str:
        """The SQLAlchemy URL of the database."""
        return sqlite.url(self.path)

    @property
    def environ(self) -> Mapping[str, str]:
        """This process's environment, with the project's variables set to the clone.

        The variables are those of ``environment`` in the configuration, and ``DATABASE_URL``.
        """
        import os

        return {**os.environ, "DATABASE_URL": self.url, **self.variables()}

    def variables(self) -> dict[str, str]:
        """The variables of ``environment`` in the configuration, for this database."""
        return substituted(self.snapshot.project.environment, self.path)

    def make(self) -> None:
        """Copy the snapshot, if that has not been done yet."""
        if self._made:
            return
        with self._lock:
            if self._made:
                return
            if self.snapshot.entry is None:
                self._path.touch()
            else:
                sqlite.copy(self.snapshot.path, self._path)
            self._made = True
        if self._on_make:
            self._on_make(self)

    def engine(self, **options: Any) -> Engine:
        """A new engine on this database; closed with the clone. Options are ``create_engine``'s."""
        from sqlalchemy import URL, create_engine

        made = create_engine(URL.create("sqlite", database=str(self.path)), **options)
        self._engines.append(made)
        return made

    def diff(self) -> Diff:
        """Which rows and tables differ from the snapshot."""
        from alembic_snapshot.diff import compare

        return compare(self.snapshot.path, self.path)

    def close(self) -> None:
        """Close the engines that :meth:`engine` made."""
        while self._engines:
            self._engines.pop().dispose()

    def delete(self) -> None:
        """Close, and delete the file."""
        self.close()
        if self._made:
            sqlite.remove(self._path)

    def keep(self, path: Path) -> Path:
        """Close, and move the file to ``path`` as one plain file; what was there is replaced."""
        self.close()
        sqlite.settle(self._path)
        path.parent.mkdir(parents=True, exist_ok=True)
        sqlite.remove(path)
        self._path.rename(path)
        self._path = path
        return path


def substituted(variables: Mapping[str, str], path: Path) -> dict[str, str]:
    """Environment variables with ``{url}``, ``{async_url}`` and ``{path}`` put in."""
    places = {
        "{url}": sqlite.url(path),
        "{async_url}": sqlite.url(path, "aiosqlite"),
        "{path}": str(path),
    }
    return {
        name: functools.reduce(lambda text, item: text.replace(*item), places.items(), value)
        for name, value in variables.items()
    }
