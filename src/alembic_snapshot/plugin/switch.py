"""SQLAlchemy's events, heard on behalf of every database of the project; in test processes only.

``do_connect`` says where a connection is about to go and can send it elsewhere. Nothing is
imported: it starts when somebody imports SQLAlchemy.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from alembic_snapshot.callsite import Callsites
from alembic_snapshot.errors import DatabaseNotRequested, EngineError
from alembic_snapshot.plugin.importing import when_imported
from alembic_snapshot.plugin.pointing import Hold, Pointer
from alembic_snapshot.plugin.threads import Owned

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.orm import Session

# In a connection's info: it was heard of when it was made.
_HEARD = "alembic_snapshot"


class Switch:
    """Hears of connections and sessions, and hands each to the pointer whose database it is."""

    def __init__(self, root: Path):
        self.callsites = Callsites(root)
        self.pointers: list[Pointer] = []
        self._installed = False
        self._undo: list[Callable[[], None]] = []
        self._idle: Owned[Session] = Owned()

    def install(self) -> None:
        """Listen as soon as SQLAlchemy is imported."""
        if self._installed:
            return
        self._installed = True
        self._undo.append(when_imported("sqlalchemy", self._listen))
        for pointer in self.pointers:
            module = pointer.engines.module
            if module:
                listen = functools.partial(self._listen_to, pointer)
                self._undo.append(when_imported(module, listen))

    def uninstall(self) -> None:
        """Stop listening."""
        self._installed = False
        while self._undo:
            self._undo.pop()()

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

    def _listen_to(self, pointer: Pointer) -> None:
        """Listen to the configured engine itself, which may have a creator."""
        engine = next(pointer.engines.known(), None)
        if engine is not None and hasattr(engine, "pool"):
            self._hear(engine, "connect", lambda _c, record: self._check_asked(pointer, record))

    def _check_asked(self, pointer: Pointer, record: Any) -> None:
        __tracebackhide__ = True
        if Hold not in record.info and (pointer.clone is not None or pointer.is_guarding):
            raise self._has_creator(pointer)

    def _hear(self, target: Any, name: str, function: Callable[..., None]) -> None:
        from sqlalchemy import event

        event.listen(target, name, function)
        self._undo.append(lambda: event.remove(target, name, function))

    def _on_do_connect(
        self, dialect: Any, record: Any, cargs: list[Any], cparams: dict[str, Any]
    ) -> None:
        __tracebackhide__ = True
        if record is not None:
            record.info[_HEARD] = True
        pointer = self._pointer_of(dialect, cargs, cparams)
        if pointer is None:
            return
        if pointer.clone is None and pointer.is_guarding:
            raise self._not_requested(pointer)
        pointer.aim(dialect, record, cargs, cparams)

    def _on_connect(self, connection: Any, record: Any) -> None:
        __tracebackhide__ = True
        hold = record.info.get(Hold)
        if hold is not None:
            hold.pointer.greet(connection, hold)
        elif _HEARD not in record.info:
            # An engine with a creator does not ask where to connect to.
            pointer = self._pointer_of_open(connection)
            if pointer is not None and (pointer.clone is not None or pointer.is_guarding):
                raise self._has_creator(pointer)
            record.info[_HEARD] = True

    def _on_checkout(self, connection: Any, record: Any, _proxy: Any) -> None:
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
        elif _HEARD not in info:
            self._meet(connection, info)

    def _refuse(self, pointer: Pointer) -> None:
        """Keep a connection to an earlier test's clone out of its pool's users' hands."""
        __tracebackhide__ = True
        if pointer.clone is None and pointer.is_guarding:
            raise self._not_requested(pointer)
        from sqlalchemy.exc import DisconnectionError

        # The pool throws it away and makes another, which goes where it should.
        raise DisconnectionError("opened in an earlier test")

    def _meet(self, connection: Any, info: dict[Any, Any]) -> None:
        """Look at a connection that was opened before anybody listened."""
        pointer = self._pointer_of_open(connection)
        if pointer is None:
            info[_HEARD] = True
        elif pointer.clone is not None or pointer.is_guarding:
            from sqlalchemy.exc import DisconnectionError

            # The pool throws it away and makes another, which does ask.
            raise DisconnectionError("opened before the tests began")

    def _on_begin(self, session: Session, _transaction: Any, connection: Any) -> None:
        hold = connection.info.get(Hold)
        if hold is not None and hold.clone is not None:
            hold.pointer.sessions.add(session)

    def _on_transaction(self, session: Session, transaction: Any) -> None:
        if transaction.parent is None:
            self._idle.add(session)

    def _pointer_of(
        self, dialect: Any, cargs: list[Any], cparams: dict[str, Any]
    ) -> Pointer | None:
        for pointer in self.pointers:
            if pointer.engines.own(dialect):
                return pointer
        for pointer in self.pointers:
            if pointer.has_altered(cparams) or pointer.engines.names(dialect, cargs, cparams):
                return pointer
        return None

    def _pointer_of_open(self, connection: Any) -> Pointer | None:
        """The pointer whose database an open connection has; it may be another database's."""
        return next((p for p in self.pointers if p.engines.names_open(connection)), None)

    def _here(self) -> str:
        return self.callsites.text(self.callsites.here())

    def _has_creator(self, pointer: Pointer) -> EngineError:
        return EngineError(
            f"{self._here()} connects to {pointer.engines.name} through a creator, which can't "
            "be pointed at a clone",
            hint="give create_engine() a URL and connect_args instead of a creator",
        )

    def _not_requested(self, pointer: Pointer) -> DatabaseNotRequested:
        who, where = self._here(), pointer.engines.name
        test = os.environ.get("PYTEST_CURRENT_TEST")
        if test is None:
            return DatabaseNotRequested(
                f"{who} connects to {where} while no test is running",
                hint="connect in a function that a test or a fixture calls, not when a module is "
                'imported; or set guard = "off" in [tool.alembic-snapshot]',
            )
        name = pointer.project.name
        fixture = "db_session or db_clone" if name == "default" else f'db_clones["{name}"]'
        hint = f"add a fixture such as {fixture} to the test"
        if name == "default":
            hint += ", or mark it with @pytest.mark.db_clone"
        if test.endswith("(setup)"):
            hint += "; setUpClass, or a fixture for several tests, needs a clone_fixture()"
        return DatabaseNotRequested(
            f"{who} connects to {where}, but {test.rpartition(' ')[0]} did not ask for a database",
            hint=hint,
        )


def _engines_of(session: Session) -> Iterator[Any]:
    """The engines that a session would connect with for itself and for what it holds."""
    if session.bind is not None:
        yield session.bind.engine
    for kind in {type(thing) for thing in session}:
        # It may be bound to none, or to one that the application finds only in a context.
        with contextlib.suppress(Exception):
            yield session.get_bind(kind).engine
