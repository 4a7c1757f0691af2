"""The fixtures of the pytest plugin, all but the async session."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypedDict, Unpack

import pytest

from alembic_snapshot.errors import SnapshotError
from alembic_snapshot.plugin.run import Run, clone_options, run_of

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine
    from sqlalchemy.orm import Session

    from alembic_snapshot.build.snapshot import Snapshot
    from alembic_snapshot.database.clone import Clone
    from alembic_snapshot.plugin.clones import CloneOptions
    from alembic_snapshot.plugin.database import Database
    from alembic_snapshot.plugin.runtime import Runtime


class CloneArguments(TypedDict, total=False):
    """What the ``db_clone`` marker takes."""

    layer: str | None
    revision: str | None
    empty: bool
    readonly: bool
    durable: bool


class OpenConnectionWarning(pytest.PytestWarning):
    """A test left a connection to its database open; it was closed."""


@pytest.fixture(scope="session")
def _db_run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    # For the fixtures of each test: pytest makes every ``request`` anew, which costs them more
    # than all that they do.
    run = run_of(request.config)
    run.temporary = tmp_path_factory.getbasetemp
    return run


@pytest.fixture(scope="session")
def db_snapshot(_db_run: Run) -> Snapshot:
    """The migrated snapshot: ``.clone(path)``, ``.manifest``, ``.path``."""
    try:
        database = _db_run.runtime().database()
        database.verify()
        return database.snapshot()
    except SnapshotError as error:
        fail(_db_run, error)


@pytest.fixture
def db_clone(_db_run: Run) -> Iterator[Clone]:
    """This test's own clone: ``.path``, ``.url``, ``.environ``, ``.engine()``, ``.diff()``."""
    yield from _lend(_db_run, "default", _db_run.clone_options)


@pytest.fixture
def db_clones(request: pytest.FixtureRequest, _db_run: Run) -> Iterator[Clones]:
    """This test's clones by the database's name, for projects with several databases."""
    clones = Clones(request, _db_run)
    with contextlib.ExitStack() as stack:
        clones.stack = stack
        yield clones


class Clones:
    """Clones by the database's name; each begins when it is first asked for."""

    def __init__(self, request: pytest.FixtureRequest, run: Run):
        self.stack = contextlib.ExitStack()
        self._request = request
        self._run = run
        self._lent: dict[str, Clone] = {}

    def __getitem__(self, name: str) -> Clone:
        if name == "default":
            clone: Clone = self._request.getfixturevalue("db_clone")
            return clone
        if name not in self._lent:
            lent = contextlib.contextmanager(_lend)(self._run, name, lambda: clone_options({}))
            self._lent[name] = self.stack.enter_context(lent)
        return self._lent[name]


@pytest.fixture
def db_engine(_db_run: Run, db_clone: Clone) -> Engine:
    """The engine on this test's clone: the application's own, if it has a synchronous one."""
    try:
        return database_of(_db_run).redirect.engines.sync()
    except SnapshotError as error:
        fail(_db_run, error)


@pytest.fixture
def db_session(_db_run: Run, db_clone: Clone) -> Iterator[Session]:
    """A session on this test's clone, from the application's own sessionmaker if it has one."""
    try:
        redirect = database_of(_db_run).redirect
        session, factory, doubt = redirect.engines.session()
    except SnapshotError as error:
        fail(_db_run, error)
    if doubt:
        redirect.doubted.add(session)
    yield session
    session.close()
    if hasattr(factory, "remove"):
        factory.remove()


@pytest.fixture
def async_db_engine(_db_run: Run, db_clone: Clone) -> AsyncEngine:
    """The async engine on this test's clone: the application's own, if it has one."""
    try:
        return database_of(_db_run).redirect.engines.async_()
    except SnapshotError as error:
        fail(_db_run, error)


def clone_fixture(
    scope: Literal["class", "module", "package", "session"] = "class",
    *,
    database: str = "default",
    name: str | None = None,
    autouse: bool = False,
    **arguments: Unpack[CloneArguments],
) -> Callable[..., Iterator[Clone]]:
    """A fixture with a clone that several tests share; assign it to its name.

    While it is in use, the engines stay on it, and ``db_clone`` and everything that stands on it
    join it. ``arguments`` are those of the ``db_clone`` marker.
    """
    given = dict(arguments)
    clone_options(given)

    @pytest.fixture(scope=scope, name=name, autouse=autouse)
    def shared_clone(_db_run: Run) -> Iterator[Clone]:
        yield from _lend(_db_run, database, lambda: clone_options(given), shared=True)

    # What pytest makes of it is told differently in each version of pytest.
    made: Any = shared_clone
    return made  # type: ignore[no-any-return]


def _lend(
    run: Run,
    name: str,
    clone_options: Callable[[], CloneOptions],
    *,
    shared: bool = False,
) -> Iterator[Clone]:
    """Begin a clone and end it afterwards, or join the one that is in use."""
    __tracebackhide__ = True
    try:
        database = database_of(run, name)
        is_own = database.begin(clone_options(), shared=shared)
    except SnapshotError as error:
        fail(run, error)
    assert database.clone is not None
    yield database.clone
    if is_own:
        strayed = database.strayed(run.item.nodeid)
        _report_open(run.runtime(), database)
        if strayed and not run.runtime().test_failed:
            fail(run, strayed)


def _report_open(runtime: Runtime, database: Database) -> None:
    __tracebackhide__ = True
    held = database.end()
    if runtime.test_failed:
        # Its traceback holds on to whatever it had.
        return
    callsites = runtime.callsites
    for site in held:
        message = OpenConnectionWarning(
            f"a connection to the test's database was still open: {callsites.text(site)} took it"
        )
        if site is None:
            warnings.warn(message, stacklevel=2)
        else:
            warnings.warn_explicit(message, None, *site)


def database_of(run: Run, name: str = "default") -> Database:
    runtime = run.runtime()
    if runtime.own is None:
        own = run.temporary()
        # Workers of pytest-xdist have a folder each, in one that is the run's.
        runtime.folders(own, own.parent if run.is_worker else own)
    return runtime.database(name)


def fail(run: Run, error: SnapshotError) -> NoReturn:
    """Fail the test with the error; its details come once, with the first of them."""
    message = run.told_once(error)
    raise pytest.fail.Exception(message, pytrace=False) from None
