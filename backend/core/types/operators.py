"""Which operators of SQL a type of column has."""

from collections.abc import Callable
from typing import Any

from sqlalchemy.sql import operators
from sqlalchemy.types import TypeDecorator

# What asks which of two comes first.
RANKING = frozenset(
    {
        operators.lt,
        operators.le,
        operators.gt,
        operators.ge,
        operators.between_op,
        operators.not_between_op,
    }
)
# What gives the same on what SQLite keeps in place of a value.
COMPARING = RANKING | frozenset(
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
ORDERING = frozenset(
    {
        operators.asc_op,
        operators.desc_op,
        operators.nulls_first_op,
        operators.nulls_last_op,
        operators.distinct_op,
    }
)


def allowing(
    allowed: frozenset[Any], refusal: Callable[[str], Exception]
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
