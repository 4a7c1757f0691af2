"""``checkpoint_fixture``: what a function commits is the state that tests begin from.

The function runs on a clone of its own, once for its scope. That clone is then a state, a
:class:`~alembic_snapshot.build.snapshot.Checkpoint`, and each test that asks for the fixture has a
clone of that.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar, Unpack

import pytest

from alembic_snapshot.errors import CloneError, ConfigError
from alembic_snapshot.plugin.declared import (
    ATTRIBUTE,
    Declared,
    declared_of,
    parent_of,
    refusing_late,
)
from alembic_snapshot.plugin.fixtures import failing
from alembic_snapshot.plugin.marker import CloneOptions
from alembic_snapshot.plugin.returned import bound_to_a_session

if TYPE_CHECKING:
    from alembic_snapshot.database.clone import Clone
    from alembic_snapshot.engines.lost import LostWork
    from alembic_snapshot.plugin.calls import Call
    from alembic_snapshot.plugin.database import Database
    from alembic_snapshot.plugin.session import PluginSession

Function = TypeVar("Function", bound=Callable[..., Any])
_SCOPES = ("class", "module", "package", "session")
# What the function may ask for, although each test has its own.
_ON_ITS_CLONE = ("db_clone", "db_engine", "db_session", "async_db_engine", "async_db_session")


class StateArguments(TypedDict, total=False):
    """What a checkpoint that stands on no other takes of the ``db_clone`` marker's arguments."""

    layer: str | None
    revision: str | None
    empty: bool
    durable: bool


def checkpoint_fixture(
    scope: Literal["class", "module", "package", "session"] = "module",
    *,
    database: str = "default",
    name: str | None = None,
    autouse: bool = False,
    params: Iterable[Any] | None = None,
    ids: Any = None,
    **arguments: Unpack[StateArguments],
) -> Callable[[Function], Function]:
    """A fixture whose function's commits are what each test that asks for it begins with.

    The function runs once for its scope and worker, on a clone; what it returns is the fixture's
    value. It may ask for other such fixtures, and then stands on what they have made. ``arguments``
    are those of the ``db_clone`` marker, for a checkpoint that stands on no other.

    Raises:
        ConfigError: the scope, an argument or what is decorated is not what it has to be.
    """
    if callable(scope) or isinstance(scope, classmethod | staticmethod):
        raise ConfigError(
            f"checkpoint_fixture decorates {_name_of(scope)} without parentheses",
            hint="write @checkpoint_fixture() with parentheses, with or without a scope in them",
        )
    if scope not in _SCOPES:
        raise ConfigError(
            f"checkpoint_fixture does not take the scope {scope!r}",
            hint=f'write @checkpoint_fixture("module"), or another of {", ".join(_SCOPES)}: '
            "several tests begin from it",
        )
    options = CloneOptions.of(arguments, "checkpoint_fixture")
    if options.readonly:
        raise ConfigError(
            "checkpoint_fixture does not take readonly=True, because its function writes",
            hint="mark a test that only reads with @pytest.mark.db_clone(readonly=True)",
        )
    more = {} if params is None else {"params": list(params), "ids": ids}

    def decorate(function: Function) -> Function:
        way = type(function) if isinstance(function, classmethod | staticmethod) else None
        plain: Any = function if way is None else getattr(function, "__func__")  # noqa: B009
        if not inspect.isfunction(plain):
            raise ConfigError(
                f"checkpoint_fixture decorates a function, and no {type(function).__name__}",
                hint="leave out pytest.fixture: checkpoint_fixture makes the fixture itself",
            )
        declared = Declared(name or plain.__name__, _place(plain), database, options, autouse)
        fixture: Any = pytest.fixture(scope=scope, name=name, autouse=autouse, **more)
        building: Any = _building(declared, plain)
        made: Function = fixture(building if way is None else way(building))
        return made

    return decorate


def _building(declared: Declared, function: Callable[..., Any]) -> Callable[..., Iterator[Any]]:
    """The function as pytest is to see it: with the same arguments, but for those on its clone."""
    signature = inspect.signature(function)
    own = [name for name in signature.parameters if name in _ON_ITS_CLONE]
    seen = [one for one in signature.parameters.values() if one.name not in own]
    takes_request = "request" in signature.parameters
    added = ["_db_run", *([] if takes_request else ["request"])]
    keywords = [inspect.Parameter(one, inspect.Parameter.KEYWORD_ONLY) for one in added]

    @functools.wraps(function)
    def building(*arguments: Any, **named: Any) -> Iterator[Any]:
        __tracebackhide__ = True
        from alembic_snapshot.plugin.calls import Call

        session: PluginSession = named.pop("_db_run")
        request = named["request"] if takes_request else named.pop("request")
        title = f"{declared.name}{_parameter(request)}"
        bound = functools.partial(function, *arguments, **named)
        whose = f"the checkpoint {title} ({declared.place})"
        one = declared_of(request._fixturedef, declared)
        making = Making(one, session, title, Call(bound, whose))
        with session.failures.of_one_test(request), failing(session):
            making.begin()
        with session.failures.noting(title, session.item.nodeid), failing(session):
            value = making.start(own)
        with refusing_late(one, request._fixturedef):
            yield value
        with failing(session):
            making.forget()

    vars(building)["__signature__"] = signature.replace(parameters=[*seen, *keywords])
    vars(building)[ATTRIBUTE] = declared
    return building


class Making:
    """A checkpoint, from the clone that its function runs on until nobody needs it any more."""

    def __init__(self, declared: Declared, session: PluginSession, title: str, call: Call):
        self._declared = declared
        self._session = session
        self._title = title
        self._call = call
        self._clone: Clone | None = None
        self._process = os.getpid()

    def begin(self) -> None:
        """Have the clone on which the function is to run.

        Raises:
            SnapshotError: there can be none, or the test may not ask for the checkpoint now.
        """
        database = self._session.database(self._declared.database)
        parent = parent_of(self._declared, self._session.item)
        database.begin(self._declared.options, base=parent, making=self._title)

    def start(self, own: Iterable[str]) -> Any:
        """Run the function, and keep what it has committed as a state; the function's value.

        Raises:
            SnapshotError: what the function left is no state.
            BaseException: the function's own.
        """
        __tracebackhide__ = True
        database = self._session.database(self._declared.database)
        try:
            with contextlib.ExitStack() as stack, self._listening(database) as lost:
                value = self._call.start(**_lent(database, own, stack))
                self._refuse(database, value, lost)
            self._keep(database)
        except BaseException:
            self._session.test.put_aside(database)
            with contextlib.suppress(Exception):
                self._call.finish()
            raise
        if not self._call.is_waiting:
            self._call.finish()
        return value

    def forget(self) -> None:
        """Have the state deleted, and run what comes after the function's ``yield``.

        Raises:
            SnapshotError: the function yields a second time, or uses the database.
            BaseException: the function's own.
        """
        self._declared.current = None
        try:
            self._call.finish()
        finally:
            if self._clone is not None and self._process == os.getpid():
                self._session.test.delete_later(self._clone)

    def _listening(self, database: Database) -> LostWork:
        from alembic_snapshot.engines.lost import LostWork

        return LostWork(database.redirect.recording)

    def _refuse(self, database: Database, value: Any, lost: LostWork) -> None:
        """Refuse what was not committed, and a value that is no use to tests."""
        from alembic_snapshot.plugin.written import place

        root = database.project.root
        unfinished = [
            *database.unfinished(),
            *(
                f"what {place(writer, root)} wrote was rolled back, because its session or "
                "connection was closed"
                for writer in lost.writers
            ),
        ]
        if unfinished:
            raise CloneError(
                f"the checkpoint {self._title} ended with work that is not committed: "
                f"{'; '.join(unfinished)}",
                hint="commit it, or roll it back: tests begin with what is committed",
            )
        found = bound_to_a_session(value)
        if found is not None:
            raise CloneError(
                f"the checkpoint {self._title} returned {found}",
                hint="return its id, or other plain values: each test loads it anew",
            )
        stray = database.strayed(f"the checkpoint {self._title}")
        if stray is not None:
            raise stray

    def _keep(self, database: Database) -> None:
        made = database.freeze(self._title, self._declared.place)
        if made is not None:
            self._clone, self._declared.current = made.clone, made.checkpoint
            for site in made.held:
                self._session.test.warn(site)


def _lent(database: Database, names: Iterable[str], stack: contextlib.ExitStack) -> dict[str, Any]:
    """What the function asked for, on its clone."""
    redirect = database.redirect

    def session() -> Any:
        made, factory, doubt = redirect.engines.session()
        if doubt:
            redirect.doubted.add(made)
        if hasattr(factory, "remove"):
            stack.callback(factory.remove)
        return made

    def async_session() -> Any:
        made, doubt = redirect.engines.async_session()
        if doubt:
            redirect.doubted.add(made.sync_session)
        return made

    makers: dict[str, Callable[[], Any]] = {
        "db_clone": lambda: database.clone,
        "db_engine": redirect.engines.sync,
        "db_session": session,
        "async_db_engine": redirect.engines.async_,
        "async_db_session": async_session,
    }
    return {name: makers[name]() for name in names}


def _name_of(thing: Any) -> str:
    """The name of what was decorated, without its address."""
    return str(getattr(thing, "__name__", None) or f"a {type(thing).__name__}")


def _place(function: Callable[..., Any]) -> str:
    code = function.__code__
    return f"{os.path.relpath(code.co_filename)} line {code.co_firstlineno}"


def _parameter(request: Any) -> str:
    """The number of a parametrised fixture's parameter, in brackets."""
    return f"[{request.param_index}]" if hasattr(request, "param") else ""
