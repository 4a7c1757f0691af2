"""The ``engine`` and the ``sessionmaker`` of the configuration: resolved, and verified once."""

from __future__ import annotations

import contextlib
import inspect
import os
import re
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

from alembic_snapshot.database.identity import (
    Place,
    option_of,
    url_file,
    url_name,
    url_place,
    url_places,
)
from alembic_snapshot.engines import factories
from alembic_snapshot.engines.factories import OnlyInContext
from alembic_snapshot.engines.named import Named, unmade
from alembic_snapshot.engines.nowhere import Nowhere
from alembic_snapshot.errors import EngineError
from alembic_snapshot.project import unsupported
from alembic_snapshot.project.config import Project

_TABLE = "[tool.alembic-snapshot]"
_PASSWORD = re.compile(r"(://[^:/@]*):[^@/]*@")
# SQLite's own, which differ in how they lock a plain file; or have it in memory.
_PLAIN_VFS = re.compile(r"unix(-\w+)?|memdb")
# Seconds for which another thread that is importing the application is waited for.
_PATIENCE = 10.0


class Configured:
    """The configured engine, which may be a URL, and the session factory that belongs to it.

    Where there is a factory and no ``engine``, it is the engine of the factory's sessions.
    ``check_dialect`` raises for the name of another dialect than the snapshot's.
    """

    def __init__(
        self,
        project: Project,
        calls: MutableMapping[str, Any],
        check_dialect: Callable[[str], None],
    ):
        self.project = project
        self.sessionmaker = self._named("sessionmaker", project.sessionmaker, calls)
        self._text = project.engine if "://" in (project.engine or "") else None
        self._engine = self._named("engine", None if self._text else project.engine, calls)
        self._check_dialect = check_dialect
        self._derived: Any = None
        self._error: EngineError | None = None
        self._is_verified = False
        self._lock = threading.RLock()
        self._loading = 0
        self._files: set[str] = set()
        self._nowhere = Nowhere(project)
        self._urls: dict[Any, Any] = {}
        self._last: tuple[Any, bool] = (None, False)
        # Replaced and never changed: threads look at the same time.
        self._seen: tuple[weakref.ref[Any], ...] = ()

    @property
    def name(self) -> str:
        """The engine as messages call it."""
        if self.project.engine is None and self.project.sessionmaker:
            return f"the engine of {self.project.sessionmaker}"
        return _PASSWORD.sub(r"\1:***@", self.project.engine or "the engine")

    @property
    def is_there(self) -> bool:
        """Whether an engine is configured, or a factory that has one."""
        return bool(self.project.engine or self.project.sessionmaker)

    @property
    def modules(self) -> set[str]:
        """The modules that may have the engine."""
        return {
            setting.reference.module for setting in (self._engine, self.sessionmaker) if setting
        }

    @property
    def is_looked_up(self) -> bool:
        """Whether this thread is importing or calling what has the engine, to find it."""
        return self._loading == threading.get_ident()

    def verify(self, *, final: bool = True) -> None:
        """Verify that engine and factory can be loaded, have the right types, and belong together.

        Of the first test that needs a database on it is ``final``: the same error is raised then.

        Raises:
            EngineError: they can't, aren't or don't.
        """
        if self._is_verified or not self.is_there:
            return
        if self._error is not None:
            raise self._error
        if self.is_looked_up:
            raise EngineError(
                f"{self.name} is not known yet: it is being looked up",
                hint="connect in a function that a test or a fixture calls, not when a module is "
                "imported or the engine is made",
            )
        if not self._lock.acquire(timeout=_PATIENCE):
            raise EngineError(
                f"{self.name} is not known yet: another thread is looking it up",
                hint="connect when the application has been imported",
            )
        self._loading = threading.get_ident()
        try:
            self._verify()
            self._is_verified = True
        except EngineError as error:
            if final:
                self._error = error
            raise
        finally:
            self._loading = 0
            self._lock.release()

    def engine(self) -> Any:
        """The configured engine, sync or async; None if there is none, or a URL.

        Raises:
            EngineError: it can't be had, is no engine, or speaks another database's language.
        """
        if self._engine is None:
            return self._derived
        value = self._engine.load()
        if _is_url(value):
            self._parsed(value)
            return None
        sync = getattr(value, "sync_engine", value) if _is_engine(value) else None
        if sync is None:
            raise self._no_engine(value)
        self._check_dialect(f"{sync.dialect.name}+{sync.dialect.driver}")
        self._check_vfs(sync.url)
        return value

    def present(self) -> Iterator[Any]:
        """The configured engine as a synchronous one, if it exists already."""
        engine = self._derived
        if self._engine is not None:
            engine = self._engine.present()
        if engine is not None and not _is_url(engine):
            try:
                found = getattr(engine, "sync_engine", engine)
            except Exception:
                # Something that stands for an engine, and does not work at the moment.
                return
            self._remember(found)
            yield found

    def former(self) -> list[Any]:
        """The engines that were seen to be the configured one, and are it no more.

        A module was reloaded, a name bound anew, or a factory called again; who has the old one
        still uses the application's database.
        """
        now = [getattr(engine, "dialect", None) for engine in self.present()]
        seen = (one() for one in self._seen)
        return [engine for engine in seen if engine is not None and engine.dialect not in now]

    def _remember(self, found: Any) -> None:
        # What stands for an engine gives it, or nothing at the moment.
        with contextlib.suppress(Exception):
            engine = found.engine
            if all(one() is not engine for one in self._seen):
                living = (one for one in self._seen if one() is not None)
                self._seen = (*living, weakref.ref(engine))

    def url(self) -> Any:
        """The URL that is configured instead of an engine, or that the reference names; or None.

        Raises:
            EngineError: it is none, or of another kind of database.
        """
        if self._text:
            return self._parsed(self._text)
        value = self._engine.present() if self._engine else None
        return self._parsed(value) if _is_url(value) else None

    def serves(self, engine: Any) -> bool:
        """Whether an engine goes to the database of the configured one."""
        place = url_place(engine.url)
        return place is not None and self.names(place)

    def names(self, place: Place) -> bool:
        """Whether the configured engine is for that database; False while it isn't known.

        It is for the one that ``environment`` names if it is made of that, or if it is a URL.
        """
        url, is_text = self._present_url()
        if url is None or place.kind != self.project.backend:
            return False
        if self._is_of(url, place, is_text=is_text):
            return True
        is_led = is_text or any(self._nowhere.is_at(own) for own in url_places(url))
        return is_led and self._nowhere.has(place)

    def _is_of(self, url: Any, place: Place, *, is_text: bool) -> bool:
        """Whether the engine's URL names that database."""
        if place.kind != "sqlite":
            return any(own.is_same(place) for own in url_places(url))
        files = self.files()
        # In memory there is no telling one engine's database from another's, but for a URL that
        # says that all of them are meant.
        return place.name in files if files else is_text and place.is_memory

    def files(self) -> set[str]:
        """The SQLite files that its URL may stand for; none of another, or while it isn't known."""
        url, _ = self._present_url()
        own = ""
        if url is not None and url.get_backend_name() == "sqlite":
            own = url_file(url)
        if not own:
            return set()
        # A relative name means another file after a change of the working directory, and may
        # start from the configuration's folder, as applications find their files.
        if not self._files:
            self._files.add(os.path.realpath(own))
        at_root = url_file(url, self.project.root)
        return {*self._files, os.path.realpath(own), os.path.realpath(at_root)}

    def check(self, session: Any) -> None:
        """Verify that a session of the factory goes to the configured engine's database.

        Raises:
            EngineError: it goes elsewhere, or nowhere.
            OnlyInContext: that can't be known here.
        """
        assert self.sessionmaker is not None
        engines = factories.engines_of(self.sessionmaker, session)
        if self.project.engine is None:
            self._derive(session, engines)
        dialects = [engine.dialect for engine in (*self.present(), *self.former())]
        for engine in engines:
            if engine.dialect in dialects or self.serves(engine):
                return
        other = url_place(engines[0].url)
        where = other.text(self.project.root) if other else str(engines[0].url)
        raise EngineError(
            f"the sessions of {self.project.sessionmaker!r} go to {where}, and those of "
            f"{self.name} elsewhere",
            hint="bind the factory to the engine that is configured, or name the one that it is "
            f"bound to in engine in {_TABLE}",
        )

    def _named(self, key: str, text: str | None, calls: MutableMapping[str, Any]) -> Named | None:
        return Named(key, text, calls, self.project.root) if text else None

    def _verify(self) -> None:
        if self.engine() is None:
            self.url()
        if self.sessionmaker is not None:
            self._verify_sessions()
        url, _ = self._present_url()
        place = None if url is None else url_place(url)
        if place is not None and place.is_unknown:
            warnings.warn(
                f"{self.name} leads to {place.text(self.project.root)}: other connections to it "
                "can't be told from those to another database; define the service in "
                "~/.pg_service.conf or the file that PGSERVICEFILE names",
                stacklevel=2,
            )

    def _verify_sessions(self) -> None:
        assert self.sessionmaker is not None
        try:
            session = factories.new_session(self.sessionmaker, self.sessionmaker.load())
        except OnlyInContext as reason:
            self._refuse_unknown(reason)
            return
        try:
            self.check(session)
        except OnlyInContext as reason:
            self._refuse_unknown(reason)
        finally:
            factories.close(session)

    def _refuse_unknown(self, reason: OnlyInContext) -> None:
        """Refuse a session whose engine is not known: nothing could be pointed at the clone."""
        if self.project.engine is None:
            raise EngineError(
                f"the engine of {self.project.sessionmaker!r} can't be known: {reason}",
                hint=f"set engine in {_TABLE}: module:name, with calls if need be, or the URL that "
                "the application uses",
            ) from reason

    def _derive(self, session: Any, engines: list[Any]) -> None:
        bind = getattr(session, "bind", None)
        self._derived = bind if hasattr(bind, "sync_engine") else engines[0]
        self._check_dialect(engines[0].dialect.name)

    def _present_url(self) -> tuple[Any, bool]:
        """The configured engine's URL, if it is known, and whether it is there as a text.

        Where there is no engine at the moment, or in this thread, it is the last that there was.
        """
        found = self._found_url()
        if found[0] is not None:
            self._last = found
        return self._last

    def _found_url(self) -> tuple[Any, bool]:
        try:
            url = self.url()
        except EngineError:
            return None, False
        if url is not None:
            return url, True
        engine = next(self.present(), None)
        engine_url = getattr(engine, "url", None)
        is_ours = engine_url is not None and engine_url.get_backend_name() == self.project.backend
        return (engine_url if is_ours else None), False

    def _parsed(self, text: Any) -> Any:
        # Each connection asks.
        if text not in self._urls:
            self._urls[text] = self._checked_url(text)
        return self._urls[text]

    def _checked_url(self, text: Any) -> Any:
        from sqlalchemy import make_url

        try:
            url = make_url(text)
            if unsupported.title(url.drivername):
                # Its dialect may not be installed.
                self._check_dialect(url.drivername)
            dialect = url.get_dialect()
            with contextlib.suppress(ImportError), warnings.catch_warnings():
                # Whoever connects hears of them.
                warnings.simplefilter("ignore")
                dialect().create_connect_args(url)
        except EngineError:
            raise
        except Exception as error:
            raise EngineError(
                f"engine {self.name!r} in {_TABLE} is no URL that works: "
                f"{str(error).partition(chr(10))[0]}",
                hint="write for example sqlite:///shop.db, relative to the project's root",
            ) from error
        self._check_dialect(url.get_backend_name())
        self._check_vfs(url)
        return url

    def _check_vfs(self, url: Any) -> None:
        if url.get_backend_name() == "sqlite":
            refuse_vfs(self.name, url_name(url))

    def _no_engine(self, value: Any) -> EngineError:
        text = self.project.engine
        if value is None:
            return EngineError(
                f"engine {text!r} is None: nothing has made it yet",
                hint="name the function that makes it, as in module:get_engine(), or give its URL",
            )
        what = unmade(value) or type(value).__name__
        hint = (
            "name the object that create_engine() or create_async_engine() made, or give a URL if "
            "a function makes the engine"
        )
        if inspect.iscoroutinefunction(value) or (unmade(value) or "").startswith("a coroutine"):
            hint = "an async function can't be called here: give the engine's URL"
        elif inspect.isroutine(value):
            hint = f'write engine = "{text}()" if it makes the engine without arguments, or a URL'
        elif hasattr(value, "kw") or hasattr(value, "session_factory"):
            hint = f"that makes sessions: it belongs in sessionmaker; {hint}"
        return EngineError(f"engine {text!r} is {what}, not an engine", hint=hint)


def refuse_vfs(engine: str, database: Any) -> None:
    """Refuse a URI for SQLite with a VFS that may keep a database as anything but a plain file.

    Raises:
        EngineError: it names the VFS.
    """
    vfs = option_of(database, "vfs") if isinstance(database, str) else None
    if vfs is not None and not _PLAIN_VFS.fullmatch(vfs):
        wanted = (
            "let engine be the URL, without vfs, that the application has when it is tested"
            if "://" in engine
            else "give the application a URL without vfs when it is tested, by a variable that "
            "environment names"
        )
        raise EngineError(
            f"{engine} opens its database with vfs={vfs}, and a clone is a plain SQLite file",
            hint=wanted,
        )


def _is_engine(value: Any) -> bool:
    from sqlalchemy import Engine

    try:
        return isinstance(value, Engine) or isinstance(getattr(value, "sync_engine", None), Engine)
    except Exception:
        return False


def _is_url(value: Any) -> bool:
    from sqlalchemy import URL

    return isinstance(value, URL) or (isinstance(value, str) and "://" in value)
