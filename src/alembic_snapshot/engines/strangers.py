"""Connections that are not to a configured engine's database: refused, or noted."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic_snapshot.database.identity import Place, address_of, file_place, server_place_at
from alembic_snapshot.engines.notices import Notices
from alembic_snapshot.engines.untouched import Untouched
from alembic_snapshot.errors import EngineError
from alembic_snapshot.postgres import databases
from alembic_snapshot.project.places import is_in_store
from alembic_snapshot.sqlite.database import opened_file

if TYPE_CHECKING:
    from alembic_snapshot.engines.redirect import EngineRedirect


class Strangers:
    """Decides on databases that no redirect has. ``temporary`` tells pytest's temporary folder.

    Files that are opened are told to ``untouched``.
    """

    def __init__(
        self,
        redirects: Sequence[EngineRedirect],
        notices: Notices,
        temporary: Callable[[], Path | None],
        untouched: Untouched,
    ):
        self._redirects = redirects
        self._notices = notices
        self._temporary = temporary
        self._untouched = untouched

    def meet(self, place: Place) -> None:
        """Refuse a connection to a database of the migrations, or to one that may be; note others.

        Raises:
            DatabaseNotRequested, EngineError: it is refused.
        """
        __tracebackhide__ = True
        if not place.is_memory and not self._is_ours(place):
            self._refuse(place)
            if place.kind == "sqlite" and not place.below(self._temporary()):
                self._untouched.learn([place.name])
        # Whatever kind it is of: the test may have been led there by a variable that is not set.
        for redirect in self._redirects:
            if (
                redirect.clone is not None
                and not redirect.is_in_use
                and place not in redirect.strays
            ):
                redirect.strays[place] = self._notices.callsites.here()

    def attach(self, redirect: EngineRedirect, file: Any) -> None:
        """Refuse a file that is about to be attached to a clone; None if the file is not known.

        Raises:
            EngineError: it is refused.
        """
        __tracebackhide__ = True
        place = None if file is None else file_place(file)
        if place is None or not (
            place.is_memory or self._is_ours(place) or place.below(self._temporary())
        ):
            self._notices.attached(redirect.project, place)

    def _refuse(self, place: Place) -> None:
        __tracebackhide__ = True
        concerned = [p for p in self._redirects if p.project.backend == place.kind]
        is_asked = any(redirect.clone is not None for redirect in concerned or self._redirects)
        # Of whatever kind it is: tests on SQLite may have a server's database beside them.
        for redirect in self._redirects:
            why = redirect.known.why(place)
            if why is not None:
                self._notices.of_the_migrations(redirect.project, place, why, is_asked=is_asked)
                return
        if place.below(self._temporary()):
            return
        for redirect in concerned:
            try:
                redirect.engines.configured.verify(final=False)
            except EngineError as problem:
                self._notices.unknown(redirect.project, place, problem)
                return

    def _is_ours(self, place: Place) -> bool:
        """Whether it is a clone, or a snapshot."""
        if place.kind != "sqlite":
            return place.name.startswith(databases.ALL)
        # A thread may look while the clone is taken back.
        clones = (redirect.clone for redirect in self._redirects)
        paths = (clone.place for clone in clones if clone is not None)
        if any(place.name == os.path.realpath(path) for path in paths if path is not None):
            return True
        stores = {os.path.realpath(redirect.project.store) for redirect in self._redirects}
        return any(is_in_store(place.name, store) for store in stores)


def open_place(connection: Any) -> Place | None:
    """The database of an open connection; None if that can't be known."""
    driver = getattr(connection, "driver_connection", connection)
    modules = [kind.__module__ for kind in type(driver).__mro__]
    if any(name.startswith(("sqlite3", "aiosqlite")) for name in modules):
        return file_place(opened_file(connection))
    # What has been closed meanwhile, or is a driver's that we don't know, tells nothing.
    with contextlib.suppress(Exception):
        if any(name.startswith("psycopg") for name in modules):
            info = driver.info
            with socket.socket(fileno=os.dup(driver.fileno())) as connected:
                return _place_of(connected, info.dbname, info.host, info.port)
        if any(name.startswith("asyncpg") for name in modules):
            connected = driver._transport.get_extra_info("socket")
            at = driver._addr
            host, port = (os.path.dirname(at), 0) if isinstance(at, str) else at[:2]
            return _place_of(connected, driver._params.database, host, port)
    return None


def _place_of(connected: Any, name: str, host: str, port: int) -> Place:
    """The database at the other end of a socket, whatever it was called."""
    peer = connected.getpeername()
    if not isinstance(peer, tuple):
        port = int(str(peer).rpartition(".")[2]) if peer else port
        return server_place_at(host, port, name)
    here = address_of(peer[0]) == address_of(connected.getsockname()[0])
    return server_place_at("localhost" if here else address_of(peer[0]), peer[1], name)
