"""One test's own copy of a snapshot, whatever kind of database it is."""

from __future__ import annotations

import abc
import os
import threading
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from time import perf_counter as _now
from typing import TYPE_CHECKING, Any, Protocol

from alembic_snapshot.database.recording import Position
from alembic_snapshot.database.target import SHOWN_ROWS, Target, substituted
from alembic_snapshot.errors import CloneError, SnapshotError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from alembic_snapshot.build.snapshot import Snapshot
    from alembic_snapshot.database.diff import Diff
    from alembic_snapshot.database.recording import Recording
    from alembic_snapshot.database.writers import Replay

_CHECKPOINT = "checkpoint"


class Connections(Protocol):
    """What is known of a driver's connections that stay open for the next test.

    ``keeps_async`` says whether those of an async driver stay too, and ``if_unknown`` why a
    database can't be put back after a test with a connection of which nothing is known, if so.
    """

    keeps_async: bool
    if_unknown: str | None

    def state_of(self, connection: Any, listener: Any) -> Any | None:
        """What an idle connection is like now; None if that can't be known, and it is closed.

        ``listener.was_told`` is set where a statement may say where the database is.
        """

    def is_as_it_was(self, connection: Any, state: Any) -> bool:
        """Whether an idle connection is in that state, or was brought back to it."""


class Users(Protocol):
    """The application's engines and sessions that use a clone, as far as they are known."""

    def busy(self) -> list[str]:
        """What is not committed, and which connections are in use, a line each."""

    def lost_objects(self) -> list[str]:
        """What sessions had that were closed before they sent it, a line each."""

    def let_go(self) -> None:
        """Close the connections that nobody uses at the moment, of async drivers too."""

    def read_again(self) -> None:
        """Have sessions forget what they have read, and what they lost."""


class Processes(Protocol):
    """The child processes of a test, as far as they are given the ``environ`` of a clone."""

    def variables(self) -> dict[str, str]:
        """The variables for the other databases that the test has."""

    def check(self, clone: Clone, environ: Mapping[str, str]) -> None:
        """See that a process with that environment would open the clone.

        Raises:
            CloneError: it would open another database.
        """


def whole(step: Callable[[], None]) -> None:
    """Do what must not be left half done, once more if something from outside ends it.

    Raises:
        SnapshotError: it can't be done.
        BaseException: what ended it, when it is done.
    """
    try:
        step()
    except SnapshotError:
        raise
    except BaseException:
        step()
        raise


class Clone(abc.ABC):
    """One test's own copy of a snapshot.

    It is made once, when something first needs it: ``path``, ``url``, ``environ``, an engine's
    first connection; from whichever thread, or forked child, comes first. ``on_make`` is told how
    many seconds that took. ``connections`` looks after those that are for the next test too, if
    they are; ``was_told`` says whether somebody asked where it is, and ``suffix`` how the name of
    what is kept of it ends. ``users`` are there while it is a test's, and ``recording`` has the SQL
    that their engines ran on it. So are ``processes``, which are given its ``environ``.
    """

    is_read_only = False
    suffix: str
    connections: Connections | None = None
    users: Users | None = None
    recording: Recording | None = None
    processes: Processes | None = None

    def __init__(self, snapshot: Snapshot, on_make: Callable[[float], None] | None = None):
        self.snapshot = snapshot
        self.durable = self.was_told = False
        self._on_make = on_make
        self._lock = threading.Lock()
        self._made = False
        self._is_over = False
        self._engines: list[Engine] = []
        self._states: dict[str, Target] = {}
        self._positions: dict[str, Position] = {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.label}{'' if self.made else ', not made yet'}>"

    @property
    @abc.abstractmethod
    def label(self) -> str:
        """The clone's name in messages."""

    @property
    def made(self) -> bool:
        """Whether it has been made."""
        return self._made

    @property
    @abc.abstractmethod
    def path(self) -> Path:
        """The database file.

        Raises:
            CloneError: it is on a server, and no file.
        """

    @property
    def place(self) -> Path | None:
        """The path at which the file is, or is going to be; None if it is no file."""
        return None

    @property
    @abc.abstractmethod
    def target(self) -> Target:
        """The database, as migrations see it; made when it is first asked for."""

    @property
    def url(self) -> str:
        """The SQLAlchemy URL of the database."""
        return self.target.url()

    @property
    @abc.abstractmethod
    def size(self) -> int:
        """Its size in bytes; 0 while it is not made, or if it is no copy."""

    @property
    def environ(self) -> Mapping[str, str]:
        """This process's environment, with the project's variables set to the clone.

        The variables are those of ``environment`` in the configuration, and ``DATABASE_URL``. In a
        test, a process with it is started once that imports the application, and says where its
        engine leads.

        Raises:
            CloneError: it leads to another database than this one.
        """
        environ = {**os.environ, "DATABASE_URL": self.url}
        if self.processes is None:
            return {**environ, **self.variables()}
        environ |= {**self.processes.variables(), **self.variables()}
        self.processes.check(self, environ)
        return environ

    def variables(self) -> dict[str, str]:
        """The variables of ``environment`` in the configuration, for this database."""
        return substituted(self.snapshot.project.environment, self.places())

    def places(self) -> dict[str, str]:
        """What stands for it in the values of ``environment``."""
        return self.target.places()

    @abc.abstractmethod
    def rewrite_connect_args(self, dialect: Any, cargs: list[Any], cparams: dict[str, Any]) -> None:
        """Make the arguments of a dialect's connection those of this database."""

    @abc.abstractmethod
    def other_database(self, connection: Any) -> str | None:
        """The database that a new connection reached instead of this one; None if it is here."""

    @abc.abstractmethod
    def disable_fsync(self, connection: Any) -> None:
        """Let a connection not wait for the disk."""

    @abc.abstractmethod
    def has_open_writes(self) -> bool:
        """Whether somebody has written to it in a transaction that is still open."""

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
                raise self._over()
            started = _now()
            self._copy()
            self._made = True
        if self._on_make:
            self._on_make(_now() - started)

    def _over(self) -> CloneError:
        return CloneError(
            f"the test that had the clone {self.label} is over",
            hint="ask for what you need of a clone while its test runs",
        )

    def _refuse_deleted(self) -> None:
        if self._is_over and self._made and not self.target.is_there():
            raise CloneError(f"the clone {self.label} was deleted", hint="make another one")

    def engine(self, **options: Any) -> Engine:
        """A new engine on this database; closed with the clone. Options are ``create_engine``'s.

        Raises:
            CloneError: the test that the clone was for is over, or it was deleted.
        """
        from sqlalchemy import create_engine, event

        if self._is_over and self.users is not None:
            raise self._over()
        self._refuse_deleted()

        engine = create_engine(self.url, **options)
        if not self.durable:
            event.listen(
                engine, "connect", lambda connection, _record: self.disable_fsync(connection)
            )
        self._engines.append(engine)
        return engine

    def upgrade(self, revision: str = "heads") -> None:
        """Run the migrations up to a later revision on this database, as production would.

        ``revision`` is an id, the beginning of one, a branch label, ``head`` or ``heads``. Commit
        and close your sessions first. It takes as long as starting Python and Alembic.

        Raises:
            ConfigError: there is no such revision, or this database is past it.
            CloneError: something is not committed, a connection is in use, or the database is
                read-only.
            BuildError: a migration failed.
        """
        self._refuse_deleted()
        if self.is_read_only or self.users is not None:
            self._users("upgrade")
            self._refuse_writers("upgrade")
        if self.recording is not None:
            # One that fails in the middle has written, too.
            self.recording.migrations += 1
        self.snapshot.upgrade(self.target, revision)

    def diff(self, limit: int = SHOWN_ROWS) -> Diff:
        """Which rows and tables differ from the snapshot, or the checkpoint that it began from.

        At most ``limit`` rows of each kind of difference are listed for a table.
        """
        found = self.target.diff(self._beginning, limit)
        return found.named(self.snapshot.title)

    def checkpoint(self, name: str = _CHECKPOINT) -> None:
        """Remember what is committed at the moment, for :meth:`restore`, until the test is over.

        What was remembered under that name before is forgotten. Commit and close your sessions
        first.

        Raises:
            CloneError: something is not committed, a connection is in use, or the database is
                read-only or no test's.
        """
        if not isinstance(name, str) or not name:
            raise CloneError(f"{name!r} is no name of a checkpoint", hint="give it one in quotes")
        users = self._users("make a checkpoint of")
        self.make()
        users.let_go()
        state = self._save()
        forgotten = self._states.pop(name, None)
        self._states[name] = state
        self._positions[name] = self.recording.position if self.recording else Position()
        if forgotten is not None:
            self._forget(forgotten)

    def restore(self, name: str | None = None) -> None:
        """Put the database back to a checkpoint of this test, or to one that the test began from.

        Without a name it is the newest of this test, and without any what the test began with.
        Sessions read everything again; connections that others have left idle may be closed.

        Raises:
            CloneError: there is no such checkpoint, or as :meth:`checkpoint`.
        """
        users = self._users("restore", is_lost_anyway=True)
        state = self._state(name)
        self.make()
        users.let_go()
        self._restore(state)
        self._record_restored(state)
        users.read_again()

    def close(self) -> None:
        """Close the engines that :meth:`engine` made; the clone can't be made any more."""
        self._is_over = True
        while self._engines:
            self._engines.pop().dispose()
        while self._states:
            self._forget(self._states.popitem()[1])

    def _record_restored(self, state: Target | None) -> None:
        if self.recording is None:
            return
        names = [name for name, one in self._states.items() if one is state]
        if names or state == self._beginning:
            self.recording.back_to(self._positions[names[0]] if names else Position())
        else:
            self.recording.obstacle = "the database was put back to what was before its checkpoint"

    @property
    def _beginning(self) -> Target | None:
        """What it is a copy of; None if it began empty."""
        entry = self.snapshot.entry
        return None if entry is None else entry.database

    def _state(self, name: str | None) -> Target | None:
        if name is None:
            newest = list(self._states.values())[-1:]
            return newest[0] if newest else self._beginning
        begun = [one for one in self.snapshot.checkpoints() if one.name == name]
        if name not in self._states and not begun:
            known = [*self._states, *(one.name for one in self.snapshot.checkpoints())]
            raise CloneError(
                f"there is no checkpoint {name!r} in this test",
                hint=f"there is {', '.join(map(repr, known))}; without a name, restore() goes back "
                "to the newest"
                if known
                else "make one with checkpoint() before; without a name, restore() goes back to "
                "what the test began with",
            )
        entry = begun[0].entry if name not in self._states else None
        return entry.database if entry is not None else self._states[name]

    def _users(self, what: str, *, is_lost_anyway: bool = False) -> Users:
        """The users, none of which is at work, or has lost work that is to be there."""
        if self.is_read_only:
            raise CloneError(
                f"can't {what} the clone, which is read-only",
                hint="remove readonly=True from the test's db_clone marker",
            )
        if self._is_over or self.users is None:
            over = self._is_over
            raise CloneError(
                f"can't {what} {self.label}: "
                + ("its test is over" if over else "it is not the clone of a test"),
                hint="db_clone, and what clone_fixture() makes, have checkpoints while their tests "
                "run",
            )
        busy = self.users.busy()
        busy += [] if is_lost_anyway else self.users.lost_objects()
        busy += [
            "a connection of its engine() is in use"
            for engine in self._engines
            if getattr(engine.pool, "checkedout", int)()
        ]
        if busy:
            raise CloneError(
                f"can't {what} the clone: {'; '.join(busy)}",
                hint="commit or roll back, and close what is open, before",
            )
        for engine in self._engines:
            engine.dispose()
        return self.users

    def _refuse_writers(self, what: str) -> None:
        """Refuse while a transaction is open on a connection that is not known."""
        if self.made and self.has_open_writes():
            raise CloneError(
                f"can't {what} the clone: a transaction is open in which something was written",
                hint="commit or roll back what a raw connection, a thread or a process wrote",
            )

    def replays(self) -> Generator[Replay, None, None]:
        """Copies of what it began with, on which its SQL can be run again; it closes each in turn.

        The second is for what the first does not explain.
        """
        yield from ()

    @abc.abstractmethod
    def freeze(self) -> Target:
        """Close, and make it a state that others begin from; :meth:`delete` still deletes it."""

    @abc.abstractmethod
    def _save(self) -> Target:
        """A copy of what is committed."""

    @abc.abstractmethod
    def _restore(self, state: Any | None) -> None:
        """Have the content of a state of its kind, or none at all."""

    @abc.abstractmethod
    def _forget(self, state: Any) -> None:
        """Delete what :meth:`_save` made."""

    @abc.abstractmethod
    def delete(self) -> None:
        """Close, and delete the database."""

    @abc.abstractmethod
    def kept_as(self, path: Path) -> list[str]:
        """The lines of a report that say where it is going to be, and how to open it there."""

    @abc.abstractmethod
    def keep(self, path: Path) -> Path:
        """Close, and keep the database at ``path``, or for as long as there is a file there."""

    @abc.abstractmethod
    def _copy(self) -> None:
        """Make the database."""
