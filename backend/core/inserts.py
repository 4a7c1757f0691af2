"""Inserting a row that may be there already, without a race."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import literal
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import InstrumentedAttribute, Session

from core.database import Base, flushed


def insert_for(db: Session, model: type[Base]) -> sqlite.Insert | postgresql.Insert:
    """An INSERT in the dialect of the session, which knows ON CONFLICT."""
    if db.get_bind().dialect.name == "sqlite":
        return sqlite.insert(model)
    return postgresql.insert(model)


def insert_once(
    db: Session,
    model: type[Base],
    values: dict[str, Any],
    key: Sequence[InstrumentedAttribute[Any]],
) -> bool:
    """Insert a row unless one with the same unique `key` exists; say whether it was inserted.

    Without a `key`, any unique one of the table counts.
    """
    statement = (
        insert_for(db, model)
        .values(**values)
        .on_conflict_do_nothing(index_elements=[column.key for column in key] or None)
        .returning(literal(1))
    )
    return flushed(db).execute(statement).first() is not None
