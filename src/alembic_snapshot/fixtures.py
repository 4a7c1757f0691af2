"""The fixtures of the pytest plugin, all but the async session."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import pytest

from alembic_snapshot.errors import SnapshotError
from alembic_snapshot.run import run_of, wish, wish_of

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine
    from sqlalchemy.orm import Session

    from alembic_snapshot.clones import Wish
    from alembic_snapshot.lending import Database
    from alembic_snapshot.snapshot import Clone, Snapshot


class OpenConnectionWarning(pytest.PytestWarning):
    """A test left a connection to its database open; it was closed."""


@pytest.fixture(scope="session")
def db_snapshot(request: pytest.FixtureRequest) -> Snapshot:
    """The migrated snapshot: ``.clone(path)``, ``.manifest``, ``.path``."""
    try:
        return run_of(request.config).runtime().database().snapshot()
    except SnapshotError as error:
        fail(request, error)


@pytest.fixture
def db_clone(request: pytest.FixtureRequest) -> Iterator[Clone]:
    """This test's own clone: ``.path``, ``.url``, ``.environ``, ``.engine()``, ``.diff()``."""
    yield from _lend(request, "default", lambda: wish_of(request.node))


@pytest.fixture
def db_clones(request: pytest.FixtureRequest) -> Iterator[Clones]:
    """This test's clones by the database's name, for projects with several databases."""
    clones = Clones(request)
    with contextlib.ExitStack() as stack:
        clones.stack = stack
        yield clones


class Clones:
    """Clones by the database's name; each begins when it is first asked for."""

    def __init__(self, request: pytest.FixtureRequest):
        self.stack = contextlib.ExitStack()
        self._request = request
        self._lent: dict[str, Clone] = {}

    def __getitem__(self, name: str) -> Clone:
        if name == "default":
            clone: Clone = self._request.getfixturevalue("db_clone")
            return clone
        if name not in self._lent:
            lent = contextlib.contextmanager(_lend)(self._request, name, lambda: wish({}))
            self._lent[name] = self.stack.enter_context(lent)
        return self._lent[name]


@pytest.fixture
def db_engine(request: pytest.FixtureRequest, db_clone: Clone) -> Engine:
    """The engine on this test's clone: the application's own, if it has a synchronous one."""
    try:
        return database_of(request).pointer.engines.sync()
    except SnapshotError as error:
        fail(request, error)


@pytest.fixture
def db_session(request: pytest.FixtureRequest, db_clone: Clone) -> Iterator[Session]:
    """A session on this test's clone, from the application's own sessionmaker if it has one."""
    try:
        session, factory = database_of(request).pointer.engines.session()
    except SnapshotError as error:
        fail(request, error)
    yield session
    session.close()
    if hasattr(factory, "remove"):
        factory.remove()


@pytest.fixture
def async_db_engine(request: pytest.FixtureRequest, db_clone: Clone) -> AsyncEngine:
    """The async engine on this test's clone: the application's own, if it has one."""
    try:
        return database_of(request).pointer.engines.async_()
    except SnapshotError as error:
        fail(request, error)


@pytest.fixture(autouse=True)
def _db_clone_marker(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("db_clone"):
        request.getfixturevalue("db_clone")


def clone_fixture(
    scope: Literal["class", "module", "package", "session"] = "class",
    *,
    database: str = "default",
    name: str | None = None,
    autouse: bool = False,
    **arguments: Any,
) -> Any:
    """A fixture with a clone that several tests share; assign it to its name.

    While it is in use, the engines stay on it, and ``db_clone`` and everything that stands on it
    join it. ``arguments`` are those of the ``db_clone`` marker.
    """
    wish(arguments)

    @pytest.fixture(scope=scope, name=name, autouse=autouse)
    def shared_clone(request: pytest.FixtureRequest) -> Iterator[Clone]:
        yield from _lend(request, database, lambda: wish(arguments), lasting=True)

    return shared_clone


def _lend(
    request: pytest.FixtureRequest,
    name: str,
    wished: Callable[[], Wish],
    *,
    lasting: bool = False,
) -> Iterator[Clone]:
    """Begin a clone and end it afterwards, or join the one that is in use."""
    __tracebackhide__ = True
    try:
        database = database_of(request, name)
        is_own = database.begin(wished(), lasting=lasting)
    except SnapshotError as error:
        fail(request, error)
    assert database.clone is not None
    yield database.clone
    if is_own:
        _report_open(request, database)


def _report_open(request: pytest.FixtureRequest, database: Database) -> None:
    __tracebackhide__ = True
    runtime = run_of(request.config).runtime()
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


def database_of(request: pytest.FixtureRequest, name: str = "default") -> Database:
    runtime = run_of(request.config).runtime()
    if runtime.own is None:
        own = request.getfixturevalue("tmp_path_factory").getbasetemp()
        # Workers of pytest-xdist have a folder each, in one that is the run's.
        shared = own.parent if hasattr(request.config, "workerinput") else own
        runtime.folders(own, shared)
    return runtime.database(name)


def fail(request: pytest.FixtureRequest, error: SnapshotError) -> NoReturn:
    """Fail the test with the error; its details come once, with the first of them."""
    message = run_of(request.config).told_once(error)
    raise pytest.fail.Exception(message, pytrace=False) from None
