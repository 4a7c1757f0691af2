"""What ``env.py`` hands over, in words that are the same in every run."""

from __future__ import annotations

import datetime
import decimal
import enum
import pathlib
import uuid
from collections.abc import Mapping
from typing import Any

_PLAIN = (
    str, int, float, bool, bytes, datetime.date, datetime.time, datetime.timedelta,
    decimal.Decimal, enum.Enum, pathlib.PurePath, uuid.UUID,
)  # fmt: skip


def option_fingerprint(options: Mapping[str, Any]) -> dict[str, str]:
    """What ``env.py`` gave to ``context.configure()``, in words that are the same in every run."""
    found = {
        name: spelled(value)
        for name, value in sorted(options.items())
        if name not in ("connection", "url", "target_metadata", "dialect_name", "dialect_opts")
    }
    metadata = options.get("target_metadata")
    for index, one in enumerate(metadata if isinstance(metadata, list | tuple) else [metadata]):
        if one is not None:
            convention = {str(k): spelled(v) for k, v in one.naming_convention.items()}
            found[f"target_metadata[{index}]"] = f"{one.schema} {sorted(convention.items())}"
    return found


def is_comparable(value: Any) -> bool:
    """Whether :func:`spelled` tells any two values of this kind apart."""
    if isinstance(value, Mapping):
        return all(is_comparable(item) for pair in value.items() for item in pair)
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(is_comparable, value))
    return value is None or isinstance(value, _PLAIN)


def spelled(value: Any) -> str:
    """A value in words; of one that can't be compared, what it is."""
    if value is None or isinstance(value, _PLAIN):
        return repr(value)
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(spelled(item) for item in value))}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(spelled(item) for item in value)}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(sorted(f'{spelled(k)}: {spelled(v)}' for k, v in value.items()))}}}"
    name = getattr(value, "__qualname__", None) or type(value).__qualname__
    return f"{getattr(value, '__module__', '')}.{name}"
