"""PostgreSQL's part of the guard: what engines, and drivers past them, connect to."""

from __future__ import annotations

import contextlib
import functools
import importlib
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from alembic_snapshot.database.identity import server_place
from alembic_snapshot.postgres.database import ServerDatabase

Refuse = Callable[[str], None]


class ServerGuard:
    """Lets connections through to one database of the server, and to no other of any server.

    The name under which a database is built is nobody else's, so that it alone tells.
    """

    def __init__(self, target: ServerDatabase, refuse: Refuse):
        self.target = target
        self._refuse = refuse
        self._is_own_work = False
        self._records: weakref.WeakSet[Any] = weakref.WeakSet()

    def install(self) -> None:
        """Watch the drivers that are installed; it can't be undone."""
        from sqlalchemy import event
        from sqlalchemy.pool import Pool

        event.listen(Pool, "connect", lambda _connection, record: self._records.add(record))
        for name, owners in _DRIVERS.items():
            try:
                module: Any = importlib.import_module(name)
            except ImportError:
                continue
            for owner in owners:
                holder = getattr(module, owner) if owner else module
                holder.connect = self._watched(name, holder.connect)

    @contextlib.contextmanager
    def own_work(self) -> Iterator[None]:
        """While the builder itself asks the server for something; idle connections are closed."""
        for record in list(self._records):
            if not record.in_use:
                with contextlib.suppress(Exception):
                    record.invalidate()
        self._is_own_work = True
        try:
            yield
        finally:
            self._is_own_work = False

    def allows(self, place: Mapping[str, Any]) -> bool:
        """Whether the arguments of a connection lead to the target."""
        return self._is_own_work or self.database_of(place) == self.target.name

    def database_of(self, place: Mapping[str, Any]) -> str:
        """The name of the database that a connection's arguments lead to."""
        led = server_place(place)
        return f"of {led.host}" if led.is_unknown else led.name

    def _watched(self, driver: str, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def connect(*arguments: Any, **options: Any) -> Any:
            place = place_of(driver, arguments, options)
            if not self.allows(place):
                self._refuse(f"the PostgreSQL database {self.database_of(place)!r}")
            return original(*arguments, **options)

        return connect


# Where each driver's connections begin. SQLAlchemy calls these too.
_DRIVERS: dict[str, tuple[str, ...]] = {
    "psycopg": ("", "Connection", "AsyncConnection"),
    "psycopg2": ("",),
    "asyncpg": ("",),
}


def place_of(driver: str, arguments: tuple[Any, ...], options: Mapping[str, Any]) -> dict[str, Any]:
    """A driver's arguments by name. The connection string has those that are not given."""
    given = [value for value in arguments if isinstance(value, str)]
    given += [options[name] for name in ("conninfo", "dsn") if isinstance(options.get(name), str)]
    text = given[0] if given else ""
    parsed: dict[str, Any] = {}
    if driver == "asyncpg":
        url = urlsplit(text)
        asked = dict(parse_qsl(url.query))
        path = unquote(url.path.lstrip("/"))
        parsed = {"dbname": path or asked.get("database") or asked.get("dbname")}
        parsed |= {name: asked[name] for name in ("service", "servicefile") if name in asked}
    elif text:
        from psycopg.conninfo import conninfo_to_dict

        parsed = dict(conninfo_to_dict(text))
    own = {name: value for name, value in options.items() if value is not None}
    if "database" in own:
        own["dbname"] = own.pop("database")
    return {**parsed, **own}
