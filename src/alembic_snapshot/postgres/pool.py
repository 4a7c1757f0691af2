"""Clones on a server: some ready before a test asks, dropped behind its back, counted.

Each process that runs tests owns its clones by an advisory lock. Whoever can take the lock of an
owner knows that it is dead, and that its clones may go.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import re
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from alembic_snapshot.errors import CloneError, ServerError, SnapshotError
from alembic_snapshot.postgres import databases, frozen, memory
from alembic_snapshot.postgres.database import ServerDatabase
from alembic_snapshot.postgres.databases import CLONE, KEPT
from alembic_snapshot.postgres.server import Server, lock_key, new_owner

if TYPE_CHECKING:
    import psycopg

# How many clones of the snapshot that was asked for last are made before they are asked for.
READY = 2
# How many clones of a process may wait to be dropped before a test waits for one of them.
WAITING = 6
# What is named so by a process, and not by a user who likes the word.
_OWNED = re.compile(f"{CLONE}[0-9a-f]{{12}}_")

T = TypeVar("T")
Settings = list[tuple[str | None, str]]


class Pool:
    """The clones of one process. Only what its own thread does is done in the background."""

    def __init__(self, server: Server):
        self.server = server
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._ready: dict[str, deque[str]] = {}
        self._tasks: queue.Queue[tuple[str, str] | None] = queue.Queue()
        self._room = threading.Semaphore(WAITING)
        self._thread: threading.Thread | None = None
        self._connection = server.connect()
        self.owner = new_owner(self._connection)
        sweep(self._connection)
        self._in_memory = memory.prepare(self._connection, server)
        self._crash = databases.last_crash(self._connection)
        self._sizes: dict[str | None, int] = {}

    def take(self, template: str | None) -> ServerDatabase:
        """A clone of a snapshot, or an empty database; from now on it is the caller's.

        Raises:
            CloneError: it can't be made.
        """
        with self._lock:
            waiting = self._ready.get(template) if template else None
            name = waiting.popleft() if waiting else None
            if name is None:
                name = self._with(lambda connection: self._create(connection, template))
            if template is not None:
                self._with(lambda connection: self._refuse_emptied(connection, name))
        if template is not None:
            self._refill(template)
        return ServerDatabase(self.server, name)

    def refuse_emptied(self, name: str) -> None:
        """Refuse a clone that has not all rows any more.

        Raises:
            CloneError: the server has crashed, and unlogged tables are empty since.
        """
        with self._lock:
            self._with(lambda connection: self._refuse_emptied(connection, name))

    def drop(self, name: str) -> None:
        """Have a clone dropped soon, and the ones that are ready because it was a template."""
        with self._lock:
            names = [name, *self._ready.pop(name, ())]
        for one in names:
            self._room.acquire()
            self._order("drop", one)

    def copy(self, name: str) -> ServerDatabase:
        """A copy of a clone in which nobody is at work; idle connections to it are ended.

        Raises:
            CloneError: somebody is, or has prepared a transaction in it.
        """
        with self._lock:
            frozen.end_idle(self._connection, name)
            return ServerDatabase(self.server, self._create(self._connection, name))

    def renew(self, name: str, template: str | None) -> None:
        """Give a clone in which nobody is at work the content of another database, or none.

        Raises:
            CloneError: somebody is, or the content can't be had.
        """
        with self._lock:
            frozen.end_idle(self._connection, name)
        new = self.take(template).name
        with self._lock:
            databases.drop(self._connection, name)
            databases.rename(self._connection, new, name)

    def freeze(self, name: str) -> None:
        """Let nobody connect to a clone any more: it is a template from now on.

        Raises:
            CloneError: somebody has prepared a transaction in it.
        """
        with self._lock:
            frozen.freeze(self._connection, name)

    def keep(self, name: str, slot: Path) -> None:
        """Keep a clone when the run is over, under another name, for as long as ``slot`` is there.

        :func:`kept_name` says which.
        """
        kept = kept_name(name)

        def keep(connection: psycopg.Connection[Any]) -> None:
            # It may have been renamed just before the connection was lost.
            if not databases.exists(connection, kept):
                databases.rename(connection, name, kept)
            if self.server.is_private:
                # It is to outlive this run. Without room on the disk it stays where it is.
                with contextlib.suppress(_psycopg_error()):
                    memory.move_to_disk(connection, kept)
            databases.comment(connection, kept, f"{socket.gethostname()}:{slot}")

        with self._lock:
            self._with(keep)

    def apply_settings(self, name: str, settings: Settings) -> None:
        """Give a clone settings of its own."""
        with self._lock:
            self._with(lambda connection: databases.alter(connection, name, settings))

    def close(self) -> None:
        """Drop every clone that is left."""
        if self._thread is not None:
            self._tasks.put(None)
            self._thread.join()
        with contextlib.suppress(SnapshotError, _psycopg_error()):
            self._with(self._drop_own)
        if self.server.is_private:
            memory.remove(self._connection)
        self._connection.close()

    def _drop_own(self, connection: psycopg.Connection[Any]) -> None:
        """Each by itself: one that somebody holds on to keeps no other."""
        own = [name for name, _ in databases.named(connection, f"{CLONE}{self.owner}_")]
        _drop_all(connection, own)

    def _with(self, work: Callable[[psycopg.Connection[Any]], T]) -> T:
        """Do something with the pool's connection; if that was lost, once more with another."""
        try:
            return work(self._connection)
        except ServerError:
            if not self._connection.closed:
                raise
        self._connection.close()
        self._connection = self.server.connect()
        # As long as nobody had it, somebody may have dropped what was ready.
        key = lock_key(f"owner {self.owner}")
        self._connection.execute("SELECT pg_advisory_lock(%s)", (key,))
        self._ready.clear()
        return work(self._connection)

    def _refuse_emptied(self, connection: psycopg.Connection[Any], name: str) -> None:
        if databases.last_crash(connection) == self._crash:
            return
        if ServerDatabase(self.server, name).has_unlogged():
            raise CloneError(
                f"the server at {self.server} crashed while the tests ran, and the unlogged "
                f"tables in {name} are empty since",
                hint="run the tests again: the snapshot is built anew",
            )

    def _refill(self, template: str) -> None:
        with self._lock:
            missing = READY - len(self._ready.setdefault(template, deque()))
        if missing > 0 and self._tasks.empty():
            self._order("create", template)

    def _order(self, what: str, name: str) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="alembic-snapshot", daemon=True)
            self._thread.start()
        self._tasks.put((what, name))

    def _work(self) -> None:
        connection: psycopg.Connection[Any] | None = None
        while (task := self._tasks.get()) is not None:
            what, name = task
            try:
                connection = connection or self.server.connect()
                if what == "drop":
                    databases.drop(connection, name)
                else:
                    self._make_ready(connection, name)
            except (SnapshotError, _psycopg_error()):
                # A test that needs a clone makes its own and reports; what stays is swept.
                if connection is not None:
                    connection.close()
                connection = None
            finally:
                if what == "drop":
                    self._room.release()
        if connection is not None:
            connection.close()

    def _make_ready(self, connection: psycopg.Connection[Any], template: str) -> None:
        while True:
            with self._lock:
                if len(self._ready.get(template, (None,) * READY)) >= READY:
                    return
            name = self._create(connection, template)
            with self._lock:
                waiting = self._ready.get(template)
                if waiting is not None:
                    waiting.append(name)
            if waiting is None:
                # The template was a checkpoint, and is no more.
                databases.drop(connection, name)
                return
            if not self._tasks.empty():
                # What waits to be dropped takes room.
                self._tasks.put(("create", template))
                return

    def _create(self, connection: psycopg.Connection[Any], template: str | None) -> str:
        name = f"{CLONE}{self.owner}_{next(self._numbers)}"
        if not (self._in_memory and self._create_in_memory(connection, name, template)):
            databases.create(connection, self.server, name, template)
        databases.spare_waiting(connection, self.server, name)
        return name

    def _create_in_memory(
        self, connection: psycopg.Connection[Any], name: str, template: str | None
    ) -> bool:
        """Create a clone in memory if there is room; whether it is there."""
        if template not in self._sizes:
            source = template or "template1"
            row = connection.execute("SELECT pg_database_size(%s)", (source,)).fetchone()
            self._sizes[template] = row[0] if row else 0
        if not memory.has_room(self._sizes[template]):
            return False
        try:
            databases.create(connection, self.server, name, template, memory.SPACE)
        except (SnapshotError, _psycopg_error()):
            # Another process took the last room, or removed the tablespace at its end; whatever
            # else it is, the disk has it too.
            self._in_memory = memory.prepare(connection, self.server)
            return False
        return True


def kept_name(name: str) -> str:
    """What a clone is called when it is kept."""
    return KEPT + name.removeprefix(CLONE)


def sweep(connection: psycopg.Connection[Any]) -> None:
    """Drop the clones of dead owners, and what was kept for files that are gone."""
    found = [(n, c) for n, c in databases.named(connection, CLONE) if _OWNED.match(n)]
    for owner in {name.split("_")[2] for name, _ in found}:
        key = lock_key(f"owner {owner}")
        row = connection.execute("SELECT pg_try_advisory_lock(%s)", (key,)).fetchone()
        if row and row[0]:
            _drop_all(connection, (name for name, _ in found if name.split("_")[2] == owner))
            connection.execute("SELECT pg_advisory_unlock(%s)", (key,))
    own = f"{socket.gethostname()}:"
    kept = databases.named(connection, KEPT)
    gone = [n for n, c in kept if c.startswith(own) and not os.path.exists(c.removeprefix(own))]
    _drop_all(connection, gone)


def _drop_all(connection: psycopg.Connection[Any], names: Iterable[str]) -> None:
    for name in names:
        # Another run may be sweeping too.
        with contextlib.suppress(SnapshotError, _psycopg_error()):
            databases.drop(connection, name)


def _psycopg_error() -> type[Exception]:
    import psycopg

    return psycopg.Error
