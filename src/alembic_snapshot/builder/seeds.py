"""Seeds: functions of the project that put rows in after the last migration."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from alembic_snapshot.builder.unfinished import refuse_unfinished
from alembic_snapshot.project.references import Reference


def run_seed(reference: str, url: sa.URL) -> None:
    """Import the function, give it a session or a connection on the database, and commit.

    It gets a :class:`~sqlalchemy.orm.Session` if its first parameter is annotated so.
    """
    engine = sa.create_engine(url)
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _enforce_foreign_keys)
    function = Reference.parse(reference).function()
    if _wants_session(function):
        from sqlalchemy.orm import Session

        with Session(engine) as session:
            refuse_unfinished(function, function(session))
            session.commit()
    else:
        with engine.begin() as connection:
            refuse_unfinished(function, function(connection))
    engine.dispose()


def _wants_session(function: Callable[..., Any]) -> bool:
    from sqlalchemy.orm import Session

    try:
        signature = inspect.signature(function, eval_str=True)
    except NameError:
        # What is imported for type checkers only is text, here.
        signature = inspect.signature(function)
    parameters = list(signature.parameters.values())
    annotation = parameters[0].annotation if parameters else None
    if isinstance(annotation, str):
        return annotation.rpartition(".")[2] == "Session"
    return inspect.isclass(annotation) and issubclass(annotation, Session)


def _enforce_foreign_keys(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA foreign_keys=ON")
