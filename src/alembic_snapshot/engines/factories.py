"""An application's session factory: what kind it is, and which engines its sessions go to."""

from __future__ import annotations

import contextlib
from typing import Any

from alembic_snapshot.engines.named import Named, unmade
from alembic_snapshot.errors import EngineError


class OnlyInContext(Exception):
    """The factory, or its sessions, work only inside an application's context."""


def new_session(setting: Named, factory: Any) -> Any:
    """A new session of a factory, which no registry has.

    Raises:
        EngineError: it is no factory, or makes something else.
        OnlyInContext: it does not work here.
    """
    # A scoped one would keep it, and may ask a context for its scope.
    maker = getattr(factory, "session_factory", factory)
    return made_by(setting, maker)


def made_by(setting: Named, factory: Any) -> Any:
    """The session of a factory, which is called as the application calls it.

    Raises:
        EngineError: it is no factory, or makes something else than a session.
        OnlyInContext: it does not work here.
    """
    text = setting.reference.text
    if not callable(factory) or _is_session(factory) or _is_engine(factory):
        raise _no_factory(text, factory)
    try:
        session = factory()
    except (Exception, SystemExit) as error:
        if type(error) in (RuntimeError, LookupError):
            # What Flask, asyncio and context variables raise outside of theirs.
            raise OnlyInContext(f"{type(error).__name__}: {error}") from error
        raise EngineError(
            f"sessionmaker {text!r} can't make a session: {type(error).__name__}: {error}",
            hint="name what sessionmaker() or async_sessionmaker() made, or a function without "
            "arguments that returns a session",
        ) from error
    if not _is_session(session):
        what = unmade(session) or type(session).__name__
        raise EngineError(
            f"sessionmaker {text!r} makes {what}, not a session",
            hint="name the factory that it uses, which sessionmaker() or async_sessionmaker() made",
        )
    return session


def engines_of(setting: Named, session: Any) -> list[Any]:
    """The engines that a session may connect with, as synchronous ones.

    Raises:
        EngineError: it is bound to none.
        OnlyInContext: they are found only in a context.
    """
    from sqlalchemy.exc import UnboundExecutionError

    inner = getattr(session, "sync_session", session)
    # Of single mappers and tables; before SQLAlchemy 2.1 they are not public.
    binds = list((getattr(inner, "binds", None) or getattr(inner, "_Session__binds", {})).values())
    try:
        binds.insert(0, inner.get_bind())
    except UnboundExecutionError:
        if not binds:
            raise EngineError(
                f"the sessions of {setting.reference.text!r} are bound to no engine",
                hint="bind the factory, sessionmaker(bind=engine), or leave sessionmaker out of "
                "[tool.alembic-snapshot]: db_session is then one on the engine",
            ) from None
    except Exception as error:
        if not binds:
            raise OnlyInContext(f"{type(error).__name__}: {error}") from error
    return [getattr(bind.engine, "sync_engine", bind.engine) for bind in binds]


def close(session: Any) -> None:
    """Close a session that has not connected."""
    with contextlib.suppress(Exception):
        getattr(session, "sync_session", session).close()


def _is_session(thing: Any) -> bool:
    from sqlalchemy.orm import Session

    return isinstance(thing, Session) or _is_async_session(thing)


def _is_async_session(thing: Any) -> bool:
    return any(
        kind.__name__ == "AsyncSession" and kind.__module__.startswith("sqlalchemy.")
        for kind in type(thing).__mro__
    )


def _is_engine(thing: Any) -> bool:
    from sqlalchemy import Engine

    return isinstance(thing, Engine) or isinstance(getattr(thing, "sync_engine", None), Engine)


def _no_factory(text: str, value: Any) -> EngineError:
    hint = "name what sessionmaker() or async_sessionmaker() made"
    if _is_engine(value):
        hint = f'write engine = "{text}", and in sessionmaker {hint}, or leave it out'
    elif _is_session(value):
        hint = f"a session is one test's: {hint}"
    return EngineError(
        f"sessionmaker {text!r} is {type(value).__name__}, not a session factory", hint=hint
    )
