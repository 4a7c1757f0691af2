"""Seeds: functions of the project that put rows in after the last migration."""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib
import inspect
import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from alembic_snapshot.builder.losses import refusing_losses
from alembic_snapshot.builder.own_sql import OwnSql
from alembic_snapshot.builder.unfinished import refuse_unfinished

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from alembic_snapshot.project.callsite import Callsites


def run_seed(function: Callable[..., Any], url: sa.URL, own: OwnSql, sites: Callsites) -> None:
    """Give the function a session or a connection on the database, and commit.

    It gets a :class:`~sqlalchemy.orm.Session`, or the class of its own that it says, if its first
    parameter is annotated so. The connection has the application's ``own`` SQL.

    Raises:
        LostWorkError: the function's own sessions lost what they had; ``sites`` finds the line.
        TypeError: nothing of the function has run.
    """
    kind = _session_class(function)
    if own.is_async:
        own.run(str(url.database), functools.partial(_on_connection, function, kind, sites))
        return
    engine = own.engine(url=url)
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _enforce_foreign_keys)
    if kind is not None:
        with kind(engine) as session:
            _call(function, session, engine, sites)
            session.commit()
    else:
        with engine.begin() as connection:
            _call(function, connection, engine, sites)
    engine.dispose()


def _on_connection(
    function: Callable[..., Any],
    kind: type[Session] | None,
    sites: Callsites,
    connection: sa.Connection,
) -> None:
    """Run it on a connection that is there: a driver's that works in an event loop."""
    connection.exec_driver_sql("PRAGMA foreign_keys=ON")
    connection.commit()
    if kind is not None:
        with kind(connection) as session:
            _call(function, session, connection.engine, sites)
            session.commit()
    else:
        _call(function, connection, connection.engine, sites)
    connection.commit()


def _call(function: Callable[..., Any], given: Any, engine: sa.Engine, sites: Callsites) -> None:
    with refusing_losses(engine, given, sites):
        refuse_unfinished(function, function(given))


def _session_class(function: Callable[..., Any]) -> type[Session] | None:
    """The class of session that a function wants; None if it wants a connection."""
    from sqlalchemy.orm import Session

    try:
        signature = inspect.signature(function, eval_str=True)
    except NameError:
        # What is imported for type checkers only is text, here.
        signature = inspect.signature(function)
    parameters = list(signature.parameters.values())
    annotation = parameters[0].annotation if parameters else None
    if isinstance(annotation, str):
        found = _imported_for_types(function, annotation)
        if found is None and annotation.rpartition(".")[2] == "Session":
            return Session
        annotation = found
    if inspect.isclass(annotation) and issubclass(annotation, Session):
        return annotation
    return None


def _imported_for_types(function: Callable[..., Any], name: str) -> Any:
    """What a name stands for that a module imports if TYPE_CHECKING."""
    head, _, rest = name.partition(".")
    module = inspect.getmodule(inspect.unwrap(function))
    with contextlib.suppress(OSError, TypeError, ImportError, AttributeError):
        tree = ast.parse(textwrap.dedent(inspect.getsource(module)))  # type: ignore[arg-type]
        for node in ast.walk(tree):
            for alias in node.names if isinstance(node, ast.Import | ast.ImportFrom) else ():
                if (alias.asname or alias.name) != head:
                    continue
                found: Any
                if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    found = getattr(importlib.import_module(node.module), alias.name)
                else:
                    found = importlib.import_module(alias.name)
                return getattr(found, rest) if rest else found
    return None


def _enforce_foreign_keys(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()
