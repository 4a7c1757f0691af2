"""Facts about a migrated database: found in the builder, told by whoever asks."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

CHECKS = ("sound_data", "one_head", "drift", "mappers")
SHOWN = 10


def drift(context: Any) -> list[str]:
    """The differences between the models and the database, as Alembic's autogenerate sees them."""
    from alembic.autogenerate import compare_metadata

    metadata = context.opts.get("target_metadata")
    if metadata is None:
        return []
    found = [_described(difference) for difference in _flat(compare_metadata(context, metadata))]
    found += _enumerations(context.connection, metadata)
    # Alembic finds some of them in sets.
    return sorted(found)


def unconfigured_mappers() -> str | None:
    """The error with which the mappers fail to configure, or None."""
    if "sqlalchemy.orm" not in sys.modules:
        return None
    from sqlalchemy.orm import configure_mappers

    try:
        configure_mappers()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def findings(checks: Mapping[str, Any], *, drift: str, heads: str) -> list[str]:
    """What the checks of a snapshot found, a line each, as far as the project wants to know."""
    found = by_check(checks, drift=drift, heads=heads)
    return [line for lines in found.values() for line in lines]


def shortened(lines: Sequence[str]) -> list[str]:
    """The first of these lines, and how many more there are and where."""
    more = len(lines) - SHOWN
    if more <= 0:
        return list(lines)
    return [*lines[:SHOWN], f"and {more} more: `alembic-snapshot status` lists them"]


def by_check(checks: Mapping[str, Any], *, drift: str, heads: str) -> dict[str, list[str]]:
    """What each of the checks of a snapshot found, by the check's name."""
    found: dict[str, list[str]] = {name: [] for name in CHECKS}
    found["sound_data"] = [f"integrity: {line}" for line in checks.get("integrity", ())]
    found["sound_data"] += [f"foreign key: {line}" for line in checks.get("foreign_keys", ())]
    if heads == "one" and len(checks.get("heads", ())) > 1:
        found["one_head"].append(
            f"there are {len(checks['heads'])} heads, {' and '.join(checks['heads'])}: join them "
            'with `alembic merge heads`, or set heads = "many"'
        )
    found["drift"] = [
        f"revision {name} calls create_all: the models' drift can't show"
        for name in dict.fromkeys(checks.get("create_all", ()))
    ]
    if drift != "ignore":
        found["drift"] += [f"drift: {line}" for line in checks.get("drift", ())]
        if checks.get("drift_error"):
            found["drift"].append(f"drift could not be checked: {checks['drift_error']}")
    if checks.get("mappers"):
        found["mappers"].append(f"mappers don't configure: {checks['mappers']}")
    return found


def _enumerations(connection: Any, metadata: Any) -> Iterator[str]:
    """PostgreSQL's enumeration types with other labels than the models', which Alembic ignores."""
    if connection.dialect.name != "postgresql":
        return
    rows = connection.exec_driver_sql(
        "SELECT nspname, typname, array_agg(enumlabel::text ORDER BY enumsortorder) FROM pg_enum "
        "JOIN pg_type t ON t.oid = enumtypid JOIN pg_namespace n ON n.oid = typnamespace "
        "GROUP BY 1, 2"
    )
    there = {(schema, name): list(labels) for schema, name, labels in rows}
    for one in metadata if isinstance(metadata, list | tuple) else [metadata]:
        types = (column.type for table in one.tables.values() for column in table.columns)
        named = {getattr(kind, "name", None): kind for kind in types if hasattr(kind, "enums")}
        for name, kind in sorted(item for item in named.items() if item[0]):
            schema = kind.schema or connection.dialect.default_schema_name
            before = there.get((schema, name))
            if before is not None and kind.native_enum and before != list(kind.enums):
                both = f"{', '.join(before)} in the database, {', '.join(kind.enums)} in the models"
                yield f"enum {name}: {both}"


def _flat(differences: Iterable[Any]) -> Iterator[tuple[Any, ...]]:
    for difference in differences:
        if isinstance(difference, list):
            yield from _flat(difference)
        else:
            yield difference


def _described(difference: tuple[Any, ...]) -> str:
    kind, rest = difference[0], difference[1:]
    words = kind.replace("_", " ")
    if kind.endswith("_column"):
        return f"{words} {rest[1]}.{rest[2].name}"
    if kind.startswith("modify_"):
        schema, table, column, _existing, before, after = rest
        del schema
        both = f"{_plain(before)} in the database, {_plain(after)} in the models"
        return f"{words} {table}.{column}: {both}"
    subject = rest[0]
    table = getattr(getattr(subject, "table", None), "name", None)
    name = getattr(subject, "name", None)
    if name is None:
        name = ", ".join(column.name for column in getattr(subject, "columns", ()))
    return f"{words} {name}" + (f" on {table}" if table else "")


def _plain(value: Any) -> str:
    argument = getattr(value, "arg", value)
    return str(getattr(argument, "text", argument))
