"""The options that ``env.py`` hands over, in words that are the same in every run."""

from __future__ import annotations

import datetime
import decimal
import enum
import pathlib
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

# Values that can't change, which any two runs show alike.
PLAIN: tuple[type, ...] = (
    str, bool, int, float, bytes, datetime.datetime, datetime.date, datetime.time,
    datetime.timedelta, decimal.Decimal, pathlib.PurePath, uuid.UUID,
)  # fmt: skip
# Of a subclass nobody knows what else it has.
_EXACT = frozenset({type(None), *PLAIN, *(type(pathlib.Path()), type(pathlib.PurePath()))})


def option_fingerprint(options: Mapping[str, Any]) -> dict[str, str]:
    """The options of ``context.configure()``, in words that are the same in every run."""
    fingerprint = {
        name: spelled(value)
        for name, value in sorted(options.items())
        if name not in ("connection", "url", "target_metadata", "dialect_name", "dialect_opts")
    }
    for index, given in enumerate(_target_metadata(options)):
        told = spelled(given)
        if _is_metadata(given):
            convention = {str(k): spelled(v) for k, v in given.naming_convention.items()}
            told = f"{given.schema} {sorted(convention.items())}"
        fingerprint[f"target_metadata[{index}]"] = told
    return fingerprint


def metadata_in(options: Mapping[str, Any]) -> list[Any]:
    """The metadata that ``env.py`` gave, which may be none, one or several.

    An upgrade doesn't look at it: whatever else ``env.py`` gave there is left out.
    """
    return [given for given in _target_metadata(options) if _is_metadata(given)]


def no_metadata_in(options: Mapping[str, Any]) -> str | None:
    """What ``env.py`` gave where Alembic compares with metadata, if that is something else."""
    for given in _target_metadata(options):
        if not _is_metadata(given):
            own = getattr(given, "metadata", None)
            hint = ", and its metadata is one" if _is_metadata(own) else ""
            return f"env.py's target_metadata has {_kind(given)}, which is no MetaData{hint}"
    return None


def _target_metadata(options: Mapping[str, Any]) -> list[Any]:
    given = options.get("target_metadata")
    if isinstance(given, set | frozenset):
        # In an order that is the same in every run.
        given = sorted(given, key=lambda item: f"{getattr(item, 'schema', '')} {spelled(item)}")
    several = given if isinstance(given, list | tuple) else [given]
    return [item for item in several if item is not None]


def _is_metadata(given: Any) -> bool:
    return isinstance(getattr(given, "naming_convention", None), Mapping)


def _kind(given: Any) -> str:
    return str(getattr(given, "__qualname__", f"a {type(given).__name__}"))


def called_by_alembic(options: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The functions that act on the database, version hooks and naming conventions: each with the
    name that :func:`option_fingerprint` has for where it is.
    """
    hooks = options.get("on_version_apply")
    if hooks is not None:
        for hook in hooks if isinstance(hooks, Iterable) else [hooks]:
            yield "on_version_apply", hook
    for index, given in enumerate(_target_metadata(options)):
        for named in given.naming_convention.values() if _is_metadata(given) else ():
            if callable(named):
                yield f"target_metadata[{index}]", named


def is_comparable(value: Any) -> bool:
    """Whether :func:`spelled` tells any two values of this kind apart."""
    if type(value) is dict:
        return all(is_comparable(item) for pair in value.items() for item in pair)
    if type(value) in (list, tuple, set, frozenset):
        return all(map(is_comparable, value))
    return type(value) in _EXACT


def spelled(value: Any) -> str:
    """A value in words. A value that can't be compared is told by its type or name."""
    if isinstance(value, enum.Enum):
        return f"{type(value).__module__}.{type(value).__qualname__}.{value.name}"
    for plain in PLAIN:
        if isinstance(value, plain):
            # As its plain type shows it: another may show where in memory it is.
            shown: str = vars(plain)["__repr__"](value)
            return shown
    if value is None:
        return "None"
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(spelled(item) for item in value))}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(spelled(item) for item in value)}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(sorted(f'{spelled(k)}: {spelled(v)}' for k, v in value.items()))}}}"
    name = getattr(value, "__qualname__", None) or type(value).__qualname__
    return f"{getattr(value, '__module__', '')}.{name}"
