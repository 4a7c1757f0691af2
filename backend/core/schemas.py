"""JSON schemas of tools: what of them is checked, and that there is nothing else in them."""

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Fits = Callable[[Any, Any], bool]

_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "object": dict,
    "array": list,
    "null": type(None),
}


def _numbers(compare: Fits) -> Fits:
    return lambda value, limit: not _is_number(value) or compare(value, limit)


def _lengths(kind: type[str | list[Any]], compare: Fits) -> Fits:
    return lambda value, limit: not isinstance(value, kind) or compare(len(value), limit)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _same(one: object, other: object) -> bool:
    # True is 1 in Python, and not in JSON.
    return one == other and isinstance(one, bool) == isinstance(other, bool)


# As in JSON Schema, a limit holds for values of its kind and lets all others pass.
_LIMITS: Mapping[str, Fits] = {
    "enum": lambda value, values: any(_same(value, each) for each in values),
    "const": _same,
    "minimum": _numbers(operator.ge),
    "maximum": _numbers(operator.le),
    "exclusiveMinimum": _numbers(operator.gt),
    "exclusiveMaximum": _numbers(operator.lt),
    "minLength": _lengths(str, operator.ge),
    "maxLength": _lengths(str, operator.le),
    "minItems": _lengths(list, operator.ge),
    "maxItems": _lengths(list, operator.le),
    "pattern": lambda value, pattern: not isinstance(value, str) or bool(re.search(pattern, value)),
}
_NOTES = {"title", "description", "default", "examples"}
_PARTS = {"type", "items", "properties", "required", "additionalProperties"}
_KNOWN = {*_LIMITS, *_NOTES, *_PARTS}


def require_checked(schema: Mapping[str, Any]) -> None:
    """Raise `ValueError` unless all that a schema asks is checked by `problems`."""
    for keyword in schema:
        if keyword not in _KNOWN:
            raise ValueError(f"{keyword!r} of a schema is not checked")
    for kind in _kinds(schema):
        if kind not in _TYPES:
            raise ValueError(f"there is no type {kind!r}")
    if not isinstance(schema.get("additionalProperties", False), bool):
        raise ValueError("'additionalProperties' of a schema is not checked unless it is a boolean")
    re.compile(schema.get("pattern", ""))
    parts = [*schema.get("properties", {}).values()]
    for part in parts + ([schema["items"]] if "items" in schema else []):
        require_checked(part)


def problems(schema: Mapping[str, Any], value: object, name: str) -> Iterator[str]:
    """What is wrong with a value that is called `name`."""
    kinds = _kinds(schema)
    if kinds and not any(_is_of(value, kind) for kind in kinds):
        yield f"{name!r} is not of type {' or '.join(kinds)}"
        return
    for keyword, fits in _LIMITS.items():
        if keyword in schema and not fits(value, schema[keyword]):
            yield f"{name!r} does not fit {keyword} {schema[keyword]!r}"
    if isinstance(value, list):
        for number, each in enumerate(value):
            yield from problems(schema.get("items", {}), each, f"{name}[{number}]")
    if isinstance(value, dict):
        yield from _of_properties(schema, value, name)


def _of_properties(schema: Mapping[str, Any], value: Mapping[str, Any], name: str) -> Iterator[str]:
    properties = schema.get("properties", {})
    for key in schema.get("required", ()):
        if key not in value:
            yield f"{key!r} is missing in {name!r}"
    for key, each in value.items():
        if key in properties:
            yield from problems(properties[key], each, f"{name}.{key}")
        elif not schema.get("additionalProperties", True):
            yield f"there is no {key!r} in {name!r}"


def _kinds(schema: Mapping[str, Any]) -> Sequence[str]:
    kinds: str | Sequence[str] = schema.get("type", ())
    return [kinds] if isinstance(kinds, str) else kinds


def _is_of(value: object, kind: str) -> bool:
    # A bool is an int in Python, and not in JSON Schema.
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _TYPES[kind])
