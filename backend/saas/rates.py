"""What usage beyond a tier's allowance costs, step by step."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation, localcontext
from typing import Any, Self

from core.errors import AtomError
from core.types import EXACT
from sqlalchemy import JSON
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator


class InvalidRates(AtomError):
    """A list of rates that could not price every quantity."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"overage rates {problem}")
        self.problem = problem


@dataclass(frozen=True)
class RateStep:
    """A price per unit, for the overage up to `up_to` units; `None` is without end."""

    up_to: Decimal | None
    rate: Decimal

    @property
    def is_finite(self) -> bool:
        """Whether the rate, and the limit if there is one, are numbers to reckon with."""
        return self.rate.is_finite() and (self.up_to is None or self.up_to.is_finite())


@dataclass(frozen=True)
class OverageRates:
    """Steps that price any overage: in ascending order, with an open end.

    Raises:
        InvalidRates: the steps are empty, out of order, negative, infinite, or end closed.
    """

    steps: tuple[RateStep, ...]

    def __post_init__(self) -> None:
        if not self.steps:
            raise InvalidRates("are empty")
        if self.steps[-1].up_to is not None:
            raise InvalidRates(f"end closed, at {self.steps[-1].up_to} units")
        if not all(step.is_finite for step in self.steps):
            raise InvalidRates("contain NaN or infinity")
        if any(step.rate < 0 for step in self.steps):
            raise InvalidRates("contain a negative rate")
        limit = Decimal(0)
        for step in self.steps[:-1]:
            if step.up_to is None or step.up_to <= limit:
                raise InvalidRates("are not in ascending order")
            limit = step.up_to

    @classmethod
    def of(cls, *steps: tuple[Decimal | str | int | None, Decimal | str | int]) -> Self:
        """Rates from pairs: `OverageRates.of((500, "0.01"), (None, "0.005"))`."""
        return cls(tuple(_step(up_to, rate) for up_to, rate in steps))

    def price(self, overage: Decimal) -> Decimal:
        """What `overage` units cost, unrounded; nothing when there is no overage."""
        total, below = Decimal(0), Decimal(0)
        with localcontext(EXACT):
            for step in self.steps:
                top = overage if step.up_to is None else min(overage, step.up_to)
                total += max(top - below, Decimal(0)) * step.rate
                below = top
        return total

    def as_json(self) -> list[dict[str, str | None]]:
        """The steps as JSON, decimals as text."""
        return [
            {"up_to": None if step.up_to is None else str(step.up_to), "rate": str(step.rate)}
            for step in self.steps
        ]

    @classmethod
    def from_json(cls, steps: Iterable[dict[str, Any]]) -> Self:
        """The inverse of `as_json`.

        Raises:
            InvalidRates: these are no rates, whoever wrote them.
        """
        try:
            pairs = [(step["up_to"], step["rate"]) for step in steps]
        except (KeyError, TypeError) as error:
            raise InvalidRates(f"are no list of steps: {steps!r:.100}") from error
        return cls.of(*pairs)


def _step(up_to: Decimal | str | int | None, rate: Decimal | str | int) -> RateStep:
    if isinstance(up_to, float) or isinstance(rate, float):
        raise InvalidRates("contain a float, which is not exact")
    if isinstance(up_to, bool) or isinstance(rate, bool):
        raise InvalidRates(f"contain what is no number: {up_to!r}, {rate!r}")
    try:
        return RateStep(None if up_to is None else Decimal(up_to), Decimal(rate))
    except (InvalidOperation, TypeError, ValueError) as error:
        raise InvalidRates(f"contain what is no number: {up_to!r}, {rate!r}") from error


class OverageRatesType(TypeDecorator[OverageRates]):
    """Rates stored as JSON; nothing but a valid `OverageRates` can be saved."""

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: OverageRates | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        if not isinstance(value, OverageRates):
            raise InvalidRates(f"must be OverageRates, not {type(value).__name__}")
        return value.as_json()

    def process_result_value(self, value: Any, dialect: Dialect) -> OverageRates | None:
        return None if value is None else OverageRates.from_json(value)
