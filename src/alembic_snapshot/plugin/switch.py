"""SQLAlchemy's events, heard on behalf of every database of the project; in test processes only.

``do_connect`` says where a connection is about to go and can send it elsewhere. Nothing is
imported: it starts when somebody imports SQLAlchemy.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from alembic_snapshot.callsite import Callsites
from alembic_snapshot.databases import Place, place_of
from alembic_snapshot.errors import EngineError
from alembic_snapshot.plugin.importing import when_imported
from alembic_snapshot.plugin.notices import Notices
from alembic_snapshot.plugin.pointing import Hold, Pointer
from alembic_snapshot.plugin.strangers import Strangers, open_place
from alembic_snapshot.plugin.threads import Owned
from alembic_snapshot.sqlite.attaching import watch_attaching

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.orm import Session

# In a connection's info: it was heard of when it was made, and is no pointer's; where it went.
_HEARD = "alembic_snapshot"


class Switch:
    """Hears of connections and sessions, and hands each to the pointer whose database it is."""

    def __init__(self, root: Path, temporary: Callable[[], Path | None]):
        self.callsites = Callsites(root)
        self.pointers: list[Pointer] = []
        self.notices = Notices(self.callsites)
        self._strangers = Strangers(self.pointers, self.notices, temporary)
        self._installed = False
        self._undo: list[Callable[[], None]] = []
        self._idle: Owned[Session] = Owned()
        self._heard: weakref.WeakSet[Any] = weakref.WeakSet()

    def install(self) -> None:
        """Listen as soon as SQLAlchemy is imported."""
        if self._installed:
            return
        self._installed = True
        self._undo.append(when_imported("sqlalchemy", self._listen))
        for pointer in self.pointers:
            for module in pointer.engines.configured.modules:
                listen = functools.partial(self.listen_to, pointer)
                self._undo.append(when_imported(module, listen))

    def uninstall(self) -> None:
        """Stop listening."""
        self._installed = False
        while self._undo:
            self._undo.pop()()

    def listen_to(self, pointer: Pointer) -> None:
        """Listen to the configured engine itself, which may have a creator."""
        engine = next(pointer.engines.known(), None)
        if engine is not None and hasattr(engine, "pool") and engine not in self._heard:
            self._heard.add(engine)
            self._hear(engine, "connect", lambda _c, record: self._check_asked(pointer, record))

    def close_idle_sessions(self, pointer: Pointer) -> None:
        """Empty the sessions on a database that were used, but never connected."""
        for session in self._idle.idle():
            if any(pointer.engines.serves(engine) for engine in _engines_of(session)):
                self._idle.discard(session)
                if session not in pointer.sessions:
                    with contextlib.suppress(Exception):
                        session.close()

    def _listen(self) -> None:
        from sqlalchemy import Engine
        from sqlalchemy.pool import Pool

        self._hear(Engine, "do_connect", self._on_do_connect)
        self._hear(Pool, "connect", self._on_connect)
        self._hear(Pool, "checkout", self._on_checkout)
        self._undo.append(when_imported("sqlalchemy.orm", self._listen_to_sessions))

    def _listen_to_sessions(self) -> None:
        from sqlalchemy.orm import Session

        self._hear(Session, "after_begin", self._on_begin)
        self._hear(Session, "after_transaction_create", self._on_transaction)

    def _check_asked(self, pointer: Pointer, record: Any) -> None:
        __tracebackhide__ = True
        if Hold not in record.info:
            self._refuse_creator(pointer)

    def _hear(self, target: Any, name: str, function: Callable[..., None]) -> None:
        from sqlalchemy import event

        event.listen(target, name, function)
        self._undo.append(lambda: event.remove(target, name, function))

    def _on_do_connect(
        self, dialect: Any, record: Any, cargs: list[Any], cparams: dict[str, Any]
    ) -> None:
        __tracebackhide__ = True
        pointer = self._pointer_of(dialect, cparams)
        if pointer is None:
            place = place_of(dialect.name, cargs, cparams)
            pointer = self._pointer_to(place) or self._pointer_after_a_look(place, dialect)
            if pointer is None:
                if record is not None:
                    record.info[_HEARD] = place or True
                if place is not None:
                    self._strangers.meet(place)
                return
        if pointer.clone is None:
            self.notices.not_requested(pointer.project, pointer.engines.name)
        pointer.aim(dialect, record, cargs, cparams)

    def _on_connect(self, connection: Any, record: Any) -> None:
        __tracebackhide__ = True
        hold = record.info.get(Hold)
        if hold is not None:
            hold.pointer.greet(connection, hold)
            if hold.clone is not None and hold.clone.place is not None:
                watch_attaching(connection, functools.partial(self._strangers.attach, hold.pointer))
        elif _HEARD not in record.info:
            # An engine with a creator does not ask where to connect to.
            place = open_place(connection)
            pointer = self._pointer_of_open(place)
            if pointer is not None:
                self._refuse_creator(pointer)
            record.info[_HEARD] = place or True

    def _on_checkout(self, connection: Any, record: Any, _proxy: Any) -> None:
        __tracebackhide__ = True
        info = record.info
        hold = info.get(Hold)
        if hold is not None:
            hold.thread = threading.get_ident()
            if hold.is_elsewhere:
                # Another thread may be in a statement on it; it is closed with its last reference.
                record.dbapi_connection = None
            if hold.is_elsewhere or hold.clone is not hold.pointer.clone:
                self._refuse(hold.pointer)
            hold.pointer.take(connection, hold)
            hold.site = self.callsites.here()
            return
        if _HEARD not in info:
            self._meet(connection, info)
        if isinstance(info[_HEARD], Place):
            self._strangers.meet(info[_HEARD])

    def _refuse(self, pointer: Pointer) -> None:
        """Keep a connection to an earlier test's clone out of its pool's users' hands."""
        __tracebackhide__ = True
        if pointer.clone is None and pointer.is_guarding:
            self.notices.not_requested(pointer.project, pointer.engines.name)
        from sqlalchemy.exc import DisconnectionError

        # The pool throws it away and makes another, which goes where it should.
        raise DisconnectionError("opened in an earlier test")

    def _meet(self, connection: Any, info: dict[Any, Any]) -> None:
        """Look at a connection that was opened before anybody listened."""
        place = open_place(connection)
        pointer = self._pointer_of_open(place)
        if pointer is not None and (pointer.clone is not None or pointer.is_guarding):
            from sqlalchemy.exc import DisconnectionError

            # The pool throws it away and makes another, which does ask.
            raise DisconnectionError("opened before the tests began")
        info[_HEARD] = place or True

    def _on_begin(self, session: Session, _transaction: Any, connection: Any) -> None:
        __tracebackhide__ = True
        hold = connection.info.get(Hold)
        if hold is not None and hold.clone is not None:
            hold.pointer.sessions.add(session)
        elif hold is None:
            self._check_doubted(session)
            # Its connection may have been taken before the test began.
            if isinstance(connection.info.get(_HEARD), Place):
                self._strangers.meet(connection.info[_HEARD])

    def _on_transaction(self, session: Session, transaction: Any) -> None:
        if transaction.parent is None:
            self._idle.add(session)

    def _check_doubted(self, session: Session) -> None:
        """Refuse a session that turns out to go elsewhere, of which nobody knew where it would."""
        __tracebackhide__ = True
        for pointer in self.pointers:
            if session in pointer.doubted:
                error = EngineError(
                    f"{self.notices.here()}: a session of {pointer.project.sessionmaker!r} went to "
                    "another database than the test's clone",
                    hint="name the engine that it is bound to in engine in [tool.alembic-snapshot]",
                )
                self.notices.refuse(pointer.project, error)

    def _refuse_creator(self, pointer: Pointer) -> None:
        __tracebackhide__ = True
        if pointer.clone is not None or pointer.is_guarding:
            self.notices.has_creator(pointer.project, pointer.engines.name)

    def _pointer_of(self, dialect: Any, cparams: dict[str, Any]) -> Pointer | None:
        """The pointer whose engine connects."""
        for pointer in self.pointers:
            if pointer.engines.own(dialect) or pointer.has_altered(cparams):
                return pointer
        return None

    def _pointer_to(self, place: Place | None) -> Pointer | None:
        """The pointer whose engine's database that is."""
        return next((p for p in self.pointers if p.engines.names(place)), None)

    def _pointer_of_open(self, place: Place | None) -> Pointer | None:
        """The pointer whose database an open connection has, of which memory tells nothing."""
        return None if place is None or place.is_memory else self._pointer_to(place)

    def _pointer_after_a_look(self, place: Place | None, dialect: Any) -> Pointer | None:
        """The same, after the configured engines were looked up that nobody has imported."""
        if place is None or place.is_memory:
            return None
        for pointer in self.pointers:
            if pointer.project.backend == place.kind:
                # Whoever decides on what is nobody's asks for the error again.
                with contextlib.suppress(EngineError):
                    pointer.engines.configured.verify(final=False)
        return next((p for p in self.pointers if p.engines.own(dialect)), None) or self._pointer_to(
            place
        )


def _engines_of(session: Session) -> Iterator[Any]:
    """The engines that a session would connect with for itself and for what it holds."""
    if session.bind is not None:
        yield session.bind.engine
    for kind in {type(thing) for thing in session}:
        # It may be bound to none, or to one that the application finds only in a context.
        with contextlib.suppress(Exception):
            yield session.get_bind(kind).engine
