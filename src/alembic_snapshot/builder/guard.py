"""Which database a connection may reach while a snapshot is built. Installed in the builder only.

SQLAlchemy's class-level ``do_connect`` event sees every engine, sync and async, and can send it
elsewhere. Python's audit events (PEP 578) see what goes past it on SQLite: raw ``sqlite3``, an
engine's ``creator``, aiosqlite; and an authorizer on each connection sees ``ATTACH``. A connection
that was redirected is marked, so that whoever takes it from its pool later, or finds it open, is
known to ask for another database.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from alembic_snapshot.builder.redirected import RedirectedName, mark, place_of
from alembic_snapshot.database.identity import Place, file_place, server_place
from alembic_snapshot.errors import GuardError
from alembic_snapshot.project import unsupported
from alembic_snapshot.project.callsite import Callsites
from alembic_snapshot.sqlite.database import opened_file
from alembic_snapshot.store.manifest import REDIRECTED

if TYPE_CHECKING:
    from alembic_snapshot.builder.server_guard import ServerGuard
    from alembic_snapshot.builder.target import BuilderTarget

_connect = sqlite3.connect
# What a pool does with a connection that it takes back, whoever runs then, and what asks nothing.
_BOUNDARIES = (sqlite3.SQLITE_TRANSACTION, sqlite3.SQLITE_SAVEPOINT)


# Where the arguments of sqlite3.connect() have the connection's class.
_FACTORY = 5


@dataclass
class Guard:
    """Keeps connections away from any database but ``target``.

    ``running`` is what runs at the moment: a revision or a seed by name, or None while it is
    ``env.py``, whose connections are redirected to the target if ``redirect`` is true;
    ``databases`` are those that they would have gone to. Of these, revisions may open again what
    ``env.py`` migrates, and use no other.
    """

    target: BuilderTarget
    sites: Callsites
    redirect: bool
    running: str | None = None
    refused: list[str] = field(default_factory=list)
    redirected: list[str] = field(default_factory=list)
    databases: list[Place] = field(default_factory=list)
    _allowed: set[str] = field(default_factory=set)
    _targets: set[Place | None] = field(default_factory=set)
    _reopens: bool = False
    _server: ServerGuard | None = None

    def install(self) -> None:
        """Watch every connection from now on; it can't be undone."""
        from sqlalchemy import Engine, event
        from sqlalchemy.pool import Pool

        self._server = self.target.server_guard(self._refuse)
        if self._server is None:
            self._allowed.add(os.path.realpath(self.target.target.name))
        else:
            self._server.install()
        event.listen(Engine, "do_connect", self._on_do_connect)
        event.listen(Pool, "checkout", self._on_checkout)
        event.listen(Engine, "before_cursor_execute", self._on_execute)
        sys.addaudithook(self._on_audit)
        # The event sqlite3.connect/handle comes before a connection takes an authorizer.
        sqlite3.connect = sqlite3.dbapi2.connect = self._connect_with_authorizer  # type: ignore[assignment]

    @contextlib.contextmanager
    def own_work(self, *names: str) -> Iterator[None]:
        """While the builder itself works on databases of its own, by name."""
        if self._server is not None:
            with self._server.own_work():
                yield
            return
        own = {os.path.realpath(name) for name in names} - self._allowed
        self._allowed |= own
        try:
            yield
        finally:
            self._allowed -= own

    @contextlib.contextmanager
    def script(self, name: str, *, reopens: bool = False) -> Iterator[None]:
        """While a revision or a seed runs, refuse where ``env.py`` would be redirected.

        With ``reopens`` it may ask again for what ``env.py`` migrates.
        """
        before = self.running, self._reopens
        self.running, self._reopens = name, reopens
        try:
            yield
        finally:
            self.running, self._reopens = before

    def migrates(self, connection: Any) -> bool:
        """Be told the connection that ``env.py`` gave to ``context.configure()``.

        False if it is to a database in memory, which is one beside the snapshot's.

        Raises:
            GuardError: it is another database than the one that was told before.
        """
        place, is_beside = None, False
        # It may be closed, or no connection at all: what comes of that is Alembic's to say.
        with contextlib.suppress(Exception):
            place = place_of(connection)
            is_beside = connection.dialect.name == "sqlite" and not opened_file(
                connection.connection
            )
        if is_beside:
            return False
        self._targets.add(place)
        if len(self._targets) > 1:
            raise GuardError(
                f"it migrates several databases, {self._listed()}, and a snapshot is one",
                hint="let the others be in memory, sqlite://, or leave them out: with a section of "
                "Alembic's configuration, a variable in environment, or another context",
            )
        return True

    def _listed(self) -> str:
        named = sorted(self._text(place) for place in self._targets if place)
        return " and ".join([*["the snapshot's"] * (None in self._targets), *named])

    def _on_do_connect(
        self, dialect: Any, record: Any, cargs: list[Any], cparams: dict[str, Any]
    ) -> None:
        mark(record, None)
        if self._server is not None and dialect.name == "postgresql":
            if not self._server.allows(cparams):
                place = server_place(cparams)
                self._redirect(place, repr(self._server.database_of(cparams)), record)
                self._server.target.rewrite_connect_args(dialect, cargs, cparams)
            return
        if dialect.name != "sqlite":
            other = unsupported.title(dialect.name)
            which = f"{other} is not supported, and " if other else ""
            name = other or dialect.name
            self._refuse(f"a {name} database", f"{which}the snapshot is {self._kind}")
        name = cargs[0] if cargs else cparams.get("database", "")
        if self._is_allowed(name):
            return
        if self._server is not None:
            self._refuse(f"{name!r}, a SQLite file", f"the snapshot is {self._kind}")
        place = file_place(name)
        self._redirect(place, repr(name), record, may=bool(cargs))
        cargs[0] = RedirectedName(self.target.target.name, place)

    def _on_checkout(self, _connection: Any, record: Any, _proxy: Any) -> None:
        if self.running and (place := self._other(place_of(record))):
            self._refuse(self._text(place))

    def _on_execute(self, connection: Any, *_arguments: Any) -> None:
        # One that is still open when a script begins is in no pool to be taken from.
        if self.running and (place := self._other(place_of(connection))):
            raise GuardError(self._note_use(place) + ": only the snapshot may be used")

    def _other(self, place: Place | None) -> Place | None:
        """The place, if it is another database to the script that runs."""
        return None if self._reopens and place in self._targets else place

    def _text(self, place: Place) -> str:
        return place.text(self.sites.root)

    @property
    def _kind(self) -> str:
        return "a SQLite file" if self._server is None else "on PostgreSQL"

    def _redirect(self, place: Place, shown: str, record: Any, *, may: bool = True) -> None:
        """Note that a connection is redirected; refuse it if it must not be."""
        if not may or (self._other(place) if self.running else not self.redirect):
            self._refuse(shown)
        mark(record, place)
        if not self.running:
            self.databases.append(place)
            self.redirected.append(f"{self.sites.current()} connects to {shown}, {REDIRECTED}")

    def _on_audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "sqlite3.connect":
            (name,) = arguments
            if not self._is_allowed(name):
                self._refuse(repr(os.fsdecode(name)))

    def _connect_with_authorizer(self, *arguments: Any, **options: Any) -> sqlite3.Connection:
        place = getattr(arguments[0] if arguments else None, "place", None)
        if place is None:
            name = arguments[0] if arguments else options.get("database")
            kind = options.get("factory", sqlite3.Connection)
            if len(arguments) <= _FACTORY and isinstance(kind, type) and _is_in_memory(name):
                options["factory"] = _deserializing(kind, self._authorize)
            connection: sqlite3.Connection = _connect(*arguments, **options)
            connection.set_authorizer(self._authorize)
            return connection
        # A statement that is kept prepared is not authorized again.
        options["cached_statements"] = 0
        connection = _connect(*arguments[:6], **options)
        connection.set_authorizer(functools.partial(self._authorize_redirected, place))
        return connection

    def _authorize_redirected(self, place: Place, action: int, *arguments: Any) -> int:
        if self.running and action not in _BOUNDARIES and self._other(place):
            self._note_use(place)
            return sqlite3.SQLITE_DENY
        return self._authorize(action, *arguments)

    def _authorize(
        self, action: int, name: str | None, _second: Any, _database: Any, _trigger: Any
    ) -> int:
        if action != sqlite3.SQLITE_ATTACH:
            return sqlite3.SQLITE_OK
        # VACUUM attaches a file without a name; a name that was bound arrives as None.
        if name is not None and self._is_allowed(name):
            return sqlite3.SQLITE_OK
        self._note(f"to attach {repr(name) if name else 'a database'}")
        return sqlite3.SQLITE_DENY

    def _is_allowed(self, database: Any) -> bool:
        place = file_place(database)
        return place.is_memory or place.name in self._allowed

    def _refuse(self, what: str, why: str = "only the snapshot may be opened") -> None:
        raise GuardError(self._note(f"to connect to {what}") + f": {why}")

    def _note(self, attempt: str) -> str:
        who = f"{self.running}, " if self.running else ""
        line = f"{who}{self.sites.current()} tried {attempt} while the snapshot was built"
        self.refused.append(line)
        return line

    def _note_use(self, place: Place) -> str:
        return self._note(f"to use a connection to {self._text(place)} that was open")


def _is_in_memory(name: Any) -> bool:
    return isinstance(name, str | bytes | os.PathLike) and file_place(name).is_memory


def _deserializing(kind: type, authorize: Any) -> type:
    """The class of a connection to memory, that may be given a database as bytes.

    SQLite attaches that under the name of a file which it does not open.
    """

    def deserialize(connection: Any, data: Any, /, *, name: str = "main") -> None:
        connection.set_authorizer(None)
        try:
            kind.deserialize(connection, data, name=name)  # type: ignore[attr-defined]
        finally:
            connection.set_authorizer(authorize)

    return type(kind.__name__, (kind,), {"deserialize": deserialize, "__module__": kind.__module__})
