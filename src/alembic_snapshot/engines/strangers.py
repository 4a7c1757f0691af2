"""Connections that are not to a configured engine's database: refused, or noted."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic_snapshot.database.identity import Place, file_place, server_place
from alembic_snapshot.engines.notices import Notices
from alembic_snapshot.errors import EngineError
from alembic_snapshot.sqlite.database import opened_file

if TYPE_CHECKING:
    from alembic_snapshot.engines.redirect import EngineRedirect

# How the names of this library's databases on a server begin.
_OURS = "alembic_"


class Strangers:
    """Decides on databases that no redirect has. ``temporary`` tells pytest's temporary folder."""

    def __init__(
        self,
        redirects: Sequence[EngineRedirect],
        notices: Notices,
        temporary: Callable[[], Path | None],
    ):
        self._redirects = redirects
        self._notices = notices
        self._temporary = temporary

    def meet(self, place: Place) -> None:
        """Refuse a connection to a database of the migrations, or to one that may be; note others.

        Raises:
            DatabaseNotRequested, EngineError: it is refused.
        """
        __tracebackhide__ = True
        concerned = [p for p in self._redirects if p.project.backend == place.kind]
        if concerned and not place.is_memory and not self._is_ours(place):
            self._refuse(concerned, place)
        for redirect in concerned:
            if (
                redirect.clone is not None
                and not redirect.is_in_use
                and place not in redirect.strays
            ):
                redirect.strays[place] = self._notices.callsites.here()

    def attach(self, redirect: EngineRedirect, file: Any) -> None:
        """Refuse a file that is about to be attached to a clone; None if it can't be told which.

        Raises:
            EngineError: it is refused.
        """
        __tracebackhide__ = True
        place = None if file is None else file_place(file)
        if place is None or not (
            place.is_memory or self._is_ours(place) or place.below(self._temporary())
        ):
            self._notices.attached(redirect.project, place)

    def _refuse(self, concerned: Sequence[EngineRedirect], place: Place) -> None:
        __tracebackhide__ = True
        is_asked = any(redirect.clone is not None for redirect in concerned)
        for redirect in concerned:
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
            return place.name.startswith(_OURS)
        clones = (p.clone.place for p in self._redirects if p.clone is not None)
        if any(place.name == os.path.realpath(path) for path in clones if path is not None):
            return True
        return any(place.below(redirect.project.store) for redirect in self._redirects)


def open_place(connection: Any) -> Place | None:
    """The database that an open connection has; None if that can't be known."""
    driver = getattr(connection, "driver_connection", connection)
    modules = [kind.__module__ for kind in type(driver).__mro__]
    if any(name.startswith(("sqlite3", "aiosqlite")) for name in modules):
        return file_place(opened_file(connection))
    info = getattr(driver, "info", None)
    if info is None or not any(name.startswith("psycopg") for name in modules):
        return None
    return server_place({"host": info.host, "port": info.port, "dbname": info.dbname})
