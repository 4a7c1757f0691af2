"""What is told of an error in the builder: whose it is, and at which of the project's lines."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from alembic_snapshot.builder.app_context import NoContext
from alembic_snapshot.builder.branches import Disordered
from alembic_snapshot.builder.env_sql import chain
from alembic_snapshot.builder.protocol import Failure
from alembic_snapshot.builder.upgrade import HISTORY, SCRIPT, Builder
from alembic_snapshot.errors import GuardError, SnapshotError
from alembic_snapshot.project.callsite import Callsites
from alembic_snapshot.project.spelling import beginning

_OWN = beginning(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Between the project's lines, and below them, these say nothing of the project.
_PASSING = ("alembic", "sqlalchemy", "greenlet", "runpy", "importlib", "asyncio")


def failure(error: BaseException, builder: Builder) -> Failure:
    """What the parent needs to tell of an error: where, what, the SQL, the traceback."""
    env = Path(builder.job.scripts, "env.py")
    who, where = builder.who, _where(error, builder.sites)
    if who in (SCRIPT, HISTORY) and _is_in(where, env, builder.sites):
        # Where env.py has the scripts read is not where they are wrong.
        who, where = HISTORY, None
    return Failure(
        current=builder.current,
        who=who,
        where=where,
        type=type(error).__name__,
        text=_text(error),
        sql=getattr(error, "statement", None),
        is_import=isinstance(error, ImportError | SyntaxError),
        wants_async=_wants_async(error),
        speaks_async=_speaks_async(env),
        variable=_variable(error, builder),
        argument=_argument(error, builder),
        traceback=_traceback(error, builder.sites),
        is_context=not builder.env.app_context.is_made,
        hint=_hint(error, builder),
        order=error.order if isinstance(error, Disordered) else [],
        facts=builder.facts(),
    )


def _hint(error: BaseException, builder: Builder) -> str | None:
    """What is known to help."""
    if isinstance(error, NoContext | GuardError):
        return error.hint
    is_env = builder.current is None and builder.who not in (SCRIPT, HISTORY)
    return builder.env.sql.why(error) if is_env else None


def _is_in(where: str | None, path: Path, sites: Callsites) -> bool:
    return where is not None and where.rpartition(" line ")[0] == os.path.relpath(
        sites.at_root(os.path.abspath(path)), sites.root
    )


def _text(error: BaseException) -> str:
    if isinstance(error, SnapshotError):
        return error.message
    text = str(getattr(error, "orig", None) or error).strip()
    if isinstance(error, SyntaxError) and error.msg:
        return error.msg  # Its place is told already.
    return text


def _where(error: BaseException, sites: Callsites) -> str | None:
    """The innermost line of the project, or the line that does not parse."""
    if isinstance(error, SyntaxError):
        path = error.filename
        if path and sites.is_ours(path):
            return sites.text((os.path.abspath(path), error.lineno or 1))
    for one in chain(error):
        ours = [
            frame
            for frame in traceback.extract_tb(one.__traceback__)
            if sites.is_ours(frame.filename)
        ]
        if ours:
            return sites.text((os.path.abspath(ours[-1].filename), ours[-1].lineno or 0))
    return None


def _traceback(error: BaseException, sites: Callsites) -> str:
    """The traceback without what leads to the project's lines, and what is below them in Alembic
    and SQLAlchemy; whole where there is no line of the project.
    """
    shown = traceback.TracebackException.from_exception(error)
    if True not in {_trimmed(one, sites) for one in _parts(shown)}:
        shown = traceback.TracebackException.from_exception(error)
    return "".join(shown.format())


def _parts(shown: traceback.TracebackException) -> Iterator[traceback.TracebackException]:
    yield shown
    for other in (shown.__cause__, shown.__context__, *(shown.exceptions or ())):
        if other is not None:
            yield from _parts(other)


def _trimmed(shown: traceback.TracebackException, sites: Callsites) -> bool:
    """Leave out what is not the project's; whether something is left."""
    is_ours = [sites.is_ours(frame.filename) for frame in shown.stack]
    first = is_ours.index(True) if True in is_ours else len(is_ours)
    kept = [
        frame
        for index, frame in enumerate(shown.stack)
        if index >= first and (is_ours[index] or not _is_passing(frame.filename))
    ]
    shown.stack[:] = kept
    return bool(kept)


def _is_passing(path: str) -> bool:
    if path.startswith(_OWN) or path.startswith("<frozen"):
        return True
    parts = Path(path).parts
    return any(name in parts or f"{name}.py" in parts for name in _PASSING)


def _wants_async(error: BaseException) -> bool:
    """Whether SQLAlchemy says that the driver should be an async one, or greenlet be there."""
    if isinstance(error, sa.exc.MissingGreenlet):
        return True
    if isinstance(error, sa.exc.InvalidRequestError):
        return "async" in str(error)
    return isinstance(error, ImportError | ValueError) and "greenlet" in str(error)


def _speaks_async(env: Path) -> bool:
    """Whether ``env.py``, or what it imported, has to do with async engines."""
    if "sqlalchemy.ext.asyncio" in sys.modules:
        return True
    try:
        return b"async" in env.read_bytes()
    except OSError:
        return True


def _missing_key(error: BaseException) -> tuple[Any, bool]:
    """The key that was asked for and is not there, and whether it was a variable's name."""
    if not isinstance(error, KeyError) or not error.args or error.__traceback__ is None:
        return None, False
    raised_in = traceback.extract_tb(error.__traceback__)[-1].filename
    return error.args[0], raised_in in (os.__file__, "<frozen os>")


def _variable(error: BaseException, builder: Builder) -> str | None:
    """The name of an environment variable that was asked for and is not set."""
    name, is_variable = _missing_key(error)
    may_be = builder.who == "env.py" and str(name).isupper()
    return str(name) if name is not None and (is_variable or may_be) else None


def _argument(error: BaseException, builder: Builder) -> str | None:
    """The name of the ``-x`` argument that ``env.py`` asked for and was not given."""
    name, is_variable = _missing_key(error)
    given = builder.env.asked_for_x
    if not isinstance(given, dict) or name is None or is_variable or name in given:
        return None
    return str(name)
