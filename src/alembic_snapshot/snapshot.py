"""A snapshot in use, and the clones that are made of it."""

from __future__ import annotations

import contextlib
import os
import shlex
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic_snapshot.config import Project
from alembic_snapshot.errors import CloneError
from alembic_snapshot.manifest import Entry, Manifest
from alembic_snapshot.sqlite import files
from alembic_snapshot.stores import store_of

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from alembic_snapshot.diff import Diff
    from alembic_snapshot.target import Target


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
        if self.project.backend == "postgresql":
            raise CloneError(f"{self.entry.database} is no file", hint="make a clone of it")
        return Path(self.entry.database.name)

    @property
    def database(self) -> str:
        """The sealed database: a file's path, or a name on the server."""
        if self.entry is None:
            raise CloneError("the empty snapshot is no database", hint="make a clone of it")
        return self.entry.database.name

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
        """A clone of your own at ``path``, or of that name on the server, made at once.

        Raises:
            CloneError: there is such a one already, or it can't be written.
        """
        if self.project.backend == "postgresql":
            from alembic_snapshot.postgres.clone import named_clone

            return named_clone(self, str(path))
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
        return store_of(self.project).in_use(self.entry)


class Clone:
    """One test's own copy of a snapshot.

    The file is made once, when something first needs it: ``path``, ``url``, ``environ``, an
    engine's first connection; from whichever thread, or forked child, comes first. ``on_make`` is
    told how many seconds that took. ``connection_factory`` is what ``sqlite3`` makes connections
    with, if not with its own class; ``is_own_file`` whether the file goes when the clone does;
    ``was_told`` whether somebody asked where it is.
    """

    is_read_only = False
    is_own_file = True
    suffix = files.SUFFIX
    connection_factory: type[Any] | None = None

    def __init__(
        self, snapshot: Snapshot, path: Path, on_make: Callable[[float], None] | None = None
    ):
        self.snapshot = snapshot
        self.durable = self.was_told = False
        self._path = path
        self._on_make = on_make
        self._lock = threading.Lock()
        self._made = False
        self._is_over = False
        self._engines: list[Engine] = []

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._path}{'' if self._made else ', not made yet'}>"

    @property
    def made(self) -> bool:
        """Whether the file has been made."""
        return self._made

    @property
    def place(self) -> Path:
        """Where the file is, or is going to be."""
        return self._path

    @property
    def path(self) -> Path:
        """The database file."""
        self.was_told = True
        self.make()
        return self._path

    @property
    def address(self) -> str:
        """What SQLite is given to open: a path, or a URI if ``is_read_only``."""
        return str(self.path)

    @property
    def url(self) -> str:
        """The SQLAlchemy URL of the database."""
        return self.target.url()

    @property
    def size(self) -> int:
        """Bytes that it takes; 0 while there is nothing, or if it is not its own."""
        try:
            return self._path.stat().st_size if self.is_own_file and self._made else 0
        except OSError:
            return 0

    @property
    def target(self) -> Target:
        """The database, as migrations see it."""
        return files.DatabaseFile(self.path)

    @property
    def environ(self) -> Mapping[str, str]:
        """This process's environment, with the project's variables set to the clone.

        The variables are those of ``environment`` in the configuration, and ``DATABASE_URL``.
        """
        return {**os.environ, "DATABASE_URL": self.url, **self.variables()}

    def variables(self) -> dict[str, str]:
        """The variables of ``environment`` in the configuration, for this database."""
        from alembic_snapshot.target import substituted

        return substituted(self.snapshot.project.environment, self.target)

    def aim(self, _dialect: Any, cargs: list[Any], cparams: dict[str, Any]) -> None:
        """Make the arguments of a dialect's connection those of this database."""
        cargs[:1], cparams["uri"] = [self.address], self.is_read_only
        # Who ends the test closes its connections, whichever thread opened them.
        cparams["check_same_thread"] = False

    def missed(self, connection: Any) -> str | None:
        """Where a new connection went instead of this database; None if it is here."""
        file = files.opened_file(connection)
        if file == str(self._path):
            return None
        with contextlib.suppress(OSError):
            if os.path.samefile(file, self._path):
                return None
        return file or "memory"

    def hurry(self, connection: Any) -> None:
        """Let a connection not wait for the disk."""
        files.hurry(connection)

    def make(self) -> None:
        """Copy the snapshot, if that has not been done yet.

        Raises:
            CloneError: it can't be copied, or the test that the clone was for is over.
        """
        if self._made:
            return
        with self._lock:
            if self._made:
                return
            if self._is_over:
                raise CloneError(
                    f"the test that had the clone {self._path.name} is over",
                    hint="ask for what you need of a clone while its test runs",
                )
            started = time.perf_counter()
            self._copy()
            self._made = True
        if self._on_make:
            self._on_make(time.perf_counter() - started)

    def engine(self, **options: Any) -> Engine:
        """A new engine on this database; closed with the clone. Options are ``create_engine``'s."""
        from sqlalchemy import create_engine, event

        made = create_engine(self.url, **options)
        if not self.durable:
            event.listen(made, "connect", lambda connection, _record: self.hurry(connection))
        self._engines.append(made)
        return made

    def upgrade(self, revision: str = "heads") -> None:
        """Run the migrations up to a later revision on this database, as production would.

        Commit and close your sessions first. It takes as long as starting Python and Alembic.

        Raises:
            ConfigError: there is no such revision.
            BuildError: a migration failed.
        """
        from alembic_snapshot.build import upgrade

        upgrade(self.snapshot, self.target, revision)

    def diff(self) -> Diff:
        """Which rows and tables differ from the snapshot."""
        return self.target.diff(self.snapshot.entry and self.snapshot.entry.database)

    def close(self) -> None:
        """Close the engines that :meth:`engine` made; the file can't be made any more."""
        self._is_over = True
        while self._engines:
            self._engines.pop().dispose()

    def delete(self) -> None:
        """Close, and delete the file."""
        self.close()
        if self._made:
            files.remove(self._path)

    def kept_as(self, path: Path) -> list[str]:
        """What a report says of where it is going to be, and how to open it there."""
        return [str(path), f"open it: sqlite3 {shlex.quote(str(path))}"]

    def keep(self, path: Path) -> Path:
        """Close, and move the file to ``path`` as one plain file; what was there is replaced."""
        self.close()
        files.settle(self._path)
        path.parent.mkdir(parents=True, exist_ok=True)
        files.remove(path)
        self._path.rename(path)
        self._path = path
        return path

    def _copy(self) -> None:
        if self.snapshot.entry is None:
            self._path.touch()
            return
        try:
            files.copy(self.snapshot.path, self._path)
        except FileNotFoundError as error:
            raise CloneError(
                f"the snapshot {self.snapshot.path} is gone",
                hint="was the store emptied while the tests ran? Run them again",
            ) from error


class ReadOnlyClone(Clone):
    """Not a copy, but the snapshot itself, opened so that nobody can write to it."""

    is_read_only = True
    is_own_file = False

    def __init__(self, snapshot: Snapshot):
        super().__init__(snapshot, snapshot.path)
        self._made = True

    @property
    def address(self) -> str:
        return files.immutable(self._path)

    @property
    def url(self) -> str:
        self.was_told = True
        return f"sqlite:///{self.address}&uri=true"

    def delete(self) -> None:
        """Close; the snapshot stays."""
        self.close()

    def keep(self, path: Path) -> Path:
        """Close; there is nothing to keep."""
        self.close()
        return self._path
