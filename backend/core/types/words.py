"""Texts: what somebody wrote, and the words that a column has for its values."""

import re
from enum import StrEnum
from typing import Any

from sqlalchemy import Enum, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DontWrapMixin
from sqlalchemy.types import TypeDecorator

from core.errors import AtomError
from core.types.operators import RANKING

# PostgreSQL has no NUL in its texts; half of a surrogate pair has no UTF-8.
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


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


class Words(Enum):
    """An `Enum` whose values are equal or not, and neither less nor more."""

    class Comparator(Enum.Comparator):
        def operate(self, op: Any, *other: Any, **kwargs: Any) -> Any:
            if op in RANKING:
                raise NotOrderedInSQL(self.expr)
            return super().operate(op, *other, **kwargs)

    comparator_factory = Comparator


def lowercase_enum(members: type[StrEnum], name: str, *, create_constraint: bool = True) -> Enum:
    """A column type for `members`: their short values as text, kept by a CHECK called `name`."""
    return Words(
        members,
        name=name,
        native_enum=False,
        create_constraint=create_constraint,
        validate_strings=True,
        length=20,
        values_callable=lambda enum: [member.value for member in enum],
    )
