"""A project's engines and session factories: the configured ones, and ours where it has none."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from alembic_snapshot.database.identity import Place, is_uri, url_file
from alembic_snapshot.engines import factories
from alembic_snapshot.engines.configured import Configured
from alembic_snapshot.engines.factories import OnlyInContext
from alembic_snapshot.errors import EngineError
from alembic_snapshot.project import unsupported
from alembic_snapshot.project.config import Project
from alembic_snapshot.project.variables import BACKEND_VARIABLE

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

# What a URI says of a database in memory.
_MEMORY = ("cache", "mode", "uri", "vfs")


@dataclass(frozen=True)
class Dialect:
    """The differences between engines for one kind of database and another.

    ``nowhere`` is never opened: engines of our own connect to clones only.
    """

    name: str
    title: str
    sync_driver: str
    async_driver: str
    async_extra: str
    drivers: tuple[str, ...]
    nowhere: str
    has_server: bool = False


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
        has_server=True,
    ),
}


class Engines:
    """One database's engines. Nothing is imported before a method is called.

    ``calls`` keeps what the references' calls gave, for every database of the project.
    """

    def __init__(self, project: Project, calls: MutableMapping[str, Any]):
        self.project = project
        self.dialect = _DIALECTS[project.backend]
        self.configured = Configured(project, calls, self.check_dialect)
        self._sync: Engine | None = None
        self._async: AsyncEngine | None = None

    @property
    def name(self) -> str:
        """The engine as messages call it."""
        return self.configured.name

    def sync(self) -> Engine:
        """The application's engine, or one of ours if that is async or there is none.

        Raises:
            EngineError: it can't be had, is no engine, or speaks another database's language.
        """
        configured = self.configured.engine()
        if configured is not None and not hasattr(configured, "sync_engine"):
            engine: Engine = configured
            return engine
        if self._sync is None:
            from sqlalchemy import create_engine

            url = self._own_url()
            driver = self.dialect.sync_driver if _is_async(url) else url.drivername
            self._sync = create_engine(url.set(drivername=driver))
        return self._sync

    def async_(self) -> AsyncEngine:
        """The application's async engine, or one of ours if it has none.

        Raises:
            EngineError: as :meth:`sync`; or what async SQLAlchemy needs is not installed.
        """
        configured = self.configured.engine()
        if configured is not None and hasattr(configured, "sync_engine"):
            engine: AsyncEngine = configured
            return engine
        if self._async is None:
            url = self._own_url()
            try:
                from sqlalchemy.ext.asyncio import create_async_engine

                driver = url.drivername if _is_async(url) else self.dialect.async_driver
                self._async = create_async_engine(url.set(drivername=driver))
            except ImportError as error:
                raise EngineError(
                    f"no async engine: {error}",
                    hint=f'install what it needs: pip install "{self.dialect.async_extra}"',
                ) from error
        return self._async

    def session(self) -> tuple[Any, Any, bool]:
        """A new synchronous session from the application's factory, the factory, and a doubt.

        If there is none, or it makes async sessions, ours is used. The doubt is whether the engine
        of the session can't be known before it connects.

        Raises:
            EngineError: the factory does not work here, or its sessions go elsewhere.
        """
        session, factory, doubt = self._from_factory()
        if session is None or hasattr(session, "sync_session"):
            from sqlalchemy.orm import Session, sessionmaker

            kind = _of_sqlmodel("sqlmodel", "Session", Session)
            factory, doubt = sessionmaker(self.sync(), class_=kind), False
            session = factory()
        return session, factory, doubt

    def async_session(self) -> tuple[Any, bool]:
        """A new async session from the application's factory, or from ours, and the doubt.

        Raises:
            EngineError: as :meth:`session`.
        """
        session, _, doubt = self._from_factory()
        if session is None or not hasattr(session, "sync_session"):
            engine = self.async_()
            from sqlalchemy.ext.asyncio import AsyncSession

            kind = _of_sqlmodel("sqlmodel.ext.asyncio.session", "AsyncSession", AsyncSession)
            session, doubt = kind(engine, expire_on_commit=False), False
        return session, doubt

    def known(self) -> Iterator[Any]:
        """The engines that exist already, as synchronous ones; the application's first."""
        yield from self.configured.present()
        if self._sync is not None:
            yield self._sync
        if self._async is not None:
            yield self._async.sync_engine

    def own(self, dialect: Any) -> bool:
        """Whether a dialect belongs to one of these engines."""
        return any(getattr(engine, "dialect", None) is dialect for engine in self.known())

    def owned(self, dialect: Any) -> bool:
        """Whether a dialect belongs to what was the configured engine before."""
        return any(engine.dialect is dialect for engine in self.configured.former())

    def serves(self, engine: Any) -> bool:
        """Whether an engine is or was one of these, or has the configured URL."""
        dialect = engine.dialect
        return self.own(dialect) or self.owned(dialect) or self.configured.serves(engine)

    def names(self, place: Place | None) -> bool:
        """Whether the configured engine, or its URL, names that database."""
        return place is not None and self.configured.names(place)

    def check_dialect(self, name: str) -> None:
        """Raise :class:`EngineError` unless it is the snapshot's; a driver may stand after it."""
        other = unsupported.title(name)
        if other is not None:
            raise EngineError(
                f"{self.name} speaks {other}, which is not supported",
                hint=f"{unsupported.HINT}, if the application has a {self.dialect.sync_driver}:// "
                "URL when it is tested",
            )
        name = name.partition("+")[0]
        if name != self.dialect.name:
            url = f"a {self.dialect.sync_driver}:// URL"
            wanted = (
                f"let engine be {url}, the one that the application has when it is tested"
                if "://" in self.name
                else f"give the application {url} when it is tested, by a variable that "
                "environment names"
            )
            raise EngineError(
                f"{self.name} speaks {name}, but the snapshot is a {self.dialect.title} database",
                hint=f"{wanted}; or {_other_backend()}",
            )

    def _own_url(self) -> Any:
        from sqlalchemy import make_url

        url = self.configured.url() or make_url(self.dialect.nowhere)
        if url.get_backend_name() == "sqlite" and is_uri(url) and not url_file(url):
            # It is never opened, and SQLAlchemy warns of `mode=memory`.
            url = url.difference_update_query(_MEMORY).set(database=":memory:")
        return url

    def _from_factory(self) -> tuple[Any, Any, bool]:
        """A session of the application's factory, if it has one."""
        setting = self.configured.sessionmaker
        if setting is None:
            return None, None, False
        factory = setting.load()
        try:
            session = factories.made_by(setting, factory)
        except OnlyInContext as reason:
            raise EngineError(
                f"sessionmaker {setting.reference.text!r} can't make a session here: {reason}",
                hint="have an autouse fixture enter the application's context, for example "
                "app.app_context(), before db_session is made",
            ) from reason
        try:
            self.configured.check(session)
        except OnlyInContext:
            return session, factory, True
        except EngineError:
            factories.close(session)
            raise
        return session, factory, False


def _of_sqlmodel(module: str, name: str, otherwise: type) -> Any:
    """SQLModel's own class, which can do a little more, if the application uses it."""
    found = getattr(sys.modules.get(module), name, None)
    return found if inspect.isclass(found) and issubclass(found, otherwise) else otherwise


def _is_async(url: Any) -> bool:
    return bool(url.get_dialect().is_async)


def _other_backend() -> str:
    """How the snapshot comes to be another kind of database: the variable wins over the table."""
    if os.environ.get(BACKEND_VARIABLE):
        return f"unset the variable {BACKEND_VARIABLE}"
    return "set backend in [tool.alembic-snapshot]"
