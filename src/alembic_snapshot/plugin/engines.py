"""A project's engines and session factories: the configured ones, and ours where it has none."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from alembic_snapshot.config import Project
from alembic_snapshot.errors import EngineError
from alembic_snapshot.sqlite.files import opened_file

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine


@dataclass(frozen=True)
class Dialect:
    """What differs between engines for one kind of database and another.

    ``nowhere`` is never opened: engines of our own connect to clones only.
    """

    name: str
    title: str
    sync_driver: str
    async_driver: str
    async_extra: str
    drivers: tuple[str, ...]
    nowhere: str


_DIALECTS = {
    "sqlite": Dialect(
        name="sqlite",
        title="SQLite",
        sync_driver="sqlite",
        async_driver="sqlite+aiosqlite",
        async_extra="alembic-snapshot[async]",
        drivers=("sqlite3", "aiosqlite"),
        nowhere="sqlite:///alembic-snapshot-has-no-engine.db",
    ),
    "postgresql": Dialect(
        name="postgresql",
        title="PostgreSQL",
        sync_driver="postgresql+psycopg",
        async_driver="postgresql+asyncpg",
        async_extra="alembic-snapshot[postgres]",
        drivers=("psycopg", "asyncpg"),
        nowhere="postgresql+psycopg:///alembic-snapshot-has-no-engine",
    ),
}
_MEMORY = ("", ":memory:")


class Engines:
    """One database's engines. Nothing is imported before a method is called."""

    def __init__(self, project: Project):
        self.project = project
        self._dialect = _DIALECTS[project.backend]
        self._sync: Engine | None = None
        self._async: AsyncEngine | None = None
        self._file: str | None = None

    @property
    def name(self) -> str:
        """The engine as messages call it."""
        return self.project.engine or "the engine"

    @property
    def module(self) -> str | None:
        """The module that has the configured engine; None for a URL."""
        reference = self.project.engine
        return reference.partition(":")[0] if reference and not self._url else None

    def sync(self) -> Engine:
        """The application's engine, or one of ours if that is async or there is none.

        Raises:
            EngineError: it can't be imported, is no engine, or speaks another database's language.
        """
        found = self._configured()
        if found is not None and not hasattr(found, "sync_engine"):
            engine: Engine = found
            return engine
        if self._sync is None:
            from sqlalchemy import create_engine

            url = self._own_url()
            driver = self._dialect.sync_driver if _is_async(url) else url.drivername
            self._sync = create_engine(url.set(drivername=driver))
        return self._sync

    def async_(self) -> AsyncEngine:
        """The application's async engine, or one of ours if that is none.

        Raises:
            EngineError: as :meth:`sync`; or what async SQLAlchemy needs is not installed.
        """
        found = self._configured()
        if found is not None and hasattr(found, "sync_engine"):
            engine: AsyncEngine = found
            return engine
        if self._async is None:
            url = self._own_url()
            try:
                from sqlalchemy.ext.asyncio import create_async_engine

                driver = url.drivername if _is_async(url) else self._dialect.async_driver
                self._async = create_async_engine(url.set(drivername=driver))
            except ImportError as error:
                raise EngineError(
                    f"no async engine: {error}",
                    hint=f'install what it needs: pip install "{self._dialect.async_extra}"',
                ) from error
        return self._async

    def session(self) -> tuple[Any, Any]:
        """A new synchronous session from the application's factory, and the factory.

        If there is none, or it makes async sessions, ours is used.
        """
        factory = self._factory()
        session = factory() if factory else None
        if session is None or hasattr(session, "sync_session"):
            from sqlalchemy.orm import sessionmaker

            factory = sessionmaker(self.sync())
            session = factory()
        return session, factory

    def async_session(self) -> Any:
        """A new async session from the application's factory, or from ours."""
        factory = self._factory()
        session = factory() if factory else None
        if session is None or not hasattr(session, "sync_session"):
            engine = self.async_()
            from sqlalchemy.ext.asyncio import AsyncSession

            session = AsyncSession(engine, expire_on_commit=False)
        return session

    def known(self) -> Iterator[Any]:
        """The engines that exist already, as synchronous ones; the application's first."""
        loaded = self._loaded()
        if loaded is not None:
            yield loaded
        if self._sync is not None:
            yield self._sync
        if self._async is not None:
            yield self._async.sync_engine

    def own(self, dialect: Any) -> bool:
        """Whether a dialect is that of one of these engines."""
        return any(getattr(engine, "dialect", None) is dialect for engine in self.known())

    def serves(self, engine: Any) -> bool:
        """Whether an engine is one of these, or has the configured URL."""
        dialect, url = engine.dialect, engine.url
        return self.own(dialect) or self.names(
            dialect, [url.database], url.translate_connect_args()
        )

    def names(self, dialect: Any, cargs: list[Any], cparams: dict[str, Any]) -> bool:
        """Whether a connection with these arguments goes to what the configured URL names."""
        if dialect.name != self._dialect.name:
            return False
        if dialect.name == "sqlite":
            return bool(cargs) and self._names_file(cargs[0])
        url = self._configured_url()
        return url is not None and _same_server(url, cparams)

    def names_open(self, connection: Any) -> bool:
        """The same of a connection that is open already."""
        driver = getattr(connection, "driver_connection", connection)
        kinds = type(driver).__mro__
        if not any(kind.__module__.startswith(self._dialect.drivers) for kind in kinds):
            return False
        if self._dialect.name == "sqlite":
            file = opened_file(connection)
            return bool(file) and self._names_file(file)
        url, info = self._configured_url(), getattr(driver, "info", None)
        if url is None or info is None:
            return False
        place = {"host": info.host, "port": info.port, "dbname": info.dbname}
        return _same_server(url, place)

    def _names_file(self, database: Any) -> bool:
        configured = self._url_database()
        if configured is None:
            return False
        name, now = file_of(database), file_of(configured)
        if not name or not now:
            # In memory there is no telling one engine's database from another's, but for a URL
            # that says that all of them are meant.
            return bool(self._url) and name == now
        if self._file is None:
            self._file = now
        # A relative name means another file after a change of the working directory; in the
        # configuration it may also start from that's folder, as applications find their files.
        base = self.project.root if self._url else ""
        files = {self._file, now, file_of(os.path.join(base, configured))}
        return os.path.realpath(name) in {os.path.realpath(path) for path in files}

    def check_dialect(self, name: str) -> None:
        """Raise :class:`EngineError` unless it is the snapshot's."""
        if name != self._dialect.name:
            raise EngineError(
                f"{self.name} speaks {name}, but the snapshot is a {self._dialect.title} database",
                hint=f"give the application a {self._dialect.sync_driver}:// URL when it is "
                "tested, or set backend in [tool.alembic-snapshot]",
            )

    @property
    def _url(self) -> str | None:
        reference = self.project.engine
        return reference if reference and "://" in reference else None

    def _own_url(self) -> Any:
        from sqlalchemy import make_url

        url = make_url(self._url or self._dialect.nowhere)
        self.check_dialect(url.get_backend_name())
        return url

    def _configured(self) -> Any:
        reference = self.project.engine
        if reference is None or self._url:
            return None
        found = self._load(reference)
        sync = getattr(found, "sync_engine", found)
        if not hasattr(sync, "dialect") or not hasattr(sync, "dispose"):
            raise EngineError(
                f"engine {reference!r} is {type(found).__name__}, not an engine",
                hint="name the object that create_engine() or create_async_engine() made, or give "
                "a URL if a function makes the engine",
            )
        self.check_dialect(sync.dialect.name)
        return found

    def _factory(self) -> Any:
        reference = self.project.sessionmaker
        return self._load(reference) if reference else None

    def _load(self, reference: str) -> Any:
        module, _, names = reference.partition(":")
        try:
            found: Any = importlib.import_module(module)
            for name in names.split("."):
                found = getattr(found, name)
        except (ImportError, AttributeError) as error:
            raise EngineError(
                f"can't import {reference!r}: {error}",
                hint="correct it in [tool.alembic-snapshot], and make its folder importable by "
                "pytest, for example with the pythonpath option",
            ) from error
        return found

    def _loaded(self) -> Any:
        """The configured engine, as a synchronous one, if its module has been imported."""
        reference = self.project.engine
        if reference is None or self._url:
            return None
        module, _, names = reference.partition(":")
        found: Any = sys.modules.get(module)
        try:
            for name in names.split("."):
                found = getattr(found, name)
            return getattr(found, "sync_engine", found)
        except Exception:
            # Not there yet, or a property that does not work at the moment: not this engine.
            return None

    def _configured_url(self) -> Any:
        """The configured URL, or the configured engine's; None while it isn't known."""
        from sqlalchemy import make_url

        url = make_url(self._url) if self._url else getattr(self._loaded(), "url", None)
        if url is None or url.get_backend_name() != self._dialect.name:
            return None
        return url

    def _url_database(self) -> str | None:
        """The file in the configured URL; "" in memory, None while it isn't known."""
        url = self._configured_url()
        return None if url is None else url.database or ""


def file_of(database: Any) -> str:
    """The absolute path of the file that a name or URI for SQLite stands for; "" in memory."""
    name = os.fsdecode(database) if isinstance(database, str | bytes | os.PathLike) else ""
    if name.startswith("file:"):
        name, _, query = name.removeprefix("file:").partition("?")
        if "mode=memory" in query.split("&"):
            return ""
        name = unquote("/" + name.lstrip("/") if name.startswith("//") else name)
    return "" if name in _MEMORY else os.path.abspath(name)


def _is_async(url: Any) -> bool:
    return bool(url.get_dialect().is_async)


def _same_server(url: Any, place: Mapping[str, Any]) -> bool:
    """Whether the arguments of a driver's connection lead to the database of a URL."""
    host = url.host or url.query.get("host") or "localhost"
    port = url.port or url.query.get("port") or 5432
    there = (place.get("dbname") or place.get("database"), place.get("host") or "localhost")
    return (url.database, host) == there and str(port) == str(place.get("port") or 5432)
