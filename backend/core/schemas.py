"""JSON schemas of tools: what they ask of arguments, and that all of it is checked."""

from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator, SchemaError

# What says something of a value, and asks nothing of it.
_NOTES = {"title", "description", "default", "examples", "deprecated"}
# These lead to schemas elsewhere, or are only notes to who validates.
_ELSEWHERE = {"$ref", "$dynamicRef", "format"}
_KNOWN = ({*Draft202012Validator.VALIDATORS} | _NOTES) - _ELSEWHERE
# Whose values are schemas: by name, several, one.
_BY_NAME = ("properties", "patternProperties", "dependentSchemas")
_SEVERAL = ("allOf", "anyOf", "oneOf", "prefixItems")
_ONE = (
    "items", "additionalProperties", "contains", "propertyNames", "not", "if", "then", "else",
    "unevaluatedItems", "unevaluatedProperties",
)  # fmt: skip


def require_checked(schema: Mapping[str, Any]) -> None:
    """Raise `ValueError` unless a schema is valid, and `problem` checks all that it asks."""
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise ValueError(f"{error.json_path}: {error.message}") from error
    for part in _parts(schema):
        for keyword in part:
            if keyword not in _KNOWN:
                raise ValueError(f"{keyword!r} of a schema is not checked")


def problem(schema: Mapping[str, Any], value: object) -> str | None:
    """What is wrong with a value, and where in it; None if it fits."""
    errors = sorted(Draft202012Validator(schema).iter_errors(value), key=lambda e: e.json_path)
    for error in errors:
        where = error.json_path.removeprefix("$").removeprefix(".")
        return f"{where}: {error.message}" if where else error.message
    return None


def _parts(schema: Any) -> Iterator[Mapping[str, Any]]:
    """A schema, and all that are in it; true and false are schemas, too."""
    if not isinstance(schema, Mapping):
        return
    yield schema
    inside = [part for name in _BY_NAME for part in schema.get(name, {}).values()]
    inside += [part for name in _SEVERAL for part in schema.get(name, ())]
    for part in [*inside, *(schema.get(name) for name in _ONE)]:
        yield from _parts(part)
