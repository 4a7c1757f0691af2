"""Column types that mean the same on SQLite as on PostgreSQL."""

import operator
import re
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, DateTime, Enum, Numeric, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

_BIGINT_DIGITS = 18
# PostgreSQL has no NUL in its texts; half of a surrogate pair has no UTF-8.
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_SCALE_CHANGING = frozenset(
    {operator.mul, operator.truediv, operator.floordiv, operator.mod, operator.pow}
)


class ExactDecimal(TypeDecorator[Decimal]):
    """A decimal that is never a float: `NUMERIC` on PostgreSQL, a scaled integer on SQLite.

    SQLite has no decimal type and would store a `NUMERIC` as a float. Values may be added,
    subtracted, compared and summed in SQL. Multiplying and dividing is refused, because a product
    of scaled integers is scaled twice.

    Binding a float raises `TypeError`; a value that does not fit the precision and scale, and so
    would have to be rounded, raises `ValueError`.
    """

    impl = Numeric
    cache_ok = True

    class Comparator(TypeDecorator.Comparator[Decimal]):
        """Refuses the operators whose result would have another scale."""

        def operate(self, op: Any, *other: Any, **kwargs: Any) -> Any:
            if op in _SCALE_CHANGING:
                raise TypeError(f"{op.__name__} on an exact decimal belongs in Python, not in SQL")
            return super().operate(op, *other, **kwargs)

    comparator_factory = Comparator

    def __init__(self, precision: int, scale: int) -> None:
        if precision > _BIGINT_DIGITS:
            raise ValueError(f"precision {precision} does not fit a 64-bit integer")
        super().__init__(precision, scale)
        self.precision = precision
        self.scale = scale

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(BigInteger())
        return dialect.type_descriptor(Numeric(self.precision, self.scale))

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        if value is None:
            return None
        exact = self._exact(value)
        return int(exact.scaleb(self.scale)) if dialect.name == "sqlite" else exact

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        if value is None:
            return None
        return Decimal(value).scaleb(-self.scale) if dialect.name == "sqlite" else Decimal(value)

    def _exact(self, value: Any) -> Decimal:
        if not isinstance(value, Decimal | int):
            raise TypeError(f"{value!r} is not exact: give a Decimal or an int")
        given = Decimal(value)
        try:
            exact = given.quantize(Decimal(1).scaleb(-self.scale))
        except InvalidOperation:
            exact = None
        if exact is None or exact != given or abs(exact) >= 10 ** (self.precision - self.scale):
            raise ValueError(f"{value} does not fit NUMERIC({self.precision}, {self.scale})")
        return exact


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC that reads back aware, on SQLite too.

    Binding a naive datetime raises `ValueError`.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value.isoformat()} has no time zone")
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class FreeText(TypeDecorator[str]):
    """Text that a model, a tool or an error wrote: what a database can't store becomes U+FFFD."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else storable(value)


def storable(text: str) -> str:
    """The text with U+FFFD for each NUL and each half of a surrogate pair."""
    return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def lowercase_enum(members: type[StrEnum], name: str, *, create_constraint: bool = True) -> Enum:
    """A column type for `members`: their short values as text, kept by a CHECK called `name`."""
    return Enum(
        members,
        name=name,
        native_enum=False,
        create_constraint=create_constraint,
        validate_strings=True,
        length=20,
        values_callable=lambda enum: [member.value for member in enum],
    )
