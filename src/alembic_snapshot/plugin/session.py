"""The plugin in one process of pytest: inert without a table, idle until something needs it."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import os
import shutil
import sys
import time
import weakref
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from alembic_snapshot.errors import ConfigError, SnapshotError
from alembic_snapshot.plugin.failures import Failures
from alembic_snapshot.plugin.marker import CloneOptions
from alembic_snapshot.plugin.reports import Reports
from alembic_snapshot.plugin.table import Tables, table_of
from alembic_snapshot.project.places import store_folder
from alembic_snapshot.project.toml_file import TomlFile
from alembic_snapshot.project.variables import BACKEND_VARIABLE, refuse_unknown

if TYPE_CHECKING:
    from alembic_snapshot.database.clone import Clone
    from alembic_snapshot.engines.events import EngineEvents
    from alembic_snapshot.plugin.current import CurrentTest
    from alembic_snapshot.plugin.database import Database
    from alembic_snapshot.plugin.summary import Tally
    from alembic_snapshot.project.config import Project

_ELSEWHERE = "\nthe first of these errors has the details"
_key: pytest.StashKey[PluginSession] = pytest.StashKey()


def session_of(config: pytest.Config) -> PluginSession:
    """The plugin's state in this run of pytest."""
    if _key not in config.stash:
        config.stash[_key] = PluginSession(config)
    return config.stash[_key]


def has_plugin(config: pytest.Config, module: str) -> bool:
    """Whether a module is a plugin of this run: loaded by itself or with ``-p``, by any name."""
    found = sys.modules.get(module)
    return found is not None and config.pluginmanager.is_registered(found)


# pytest, and what PyCharm and VS Code start in its place.
_PROGRAMS = ("pytest", "py", "_jb_pytest_runner", "run_pytest_script")
# The sessions that there have been in this process.
_numbers = itertools.count()


class PluginSession:
    """The plugin in one process of pytest: inert without a table, idle until it is needed.

    ``temporary`` tells pytest's temporary folder, ``item`` is the test that is set up, runs or is
    taken down, ``reports`` has the numbers of other processes. What is not there yet when pytest
    starts is made, once, when somebody first asks for it: the projects, their databases, and what
    hears of SQLAlchemy's engines. ``is_active`` says whether anybody has.
    """

    temporary: Callable[[], Path]
    item: pytest.Item

    def __init__(self, config: pytest.Config):
        self.config = config
        self.error: ConfigError | None = None
        self.toml: TomlFile | None = None
        try:
            self.toml = table_of(config)
            if self.toml is not None:
                refuse_unknown()
        except ConfigError as error:
            self.error = error
        self.tables = Tables(config, self.toml)
        # Whether the summary was written.
        self.is_told = False
        self.failures = Failures()
        self.reports = Reports(self._news, self._told_of)
        # Before pytest has parsed everything, it knows the options only here.
        self.options: Any = config.known_args_namespace
        self._told: set[str] = set()
        workerinput = getattr(config, "workerinput", {})
        # When the run did: its first process tells the others.
        self.started = float(workerinput.get("alembic_snapshot_started") or time.time())
        self._process = os.getpid()
        # A test may run pytest in its own process.
        self._is_first = next(_numbers) == 0
        self._started = False
        self._heard: list[ModuleType] = []
        self._forget: Callable[[], None] = lambda: None
        self._restore: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Be ready for whoever imports SQLAlchemy first.

        Raises:
            ConfigError: no table can be told, or SQLAlchemy is imported and the table is wrong.
        """
        if self.error is not None:
            raise self.error
        if self.toml is not None and not self._started:
            self._started = True
            from alembic_snapshot.engines.importing import when_imported

            words = (b"environment", b"postgresql")
            if BACKEND_VARIABLE in os.environ or any(word in self.toml.content for word in words):
                self._lead_nowhere()
            # Another plugin may have imported it already; then this is done at once.
            self._forget = when_imported("sqlalchemy", self._install)

    @property
    def is_worker(self) -> bool:
        """Whether this process runs tests for another one, under pytest-xdist."""
        return hasattr(self.config, "workerinput")

    @property
    def is_fork(self) -> bool:
        """Whether this process was forked from the one that pytest began in."""
        return os.getpid() != self._process

    @property
    def runs_tests(self) -> bool:
        """Whether this process knows the tests that it is going to run."""
        return not (self.is_worker or self.config.pluginmanager.hasplugin("dsession"))

    @property
    def is_active(self) -> bool:
        """Whether anything has needed the databases so far."""
        return "databases" in vars(self)

    @property
    def store(self) -> Path:
        """Where snapshots are kept."""
        assert self.toml is not None
        return store_folder(self.toml.path.parent, self.options.snapshot_dir)

    def look(self) -> bool:
        """See that SQLAlchemy is heard of if it is there; whether nobody told that it came.

        Raises:
            ConfigError: the configuration is wrong, and somebody caught that.
        """
        if self.error is not None:
            raise self.error
        found = sys.modules.get("sqlalchemy")
        # What a test has put in its place may make no engines.
        makes_engines = isinstance(getattr(found, "Engine", None), type)
        is_heard = any(found is one for one in self._heard)
        if self.toml is None or is_heard or not makes_engines:
            return False
        self._install()
        return True

    @functools.cached_property
    def _configured(self) -> dict[str, Project]:
        if self.error is not None:
            raise self.error
        if self.toml is None:
            raise ConfigError(
                "no [tool.alembic-snapshot] table in a pyproject.toml in "
                f"{self.config.rootpath} or a folder above it",
                hint="alembic-snapshot init looks at the project, proposes the table and writes it",
            )
        from alembic_snapshot.project.config import load_projects

        return load_projects(toml=self.toml, store=self.options.snapshot_dir)

    @functools.cached_property
    def projects(self) -> dict[str, Project]:
        """The project for each of its databases, by the database's name.

        What the command line says wins over the table.

        Raises:
            ConfigError: there is no configuration, or it is wrong.
        """
        chosen = {
            "clones": self.options.snapshot_clones,
            "reset": self.options.snapshot_reset,
            "tokens": self.options.snapshot_tokens,
        }
        own: dict[str, Any] = {name: one for name, one in chosen.items() if one is not None}
        own["no_remote"] = self.options.snapshot_no_remote
        return {name: dataclasses.replace(one, **own) for name, one in self._configured.items()}

    @functools.cached_property
    def events(self) -> EngineEvents:
        """What hears of the application's engines."""
        from alembic_snapshot.engines.events import EngineEvents

        root = next(iter(self.projects.values())).root
        events = EngineEvents(root, self._temporary_folder, self.started)
        events.notices.is_asked = self._is_asked
        return events

    def _is_asked(self, project: Project) -> bool:
        """Whether the test that is set up takes a clone of that database, now or later."""
        from alembic_snapshot.project.config import DEFAULT

        names = getattr(getattr(self, "item", None), "fixturenames", ())
        return ("db_clone" if project.name == DEFAULT else "db_clones") in names

    @functools.cached_property
    def tally(self) -> Tally:
        """The sums of this process."""
        from alembic_snapshot.plugin.summary import Tally

        return Tally()

    @functools.cached_property
    def test(self) -> CurrentTest:
        """What the test was lent that is set up, runs or is taken down, and its end."""
        from alembic_snapshot.plugin.current import CurrentTest
        from alembic_snapshot.plugin.kept import Kept

        kept = Kept(self.options.snapshot_keep, self._run_folder)
        events = self.events
        return CurrentTest(self.databases, events.notices, self.tally, kept, events.untouched)

    @functools.cached_property
    def databases(self) -> dict[str, Database]:
        """Every database of the project by its name, the first one's first.

        Raises:
            ConfigError: there is no configuration, or it is wrong.
        """
        from alembic_snapshot.plugin.database import Database

        _alive.add(self)
        return {
            name: Database(
                project,
                self.events,
                self.tally,
                folder=lambda: self.folder,
                rebuild=self.started if self.options.snapshot_rebuild else None,
                all_clones=self._clones_in_use,
                crowd=self._processes() * len(self.projects),
            )
            for name, project in self.projects.items()
        }

    def _clones_in_use(self) -> list[Clone]:
        clones = (database.clone for database in self.databases.values())
        return [clone for clone in clones if clone is not None]

    def database(self, name: str) -> Database:
        """The database of that name.

        Raises:
            ConfigError: there is none.
        """
        if name not in self.databases:
            others = ", ".join(list(self.databases)[1:]) or "none"
            raise ConfigError(
                f"no database {name!r} in [tool.alembic-snapshot.databases]",
                hint=f"the configured ones: {others}",
            )
        return self.databases[name]

    @functools.cached_property
    def folder(self) -> Path:
        """Where this process makes its clones."""
        folder = Path(os.path.realpath(self.temporary())) / "databases"
        folder.mkdir(exist_ok=True)
        return folder

    def collected(self, items: list[pytest.Item]) -> None:
        """Build what the tests need before the first of them runs; a worker only gets ready."""
        wanted: dict[tuple[str | None, str | None], CloneOptions] = {}
        for item in items:
            if getattr(item, "needs_snapshot", False):
                wanted.setdefault((None, None), CloneOptions())
            names = set(getattr(item, "fixturenames", ()))
            if names & {"db_clone", "db_snapshot"} or item.get_closest_marker("db_clone"):
                with contextlib.suppress(ConfigError):
                    options = CloneOptions.of_test(item)
                    if not options.empty:
                        wanted.setdefault(options.key, options)
        # A test that needs what can't be built reports the error.
        if self.runs_tests:
            with contextlib.suppress(SnapshotError):
                for options in wanted.values():
                    self._build(options)
        if wanted:
            from alembic_snapshot.plugin.fakes import keep_out

            keep_out()
            self._make_folder()

    def _make_folder(self) -> None:
        """Make the folder before a test runs in a forked process.

        Each of these would make pytest's anew, and delete what another has kept there.
        """
        factory = getattr(self.config, "_tmp_path_factory", None)
        if factory is not None:
            self.temporary = factory.getbasetemp
            # Where it can't be made, each test says so.
            with contextlib.suppress(OSError):
                _ = self.folder

    def told_once(self, error: SnapshotError) -> str:
        """An error as reports show it; the first report of it has the details."""
        details = ""
        if error.details:
            first = error.message not in self._told
            details = f"\n\n{error.details}" if first else _ELSEWHERE
            self._told.add(error.message)
        return f"{type(error).__name__}: {error}{details}"

    def summary(self) -> list[str]:
        """The lines that end the run, about every process of it."""
        total = self.total()
        lines = [] if total is None else total.lines(self.reports.failed)
        return [*lines, *self.tables.lines()]

    def total(self) -> Tally | None:
        """What this process and others did; None if none did anything."""
        return self.reports.total(self.test.count().to_record() if self.is_active else None)

    def _news(self) -> Callable[[], dict[str, Any]] | None:
        if not self.is_worker:
            return None
        return self.test.take if self.is_active else dict

    def _told_of(self, files: Iterable[str]) -> None:
        if self.is_active:
            self.events.untouched.look_again(files)

    @property
    def _is_last(self) -> bool:
        """Whether nothing comes after it in this process, but what tests have left behind."""
        return self._is_first and (self.is_worker or _is_main())

    def close(self) -> None:
        """Leave no trace in this process, unless it ends: then the engines stay guarded.

        A thread, or what is done at exit, may go on with them.
        """
        self._forget()
        self._restore()
        if not self.is_active:
            return
        if not self._is_last:
            self.events.uninstall()
        self.test.close()
        self.events.loop.close()
        _alive.discard(self)
        if "folder" in vars(self) and self.folder.is_dir():
            # What a thread or a child process wrote after its test was over.
            shutil.rmtree(self.folder, ignore_errors=True)
        for name in ("databases", "events", "folder", "tally", "test"):
            vars(self).pop(name, None)

    def before_fork(self) -> None:
        """Make the clones in use, so that parent and child have the same."""
        for database in self.databases.values():
            if database.clone is not None:
                database.clone.make()
                # What the child does with it, nobody here sees.
                database.clone.was_told = True

    def after_fork(self) -> None:
        """Leave the parent's connections to the parent."""
        for database in self.databases.values():
            database.redirect.abandon()
        if "test" in vars(self):
            # The parent tells it.
            self.test.take()

    def _install(self) -> None:
        from alembic_snapshot.key.libraries import refuse_old

        try:
            refuse_old()
            _ = self.databases
            self.events.listen()
        except ConfigError as error:
            self.error = error
            raise
        self._heard.append(sys.modules["sqlalchemy"])

    def _run_folder(self) -> Path:
        """A folder that every process of the run has."""
        own = self.temporary()
        # Workers of pytest-xdist have a folder each, in one that is the run's.
        return Path(os.path.realpath(own.parent if self.is_worker else own))

    def _temporary_folder(self) -> Path | None:
        # Not public; without it nothing counts as temporary.
        factory = getattr(self.config, "_tmp_path_factory", None)
        if factory is None:
            return None
        own: Path = factory.getbasetemp()
        return own.parent if self.is_worker else own

    def _lead_nowhere(self) -> None:
        """Have the variables of ``environment`` lead nowhere before anybody can read them."""
        from alembic_snapshot.backend import backend_of
        from alembic_snapshot.engines.nowhere import lead_nowhere

        try:
            projects = self._configured.values()
        except SnapshotError:
            # Nobody can import SQLAlchemy then.
            return
        backends = [backend_of(project) for project in projects]
        places = (backend.nowhere() for backend in backends)
        self._restore = lead_nowhere(zip(projects, places, strict=True))
        try:
            for backend in backends:
                backend.require_drivers()
        except ConfigError as error:
            self._restore()
            # A conftest.py may import the application, which would say less.
            raise pytest.UsageError(str(error)) from None

    def _build(self, wanted: CloneOptions) -> None:
        from alembic_snapshot.build.progress import Progress

        quiet = self.config.get_verbosity() < 0
        with Progress(quiet=quiet, stream=sys.__stderr__) as progress:
            next(iter(self.databases.values())).snapshot(wanted, listener=progress)

    def _processes(self) -> int:
        """How many processes of this run run tests."""
        return int(getattr(self.config, "workerinput", {}).get("workercount", 1))


def _is_main() -> bool:
    """Whether pytest is the program of this process."""
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    name = spec.name if spec else os.path.basename(getattr(main, "__file__", None) or "")
    return name.partition(".")[0] in _PROGRAMS


# The sessions that a fork concerns; a run of pytest inside a test has one of its own.
_alive: weakref.WeakSet[PluginSession] = weakref.WeakSet()


def _before_fork() -> None:
    for session in list(_alive):
        session.before_fork()


def _after_fork() -> None:
    for session in list(_alive):
        session.after_fork()


os.register_at_fork(before=_before_fork, after_in_child=_after_fork)
