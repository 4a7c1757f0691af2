"""Hears of every statement on a clone, and keeps it for the report of a test that fails.

Green tests pay for it: so nothing is looked at but what has to be taken while it is there, and no
event of connections is listened to, which makes SQLAlchemy prepare them for every statement.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from alembic_snapshot.database.identity import Place
from alembic_snapshot.database.recording import (
    COMMIT,
    EXECUTE,
    ROLLBACK,
    Step,
)
from alembic_snapshot.database.statements import is_reading
from alembic_snapshot.engines.added import Added
from alembic_snapshot.engines.redirect import EngineRedirect, TrackedConnection
from alembic_snapshot.project.callsite import Callsites

if TYPE_CHECKING:
    from sqlalchemy import Connection

_ENDS = {"do_commit": COMMIT, "do_rollback": ROLLBACK}


class Recorder:
    """Listens to all engines; ``heard`` is where a connection's info has the place it is on.

    ``check`` is asked before each statement and each commit, and raises what they are refused with.
    """

    def __init__(
        self,
        redirects: Iterable[EngineRedirect],
        callsites: Callsites,
        heard: str,
        check: Callable[[EngineRedirect], None],
    ):
        self._redirects = redirects
        self._callsites = callsites
        self._heard = heard
        self._check = check
        self.added = Added()
        self._watched: weakref.WeakSet[Any] = weakref.WeakSet()

    def listen(self, hear: Callable[[Any, str, Callable[..., None]], None]) -> None:
        """Listen by way of ``hear``."""
        from sqlalchemy import Engine

        hear(Engine, "do_execute", self._on_execute)
        hear(Engine, "do_executemany", self._on_executemany)
        hear(Engine, "do_execute_no_params", self._on_execute_no_params)
        hear(Engine, "handle_error", self._on_error)

    def watch(self, dialect: Any) -> None:
        """Hear of the ends of transactions, too, on connections of a dialect to a clone."""
        if dialect not in self._watched:
            self._watched.add(dialect)
            for name, kind in _ENDS.items():
                setattr(dialect, name, self._ending(getattr(dialect, name), kind))

    def release(self) -> None:
        """Leave the dialects as they were."""
        for dialect in list(self._watched):
            for name in _ENDS:
                with contextlib.suppress(AttributeError):
                    delattr(dialect, name)
        self._watched.clear()

    def _ending(self, own: Callable[[Any], None], kind: str) -> Callable[[Any], None]:
        def end(connection: Any) -> None:
            info, redirect = self._redirect(connection)
            if redirect is not None and kind == COMMIT:
                self._check(redirect)
            is_open = redirect is None or _is_in_transaction(connection)
            own(connection)
            if redirect is not None:
                # What no transaction was begun for is there, whatever ends after it.
                redirect.recording.end(id(info), kind if is_open else COMMIT)

        return end

    def _on_execute(self, _cursor: Any, statement: str, parameters: Any, context: Any) -> None:
        self._note(context.root_connection, statement, parameters, is_many=False)

    def _on_executemany(self, _cursor: Any, statement: str, parameters: Any, context: Any) -> None:
        self._note(context.root_connection, statement, parameters, is_many=True)

    def _on_execute_no_params(self, _cursor: Any, statement: str, context: Any) -> None:
        self._note(context.root_connection, statement, None, is_many=False)

    def _on_error(self, context: Any) -> None:
        if context.connection is not None and context.statement is not None:
            info, redirect = self._redirect(context.connection)
            if redirect is not None:
                redirect.recording.fail(id(info), context.statement)

    def _note(
        self, connection: Connection, statement: str, parameters: Any, *, is_many: bool
    ) -> None:
        info, redirect = self._redirect(connection)
        if redirect is not None:
            self._check(redirect)
            writer = None if is_reading(statement) else self._callsites.writer()
            is_autocommit = connection._is_autocommit_isolation()
            step = Step(id(info), EXECUTE, statement, parameters, is_many, is_autocommit, writer)
            flush = self.added.flush(info)
            redirect.recording.add(step if flush is None else step._replace(flush=flush))

    def _redirect(self, connection: Any) -> tuple[Any, EngineRedirect | None]:
        """A connection's info, and the redirect of the clone that it is on, if it is on one."""
        try:
            info = connection.info
        except Exception:
            # It is closed; or not from a pool, and a dialect looks around with it. To a dialect an
            # error of ours there would be an answer.
            return None, None
        tracked: TrackedConnection | None = info.get(TrackedConnection)
        if tracked is not None:
            return info, tracked.redirect if tracked.clone is not None else None
        place = info.get(self._heard)
        if isinstance(place, Place):
            # An engine of the test's own, on its clone.
            for redirect in self._redirects:
                if redirect.is_at(place):
                    return info, redirect
        return info, None


def _is_in_transaction(connection: Any) -> bool:
    """Whether a connection has a transaction to end; true where its driver does not say.

    Python's own for SQLite begins none for a statement that makes a table, or begins with WITH.
    """
    with contextlib.suppress(Exception):
        return bool(connection.driver_connection.in_transaction)
    return True
