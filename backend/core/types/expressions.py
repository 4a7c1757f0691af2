"""What SQL may do with these types: SQLAlchemy asks here as it compiles, on either database.

SQLite keeps an exact number as a scaled integer and a moment as a text. An expression that would
mean something else there is refused on both.
"""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import DateTime, Insert, TupleType, Update, literal
from sqlalchemy.ext.compiler import compiles
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

from core.types.exact import ExactDecimal, NotExactInSQL
from core.types.moments import NotUtcInSQL, UtcDateTime
from core.types.words import NotOrderedInSQL, Words

# What gives the same on a scaled integer, if everything in it has the same scale: functions whose
# result SQLAlchemy gives the type of their arguments.
_FUNCTIONS = frozenset({"coalesce", "max", "min", "sum"})
_COUNTING = frozenset({"count"})
# What gives a moment, and not what it looks like in some time zone.
_OF_MOMENTS = frozenset({"coalesce", "max", "min"})
# What takes the first or last of several.
_CHOOSING = frozenset({"max", "min", "greatest", "least"})


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
    if name in _CHOOSING and any(isinstance(_kind(each), Words) for each in arguments):
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
