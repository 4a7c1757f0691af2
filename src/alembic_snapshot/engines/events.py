"""SQLAlchemy's events, heard on behalf of every database of the project; in test processes only.

``do_connect`` says where a connection is about to go and can send it elsewhere. Nothing is
imported: it starts when somebody imports SQLAlchemy.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from alembic_snapshot.database.identity import Place, file_place, places_of
from alembic_snapshot.engines.held import Held
from alembic_snapshot.engines.importing import when_imported
from alembic_snapshot.engines.known import Known
from alembic_snapshot.engines.loops import Loop
from alembic_snapshot.engines.notices import Notices
from alembic_snapshot.engines.recorder import Recorder
from alembic_snapshot.engines.redirect import EngineRedirect, TrackedConnection, leave
from alembic_snapshot.engines.strangers import Strangers, open_place
from alembic_snapshot.engines.untouched import Untouched
from alembic_snapshot.errors import EngineError
from alembic_snapshot.project.callsite import Callsites
from alembic_snapshot.sqlite.attaching import Asking, watch_attaching
from alembic_snapshot.sqlite.reset.connections import is_watchable

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.orm import Session

    from alembic_snapshot.project.config import Project
    from alembic_snapshot.store.manifest import Manifest

# In a connection's info: it was heard of when it was made, and is no redirect's; where it went.
_HEARD = "alembic_snapshot"


class EngineEvents:
    """Hears of connections and sessions, and hands each to the redirect whose database it is.

    ``temporary`` tells pytest's temporary folder, and ``began`` is when the run did. Calls in
    references give the same object to each redirect, and ``loop`` runs what has to be awaited where
    no loop is running.
    """

    def __init__(self, root: Path, temporary: Callable[[], Path | None], began: float):
        self.callsites = Callsites(root)
        self.redirects: list[EngineRedirect] = []
        self.notices = Notices(self.callsites, temporary)
        self.loop = Loop()
        self._calls: dict[str, Any] = {}
        self._recorder = Recorder(self.redirects, self.callsites, _HEARD, self._check_turn)
        self.held = Held(self.redirects, self.callsites, self._recorder.added.on_sent)
        self._temporary = temporary
        self.untouched = Untouched(began)
        self._strangers = Strangers(self.redirects, self.notices, temporary, self.untouched)
        self._undo: list[Callable[[], None]] = []
        self._heard: set[tuple[Any, str, Callable[..., None]]] = set()

    def redirect(self, project: Project, built: Callable[[], Sequence[Manifest]]) -> EngineRedirect:
        """A redirect for one more database; ``built`` are the manifests of its snapshots."""
        known = Known(project, built)
        self.redirects.append(EngineRedirect(project, self.loop, self._calls, known, self.held))
        return self.redirects[-1]

    @property
    def temporary(self) -> Path | None:
        """Pytest's temporary folder."""
        return self._temporary()

    def is_temporary(self, file: str) -> bool:
        """Whether a file is in pytest's temporary folder."""
        return file_place(file).below(self.temporary)

    def listen(self) -> None:
        """Listen to the copy of SQLAlchemy that is there now, and to its ORM once that is."""
        from sqlalchemy import Engine
        from sqlalchemy.pool import Pool

        self._hear(Engine, "do_connect", self._on_do_connect)
        self._hear(Pool, "connect", self._on_connect)
        self._hear(Pool, "checkout", self._on_checkout)
        self._recorder.listen(self._hear)
        self._undo.append(when_imported("sqlalchemy.orm", self._listen_to_sessions))

    def uninstall(self) -> None:
        """Stop listening."""
        while self._undo:
            self._undo.pop()()
        self._heard.clear()
        self._recorder.release()

    def _listen_to_sessions(self) -> None:
        from sqlalchemy.orm import Session

        self._hear(Session, "after_begin", self._on_begin)
        self.held.listen(self._hear)
        self._recorder.added.listen(self._hear)

    def _hear(self, target: Any, name: str, function: Callable[..., None]) -> None:
        from sqlalchemy import event

        heard = target, name, function
        if heard not in self._heard:
            self._heard.add(heard)
            event.listen(*heard)
            self._undo.append(lambda: event.remove(*heard))

    def _on_do_connect(
        self, dialect: Any, record: Any, cargs: list[Any], cparams: dict[str, Any]
    ) -> None:
        __tracebackhide__ = True
        redirect = self._redirect_of(dialect, cparams)
        if redirect is None:
            places = places_of(dialect.name, cargs, cparams)
            redirect = self._redirect_of_any(places, dialect)
            if redirect is None:
                if record is not None:
                    record.info[_HEARD] = places[0] if places else True
                if dialect.name == "sqlite" and is_watchable(dialect):
                    cparams.setdefault("factory", Asking)
                for place in places:
                    self._check_turn_at(place)
                    self._strangers.meet(place)
                    if any(one.is_at(place) for one in self.redirects):
                        # An engine of the test's own, on its clone.
                        self._recorder.watch(dialect)
                return
        # Looked at once: a thread may be here while its test ends.
        clone = redirect.clone
        self._check_turn(redirect)
        if clone is None:
            self._not_requested(redirect)
        with self.notices.noting():
            redirect.rewrite_connect_args(clone, dialect, record, cargs, cparams)
        if clone is not None:
            self._recorder.watch(dialect)

    def _on_connect(self, connection: Any, record: Any) -> None:
        __tracebackhide__ = True
        tracked = record.info.get(TrackedConnection)
        if tracked is not None:
            if tracked.clone is not None and tracked.clone is not tracked.redirect.clone:
                # Its test ended meanwhile, and it may have gone anywhere.
                self._refuse(tracked.redirect)
            with self.notices.noting():
                tracked.redirect.greet(connection, tracked)
            if tracked.clone is not None and tracked.clone.place is not None:
                watch_attaching(
                    connection, functools.partial(self._strangers.attach, tracked.redirect)
                )
            return
        # What it was going to be opened for may not be what it has: an engine with a creator does
        # not ask, listeners change arguments, and a server has many names.
        asked, place = record.info.get(_HEARD), open_place(connection)
        if asked is None:
            redirect = self._redirect_of_pool(record) or self._redirect_of_open(place)
            if redirect is not None:
                self._refuse_creator(redirect)
        elif place is not None and not (isinstance(asked, Place) and place.is_same(asked)):
            # A dialect of another name may use a driver that we know.
            self._meet_hidden(place, connection)
        else:
            place = asked
        if isinstance(place, Place) and place.kind == "sqlite":
            watch_attaching(connection, functools.partial(self._meet_attached, place.kind))
        record.info[_HEARD] = place or True

    def _on_checkout(self, connection: Any, record: Any, _proxy: Any) -> None:
        __tracebackhide__ = True
        info = record.info
        tracked = info.get(TrackedConnection)
        if tracked is not None:
            self._check_turn(tracked.redirect)
            if tracked.was_taken and self._is_let_through(tracked.redirect):
                # An earlier test has opened it.
                self._not_requested(tracked.redirect)
            tracked.thread = threading.get_ident()
            if tracked.is_elsewhere:
                leave(record)
            if tracked.is_elsewhere or tracked.clone is not tracked.redirect.clone:
                self._refuse(tracked.redirect)
            tracked.redirect.take(connection, tracked, info)
            tracked.site = self.callsites.here()
            return
        if _HEARD not in info:
            self._meet(connection, info)
        if isinstance(info[_HEARD], Place):
            self._check_turn_at(info[_HEARD])
            for redirect in filter(self._is_let_through, self.redirects):
                # It has a creator, or was opened before anybody listened.
                if redirect.engines.names(info[_HEARD]):
                    self._not_requested(redirect)
                    return
            self._strangers.meet(info[_HEARD])

    @staticmethod
    def _is_let_through(redirect: EngineRedirect) -> bool:
        """Whether a test that did not ask gets a connection, and a warning."""
        return redirect.clone is None and not redirect.is_guarding

    def _check_turn(self, redirect: EngineRedirect) -> None:
        """Refuse a forked child whose clone was taken back by its parent."""
        __tracebackhide__ = True
        if redirect.is_left_behind and redirect.clone is not None:
            self.notices.left_behind(redirect.project, redirect.engines.name)

    def _check_turn_at(self, place: Place) -> None:
        """The same, where a child's engine is the test's own."""
        __tracebackhide__ = True
        for redirect in self.redirects:
            if redirect.is_left_behind and redirect.is_at(place):
                self._check_turn(redirect)

    def _not_requested(self, redirect: EngineRedirect) -> None:
        __tracebackhide__ = True
        engines = redirect.engines
        if redirect.is_left_behind:
            self.notices.left_out(redirect.project, engines.name)
            return
        self.notices.not_requested(
            redirect.project, engines.name, is_import=engines.configured.is_looked_up
        )

    def _refuse(self, redirect: EngineRedirect) -> None:
        """Keep a connection to an earlier test's clone out of its pool's users' hands."""
        __tracebackhide__ = True
        if redirect.clone is None and redirect.is_guarding:
            self._not_requested(redirect)
        from sqlalchemy.exc import DisconnectionError

        # The pool throws it away and makes another, which goes where it should.
        raise DisconnectionError("opened in an earlier test")

    def _meet(self, connection: Any, info: dict[Any, Any]) -> None:
        """Look at a connection that was opened before anybody listened."""
        place = open_place(connection)
        redirect = self._redirect_of_open(place)
        if redirect is not None and (redirect.clone is not None or redirect.is_guarding):
            from sqlalchemy.exc import DisconnectionError

            # The pool throws it away and makes another, which does ask.
            raise DisconnectionError("opened before the tests began")
        info[_HEARD] = place or True

    def _on_begin(self, session: Session, _transaction: Any, connection: Any) -> None:
        __tracebackhide__ = True
        tracked = connection.info.get(TrackedConnection)
        self._recorder.added.begin(session, connection)
        if tracked is not None and tracked.clone is not None:
            tracked.redirect.sessions.add(session)
        elif tracked is None:
            self._check_doubted(session)
            # Its connection may have been taken before the test began.
            if isinstance(connection.info.get(_HEARD), Place):
                self._strangers.meet(connection.info[_HEARD])

    def _check_doubted(self, session: Session) -> None:
        """Refuse a session that goes elsewhere. Its engine was not known before it connected."""
        __tracebackhide__ = True
        for redirect in self.redirects:
            if session in redirect.doubted:
                error = EngineError(
                    f"{self.notices.here()}: a session of {redirect.project.sessionmaker!r} went "
                    "to another database than the test's clone",
                    hint="name the engine that it is bound to in engine in [tool.alembic-snapshot]",
                )
                self.notices.refuse(redirect.project, error)

    def _refuse_creator(self, redirect: EngineRedirect) -> None:
        __tracebackhide__ = True
        if redirect.clone is not None or redirect.is_guarding:
            self.notices.has_creator(redirect.project, redirect.engines.name)

    def _meet_hidden(self, place: Place, connection: Any) -> None:
        """Look at a connection that is open on another database than it asked for."""
        __tracebackhide__ = True
        redirect = self._redirect_of_open(place)
        try:
            if redirect is None:
                self._strangers.meet(place)
            elif redirect.clone is not None:
                self.notices.hidden(redirect.project, redirect.engines.name, place)
            else:
                self._not_requested(redirect)
        except BaseException:
            with contextlib.suppress(Exception):
                getattr(connection, "terminate", connection.close)()
            raise

    def _meet_attached(self, kind: str, file: Any) -> None:
        """Look at a file that is about to be attached to a connection outside any clone."""
        __tracebackhide__ = True
        place = None if file is None else file_place(file)
        redirect = self._redirect_of_open(place)
        guarded = [p for p in self.redirects if p.project.backend == kind]
        if redirect is not None or (place is None and guarded):
            guarding = redirect or guarded[0]
            self.notices.attached(guarding.project, place, "a connection, past the test's clone")
        elif place is not None:
            self._strangers.meet(place)

    def _redirect_of(self, dialect: Any, cparams: dict[str, Any]) -> EngineRedirect | None:
        """The redirect whose engine connects."""
        for redirect in self.redirects:
            if redirect.engines.own(dialect) or redirect.has_altered(cparams):
                return redirect
        return self._redirect_with(dialect)

    def _redirect_of_pool(self, record: Any) -> EngineRedirect | None:
        """The redirect whose engine has a pool's connection, whatever it asks or does not ask."""
        # Not public; the pool that an engine had before has its dialect, too.
        return self._redirect_with(record._ConnectionRecord__pool._dialect)

    def _redirect_with(self, dialect: Any) -> EngineRedirect | None:
        """The redirect whose engine has that dialect."""
        own = (p for p in self.redirects if p.engines.own(dialect))
        # A name may be another database's engine by now.
        former = (p for p in self.redirects if p.engines.owned(dialect))
        return next(itertools.chain(own, former), None)

    def _redirect_of_any(self, places: Sequence[Place], dialect: Any) -> EngineRedirect | None:
        """The redirect whose engine names one of these databases."""
        known = (self._redirect_to(place) for place in places)
        looked = (self._redirect_after_a_look(place, dialect) for place in places)
        return next(
            (redirect for redirect in itertools.chain(known, looked) if redirect is not None), None
        )

    def _redirect_to(self, place: Place | None) -> EngineRedirect | None:
        """The redirect whose engine names that database."""
        return next((p for p in self.redirects if p.engines.names(place)), None)

    def _redirect_of_open(self, place: Place | None) -> EngineRedirect | None:
        """The redirect for the database of an open connection; none for one in memory."""
        if place is None or place.is_memory:
            return None
        return self._redirect_to(place) or self._redirect_after_a_look(place, None)

    def _redirect_after_a_look(self, place: Place | None, dialect: Any) -> EngineRedirect | None:
        """The same, once the configured engines that nobody has imported are loaded."""
        if place is None or place.is_memory:
            return None
        for redirect in self.redirects:
            if redirect.project.backend == place.kind:
                # Whoever decides on what is nobody's asks for the error again.
                with contextlib.suppress(EngineError):
                    redirect.engines.configured.verify(final=False)
        return next(
            (p for p in self.redirects if p.engines.own(dialect)), None
        ) or self._redirect_to(place)
