"""The application's own SQL: what listeners of its engines give to each connection.

Functions, collations and extensions are part of a schema that uses them. What the builder does
with a database beside the migrations (seeds, the checks of what is in it) has them, too: those of
the engine that ``env.py`` migrates with. Listeners of all engines are there anyway.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

_EVENTS = ("connect", "first_connect")


class OwnSql:
    """Remembers the engine that migrates, and gives its connections' SQL to others."""

    def __init__(self) -> None:
        self._engine: Any = None

    def note(self, connection: Any) -> None:
        """Be told the connection that migrates; a server has its functions itself."""
        if getattr(getattr(connection, "dialect", None), "name", None) == "sqlite":
            self._engine = connection.engine

    @property
    def is_async(self) -> bool:
        """Whether listeners expect the connections of an async driver."""
        has_any = any(True for _ in self._listeners())
        return has_any and bool(self._engine.dialect.is_async)

    def engine(self, path: str | None = None, url: sa.URL | None = None) -> sa.Engine:
        """A new engine on a file, or a URL, whose connections have it."""
        made = sa.create_engine(url or _url("sqlite", path), poolclass=NullPool)
        if not self.is_async:
            self._listen(made)
        return made

    def run(self, path: str, function: Callable[[sa.Connection], Any]) -> Any:
        """Call a function with a connection to a file that has it."""
        if not self.is_async:
            with self.engine(path).connect() as connection:
                return function(connection)
        # The migrations may be in the middle of a loop of theirs.
        with ThreadPoolExecutor(1) as beside:
            return beside.submit(asyncio.run, self._run_async(path, function)).result()

    async def _run_async(self, path: str, function: Callable[[sa.Connection], Any]) -> Any:
        from sqlalchemy.ext.asyncio import create_async_engine

        made = create_async_engine(_url("sqlite+aiosqlite", path), poolclass=NullPool)
        self._listen(made.sync_engine)
        async with made.connect() as connection:
            return await connection.run_sync(function)

    def _listen(self, engine: sa.Engine) -> None:
        for event, listener in self._listeners():
            sa.event.listen(engine, event, listener)

    def _listeners(self) -> Iterator[tuple[str, Any]]:
        """The engine's own listeners, without SQLAlchemy's and those of all engines."""
        if self._engine is None:
            return
        dispatch = self._engine.pool.dispatch
        for event in _EVENTS:
            for listener in getattr(dispatch, event).listeners:
                if not str(getattr(listener, "__module__", "")).startswith("sqlalchemy."):
                    yield event, listener


def _url(driver: str, path: str | None) -> sa.URL:
    return sa.URL.create(driver, database=path)
