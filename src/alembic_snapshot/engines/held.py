"""The application's sessions: which are open on a database, and what they hold for it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from alembic_snapshot.database.identity import url_place
from alembic_snapshot.database.unsent import Lost, Unsent, lost_lines
from alembic_snapshot.engines.threads import Owned

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from alembic_snapshot.engines.redirect import EngineRedirect
    from alembic_snapshot.project.callsite import Callsites, Writer


class Held:
    """Hears of all sessions: those that never connected belong to no connection's redirect.

    ``on_sent`` is told of each object that is sent, with the line that added it.
    """

    def __init__(
        self,
        redirects: Sequence[EngineRedirect],
        callsites: Callsites,
        on_sent: Callable[[Session, Any, Writer | None], None],
    ):
        self._redirects = redirects
        self._callsites = callsites
        self._unsent = Unsent(callsites.writer, self._on_lost, on_sent)
        self._begun: Owned[Session] = Owned()

    def listen(self, hear: Callable[[Any, str, Callable[..., None]], None]) -> None:
        """Listen by way of ``hear``."""
        from sqlalchemy.orm import Session

        hear(Session, "after_transaction_create", self._on_transaction)
        self._unsent.listen(hear)

    def close_unconnected(self, redirect: EngineRedirect) -> None:
        """Empty the sessions on a database that were used, but never connected."""
        for session in self._unconnected(redirect):
            self._begun.discard(session)
            with contextlib.suppress(Exception):
                session.close()

    def lines(self, redirect: EngineRedirect) -> list[str]:
        """What sessions hold for a clone in use that was never sent there, a line each."""
        sessions = [*redirect.sessions.idle(), *self._unconnected(redirect)]
        return [line for one in sessions for line in self._unsent.lines(one, self._spelled)]

    def lost(self, redirect: EngineRedirect) -> list[str]:
        """What sessions had for a clone in use when they were closed or collected, a line each."""
        found = [one for one in redirect.lost if one.engine is None or _leads(one.engine, redirect)]
        return [f"not flushed: {line}" for line in lost_lines(found, self._spelled)]

    def _unconnected(self, redirect: EngineRedirect) -> Iterator[Session]:
        for session in self._begun.idle():
            if session not in redirect.sessions and any(
                _leads(engine, redirect) for engine in _engines_of(session)
            ):
                yield session

    def _on_transaction(self, session: Session, transaction: Any) -> None:
        if transaction.parent is None:
            self._begun.add(session)

    def _on_lost(self, lost: Lost) -> None:
        # It comes whenever Python collects garbage: whose it was is looked up later.
        for redirect in self._redirects:
            if redirect.clone is not None:
                redirect.lost.append(lost)

    def _spelled(self, writer: Writer) -> str:
        return self._callsites.text(writer[:2])


def _leads(engine: Any, redirect: EngineRedirect) -> bool:
    """Whether an engine leads to a redirect's clone: the application's, or one on the clone."""
    if redirect.engines.serves(engine):
        return True
    place = url_place(engine.url)
    return place is not None and redirect.is_at(place)


def _engines_of(session: Session) -> Iterator[Any]:
    """The engines that a session would connect with for itself and for what it holds."""
    if session.bind is not None:
        yield session.bind.engine
    for kind in {type(thing) for thing in session}:
        # It may be bound to none, or to one that the application finds only in a context.
        with contextlib.suppress(Exception):
            yield session.get_bind(kind).engine
