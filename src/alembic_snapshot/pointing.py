"""The application's own engines, pointed at a clone; used in test processes only.

An engine keeps its dialect, listeners, pool class and compiled statements: only where it connects
changes, through SQLAlchemy's ``do_connect`` event. No import of SQLAlchemy until it is there.
"""

from __future__ import annotations

import importlib
import os
import sys
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from alembic_snapshot.config import Project
from alembic_snapshot.errors import DatabaseNotRequested, EngineError
from alembic_snapshot.guard import caller

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.orm import Session

    from alembic_snapshot.snapshot import Clone

_MARK = "alembic_snapshot"


class Pointer:
    """Points one database's engines at a clone, and refuses their connections without one.

    The engines are the configured one and every other with its URL. ``durable`` leaves the
    clone's pragmas alone; otherwise nothing waits for the disk.
    """

    def __init__(self, project: Project):
        self.project = project
        self.clone: Clone | None = None
        self.durable = False
        self._records: list[Any] = []
        self._sessions: weakref.WeakSet[Session] = weakref.WeakSet()
        self._installed = False
        self._file: str | None = None
        self._own: Engine | None = None

    def install(self) -> None:
        """Listen to SQLAlchemy's engines, pools and sessions from now on."""
        if self._installed:
            return
        self._installed = True
        from sqlalchemy import Engine, event
        from sqlalchemy.pool import Pool

        event.listen(Engine, "do_connect", self._on_do_connect)
        event.listen(Pool, "connect", self._on_connect)
        event.listen(Pool, "checkout", self._on_checkout)
        when_imported("sqlalchemy.orm", self._listen_to_sessions)

    def engine(self) -> Any:
        """The application's engine as configured, sync or async; its module is imported.

        Raises:
            EngineError: it can't be imported, is no engine, or speaks another database's language.
        """
        reference = self.project.engine
        if reference is None or "://" in reference:
            return self._own_engine(reference)
        found = self._load(reference)
        sync = getattr(found, "sync_engine", found)
        if not hasattr(sync, "dialect") or not hasattr(sync, "dispose"):
            raise EngineError(
                f"engine {reference!r} is {type(found).__name__}, not an engine",
                hint="name the object that create_engine() or create_async_engine() made",
            )
        self._check_dialect(sync.dialect.name)
        return found

    def sessionmaker(self) -> Any:
        """The application's sessionmaker, or one on its engine."""
        if self.project.sessionmaker:
            return self._load(self.project.sessionmaker)
        from sqlalchemy.orm import sessionmaker

        engine = self.engine()
        return sessionmaker(getattr(engine, "sync_engine", engine))

    def point(self, clone: Clone, *, durable: bool = False) -> None:
        """From now on the engines connect to ``clone``."""
        self.install()
        # With guard = "off" a pool may hold connections to the application's real database.
        self.release()
        self.clone = clone
        self.durable = durable

    def release(self) -> list[str]:
        """Close what is open on the clone; the lines of code that still held a connection."""
        for session in list(self._sessions):
            # A session of an async engine can only be closed in its loop, but let go anywhere.
            session.invalidate() if _is_async(session) else session.close()
        self._sessions.clear()
        held = []
        for record in self._records:
            if record.in_use:
                held.append(record.info.get(_MARK) or "code outside the project")
            record.invalidate()
            record.info.pop(_MARK, None)
        self._records.clear()
        self.clone = None
        return held

    def _own_engine(self, url: str | None) -> Engine:
        """An engine of our own, for a project that has none to import."""
        if self._own is None:
            from sqlalchemy import create_engine

            self._own = create_engine(url or "sqlite:///alembic-snapshot-has-no-engine.db")
        return self._own

    def _load(self, reference: str) -> Any:
        module, _, names = reference.partition(":")
        try:
            found = importlib.import_module(module)
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
        """The configured engine if its module has been imported already."""
        if self._own is not None:
            return self._own
        reference = self.project.engine
        if reference is None or "://" in reference:
            return None
        module, _, names = reference.partition(":")
        found: Any = sys.modules.get(module)
        for name in names.split("."):
            found = getattr(found, name, None)
        return getattr(found, "sync_engine", found)

    def _is_ours(self, dialect: Any, cargs: list[Any]) -> bool:
        engine = self._loaded()
        if engine is not None and engine.dialect is dialect:
            return True
        if dialect.name != "sqlite" or not cargs:
            return False
        if self._file is None:
            self._file = self._configured_file(engine)
        return bool(self._file) and os.path.abspath(cargs[0]) == self._file

    def _configured_file(self, engine: Any) -> str | None:
        """The file of the configured URL; "" for one that is none; None while it isn't known."""
        from sqlalchemy import make_url

        reference = self.project.engine
        if reference and "://" in reference:
            url = make_url(reference)
        elif engine is not None:
            url = engine.url
        else:
            return None
        if url.get_backend_name() != "sqlite" or url.database in (None, "", ":memory:"):
            return ""
        return os.path.abspath(url.database.removeprefix("file:").partition("?")[0])

    def _on_do_connect(
        self, dialect: Any, record: Any, cargs: list[Any], cparams: dict[str, Any]
    ) -> None:
        if not self._is_ours(dialect, cargs):
            return
        if self.clone is None:
            if self.project.guard == "on":
                raise self._not_requested()
            self._records.append(record)
            return
        self._check_dialect(dialect.name)
        cargs[:1] = [str(self.clone.path)]
        cparams.pop("uri", None)
        record.info[_MARK] = ""
        self._records.append(record)

    def _on_connect(self, connection: Any, record: Any) -> None:
        known = _MARK in record.info and any(ours is record for ours in self._records)
        if known and not self.durable:
            cursor = connection.cursor()
            cursor.execute("PRAGMA synchronous=OFF")
            cursor.close()

    def _on_checkout(self, _connection: Any, record: Any, _proxy: Any) -> None:
        if _MARK in record.info:
            record.info[_MARK] = caller(self.project.root)

    def _listen_to_sessions(self) -> None:
        from sqlalchemy import event
        from sqlalchemy.orm import Session

        event.listen(Session, "after_begin", self._on_begin)

    def _on_begin(self, session: Session, _transaction: Any, connection: Any) -> None:
        if self.clone is not None and _MARK in connection.info:
            self._sessions.add(session)

    def _not_requested(self) -> DatabaseNotRequested:
        name = self.project.engine
        return DatabaseNotRequested(
            f"{caller(self.project.root)} connects to {name} in a test that did not ask for a "
            "database",
            hint="add a fixture such as db_session or db_clone to the test, or mark it with "
            "@pytest.mark.db_clone",
        )

    def _check_dialect(self, name: str) -> None:
        if name != "sqlite":
            raise EngineError(
                f"{self.project.engine} speaks {name}, but the snapshot is a SQLite database",
                hint="give the application a sqlite:// URL when it is tested",
            )


def _is_async(session: Session) -> bool:
    return bool(session.get_bind().dialect.is_async)


def when_imported(name: str, callback: Callable[[], None]) -> None:
    """Call back when a module has been imported: now, if it already is."""
    if name in sys.modules:
        callback()
    else:
        sys.meta_path.insert(0, _Finder(name, callback))


class _Finder:
    """Finds one module as everybody else would, and calls back after it has run."""

    def __init__(self, name: str, callback: Callable[[], None]):
        self.name = name
        self.callback = callback

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname != self.name:
            return None
        sys.meta_path.remove(self)
        from importlib.util import find_spec

        spec = find_spec(fullname)
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module
            callback = self.callback

            def run_and_tell(module: Any) -> None:
                run(module)
                callback()

            spec.loader.exec_module = run_and_tell  # type: ignore[method-assign]
        return spec
