"""Column types that mean the same on SQLite as on PostgreSQL."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, DateTime, Enum, Numeric, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DontWrapMixin
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import (
    BinaryExpression,
    BindParameter,
    Case,
    Cast,
    ClauseElement,
    Null,
    TypeCoerce,
)
from sqlalchemy.sql.functions import Function
from sqlalchemy.sql.selectable import SelectBase
from sqlalchemy.types import TypeDecorator, TypeEngine

from core.errors import AtomError

_BIGINT_DIGITS = 18
# PostgreSQL has no NUL in its texts; half of a surrogate pair has no UTF-8.
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


class NotExact(AtomError, ValueError, DontWrapMixin):
    """A value that a column of exact numbers can't hold as it is; it is never rounded."""

    def __init__(self, value: object, problem: str) -> None:
        super().__init__(f"{value!s:.100} {problem}")
        self.value = value


class NotExactInSQL(AtomError, TypeError, DontWrapMixin):
    """Something asked of an exact number in SQL that SQLite would do to a scaled integer."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} an exact number belongs in Python, not in SQL")
        self.what = what


# What gives the same on a scaled integer, if everything in it has the same scale. The functions are
# those whose result SQLAlchemy gives the type of their arguments.
_COMPARING = frozenset(
    {
        operators.eq,
        operators.ne,
        operators.lt,
        operators.le,
        operators.gt,
        operators.ge,
        operators.between_op,
        operators.not_between_op,
        operators.in_op,
        operators.not_in_op,
        operators.is_,
        operators.is_not,
        operators.is_distinct_from,
        operators.is_not_distinct_from,
    }
)
_ORDERING = frozenset(
    {
        operators.asc_op,
        operators.desc_op,
        operators.nulls_first_op,
        operators.nulls_last_op,
        operators.distinct_op,
    }
)
_RECKONING = frozenset({operators.add, operators.sub, operators.neg})
_OPERATORS = _COMPARING | _ORDERING | _RECKONING
_FUNCTIONS = frozenset({"coalesce", "max", "min", "sum"})
_COUNTING = frozenset({"count"})


class ExactDecimal(TypeDecorator[Decimal]):
    """A decimal that is never a float: `NUMERIC` on PostgreSQL, a scaled integer on SQLite.

    SQLite has no decimal type and would store a `NUMERIC` as a float. In SQL, values of the same
    scale may be added, subtracted, negated, compared and ordered; summed, counted, and the least,
    greatest or first of them taken (`sum`, `count`, `min`, `max`, `coalesce`, `CASE`).
    Everything else is refused on either database, since on SQLite it would be done to the scaled
    integer: a product is scaled twice, an average or a cast is not scaled back. What is not seen is
    text, and the right side of an assignment in UPDATE or INSERT from SELECT.

    A float is what it prints: 0.49 is `Decimal("0.49")`.

    Raises:
        NotExact: a value is no number, or not finite, or has more places or digits than fit.
        NotExactInSQL: an expression or function that is not among the above.
    """

    impl = Numeric
    cache_ok = True

    class Comparator(TypeDecorator.Comparator[Decimal]):
        """Lets through what is exact on a scaled integer, and refuses all else."""

        def operate(self, op: Any, *other: Any, **kwargs: Any) -> Any:
            self._require(op, other)
            return super().operate(op, *other, **kwargs)

        def reverse_operate(self, op: Any, other: Any, **kwargs: Any) -> Any:
            self._require(op, (other,))
            return super().reverse_operate(op, other, **kwargs)

        def _require(self, op: Any, others: Iterable[Any]) -> None:
            if op not in _OPERATORS:
                raise NotExactInSQL(f"{getattr(op, '__name__', op)} on")
            _require_same_scale([self.expr, *filter(_is_sql, others)])

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
        exact = self.exact(value)
        return int(exact.scaleb(self.scale)) if dialect.name == "sqlite" else exact

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        if value is None:
            return None
        if dialect.name != "sqlite":
            return Decimal(value)
        if not isinstance(value, int):
            raise NotExact(value, "is in the database, and is no scaled integer")
        return Decimal(value).scaleb(-self.scale)

    def exact(self, value: Any) -> Decimal:
        """The value as a decimal with this scale.

        Raises:
            NotExact: it can't be one.
        """
        given = exact_number(value)
        try:
            exact = given.quantize(Decimal(1).scaleb(-self.scale))
        except InvalidOperation:
            exact = None
        if exact is None or exact != given or abs(exact) >= 10 ** (self.precision - self.scale):
            raise NotExact(value, f"does not fit NUMERIC({self.precision}, {self.scale})")
        return exact


def exact_number(value: Any) -> Decimal:
    """The number that was meant; a float is what it prints.

    Raises:
        NotExact: it is none, or not finite.
    """
    if isinstance(value, bool) or not isinstance(value, Decimal | int | float):
        raise NotExact(repr(value), "is not exact: give a Decimal, an int or a float")
    given = Decimal(float.__repr__(value) if isinstance(value, float) else value)
    if not given.is_finite():
        raise NotExact(value, "is not finite")
    return given


def _is_sql(operand: Any) -> bool:
    """Whether an operand is an expression, and not a value that will be bound."""
    return isinstance(operand, ClauseElement) or hasattr(operand, "__clause_element__")


def _type_of(element: Any) -> Any:
    if hasattr(element, "__clause_element__"):
        element = element.__clause_element__()
    if isinstance(element, SelectBase):
        element = element.scalar_subquery()
    return getattr(element, "type", None)


def _is_exact(element: Any) -> bool:
    return isinstance(_type_of(element), ExactDecimal)


def _is_untyped(element: Any) -> bool:
    """Whether it is NULL, or a parameter that takes the type of what it is compared with."""
    kind = _type_of(element)
    return isinstance(element, Null) or (
        isinstance(element, BindParameter) and getattr(kind, "_isnull", False)
    )


def _require_same_scale(elements: Iterable[Any]) -> None:
    scales = set()
    for element in elements:
        if _is_exact(element):
            scales.add(_type_of(element).scale)
        elif not _is_untyped(element):
            raise NotExactInSQL(f"{_type_of(element)!r} beside")
    if len(scales) > 1:
        raise NotExactInSQL("another scale beside")


@compiles(Function)
def _function(element: Any, compiler: Any, **options: Any) -> Any:
    arguments = list(element.clauses)
    name = element.name.lower()
    if name not in _COUNTING and any(map(_is_exact, arguments)):
        if name not in _FUNCTIONS:
            raise NotExactInSQL(f"{name}() of")
        _require_same_scale(arguments)
    return compiler.visit_function(element, **options)


@compiles(BinaryExpression)
def _binary(element: Any, compiler: Any, **options: Any) -> Any:
    # Where an exact number stands on the left, it was asked itself, when the expression was made.
    if _is_exact(element.right) and not _is_exact(element.left):
        _require_same_scale([element.left, element.right])
    return compiler.visit_binary(element, **options)


@compiles(Case)
def _case(element: Any, compiler: Any, **options: Any) -> Any:
    results = [result for _, result in element.whens]
    results += [] if element.else_ is None else [element.else_]
    if any(map(_is_exact, results)):
        _require_same_scale(results)
    return compiler.visit_case(element, **options)


@compiles(Cast)
def _cast(element: Any, compiler: Any, **options: Any) -> Any:
    if _is_exact(element) or _is_exact(element.clause):
        raise NotExactInSQL("a cast from or to")
    return compiler.visit_cast(element, **options)


@compiles(TypeCoerce)
def _type_coerce(element: Any, compiler: Any, **options: Any) -> Any:
    if _is_exact(element) or _is_exact(element.clause):
        _require_same_scale([element, element.clause])
    return compiler.visit_type_coerce(element, **options)


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


class NotOrderedInSQL(AtomError, TypeError, DontWrapMixin):
    """A word was asked for by its order, which is the alphabet's in SQL and says nothing."""

    def __init__(self, column: object) -> None:
        super().__init__(
            f"{column} has no order in SQL: name the values that are meant, with in_()"
        )


_ORDERING = frozenset(
    {
        operators.lt,
        operators.le,
        operators.gt,
        operators.ge,
        operators.between_op,
        operators.not_between_op,
    }
)


class _Words(Enum):
    """An `Enum` whose values are equal or not, and neither less nor more."""

    class Comparator(Enum.Comparator):
        def operate(self, op: Any, *other: Any, **kwargs: Any) -> Any:
            if op in _ORDERING:
                raise NotOrderedInSQL(self.expr)
            return super().operate(op, *other, **kwargs)

    comparator_factory = Comparator


def lowercase_enum(members: type[StrEnum], name: str, *, create_constraint: bool = True) -> Enum:
    """A column type for `members`: their short values as text, kept by a CHECK called `name`."""
    return _Words(
        members,
        name=name,
        native_enum=False,
        create_constraint=create_constraint,
        validate_strings=True,
        length=20,
        values_callable=lambda enum: [member.value for member in enum],
    )
