"""The seam between the library and a kind of database: what each kind has to bring."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from alembic_snapshot.project.config import Project

if TYPE_CHECKING:
    from alembic_snapshot.build.snapshot import Snapshot
    from alembic_snapshot.database.clone import Clone
    from alembic_snapshot.database.lasting import LastingClones
    from alembic_snapshot.database.target import Target, Workspace
    from alembic_snapshot.store.manifest import Entry, Manifest
    from alembic_snapshot.store.opened import OpenedDatabase
    from alembic_snapshot.store.store import Store
    from alembic_snapshot.tokens.changeset import Changeset, Fingerprint


class CloneSource(Protocol):
    """Where one process's tests have their clones from."""

    def take(self, snapshot: Snapshot, *, read_only: bool) -> Clone:
        """A clone, which is made when it is first needed."""

    def close(self) -> None:
        """Delete what is left."""


class Backend(Protocol):
    """One project's databases, of one kind.

    ``async_extras`` are what an async ``env.py`` needs of this package, ``async_drivers`` the
    modules that these bring.
    """

    async_extras: ClassVar[str]
    async_drivers: ClassVar[tuple[str, ...]]

    def store(self) -> Store:
        """Where its snapshots are."""

    def target(self, name: str) -> Target:
        """A database by its path, or by its name on the server in use."""

    def server(self) -> Any | None:
        """The server that it is on, started if need be; None where databases are files.

        Raises:
            ServerError: there is none, or it refuses us.
        """

    def versions(self) -> Mapping[str, str]:
        """The versions that a snapshot depends on, by what they are of."""

    def clones(self, folder: Callable[[], Path], on_make: Callable[[float], None]) -> CloneSource:
        """Clones for one process's tests, files in a folder.

        ``folder`` is asked when it is needed; ``on_make`` is told the seconds that each took.
        """

    def lasting(self, source: Any, how: str | None) -> LastingClones:
        """Databases that are put back, for one process's tests.

        ``source`` is what :meth:`clones` gave, ``how`` what ``reset`` insists on.
        """

    def refuse_crowd(self, processes: int) -> None:
        """Refuse so many processes of tests if there is no room for them.

        Raises:
            ServerError: the server has too few connections.
        """

    def hint_for(self, text: str) -> str | None:
        """What to do about an error of the database's own in a build, if it is known."""

    def nowhere(self) -> Mapping[str, str]:
        """As :meth:`Target.places`, of a database that is not there, another for each project's."""

    def require_drivers(self) -> None:
        """Refuse a variable with a URL for a driver of the extra that is not installed.

        Raises:
            ConfigError: it names the driver, and what to install.
        """

    def as_file(self, entry: Entry, workspace: Workspace) -> tuple[Path, Manifest]:
        """A snapshot as one file in a folder of ours, and its manifest with the file's hash.

        Raises:
            StoreError: it can't be, or what is in it would not be believed elsewhere.
        """

    def from_file(
        self, file: Path, manifest: Manifest, workspace: Workspace, seconds: float
    ) -> tuple[Target, Manifest]:
        """The database in a file that came from elsewhere, looked at before it is used.

        Its manifest is what a store here has to keep of it. Nothing takes longer than ``seconds``.

        Raises:
            NotForHere: it can't be had here.
            StoreError: it is not what the manifest says, or not to be trusted.
        """

    def refuse_taken(self, name: str) -> None:
        """Refuse a path or a name that no new clone can have, before anything is built for it.

        Raises:
            CloneError: there is such a one already, or there can't be.
        """

    def clone(self, snapshot: Snapshot, name: str) -> Clone:
        """A clone under a path or a name that somebody chose, made at once.

        Raises:
            CloneError: there is such a one already, or it can't be made.
        """

    def capture(self, before: Any | None, after: Any) -> tuple[Changeset, str, Fingerprint]:
        """How a target differs from another, or from an empty one, as values that can travel.

        With the hashes of what it was and of what it is.

        Raises:
            NotCarried: something in it can't travel.
            CloneError: it can't be read.
        """

    def apply(self, target: Any, changes: Changeset) -> Fingerprint:
        """Make these changes in a copy of the snapshot; the hash of what it is then.

        Raises:
            CommandError: they do not fit, or would do more than change what is in it.
        """

    def fingerprint(self, target: Any) -> str:
        """The hash of a target's schema and rows."""

    def free_name(self, stem: str) -> str:
        """A path or a name that is free, for a database that is opened; it has ``stem`` in it."""

    def note_opened(self, target: Any) -> None:
        """Note that a database under a free name was opened, and for which project."""

    def opened(self) -> list[OpenedDatabase]:
        """What was opened under free names, for any project."""

    def delete_opened(self, opened: OpenedDatabase) -> bool:
        """Delete one, unless somebody is seen to use it; whether that was done."""

    def open_shell(self, target: Any) -> int | None:
        """Run the database's own shell until its user leaves it; its exit status.

        None if there is no such program.

        Raises:
            ServerError: it can't be run.
        """


def backend_of(project: Project) -> Backend:
    """A project's kind of database."""
    if project.backend == "postgresql":
        from alembic_snapshot.postgres.backend import PostgreSQL

        return PostgreSQL(project)
    from alembic_snapshot.sqlite.backend import SQLite

    return SQLite(project)
