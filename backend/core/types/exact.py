"""Numbers that are never rounded."""

from decimal import Context, Decimal, DivisionByZero, InvalidOperation, Overflow
from typing import Any

from sqlalchemy import BigInteger, Numeric
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DontWrapMixin
from sqlalchemy.sql import operators
from sqlalchemy.types import TypeDecorator, TypeEngine

from core.errors import AtomError
from core.types.operators import COMPARING, ORDERING, allowing

_BIGINT_DIGITS = 18
# What is reckoned exactly is reckoned in this: the caller's may round to a few digits.
EXACT = Context(prec=100, traps=[InvalidOperation, DivisionByZero, Overflow])
_RECKONING = frozenset({operators.add, operators.sub, operators.neg})


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

    comparator_factory = allowing(COMPARING | ORDERING | _RECKONING, NotExactInSQL)

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
