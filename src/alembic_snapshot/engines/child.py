"""Tells where the configured engine leads in a process that has the environment of a clone.

:mod:`~alembic_snapshot.engines.children` starts it as a test would start a child process. The
application is imported, and connects to nothing: what it tries is refused.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alembic_snapshot.database.identity import Place, file_of, places_of, url_places, variables_for
from alembic_snapshot.engines.configured import Configured
from alembic_snapshot.engines.importing import when_imported
from alembic_snapshot.errors import SnapshotError
from alembic_snapshot.project.config import Project
from alembic_snapshot.project.spelling import beginning, is_librarys

# How a variable for a database is called, where only its name tells.
_TELLING = re.compile(r"URL|URI|DSN|DATABASE|DB", re.I)
# How files of settings end, of which a URL may be.
_SETTINGS = (".ini", ".cfg", ".conf", ".toml", ".json", ".yaml", ".yml", ".env", ".properties")
# These connect below Python's audit events.
_DRIVERS = {"psycopg": ("Connection", "AsyncConnection"), "psycopg2": ()}


class Refused(ConnectionError):
    """The application connects when it is imported."""


class _Caught(BaseException):
    """The databases to which an engine was about to connect."""

    def __init__(self, places: list[Place]):
        self.places = places


class Asked:
    """The variables that were asked for in their order, and whether a copy was made of all."""

    def __init__(self, root: str):
        self.names: dict[str, bool] = {}
        self.were_all = False
        self._beginning = beginning(os.path.realpath(root))

    def listen(self) -> None:
        """Hear of what is asked for from now on."""
        kind: Any = type(os.environ)
        present = set(os.environ)
        get, walk = kind.__getitem__, kind.__iter__

        def getitem(environ: Any, name: str) -> Any:
            if environ is os.environ:
                # A copy of all of them asks for each, and for none in particular.
                is_own = self._is_own() and not (self.were_all and name in present)
                self.names[str(name)] = is_own or self.names.get(str(name), False)
            return get(environ, name)

        def iterate(environ: Any) -> Any:
            self.were_all = True
            return walk(environ)

        kind.__getitem__, kind.__iter__ = getitem, iterate

    def by_project(self) -> list[str]:
        """The names that the project's own lines asked for."""
        return [name for name, is_own in self.names.items() if is_own]

    def by_others(self) -> list[str]:
        """The names that libraries asked for in vain, if they sound like a database's."""
        names = [name for name in self.names if name not in os.environ]
        return [name for name in names if _TELLING.search(name)]

    def _is_own(self) -> bool:
        """Whether a line of the project asks, be it through ``os.getenv`` or ``environ.get``."""
        frame: Any = sys._getframe(2)
        while frame is not None and "_collections_abc" in frame.f_code.co_filename:
            frame = frame.f_back
        if frame is not None and frame.f_code.co_filename in (os.__file__, "<frozen os>"):
            frame = frame.f_back
        file = frame.f_code.co_filename if frame is not None else ""
        is_below = file.startswith(self._beginning)
        return is_below and not is_librarys(file.removeprefix(self._beginning))


class Opened:
    """The files of settings below the project's folder that were opened, in their order."""

    def __init__(self, root: str):
        self.names: dict[str, None] = {}
        self._roots = (beginning(os.path.abspath(root)), beginning(os.path.realpath(root)))

    def listen(self) -> None:
        """Hear of what is opened from now on."""

        def audit(event: str, arguments: tuple[Any, ...]) -> None:
            if event == "open" and isinstance(arguments[0], str | bytes):
                self._note(os.path.abspath(os.fsdecode(arguments[0])))

        sys.addaudithook(audit)

    def _note(self, path: str) -> None:
        for root in self._roots:
            if path.startswith(root) and path.endswith(_SETTINGS) and os.path.isfile(path):
                self.names[path.removeprefix(root)] = None
                return


def refuse_connections() -> None:
    """Refuse what connects, to a file or to an address, until the process ends."""
    from sqlalchemy import Engine, event

    def audit(name: str, arguments: tuple[Any, ...]) -> None:
        if name == "socket.connect" or (name == "sqlite3.connect" and file_of(arguments[0])):
            raise Refused(f"it connects to {arguments[-1]!r} when it is imported")

    def connects(dialect: Any, _record: Any, cargs: Any, cparams: Any) -> None:
        if not _looking and any(not p.is_memory for p in places_of(dialect.name, cargs, cparams)):
            raise Refused("it connects when it is imported")

    def refuse(*_arguments: Any, **_options: Any) -> Any:
        raise Refused("it connects when it is imported")

    def disarm(name: str, owners: tuple[str, ...]) -> None:
        module: Any = sys.modules[name]
        for owner in (module, *(getattr(module, one) for one in owners)):
            owner.connect = refuse

    event.listen(Engine, "do_connect", connects)
    for name, owners in _DRIVERS.items():
        when_imported(name, functools.partial(disarm, name, owners))
    sys.addaudithook(audit)


_looking: list[bool] = []


def places(configured: Configured) -> list[Place]:
    """The databases to which the configured engine would connect, the first that answers.

    Raises:
        EngineError: the application can't be imported, or has no such engine.
        ConnectionError: it does not ask SQLAlchemy where to connect to.
    """
    from sqlalchemy import event

    configured.verify()
    url = configured.url()
    if url is not None:
        return url_places(url)
    engine = next(configured.present())

    def catch(dialect: Any, _record: Any, cargs: Any, cparams: Any) -> None:
        raise _Caught(places_of(dialect.name, cargs, cparams))

    event.listen(engine, "do_connect", catch)
    _looking.append(True)
    try:
        engine.raw_connection()
    except _Caught as caught:
        return caught.places
    raise Refused(f"{configured.name} does not ask SQLAlchemy where to connect to")


def candidates(found: list[Place], asked: Asked) -> Iterator[tuple[str, bool | None]]:
    """The variables that may say where the engine leads, and whether each is for a URL.

    That is None where it is not known. Those that have that very database as value come first.
    """
    yield from variables_for(found, os.environ)
    for name in (*asked.by_project(), *_settings(), *asked.by_others()):
        yield name, None


def _settings() -> Iterator[str]:
    """The variables of pydantic's settings classes, which are not asked for by name."""
    base = getattr(sys.modules.get("pydantic_settings"), "BaseSettings", None)
    classes = list(base.__subclasses__()) if base else []
    for one in classes:
        classes += one.__subclasses__()
        prefix = one.model_config.get("env_prefix") or ""
        for name, field in one.model_fields.items():
            alias = getattr(field, "validation_alias", None)
            variable = alias if isinstance(alias, str) else f"{prefix}{name}".upper()
            if _TELLING.search(variable):
                yield variable


def report(job: dict[str, Any]) -> dict[str, Any]:
    """The answer to one question: the places, what was asked for, and which variables may count."""
    asked = Asked(job["root"])
    project = Project(
        root=Path(job["root"]),
        engine=job["engine"],
        sessionmaker=job["sessionmaker"],
        backend=job["backend"],
    )
    refuse_connections()
    sys.path[:] = job["path"]
    configured = Configured(project, {}, lambda _dialect: None)
    opened = Opened(job["root"])
    asked.listen()
    opened.listen()
    found: dict[str, Any] = {}
    try:
        seen = places(configured)
    except SnapshotError as error:
        found["problem"] = error.message
    except Exception as error:
        found["problem"] = f"{type(error).__name__}: {' '.join(str(error).split())}"
    else:
        found["places"] = [dataclasses.asdict(place) for place in seen]
        engine = next(configured.present(), None)
        dialect: Any = engine.dialect if engine is not None else configured.url().get_dialect()
        found["is_async"] = bool(dialect.is_async)
    found["asked"], found["were_all"] = list(asked.names), asked.were_all
    found["files"] = list(opened.names)
    if "places" in found:
        first: dict[str, bool | None] = {}
        for name, is_url in candidates(seen, asked):
            first.setdefault(name, is_url)
        found["candidates"] = list(first.items())
    return found


def main() -> None:
    """Read a question from the standard input, and answer on what was the standard output."""
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    with answer:
        answer.write(json.dumps(report(json.load(sys.stdin))))


if __name__ == "__main__":
    main()
