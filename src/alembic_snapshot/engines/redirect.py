"""One database's engines, pointed at a clone; and what is open on it.

An engine keeps its dialect, listeners, pool class and compiled statements: only where it connects
changes. :mod:`~alembic_snapshot.engines.events` hears of connections and asks here what to do with
them.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import threading
import weakref
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

from alembic_snapshot.database.recording import ROLLBACK, Recording
from alembic_snapshot.engines.application import Engines
from alembic_snapshot.engines.configured import refuse_vfs
from alembic_snapshot.engines.loops import Loop, before_close, run_in
from alembic_snapshot.engines.threads import Owned, is_another, is_at_work, others_at_work
from alembic_snapshot.engines.turns import Turns
from alembic_snapshot.engines.uncommitted import is_in_transaction
from alembic_snapshot.errors import EngineError
from alembic_snapshot.project.config import Project
from alembic_snapshot.sqlite.attaching import Asking
from alembic_snapshot.sqlite.reset.connections import is_watchable

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from alembic_snapshot.database.clone import Clone
    from alembic_snapshot.database.identity import Place
    from alembic_snapshot.database.unsent import Lost
    from alembic_snapshot.engines.held import Held
    from alembic_snapshot.engines.known import Known
    from alembic_snapshot.project.callsite import Site


class TrackedConnection:
    """A connection of one of our engines; ``site`` is the line that took it from its pool last.

    ``thread`` is the thread that did, or that is making it; ``is_elsewhere`` says that this one
    may be in a statement now. ``loop`` is the event loop that it has to be closed in, if it is
    bound to one. If it outlives its test, ``state`` is what it was like when it was first taken.
    """

    __slots__ = (
        "clone",
        "is_async",
        "is_elsewhere",
        "loop",
        "redirect",
        "site",
        "state",
        "thread",
        "was_taken",
    )

    def __init__(self, redirect: EngineRedirect, clone: Clone | None, is_async: bool):
        self.loop: asyncio.AbstractEventLoop | None = None
        self.redirect = redirect
        self.clone = clone
        self.is_async = is_async
        self.is_elsewhere = self.was_taken = False
        self.site: Site | None = None
        self.thread = threading.get_ident()
        self.state: Any = None

    def is_over(self, record: Any) -> bool:
        """Whether its record in the pool has another connection by now."""
        return record.info.get(TrackedConnection) is not self


class EngineRedirect:
    """Where one database's engines connect to: a clone, or nowhere while there is none.

    The engines are the configured one, every other with its URL, and our own. ``durable`` leaves
    the clone's pragmas alone; otherwise nothing waits for the disk. Of the clone in use,
    ``was_used`` says whether a connection was taken, ``was_told`` whether a statement may have told
    somebody where it is, ``is_elsewhere`` whether another thread still had a connection to it,
    ``unknown`` why a connection that could not be watched matters, and ``strays`` which other
    databases were opened before it was used, and where. ``known`` says which databases the
    migrations are for. Of the sessions in ``doubted`` nobody knows where they go. ``lost`` is what
    sessions had that were closed or collected while the test ran; ``held`` tells of those that are.
    """

    def __init__(
        self,
        project: Project,
        loop: Loop,
        calls: MutableMapping[str, Any],
        known: Known,
        held: Held,
    ):
        self.project = project
        self.engines = Engines(project, calls)
        self.known = known
        self.lost: list[Lost] = []
        self._held_by_sessions = held
        self.strays: dict[Place, Site | None] = {}
        self.doubted: weakref.WeakSet[Any] = weakref.WeakSet()
        self.clone: Clone | None = None
        self.durable = False
        self.was_used = self.was_told = self.is_elsewhere = False
        self.unknown: str | None = None
        self.sessions: Owned[Session] = Owned()
        self.recording = Recording()
        self._turns = Turns()
        self._loop = loop
        self._records: list[tuple[Any, TrackedConnection]] = []
        self._abandoned: list[Any] = []
        self._held: list[Site | None] = []
        self._altered: list[tuple[list[Any], list[Any], dict[str, Any], dict[str, Any]]] = []

    def _place(self, site: Site | None) -> str:
        if site is None:
            return "code outside the project"
        return f"{os.path.relpath(site[0], self.project.root)} line {site[1]}"

    @property
    def is_guarding(self) -> bool:
        """Whether a connection without a clone is an error."""
        return self.project.guard == "on"

    @property
    def is_left_behind(self) -> bool:
        """Whether this is a forked child, and the parent has gone on from where it was forked."""
        return self._turns.is_over

    @property
    def is_in_use(self) -> bool:
        """Whether the clone was used, or somebody was told where it is."""
        return self.was_used or (self.clone is not None and self.clone.was_told)

    def point(self, clone: Clone, *, durable: bool = False) -> None:
        """From now on the engines connect to ``clone``."""
        # With guard = "off" a pool may hold connections to the application's real database.
        self.release()
        self._begin(clone)
        self.durable = durable

    def resume(self, clone: Clone) -> None:
        """As :meth:`point`, but what :meth:`rest` left open stays open: it is on the same file."""
        if any(tracked.clone is None for _, tracked in self._records):
            self.release()
        self._begin(clone)
        for _, tracked in self._records:
            tracked.clone = clone

    def _begin(self, clone: Clone) -> None:
        self._turns.end()
        self.clone = clone
        self.durable = False
        self.was_used = self.was_told = self.is_elsewhere = False
        self.unknown = None
        self.recording = Recording()
        self.strays.clear()
        self.lost.clear()

    def rest(self) -> list[Site | None]:
        """As :meth:`release`, but leave the connections open that are idle and as they were."""
        self._take_off()
        if any(tracked.loop is not None for _, tracked in self._records):
            # They have to be closed in their loop, which may be no other test's.
            return self.release()
        in_use = [tracked for record, tracked in self._records if record.in_use]
        if any(tracked.is_async for tracked in in_use):
            self._loop.run(self._close_sessions)
        else:
            self._close_sessions()
        if self._is_bound_to_a_loop():
            held = self.release()
            self._renew(is_async=True)
            return held
        if any(record.in_use or tracked.is_elsewhere for record, tracked in self._records):
            return self.release()
        kept = [item for item in self._records if _is_clean(*item)]
        gone = [item for item in self._records if item not in kept]
        self._records = gone
        self.release()
        self._records = kept
        return []

    def release(self) -> list[Site | None]:
        """Close what is open, and tell where the connections that were still in use were taken.

        Sessions are closed first, so what is left in use was taken without one.
        """
        self._take_off()
        held, self._held = self._held, []
        for loop in {tracked.loop for _, tracked in self._records if tracked.loop}:
            held += run_in(loop, functools.partial(self._close_in, loop)) or []
        if self._records:
            if any(
                tracked.is_async and record.dbapi_connection for record, tracked in self._records
            ):
                held += self._loop.run(self._close)
            else:
                held += self._close()
            if held:
                self._renew()
            elif self._is_bound_to_a_loop():
                self._renew(is_async=True)
        self.sessions.clear()
        while self._altered:
            cargs, original_cargs, cparams, original_cparams = self._altered.pop()
            cargs[:] = original_cargs
            cparams.clear()
            cparams.update(original_cparams)
        return held

    def _take_off(self) -> None:
        # From now on a thread or a forked child that runs on is refused what is about to go.
        self.clone = None
        self._turns.end()

    @property
    def keeps_connections(self) -> bool:
        """Whether an async driver's connections to the clone in use are for the next test too."""
        connections = self.clone.connections if self.clone is not None else None
        return connections is not None and connections.keeps_async

    def close_idle(self, *, synchronous: bool = False) -> None:
        """Close the connections that nobody uses at the moment, or only the synchronous ones.

        While another thread is at work it may be about to take any of them, and all stay.
        """
        for record, tracked in list(self._records):
            is_idle = not synchronous if tracked.is_async else not others_at_work()
            if is_idle and not record.in_use:
                _close_connection(record)

    def uncommitted(self) -> list[str]:
        """What is not committed on the clone, a line each."""
        return self.unflushed() + [
            f"not committed: {line}; what it wrote is not below" for line in self.transactions()
        ]

    def unflushed(self) -> list[str]:
        """What sessions hold for the clone, or had, that was never sent there, a line each."""
        return self._held_by_sessions.lines(self) + self.lost_objects()

    def lost_objects(self) -> list[str]:
        """What sessions had for the clone when they were closed or collected, a line each."""
        return self._held_by_sessions.lost(self)

    def transactions(self) -> list[str]:
        """The transactions that are open on the clone, a line each."""
        return [
            f"a transaction is open, on a connection that {self._place(tracked.site)} took"
            for record, tracked in list(self._records)
            if record.in_use and is_in_transaction(record.dbapi_connection, tracked.thread)
        ]

    def busy(self) -> list[str]:
        """What is not flushed on the clone, and which connections are in use, a line each."""
        lines = self._held_by_sessions.lines(self)
        for record, tracked in list(self._records):
            if record.in_use:
                lines.append(f"a connection that {self._place(tracked.site)} took is in use")
        return lines

    def let_go(self) -> None:
        """Close the idle connections, wherever a server would miss them being closed."""
        if self.engines.dialect.has_server:
            for record, tracked in list(self._records):
                if not record.in_use:
                    _abort(record) if tracked.is_async else _close_connection(record)
            if any(tracked.is_async for _, tracked in self._records):
                self._records = [item for item in self._records if not item[1].is_async]
                self._renew(is_async=True)

    def read_again(self) -> None:
        """Have the sessions on the clone forget what they have read, and what they lost."""
        self.lost.clear()
        for session in self.sessions.idle():
            session.expire_all()

    def is_at(self, place: Place) -> bool:
        """Whether a place is that of the clone in use."""
        clone = self.clone
        return clone is not None and place.name == str(clone.place or clone.label)

    def has_altered(self, cparams: dict[str, Any]) -> bool:
        """Whether :meth:`rewrite_connect_args` has made these very arguments the clone's."""
        return any(altered[2] is cparams for altered in self._altered)

    def abandon(self) -> None:
        """In a forked child: leave the parent's connections alone, without closing them."""
        # SQLite's "How To Corrupt": a connection must not be carried, nor closed, across a fork.
        self._abandoned.append(self._records)
        self._records = []
        self.sessions.clear()
        self._renew()

    def rewrite_connect_args(
        self,
        clone: Clone | None,
        dialect: Any,
        record: Any,
        cargs: list[Any],
        cparams: dict[str, Any],
    ) -> None:
        """Make a connection's arguments those of the clone that was in use when it began, if any.

        Raises:
            EngineError: the engine speaks another database's language, or asks for another VFS.
        """
        __tracebackhide__ = True
        tracked = TrackedConnection(self, clone, bool(dialect.is_async))
        if dialect.is_async and dialect.name != "sqlite":
            tracked.loop = asyncio.get_running_loop()
            before_close(tracked.loop, functools.partial(self._leave, tracked.loop), self)
        if clone is not None:
            self.engines.check_dialect(dialect.name)
            if dialect.name == "sqlite" and cargs:
                refuse_vfs(self.engines.name, cargs[0])
            # Up to SQLAlchemy 2.0.30 at least, these are the engine's own and not copies.
            self._altered.append((cargs, cargs[:], cparams, dict(cparams)))
            clone.rewrite_connect_args(dialect, cargs, cparams)
            if dialect.name == "sqlite" and is_watchable(dialect):
                cparams.setdefault("factory", Asking)
        if record is not None:
            record.info[TrackedConnection] = tracked
            self._records.append((record, tracked))

    def greet(self, connection: Any, tracked: TrackedConnection) -> None:
        """Look whether a new connection went to the clone; let it not wait for the disk.

        Raises:
            EngineError: it went somewhere else.
        """
        __tracebackhide__ = True
        if tracked.clone is None:
            return
        elsewhere = tracked.clone.other_database(connection)
        if elsewhere is not None:
            raise EngineError(
                f"a connection of {self.engines.name} went to {elsewhere} and not to the test's "
                "clone",
                hint="does the application have a do_connect listener that connects by itself? "
                "It should use the arguments that it is given",
            )
        if not self.durable:
            tracked.clone.disable_fsync(connection)

    def take(self, connection: Any, tracked: TrackedConnection, info: Any) -> None:
        """Note that a connection is taken from its pool, and its state when that happens first."""
        self.was_used = tracked.was_taken = True
        # Whatever it had not committed is gone since it was given back.
        self.recording.end(id(info), ROLLBACK)
        connections = tracked.clone.connections if tracked.clone is not None else None
        if tracked.state is None and connections is not None:
            tracked.state = connections.state_of(connection, self)
            if tracked.state is None:
                self.unknown = connections.if_unknown

    def _close_sessions(self) -> None:
        for record, tracked in list(self._records):
            tracked.is_elsewhere |= _is_elsewhere(record, tracked)
        for session in self.sessions.idle():
            self.sessions.discard(session)
            with contextlib.suppress(Exception):
                session.close()

    def _leave(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close what is bound to a loop, before the loop is closed."""
        self._held += self._close_in(loop)

    def _close_in(self, loop: asyncio.AbstractEventLoop) -> list[Site | None]:
        others = [item for item in self._records if item[1].loop is not loop]
        self._records = [item for item in self._records if item[1].loop is loop]
        held = self._close()
        self._records = others
        if held or self._is_bound_to_a_loop():
            self._renew(is_async=True)
        return held

    def _close(self) -> list[Site | None]:
        self._close_sessions()
        held = []
        for record, tracked in self._records:
            if tracked.is_over(record):
                continue
            if record.in_use and record.dbapi_connection is not None:
                held.append(tracked.site)
            tracked.is_elsewhere |= _is_elsewhere(record, tracked)
            if tracked.is_elsewhere:
                leave(record)
                self.is_elsewhere = True
            else:
                _close_connection(record)
            if tracked.was_taken:
                # Of one that a thread is about to take, it tells that thread whose it was.
                record.info.pop(TrackedConnection, None)
        self._records.clear()
        return held

    def _renew(self, *, is_async: bool = False) -> None:
        """Give the engines new pools, which have every slot free and belong to no event loop."""
        for engine in (*self.engines.known(), *self.engines.configured.former()):
            if engine.dialect.is_async or not is_async:
                engine.dispose(close=False)

    def _is_bound_to_a_loop(self) -> bool:
        """Whether a pool has waited for a connection in an event loop, and works in no other."""
        engines = (*self.engines.known(), *self.engines.configured.former())
        pools = (e.pool for e in engines if e.dialect.is_async)
        queues = (getattr(getattr(pool, "_pool", None), "_queue", None) for pool in pools)
        return any(getattr(queue, "_loop", None) is not None for queue in queues)


def _close_connection(record: Any) -> None:
    try:
        record.invalidate()
    except AttributeError:
        # Older versions of SQLAlchemy leave a record half made if a listener raises an error.
        with contextlib.suppress(Exception):
            record.dbapi_connection.close()


def leave(record: Any) -> None:
    """Leave a connection to the thread that is at work on it, which then has the last reference.

    Python crashes where a connection is closed while another thread is in a statement on it:
    sqlite3's, and libpq's too. A server ends it when the clone is dropped.
    """
    if isinstance(record.dbapi_connection, Asking):
        record.dbapi_connection.is_left = True
    record.dbapi_connection = None


def _abort(record: Any) -> None:
    """End an idle connection of an async driver without its event loop, which may be this one."""
    driver: Any = getattr(record.dbapi_connection, "driver_connection", None)
    with contextlib.suppress(Exception):
        if hasattr(driver, "terminate"):
            driver.terminate()
        else:
            driver.pgconn.finish()
    record.info.pop(TrackedConnection, None)


def _is_elsewhere(record: Any, tracked: TrackedConnection) -> bool:
    """Whether another thread has a connection, or is about to, or is still in a statement on it."""
    if tracked.is_async or not is_another(tracked.thread):
        return False
    return record.in_use or not tracked.was_taken or is_at_work(tracked.thread)


def _is_clean(record: Any, tracked: TrackedConnection) -> bool:
    """Whether an idle connection is open, and in the state in which it was first taken."""
    if record.dbapi_connection is None or tracked.is_over(record):
        return False
    connections = tracked.clone.connections if tracked.clone is not None else None
    if tracked.state is None or connections is None:
        return False
    return connections.is_as_it_was(record.dbapi_connection, tracked.state)
