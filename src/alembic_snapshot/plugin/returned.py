"""What a checkpoint's function may return: plain values, and nothing that belongs to a session."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

# How deep a value is looked into. What is deeper is nobody's mistake of a moment.
_DEPTH = 4
_MANY = 1000
_SESSIONS = frozenset(
    {"AsyncConnection", "AsyncSession", "Connection", "Session", "async_scoped_session"}
)


def bound_to_a_session(value: Any) -> str | None:
    """What in a value belongs to a session or a connection, in words; None if nothing does."""
    seen: set[int] = set()
    level = [value]
    for _ in range(_DEPTH):
        below: list[Any] = []
        for one in level[:_MANY]:
            if id(one) in seen:
                continue
            seen.add(id(one))
            if hasattr(one, "_sa_instance_state"):
                return f"an object of {type(one).__name__}, which the function's session loaded"
            if _is_session(one):
                return f"its {type(one).__name__}"
            below += _parts(one)
        level = below
    return None


def _is_session(value: Any) -> bool:
    return any(
        kind.__name__ in _SESSIONS and kind.__module__.partition(".")[0] == "sqlalchemy"
        for kind in type(value).__mro__
    )


def _parts(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        yield from value.keys()
        yield from value.values()
    elif isinstance(value, list | tuple | set | frozenset):
        yield from value
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield from (getattr(value, one.name, None) for one in dataclasses.fields(value))
    elif type(value).__module__ not in ("builtins", "datetime", "decimal", "uuid"):
        # A namespace or an object of the project's: what it has of its own.
        yield from getattr(value, "__dict__", {}).values()
