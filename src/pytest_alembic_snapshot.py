"""The pytest plugin: a database for each test, without changing the application.

Light to import: no SQLAlchemy, no Alembic, and no build until a test asks for a database.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from alembic_snapshot.errors import ConfigError, SnapshotError

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.orm import Session

    from alembic_snapshot.pointing import Pointer
    from alembic_snapshot.runtime import Runtime
    from alembic_snapshot.snapshot import Clone, Snapshot

_OPTIONS = {"layer", "revision", "empty", "durable"}
_MARKER = (
    "db_clone(layer=None, revision=None, empty=False, durable=False): give the "
    "test its own clone of the migrated database"
)
_runtime: pytest.StashKey[Runtime] = pytest.StashKey()
_clone: pytest.StashKey[Clone] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options, in a group of their own."""
    group = parser.getgroup("alembic-snapshot", "databases made by Alembic migrations")
    group.addoption(
        "--snapshot-rebuild",
        action="store_true",
        help="build the snapshot from nothing, although the store has it",
    )
    group.addoption(
        "--snapshot-keep",
        choices=("failed", "all", "none"),
        default="failed",
        help="whose clones stay after the run (default: failed tests')",
    )
    group.addoption("--snapshot-dir", type=Path, metavar="DIR", help="where snapshots are kept")


def pytest_configure(config: pytest.Config) -> None:
    """Read the configuration, and guard the application's engine if there is one."""
    config.addinivalue_line("markers", _MARKER)
    from alembic_snapshot.runtime import Runtime

    try:
        config.stash[_runtime] = Runtime.start(
            config.rootpath,
            store=config.getoption("snapshot_dir"),
            keep=config.getoption("snapshot_keep"),
            rebuild=config.getoption("snapshot_rebuild"),
        )
    except ConfigError as error:
        raise pytest.UsageError(str(error)) from error


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Where the configuration and the store are; nothing is computed."""
    runtime = config.stash[_runtime]
    project = runtime.project
    if project is None or not project.configured:
        return []
    return [f"alembic-snapshot: {project.root / 'pyproject.toml'}, store {project.store}"]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build before the first test, if a collected test needs it; each worker finds out later."""
    runtime = session.config.stash[_runtime]
    if not runtime.configured or session.config.option.collectonly or _is_distributed(session):
        return
    wanted = {"db_clone", "db_snapshot"}
    if any(wanted & set(getattr(item, "fixturenames", ())) for item in session.items):
        from alembic_snapshot.progress import Progress

        # The tests that need it will report the error.
        with contextlib.suppress(SnapshotError), Progress(stream=sys.__stderr__) as progress:
            runtime.snapshot(listener=progress)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say, in a failed test's report, where its database is and what is in it."""
    report = yield
    clone = item.stash.get(_clone, None)
    if clone is not None and report.failed and call.when in ("setup", "call"):
        text = item.config.stash[_runtime].describe_failure(clone, item.nodeid)
        if text:
            report.sections.append(("database of the test", text))
    return report


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """One line: which snapshot, built or reused and why, how many clones."""
    line = config.stash[_runtime].summary()
    if line:
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def db_snapshot(request: pytest.FixtureRequest) -> Iterator[Snapshot]:
    """The migrated snapshot: ``.clone(path)``, ``.manifest``, ``.path``."""
    runtime = request.config.stash[_runtime]
    try:
        snapshot = runtime.snapshot()
    except SnapshotError as error:
        _fail(error)
    with snapshot.in_use():
        yield snapshot


@pytest.fixture
def db_clone(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Clone]:
    """This test's own clone: ``.path``, ``.url``, ``.environ``, ``.engine()``, ``.diff()``."""
    runtime = request.config.stash[_runtime]
    try:
        clone = runtime.begin(tmp_path_factory.getbasetemp(), **_options(request.node))
    except SnapshotError as error:
        _fail(error)
    request.node.stash[_clone] = clone
    yield clone
    for line in runtime.end(clone):
        warnings.warn(pytest.PytestWarning(line), stacklevel=1)


@pytest.fixture
def db_engine(request: pytest.FixtureRequest, db_clone: Clone) -> Engine:
    """The engine on this test's clone: the application's own, if one is configured."""
    engine = _pointer(request).engine()
    sync: Engine = getattr(engine, "sync_engine", engine)
    return sync


@pytest.fixture
def db_session(request: pytest.FixtureRequest, db_clone: Clone) -> Iterator[Session]:
    """A session on this test's clone, from the application's own sessionmaker if it has one."""
    session = _pointer(request).sessionmaker()()
    yield session
    session.close()


@pytest.fixture(autouse=True)
def _db_clone_marker(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("db_clone"):
        request.getfixturevalue("db_clone")


def _pointer(request: pytest.FixtureRequest) -> Pointer:
    pointer = request.config.stash[_runtime].pointer
    assert pointer is not None  # db_clone has seen to it
    return pointer


def _options(item: pytest.Item) -> dict[str, Any]:
    """The marker's arguments, the nearest marker's first."""
    options: dict[str, Any] = {}
    for marker in item.iter_markers("db_clone"):
        unknown = marker.kwargs.keys() - _OPTIONS
        if marker.args or unknown:
            wrong = ", ".join([*map(repr, marker.args), *sorted(unknown)])
            raise ConfigError(
                f"the db_clone marker does not take {wrong}",
                hint=f"it takes {', '.join(sorted(_OPTIONS))}, by name",
            )
        options = {**marker.kwargs, **options}
    return options


def _is_distributed(session: pytest.Session) -> bool:
    """Whether this is a process of pytest-xdist: workers run what they are given, when they are."""
    manager = session.config.pluginmanager
    return manager.hasplugin("dsession") or hasattr(session.config, "workerinput")


def _fail(error: SnapshotError) -> NoReturn:
    details = f"\n\n{error.details}" if error.details else ""
    pytest.fail(f"{type(error).__name__}: {error}{details}", pytrace=False)
