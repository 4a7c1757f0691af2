"""The fixtures of the pytest plugin, all but the async session."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypedDict, Unpack

import pytest

from alembic_snapshot.errors import SnapshotError
from alembic_snapshot.plugin.declared import asked_by, beginning_of
from alembic_snapshot.plugin.fakes import PATCHER
from alembic_snapshot.plugin.marker import CloneOptions, Shared
from alembic_snapshot.plugin.session import PluginSession, session_of

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine
    from sqlalchemy.orm import Session

    from alembic_snapshot.build.snapshot import Snapshot
    from alembic_snapshot.database.clone import Clone


class CloneArguments(TypedDict, total=False):
    """What the ``db_clone`` marker takes."""

    layer: str | None
    revision: str | None
    empty: bool
    readonly: bool
    durable: bool


@pytest.fixture(scope="session")
def _db_run(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> PluginSession:
    # For the fixtures of each test: pytest makes every ``request`` anew, which costs them more
    # than all that they do.
    session = session_of(request.config)
    session.temporary = tmp_path_factory.getbasetemp
    if PATCHER in sys.modules:
        # Within a fake file system the folder of the clones could not be made.
        _ = session.folder
    return session


@pytest.fixture(scope="session")
def db_snapshot(_db_run: PluginSession) -> Snapshot:
    """The migrated snapshot: ``.clone(path)``, ``.manifest``, ``.path``."""
    try:
        database = _db_run.database("default")
        database.verify()
        return database.snapshot()
    except SnapshotError as error:
        fail(_db_run, error)


@pytest.fixture
def db_clone(_db_run: PluginSession) -> Iterator[Clone]:
    """This test's own clone: ``.path``, ``.url``, ``.environ``, ``.engine()``, ``.diff()``."""
    yield from _lend(_db_run, "default", lambda: CloneOptions.of_test(_db_run.item))


@pytest.fixture
def db_clones(request: pytest.FixtureRequest, _db_run: PluginSession) -> Iterator[Clones]:
    """This test's clones by the database's name, for projects with several databases."""
    clones = Clones(request, _db_run)
    with contextlib.ExitStack() as stack:
        clones.stack = stack
        yield clones


class Clones:
    """Clones by the database's name; each begins when it is first asked for."""

    def __init__(self, request: pytest.FixtureRequest, session: PluginSession):
        self.stack = contextlib.ExitStack()
        self._request = request
        self._session = session
        self._lent: dict[str, Clone] = {}

    def __getitem__(self, name: str) -> Clone:
        if name == "default":
            clone: Clone = self._request.getfixturevalue("db_clone")
            return clone
        if name not in self._lent:
            lent = contextlib.contextmanager(_lend)(self._session, name, CloneOptions)
            self._lent[name] = self.stack.enter_context(lent)
        return self._lent[name]

    def __contains__(self, name: object) -> bool:
        return name in self._session.databases

    def __iter__(self) -> Iterator[str]:
        return iter(self._session.databases)

    def __len__(self) -> int:
        return len(self._session.databases)


@pytest.fixture
def _db_begun(_db_run: PluginSession, db_clones: Clones) -> None:
    # A test's clones of further databases that begin from a checkpoint.
    for declared in asked_by(_db_run.item):
        _ = db_clones[declared.database]


@pytest.fixture
def db_engine(_db_run: PluginSession, db_clone: Clone) -> Engine:
    """The engine on this test's clone: the application's own, if it has a synchronous one."""
    try:
        return _db_run.database("default").redirect.engines.sync()
    except SnapshotError as error:
        fail(_db_run, error)


@pytest.fixture
def db_session(_db_run: PluginSession, db_clone: Clone) -> Iterator[Session]:
    """A session on this test's clone, from the application's own sessionmaker if it has one."""
    try:
        redirect = _db_run.database("default").redirect
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
def async_db_engine(_db_run: PluginSession, db_clone: Clone) -> AsyncEngine:
    """The async engine on this test's clone: the application's own, if it has one."""
    try:
        return _db_run.database("default").redirect.engines.async_()
    except SnapshotError as error:
        fail(_db_run, error)


def clone_fixture(
    scope: Literal["function", "class", "module", "package", "session"] = "class",
    *,
    database: str = "default",
    name: str | None = None,
    autouse: bool = False,
    **arguments: Unpack[CloneArguments],
) -> Callable[..., Iterator[Clone]]:
    """A fixture with a clone that several tests share; assign it to its name.

    While it is in use, the engines stay on it, and ``db_clone`` and everything that stands on it
    join it. With the scope ``function`` it is one test's. ``arguments`` are those of the
    ``db_clone`` marker.
    """
    options = CloneOptions.of(arguments)

    @pytest.fixture(scope=scope, name=name, autouse=autouse)
    def shared_clone(request: pytest.FixtureRequest, _db_run: PluginSession) -> Iterator[Clone]:
        shared = Shared(str(request.fixturename), request.node)
        yield from _lend(_db_run, database, lambda: options, shared=shared)

    # What pytest makes of it is told differently in each version of pytest.
    made: Any = shared_clone
    return made  # type: ignore[no-any-return]


def _lend(
    session: PluginSession,
    name: str,
    options: Callable[[], CloneOptions],
    *,
    shared: Shared | None = None,
) -> Iterator[Clone]:
    """Begin a clone and end it afterwards, or join the one that is in use.

    What a signal's handler raises can come anywhere: a limit of time, for example.
    """
    __tracebackhide__ = True
    try:
        database = session.database(name)
        base = None if shared else beginning_of(session.item, name)
        is_own = database.begin(options(), shared=shared, base=base)
    except SnapshotError as error:
        fail(session, error)
    clone = database.clone
    assert clone is not None
    try:
        yield clone
    finally:
        if is_own and database.clone is clone:
            with failing(session):
                session.test.take_back(database, session.item.nodeid)


@contextlib.contextmanager
def failing(session: PluginSession) -> Iterator[None]:
    """Fail the test with an error of ours that is raised meanwhile."""
    __tracebackhide__ = True
    try:
        yield
    except SnapshotError as error:
        fail(session, error)


def fail(session: PluginSession, error: SnapshotError) -> NoReturn:
    """Fail the test with the error; its details come once, with the first of them."""
    message = session.told_once(error)
    raise pytest.fail.Exception(message, pytrace=False) from None
