"""Which database a connection may reach while a snapshot is built. Installed in the builder only.

SQLAlchemy's class-level ``do_connect`` event sees every engine, sync and async, and can send it
elsewhere. Python's audit events (PEP 578) see what goes past it on SQLite: raw ``sqlite3``, an
engine's ``creator``, aiosqlite; and an authorizer on each connection sees ``ATTACH``.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

from alembic_snapshot.callsite import Callsites
from alembic_snapshot.databases import Place, file_place, server_place
from alembic_snapshot.errors import GuardError
from alembic_snapshot.sqlite.files import DatabaseFile

if TYPE_CHECKING:
    from alembic_snapshot.builder.server_guard import ServerGuard
    from alembic_snapshot.target import Target

_connect = sqlite3.connect


@dataclass
class Guard:
    """Keeps connections away from any database but ``target``.

    ``running`` is what runs at the moment: a revision or a seed by name, or None while it is
    ``env.py``, whose connections are redirected to the target if ``redirect`` is true;
    ``databases`` are those that they would have gone to.
    """

    target: Target
    sites: Callsites
    redirect: bool
    running: str | None = None
    refused: list[str] = field(default_factory=list)
    redirected: list[str] = field(default_factory=list)
    databases: list[Place] = field(default_factory=list)
    _allowed: set[str] = field(default_factory=set)
    _server: ServerGuard | None = None

    def install(self) -> None:
        """Watch every connection from now on; it can't be undone."""
        from sqlalchemy import Engine, event

        if isinstance(self.target, DatabaseFile):
            self._allowed.add(os.path.realpath(self.target.path))
        else:
            from alembic_snapshot.builder.server_guard import ServerGuard

            self._server = ServerGuard(self.target, self._refuse)  # type: ignore[arg-type]
            self._server.install()
        event.listen(Engine, "do_connect", self._on_do_connect)
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
    def script(self, name: str) -> Iterator[None]:
        """While a revision or a seed runs, refuse where ``env.py`` would be redirected."""
        before, self.running = self.running, name
        try:
            yield
        finally:
            self.running = before

    def _on_do_connect(
        self, dialect: Any, record: Any, cargs: list[Any], cparams: dict[str, Any]
    ) -> None:
        if self._server is not None and dialect.name == "postgresql":
            if not self._server.allows(cparams):
                self._redirected(repr(self._server.database_of(cparams)))
                self.databases.append(server_place(cparams))
                self._server.target.aim(dialect, cargs, cparams)
            return
        if dialect.name != "sqlite":
            self._refuse(f"a {dialect.name} database", f"the snapshot is {self._kind}")
        name = cargs[0] if cargs else cparams.get("database", "")
        if self._is_allowed(name):
            return
        if self._server is not None:
            self._refuse(f"{name!r}, a SQLite file", f"the snapshot is {self._kind}")
        self._redirected(repr(name), may=bool(cargs))
        self.databases.append(file_place(name))
        cargs[0] = self.target.name

    @property
    def _kind(self) -> str:
        return "a SQLite file" if self._server is None else "on PostgreSQL"

    def _redirected(self, what: str, *, may: bool = True) -> None:
        """Note that a connection is redirected; refuse it if it must not be."""
        if self.running or not self.redirect or not may:
            self._refuse(what)
        self.redirected.append(
            f"{self.sites.current()} connects to {what}, which was redirected to the snapshot"
        )

    def _on_audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "sqlite3.connect" and not self._is_allowed(arguments[0]):
            self._refuse(repr(os.fsdecode(arguments[0])))

    def _connect_with_authorizer(self, *arguments: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = _connect(*arguments, **options)
        connection.set_authorizer(self._authorize)
        return connection

    def _authorize(
        self, action: int, name: str | None, _second: Any, _database: Any, _trigger: Any
    ) -> int:
        # VACUUM attaches a file without a name; a name that was bound arrives as None.
        if action != sqlite3.SQLITE_ATTACH or name in ("", ":memory:"):
            return sqlite3.SQLITE_OK
        if name is not None and self._is_allowed(name):
            return sqlite3.SQLITE_OK
        self._note(f"to attach {repr(name) if name else 'a database'}")
        return sqlite3.SQLITE_DENY

    def _is_allowed(self, database: Any) -> bool:
        name = os.fsdecode(database)
        if name.startswith("file:"):
            # SQLite reads no further than a fragment, and at a NUL it goes its own way.
            path, _, query = name.removeprefix("file:").partition("#")[0].partition("?")
            if "%00" in name:
                return False
            if parse_qs(query).get("mode") == ["memory"]:
                return True
            name = "/" + unquote(path).lstrip("/") if path.startswith("//") else unquote(path)
        return name in ("", ":memory:") or os.path.realpath(name) in self._allowed

    def _refuse(self, what: str, why: str = "only the snapshot may be opened") -> None:
        raise GuardError(self._note(f"to connect to {what}") + f": {why}")

    def _note(self, attempt: str) -> str:
        who = f"{self.running}, " if self.running else ""
        line = f"{who}{self.sites.current()} tried {attempt} while the snapshot was built"
        self.refused.append(line)
        return line
