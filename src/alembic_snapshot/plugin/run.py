"""The plugin in one process of pytest: inert without a table, idle until something needs it."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from alembic_snapshot.errors import ConfigError, SnapshotError
from alembic_snapshot.project.places import BACKEND_VARIABLE, store_folder, table_above

if TYPE_CHECKING:
    from alembic_snapshot.plugin.clones import CloneOptions
    from alembic_snapshot.plugin.runtime import Runtime

_ARGUMENTS = ("durable", "empty", "layer", "readonly", "revision")
_ELSEWHERE = "\nthe first of these errors has the details"
_key: pytest.StashKey[Run] = pytest.StashKey()


def run_of(config: pytest.Config) -> Run:
    """The plugin's state in this run of pytest."""
    if _key not in config.stash:
        config.stash[_key] = Run(config)
    return config.stash[_key]


class Run:
    """The plugin in one process of pytest: inert without a table, idle until it is needed.

    ``item`` is the test that is being set up or running, ``temporary`` what tells pytest's
    temporary folder.
    """

    item: pytest.Item
    temporary: Callable[[], Path]

    def __init__(self, config: pytest.Config):
        self.config = config
        self.toml = table_above(config.rootpath) or table_above(config.invocation_params.dir)
        self.error: ConfigError | None = None
        self.records: list[dict[str, Any]] = []
        # Before pytest has parsed everything, it knows the options only here.
        self.options: Any = config.known_args_namespace
        self.told: set[str] = set()
        self._started = False
        self._runtime: Runtime | None = None
        self._forget: Callable[[], None] = lambda: None
        self._restore: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Be ready for whoever imports SQLAlchemy first."""
        if self.toml is not None and not self._started:
            self._started = True
            from alembic_snapshot.engines.importing import when_imported

            self._forget = when_imported("sqlalchemy", self._install)
            if BACKEND_VARIABLE in os.environ or b"postgresql" in self.toml.read_bytes():
                self._stand_in(self.toml.parent)

    @property
    def is_worker(self) -> bool:
        """Whether this process runs tests for another one, under pytest-xdist."""
        return hasattr(self.config, "workerinput")

    @property
    def runs_tests(self) -> bool:
        """Whether this process knows the tests that it is going to run."""
        return not (self.is_worker or self.config.pluginmanager.hasplugin("dsession"))

    @property
    def store(self) -> Path:
        """Where snapshots are kept."""
        assert self.toml is not None
        return store_folder(self.toml.parent, self.options.snapshot_dir)

    @property
    def existing(self) -> Runtime | None:
        """The runtime, if anything has needed it so far."""
        return self._runtime

    @property
    def workeroutput(self) -> dict[str, Any] | None:
        """What this process, a worker of pytest-xdist, sends at its end; None if it is none."""
        return getattr(self.config, "workeroutput", None)

    def runtime(self) -> Runtime:
        """The runtime.

        Raises:
            ConfigError: there is no configuration, or it is wrong.
        """
        if self._runtime is None:
            if self.toml is None:
                raise ConfigError(
                    "no [tool.alembic-snapshot] table in a pyproject.toml in "
                    f"{self.config.rootpath} or a folder above it",
                    hint='add one to the project\'s pyproject.toml; config = "alembic.ini" is '
                    "enough to begin with",
                )
            from alembic_snapshot.plugin.runtime import Options, Runtime

            options = Options(
                store=self.options.snapshot_dir,
                keep=self.options.snapshot_keep,
                rebuild=self._run_started() if self.options.snapshot_rebuild else None,
                clones=self.options.snapshot_clones,
            )
            self._runtime = Runtime(self.toml.parent, options, self._temporary_folder)
        return self._runtime

    def clone_options(self) -> CloneOptions:
        """What the current test's markers ask for.

        Raises:
            ConfigError: an argument is unknown, or two contradict each other.
        """
        return clone_options_of(self.item)

    def collected(self, items: list[pytest.Item]) -> None:
        """Build what the tests need before the first of them runs."""
        wanted: dict[tuple[str | None, str | None], CloneOptions] = {}
        for item in items:
            if getattr(item, "needs_snapshot", False):
                wanted.setdefault((None, None), clone_options({}))
            names = set(getattr(item, "fixturenames", ()))
            if names & {"db_clone", "db_snapshot"} or item.get_closest_marker("db_clone"):
                with contextlib.suppress(ConfigError):
                    found = clone_options_of(item)
                    if not found.empty:
                        wanted.setdefault(found.key, found)
        # A test that needs what can't be built reports the error.
        with contextlib.suppress(SnapshotError):
            for found in wanted.values():
                self._build(found)

    def told_once(self, error: SnapshotError) -> str:
        """An error as reports show it; the first report of it has the details."""
        details = ""
        if error.details:
            first = error.message not in self.told
            details = f"\n\n{error.details}" if first else _ELSEWHERE
            self.told.add(error.message)
        return f"{type(error).__name__}: {error}{details}"

    def summary(self) -> list[str]:
        """The lines that end the run, about every process of it."""
        if self._runtime is None and not self.records:
            return []
        from alembic_snapshot.plugin.summary import Tally

        return Tally.of(self.all_records()).lines()

    def all_records(self) -> list[dict[str, Any]]:
        """What this process and the workers did."""
        own = [self._runtime.count().to_record()] if self._runtime else []
        return self.records + own

    def close(self) -> None:
        """Leave no trace in this process."""
        self._forget()
        self._restore()
        if self._runtime is not None:
            self._runtime.close()
            self._runtime = None

    def _install(self) -> None:
        try:
            self.runtime().install()
        except ConfigError as error:
            self.error = error

    def _temporary_folder(self) -> Path | None:
        # Not public; without it nothing counts as temporary.
        factory = getattr(self.config, "_tmp_path_factory", None)
        if factory is None:
            return None
        own: Path = factory.getbasetemp()
        # Workers of pytest-xdist have a folder each, in one that is the run's.
        return own.parent if self.is_worker else own

    def _stand_in(self, root: Path) -> None:
        """Let an engine that is made at import speak the dialect, wherever it would connect to."""
        from alembic_snapshot.backend import backend_of
        from alembic_snapshot.project.config import load_project

        # Whatever is wrong with the configuration is told when it is needed.
        with contextlib.suppress(ConfigError):
            project = load_project(root, store=self.options.snapshot_dir)
            self._restore = backend_of(project).stand_in()

    def _build(self, wanted: CloneOptions) -> None:
        from alembic_snapshot.build.progress import Progress

        quiet = self.config.get_verbosity() < 0
        with Progress(quiet=quiet, stream=sys.__stderr__) as progress:
            self.runtime().database().snapshot(wanted, listener=progress)

    def _run_started(self) -> float:
        workerinput = getattr(self.config, "workerinput", {})
        return float(workerinput.get("alembic_snapshot_started") or time.time())


def lend_to_marked(items: list[pytest.Item]) -> None:
    """Have each test with the marker ask for ``db_clone``, ahead of what is made for it alone."""
    for item in items:
        names: list[str] | None = getattr(item, "fixturenames", None)
        if names is not None and item.get_closest_marker("db_clone"):
            others = [name for name in names if name != "db_clone"]
            place = _first_of_the_test(item, others)
            # Another list: this one may be that of every test of the function.
            item.fixturenames = [*others[:place], "db_clone", *others[place:]]  # type: ignore[attr-defined]


def _first_of_the_test(item: pytest.Item, names: list[str]) -> int:
    """The index of the first fixture that is the test's own, after those that several share."""
    # Not public; without it db_clone comes last.
    known = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
    own = (index for index, name in enumerate(names) if _scope(known.get(name)) == "function")
    return next(own, len(names))


def _scope(definitions: Any) -> str | None:
    return definitions[-1].scope if definitions else None


def clone_options_of(item: Any) -> CloneOptions:
    """What a test's markers ask for; a nearer marker's arguments win.

    Raises:
        ConfigError: an argument is unknown, or two contradict each other.
    """
    arguments: dict[str, Any] = {}
    for marker in item.iter_markers("db_clone"):
        if marker.args:
            raise ConfigError(
                f"the db_clone marker does not take {', '.join(map(repr, marker.args))}",
                hint=f"it takes {', '.join(_ARGUMENTS)}, by name",
            )
        arguments = {**marker.kwargs, **arguments}
    return clone_options(arguments)


def clone_options(arguments: dict[str, Any]) -> CloneOptions:
    """What these arguments of the marker ask for.

    Raises:
        ConfigError: one is unknown, or two contradict each other.
    """
    from alembic_snapshot.plugin.clones import CloneOptions

    unknown = arguments.keys() - set(_ARGUMENTS)
    if unknown:
        raise ConfigError(
            f"db_clone does not take {', '.join(sorted(unknown))}",
            hint=f"it takes {', '.join(_ARGUMENTS)}, by name",
        )
    return CloneOptions(**arguments)
