"""Moments, which are in UTC."""

from datetime import UTC, datetime

from sqlalchemy import DateTime
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DontWrapMixin
from sqlalchemy.types import TypeDecorator

from core.errors import AtomError
from core.types.operators import COMPARING, ORDERING, allowing


class NotUtcInSQL(AtomError, TypeError, DontWrapMixin):
    """Something asked of a moment in SQL that SQLite would do to a text without a zone."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} a moment is another one on SQLite: "
            "give a value the type UtcDateTime, or reckon in Python"
        )
        self.what = what


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC that reads back aware, on SQLite too.

    In SQL moments may be compared, ordered and counted, and the first or last of them taken (`min`,
    `max`, `coalesce`, `CASE`). They are texts on SQLite, so that another datetime beside one would
    be compared by its zone's clock. A part of one, and its date, is that of the session's time zone
    on PostgreSQL.

    Raises:
        ValueError: a value is no datetime, or a naive one.
        NotUtcInSQL: an expression or function that is not among the above, or that has a datetime
            without this type beside one.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    comparator_factory = allowing(COMPARING | ORDERING, NotUtcInSQL)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if not isinstance(value, datetime):
            raise ValueError(f"{value!r} is no datetime")
        if value.tzinfo is None:
            raise ValueError(f"{value.isoformat()} has no time zone")
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
