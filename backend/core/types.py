"""Column types that mean the same on SQLite as on PostgreSQL."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Context, Decimal, DivisionByZero, InvalidOperation, Overflow
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, DateTime, Enum, Insert, Numeric, Text, TupleType, Update, literal
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DontWrapMixin
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import (
    BinaryExpression,
    BindParameter,
    Case,
    Cast,
    ClauseList,
    ExpressionClauseList,
    Extract,
    Grouping,
    Null,
    Over,
    Tuple,
    TypeCoerce,
    UnaryExpression,
    WithinGroup,
)
from sqlalchemy.sql.functions import Function
from sqlalchemy.sql.selectable import CompoundSelect, ScalarSelect, SelectBase
from sqlalchemy.types import TypeDecorator, TypeEngine

from core.errors import AtomError

_BIGINT_DIGITS = 18
# What is reckoned exactly is reckoned in this: the caller's may round to a few digits.
EXACT = Context(prec=100, traps=[InvalidOperation, DivisionByZero, Overflow])
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


class NotUtcInSQL(AtomError, TypeError, DontWrapMixin):
    """Something asked of a moment in SQL that SQLite would do to a text without a zone."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} a moment is another one on SQLite: "
            "give a value the type UtcDateTime, or reckon in Python"
        )
        self.what = what


# What asks which of two comes first.
_RANKING = frozenset(
    {
        operators.lt,
        operators.le,
        operators.gt,
        operators.ge,
        operators.between_op,
        operators.not_between_op,
    }
)
# What gives the same on a scaled integer, if everything in it has the same scale. The functions are
# those whose result SQLAlchemy gives the type of their arguments.
_COMPARING = _RANKING | frozenset(
    {
        operators.eq,
        operators.ne,
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
_FUNCTIONS = frozenset({"coalesce", "max", "min", "sum"})
_COUNTING = frozenset({"count"})
# What gives a moment, and not what it looks like in some time zone.
_OF_MOMENTS = frozenset({"coalesce", "max", "min"})
# What takes the first or last of several.
_CHOOSING = frozenset({"max", "min", "greatest", "least"})


def _allowing(
    allowed: frozenset[Any], refusal: type[NotExactInSQL | NotUtcInSQL]
) -> type[TypeDecorator.Comparator[Any]]:
    """A comparator that lets through what is allowed, and refuses all else."""

    class Comparator(TypeDecorator.Comparator[Any]):
        def operate(self, op: Any, *other: Any, **kwargs: Any) -> Any:
            self._require(op)
            return super().operate(op, *other, **kwargs)

        def reverse_operate(self, op: Any, other: Any, **kwargs: Any) -> Any:
            self._require(op)
            return super().reverse_operate(op, other, **kwargs)

        def _require(self, op: Any) -> None:
            if op not in allowed:
                raise refusal(f"{getattr(op, '__name__', op)} on")

    return Comparator


class ExactDecimal(TypeDecorator[Decimal]):
    """A decimal that is never a float: `NUMERIC` on PostgreSQL, a scaled integer on SQLite.

    SQLite has no decimal type and would store a `NUMERIC` as a float. In SQL, values of the same
    scale may be added, subtracted, negated, compared and ordered; summed, counted, and the least,
    greatest or first of them taken (`sum`, `count`, `min`, `max`, `coalesce`, `CASE`).
    Everything else is refused on either database, since on SQLite it would be done to the scaled
    integer: a product is scaled twice, an average or a cast is not scaled back. So is what stands
    beside one without being one: in CASE, BETWEEN, IN, a tuple, a UNION, an assignment. What is not
    seen is text.

    A float is what it prints: 0.49 is `Decimal("0.49")`.

    Raises:
        NotExact: a value is no number, or not finite, or has more places or digits than fit.
        NotExactInSQL: an expression or function that is not among the above.
    """

    impl = Numeric
    cache_ok = True

    comparator_factory = _allowing(_COMPARING | _ORDERING | _RECKONING, NotExactInSQL)

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
        return int(exact.scaleb(self.scale, EXACT)) if dialect.name == "sqlite" else exact

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        if value is None:
            return None
        if dialect.name != "sqlite":
            return Decimal(value)
        if not isinstance(value, int):
            raise NotExact(value, "is in the database, and is no scaled integer")
        return Decimal(value).scaleb(-self.scale, EXACT)

    def exact(self, value: Any) -> Decimal:
        """The value as a decimal with this scale.

        Raises:
            NotExact: it can't be one.
        """
        given = exact_number(value)
        try:
            exact = given.quantize(Decimal((0, (1,), -self.scale)), context=EXACT)
        except InvalidOperation:
            exact = None
        most = 10 ** (self.precision - self.scale)
        if exact is None or exact != given or exact.copy_abs() >= most:
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

    comparator_factory = _allowing(_COMPARING | _ORDERING, NotUtcInSQL)

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


def _kind(element: Any) -> Any:
    return getattr(element, "type", None)


def _is_exact(element: Any) -> bool:
    return isinstance(_kind(element), ExactDecimal)


def _is_moment(element: Any) -> bool:
    return isinstance(_kind(element), UtcDateTime)


def _is_untyped(element: Any) -> bool:
    """Whether it is NULL, whatever the type of what it stands beside."""
    if isinstance(element, BindParameter):
        # One with a name of its own is given a value later.
        return bool(element.unique and element.value is None and _kind(element)._isnull)
    return isinstance(element, Null)


def _rows(operand: Any) -> list[list[Any]]:
    """The rows that an operand holds: a tuple is one of many places, a list is many of one."""
    if isinstance(operand, Grouping | ScalarSelect):
        return _rows(operand.element)
    if isinstance(operand, SelectBase):
        return [list(operand._all_selected_columns)]
    if isinstance(operand, Tuple):
        return [list(operand.clauses)]
    if isinstance(operand, ClauseList | ExpressionClauseList):
        return [row for each in operand.clauses for row in _rows(each)]
    if isinstance(_kind(operand), TupleType):
        return [[literal(None, kind) for kind in operand.type.types]]
    return [[operand]]


def _require_alike(*operands: Any) -> None:
    """Refuse operands that SQLite would take for the same where they are not, place by place."""
    rows = [row for operand in operands for row in _rows(operand)]
    for place in zip(*rows, strict=False):
        if any(map(_is_exact, place)):
            _require_same_scale(place)
        elif any(map(_is_moment, place)):
            _require_utc(place)


def _require_same_scale(elements: Iterable[Any]) -> None:
    scales = set()
    for element in elements:
        if _is_exact(element):
            scales.add(_kind(element).scale)
        elif not _is_untyped(element):
            raise NotExactInSQL(f"{_kind(element)!r} beside")
    if len(scales) > 1:
        raise NotExactInSQL("another scale beside")


def _require_utc(elements: Iterable[Any]) -> None:
    for element in elements:
        if isinstance(_kind(element), DateTime):
            raise NotUtcInSQL(f"{_kind(element)!r} beside")


@compiles(Function)
def _function(element: Any, compiler: Any, **options: Any) -> Any:
    arguments = list(element.clauses)
    name = element.name.lower()
    if name in _CHOOSING and any(isinstance(_kind(each), _Words) for each in arguments):
        raise NotOrderedInSQL(element.clause_expr)
    if name not in _COUNTING:
        if name not in _FUNCTIONS and any(map(_is_exact, arguments)):
            raise NotExactInSQL(f"{name}() of")
        if name not in _OF_MOMENTS and any(map(_is_moment, arguments)):
            raise NotUtcInSQL(f"{name}() of")
        _require_alike(*arguments)
    return compiler.visit_function(element, **options)


@compiles(BinaryExpression)
def _binary(element: Any, compiler: Any, **options: Any) -> Any:
    _require_alike(element.left, element.right)
    return compiler.visit_binary(element, **options)


@compiles(Case)
def _case(element: Any, compiler: Any, **options: Any) -> Any:
    conditions, results = zip(*element.whens, strict=True)
    _require_alike(*results, *([] if element.else_ is None else [element.else_]))
    if element.value is not None:
        _require_alike(element.value, *conditions)
    return compiler.visit_case(element, **options)


@compiles(CompoundSelect)
def _compound_select(element: Any, compiler: Any, **options: Any) -> Any:
    _require_alike(*element.selects)
    return compiler.visit_compound_select(element, **options)


def _orders_exact(element: Any) -> bool:
    """Whether there is an exact number in its order, whichever way round that is."""
    order = [] if element.order_by is None else element.order_by
    return any(_is_exact(_undirected(each)) for each in order)


def _undirected(element: Any) -> Any:
    """What is put in order, without DESC and NULLS LAST around it."""
    while isinstance(element, UnaryExpression) and element.modifier is not None:
        element = element.element
    return element


@compiles(Over)
def _over(element: Any, compiler: Any, **options: Any) -> Any:
    if element.range_ is not None and _orders_exact(element):
        raise NotExactInSQL("a range of")
    return compiler.visit_over(element, **options)


@compiles(WithinGroup)
def _within_group(element: Any, compiler: Any, **options: Any) -> Any:
    if _orders_exact(element):
        raise NotExactInSQL(f"{element.element.name}() within a group of")
    return compiler.visit_withingroup(element, **options)


@compiles(Cast)
def _cast(element: Any, compiler: Any, **options: Any) -> Any:
    if _is_exact(element) or _is_exact(element.clause):
        raise NotExactInSQL("a cast from or to")
    if _is_moment(element) or _is_moment(element.clause):
        raise NotUtcInSQL("a cast from or to")
    return compiler.visit_cast(element, **options)


@compiles(Extract)
def _extract(element: Any, compiler: Any, **options: Any) -> Any:
    if _is_moment(element.expr):
        raise NotUtcInSQL(f"the {element.field} of")
    return compiler.visit_extract(element, **options)


@compiles(TypeCoerce)
def _type_coerce(element: Any, compiler: Any, **options: Any) -> Any:
    if _is_moment(element) is not _is_moment(element.clause):
        raise NotUtcInSQL("another type of")
    _require_alike(element, element.clause)
    return compiler.visit_type_coerce(element, **options)


@compiles(Update)
def _update(element: Any, compiler: Any, **options: Any) -> Any:
    _require_assignable(element, element._values)
    return compiler.visit_update(element, **options)


@compiles(Insert)
def _insert(element: Any, compiler: Any, **options: Any) -> Any:
    rows = [row for rows in element._multi_values for row in rows]
    if element.select is not None:
        selected = element.select._all_selected_columns
        rows.append(zip(element._select_names, selected, strict=False))
    conflict = getattr(element._post_values_clause, "update_values_to_set", None)
    for row in (element._values, *rows, conflict):
        _require_assignable(element, row)
    return compiler.visit_insert(element, **options)


def _require_assignable(statement: Any, assigned: Any) -> None:
    for target, value in dict(assigned or ()).items():
        column = statement.table.c.get(target) if isinstance(target, str) else target
        # A value without a type takes the column's; a text is not seen.
        if not getattr(_kind(value), "_isnull", True):
            _require_alike(column, value)


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


class _Words(Enum):
    """An `Enum` whose values are equal or not, and neither less nor more."""

    class Comparator(Enum.Comparator):
        def operate(self, op: Any, *other: Any, **kwargs: Any) -> Any:
            if op in _RANKING:
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
