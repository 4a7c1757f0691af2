"""Objects that sessions were given, or that were changed, and that they never sent to a database.

Green tests pay for it: what is kept of an object is two references, until it is sent.
"""

from __future__ import annotations

import contextlib
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from alembic_snapshot.checks import number
from alembic_snapshot.project.callsite import Writer

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

# How the ends of sessions are told that had something.
CLOSED, GONE = "a session was closed", "a session was garbage collected"
_WAYS = {"new": "added", "dirty": "changed", "deleted": "deleted"}
# Functions of SQLAlchemy's with which somebody lets go of work on purpose.
_ON_PURPOSE = ("rollback", "expunge", "expunge_all")
_FRAMES = 40
_SHOWN_LINES = 3


class Lost(NamedTuple):
    """An object that a session had when it ended: how that was, and the line that added it.

    ``engine`` is where it would have gone, if that is known.
    """

    how: str
    engine: Any
    writer: Writer | None


class _Given:
    """The objects of one session that are not sent yet, by their ids, and who added each."""

    def __init__(self, bind: Any):
        self.bind = bind
        self.objects: dict[int, tuple[Any, Writer | None]] = {}


class Unsent:
    """Hears of all sessions. ``writer`` finds the line that is running.

    ``on_lost`` is told what a session had when it was closed or garbage collected. A rollback that
    is asked for is no loss, nor is what an exception ends: whoever did it knows. ``on_sent`` is
    told of each object that is sent, with the line that added it.
    """

    def __init__(
        self,
        writer: Callable[[], Writer | None],
        on_lost: Callable[[Lost], None],
        on_sent: Callable[[Session, Any, Writer | None], None] | None = None,
    ):
        self._writer = writer
        self._on_lost = on_lost
        self._told = on_sent
        self._given: dict[weakref.ref[Session], _Given] = {}

    def listen(self, hear: Callable[[Any, str, Callable[..., None]], None]) -> None:
        """Listen by way of ``hear``."""
        from sqlalchemy.orm import Session

        hear(Session, "transient_to_pending", self._on_added)
        hear(Session, "pending_to_persistent", self._on_sent)
        hear(Session, "pending_to_transient", self._on_let_go)
        hear(Session, "persistent_to_detached", self._on_detached)

    def lines(self, session: Session, spell: Callable[[Writer], str]) -> Iterator[str]:
        """What a session holds that was never sent, as a line; ``spell`` spells who added it."""
        with contextlib.suppress(Exception):
            given = self._given.get(weakref.ref(session))
            writers = [writer for _, writer in given.objects.values()] if given else []
            counts = {way: len(getattr(session, name)) for name, way in _WAYS.items()}
            found = [f"{number(n, 'object')} {way}" for way, n in counts.items() if n]
            if counts["added"]:
                found[0] += _places(writers, spell)
            if found:
                yield f"not flushed: a session has {', '.join(found)}"

    def sessions(self) -> list[Session]:
        """The sessions that have objects which they have not sent."""
        found = [(reference(), given) for reference, given in list(self._given.items())]
        return [session for session, given in found if session is not None and given.objects]

    def _on_added(self, session: Session, instance: Any) -> None:
        given = self._given.get(weakref.ref(session))
        if given is None:
            given = self._given[weakref.ref(session, self._on_gone)] = _Given(session.bind)
        given.objects[id(instance)] = instance, self._writer()

    def _on_sent(self, session: Session, instance: Any) -> None:
        writer = self._taken(session, instance)
        if self._told is not None:
            self._told(session, instance, writer)

    def _on_let_go(self, session: Session, instance: Any) -> None:
        writer = self._taken(session, instance)
        if not is_on_purpose():
            self._on_lost(Lost(CLOSED, engine_of(session, instance), writer))

    def _on_detached(self, session: Session, instance: Any) -> None:
        if instance._sa_instance_state.modified and not is_on_purpose():
            self._on_lost(Lost(CLOSED, engine_of(session, instance), None))

    def _on_gone(self, reference: weakref.ref[Session]) -> None:
        given = self._given.pop(reference, None)
        if given is not None and given.objects and sys.exc_info()[0] is None:
            engine = getattr(given.bind, "engine", None)
            for _, writer in given.objects.values():
                self._on_lost(Lost(GONE, engine, writer))

    def _taken(self, session: Session, instance: Any) -> Writer | None:
        given = self._given.get(weakref.ref(session))
        return given.objects.pop(id(instance), (None, None))[1] if given is not None else None


def lost_lines(lost: Iterable[Lost], spell: Callable[[Writer], str]) -> Iterator[str]:
    """What sessions had when they ended, a line for each way in which they did."""
    lost = list(lost)
    for how in (CLOSED, GONE):
        found = [one for one in lost if one.how == how]
        if found:
            places = _places([one.writer for one in found], spell)
            yield f"{how} with {number(len(found), 'object')} that it never sent{places}"


def engine_of(session: Session, instance: Any) -> Any:
    """The engine that a session would send an object to; None if that can't be known here."""
    if session.bind is not None:
        return session.bind.engine
    # The application may find it only in a context.
    with contextlib.suppress(Exception):
        return session.get_bind(type(instance)).engine
    return None


def is_on_purpose() -> bool:
    """Whether somebody asked SQLAlchemy to let go of work, or an exception is on its way."""
    if sys.exc_info()[0] is not None:
        return True
    frame = sys._getframe(1)
    for _ in range(_FRAMES):
        name = frame.f_globals.get("__name__", "")
        if name.startswith("sqlalchemy.") and frame.f_code.co_name in _ON_PURPOSE:
            # Closing a session expunges everything by a function of that name.
            before = frame.f_back
            if before is None or before.f_code.co_name not in ("_close_impl", "close"):
                return True
        if frame.f_back is None:
            return False
        frame = frame.f_back
    return False


def _places(writers: Iterable[Writer | None], spell: Callable[[Writer], str]) -> str:
    """The lines that added objects, in brackets; nothing if none is known."""
    places = list(dict.fromkeys(spell(one) for one in writers if one is not None))
    if places[_SHOWN_LINES:]:
        places[_SHOWN_LINES:] = ["…"]
    return f" ({', '.join(places)})" if places else ""
