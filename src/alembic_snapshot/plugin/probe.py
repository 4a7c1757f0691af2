"""What the tests of a project would have, looked at from inside pytest, before any test.

``alembic-snapshot doctor`` starts ``pytest -p alembic_snapshot.plugin.probe``: conftest files and
pytest's settings have their effect, no test is collected, and pytest ends. What was found is
written as JSON to the file that ``ALEMBIC_SNAPSHOT_PROBE`` names. Where the application hangs, its
stack is written beside that, and the process ends. No code runs that a test run would not run.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from alembic_snapshot.errors import SnapshotError
from alembic_snapshot.plugin.session import has_plugin, session_of
from alembic_snapshot.project.variables import PROBE, PROBE_SECONDS

if TYPE_CHECKING:
    from alembic_snapshot.database.identity import Place
    from alembic_snapshot.plugin.database import Database

# What runs async tests.
_RUNNERS = ("pytest_asyncio.plugin", "anyio.pytest_plugin")
_FILE = Path(os.environ[PROBE])
_stack = open(f"{_FILE}.stack", "w", encoding="utf-8")  # noqa: SIM115  # for as long as this runs
faulthandler.dump_traceback_later(float(os.environ[PROBE_SECONDS]), file=_stack, exit=True)


def pytest_cmdline_main(config: pytest.Config) -> int:
    """Look instead of running tests."""
    if not has_plugin(config, "pytest_alembic_snapshot"):
        _write({"plugin": False})
        return 0
    session = session_of(config)
    toml = session.toml
    found: dict[str, Any] = {"plugin": True, "toml": str(toml.path) if toml else None}
    if toml is not None:
        sys.path[:0] = _inserted(config)
        try:
            databases = session.databases
            found["databases"] = {name: _database(one) for name, one in databases.items()}
        except SnapshotError as error:
            found["error"] = error.to_record()
    found["asyncio"] = any(has_plugin(config, name) for name in _RUNNERS)
    _write(found)
    session.close()
    return 0


def _write(found: dict[str, Any]) -> None:
    faulthandler.cancel_dump_traceback_later()
    _FILE.write_text(json.dumps(found), encoding="utf-8")


def _inserted(config: pytest.Config) -> Iterator[str]:
    """The folders that pytest puts in front when it collects tests in packages."""
    if config.getoption("importmode") != "prepend":
        return
    for name in (*config.getini("testpaths"), "tests", "test"):
        folder = config.rootpath / name
        if (folder / "__init__.py").is_file():
            while (folder / "__init__.py").is_file():
                folder = folder.parent
            yield str(folder)


def _database(database: Database) -> dict[str, Any]:
    """What the configuration names for one database, and what is wrong with it."""
    engines = database.redirect.engines
    configured = engines.configured
    found: dict[str, Any] = {"unimportable": list(_unimportable(configured.modules))}
    if not configured.is_there:
        return found
    step = "engine"
    try:
        configured.engine()
        configured.url()
        step = "sessionmaker" if configured.sessionmaker else "engine"
        database.verify()
        step = "engine"
        found["engine"] = _described(database)
    except SnapshotError as error:
        found["error"] = {"step": step, **error.to_record()}
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        details = traceback.format_exc()
        found["error"] = {"step": step, "message": text, "hint": None, "details": details}
    return found


def _unimportable(modules: set[str]) -> Iterator[str]:
    """The modules that can't be found; what else is wrong with one is said of what it has."""
    for module in sorted(modules):
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            missing = error.name or ""
            if module == missing or module.startswith(f"{missing}."):
                yield module
        except BaseException:
            continue


def _described(database: Database) -> dict[str, Any]:
    """The engine, and whether its database is one of those that the migrations are known for."""
    from alembic_snapshot.database.identity import option_of, url_name, url_places
    from alembic_snapshot.engines.known import Known
    from alembic_snapshot.engines.notices import engine_line
    from alembic_snapshot.engines.nowhere import Nowhere

    engines, root = database.redirect.engines, database.project.root
    url = engines.configured.url()
    engine = next(engines.configured.present(), None)
    if url is None:
        assert engine is not None  # what was verified is there
        url = engine.url
    places = url_places(url, root if engine is None else "")
    known, nowhere = Known(database.project, lambda: ()), Nowhere(database.project)
    others = {one: why for one, why in known.places().items() if one.kind == url.get_backend_name()}
    is_known = any(known.why(place) for place in places)
    if nowhere.variables:
        # Every engine with a URL that is configured is pointed, and every one of the variables.
        is_known |= engines.configured.url() is not None
        others = {nowhere.place: "environment"}
    is_known |= not others
    is_memory = any(place.is_memory for place in places)
    first = next(iter(others.items()), None)

    def told(place: Place) -> str:
        return nowhere.text if nowhere.is_at(place) else place.text(root)

    return {
        "name": engines.name,
        "dialect": url.get_backend_name(),
        "driver": url.get_driver_name(),
        "is_async": bool(url.get_dialect().is_async),
        "place": told(places[0]) if places else None,
        "is_read_only": option_of(url_name(url), "mode") == "ro",
        "is_known": is_known or is_memory,
        "known": first and [told(first[0]), engine_line(database.project, first[0]), first[1]],
    }
