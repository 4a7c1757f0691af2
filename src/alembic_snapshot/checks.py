"""Facts about a migrated database: found in the builder, told by whoever asks."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

CHECKS = ("sound_data", "one_head", "drift", "mappers")
SHOWN = 10
# Why there is no drift to find where env.py has no models.
NO_METADATA = "env.py gives no target_metadata to context.configure()"


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


def unchecked(checks: Mapping[str, Any], *, drift: str) -> dict[str, str]:
    """Why checks of a snapshot were not made that the project wants, by the check's name."""
    found: dict[str, str] = dict(checks.get("unchecked") or {})
    if checks.get("heads_error"):
        found["one_head"] = checks["heads_error"]
    if checks.get("drift_error"):
        found["drift"] = checks["drift_error"]
    for name, key in (("sound_data", "integrity"), ("one_head", "heads")):
        if key not in checks:
            found.setdefault(name, "its manifest does not say what was found")
    if drift == "ignore":
        found.pop("drift", None)
    return {name: found[name] for name in sorted(found)}


def not_checked(name: str, reason: str) -> str:
    """The line that says why a check was not made."""
    return f"{name}: not checked, because {reason}"


def told(checks: Mapping[str, Any], *, drift: str, heads: str) -> list[str]:
    """All there is to say of a snapshot's checks, a line each: what was found, what not checked."""
    missing = unchecked(checks, drift=drift)
    return [
        *findings(checks, drift=drift, heads=heads),
        *(not_checked(name, reason) for name, reason in missing.items()),
    ]


def counted(found: int, missing: int) -> str:
    """How much was found and how many checks were not made; "0 findings" if all were."""
    parts = []
    if found or not missing:
        parts.append(f"{found} finding{'s' if found != 1 else ''}")
    if missing:
        parts.append(f"{missing} check{'s' if missing != 1 else ''} not made")
    return ", ".join(parts)


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
    if checks.get("mappers"):
        found["mappers"].append(f"mappers don't configure: {checks['mappers']}")
    return found


def option_fingerprint(options: Mapping[str, Any]) -> dict[str, str]:
    """What ``env.py`` gave to ``context.configure()``, in words that are the same in every run."""
    found = {
        name: _spelled(value)
        for name, value in sorted(options.items())
        if name not in ("connection", "url", "target_metadata", "dialect_name", "dialect_opts")
    }
    metadata = options.get("target_metadata")
    for index, one in enumerate(metadata if isinstance(metadata, list | tuple) else [metadata]):
        if one is not None:
            convention = {str(k): _spelled(v) for k, v in one.naming_convention.items()}
            found[f"target_metadata[{index}]"] = f"{one.schema} {sorted(convention.items())}"
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


def _spelled(value: Any) -> str:
    if value is None or isinstance(value, str | int | float | bool):
        return repr(value)
    if isinstance(value, list | tuple | set | frozenset):
        return f"[{', '.join(sorted(_spelled(item) for item in value))}]"
    if isinstance(value, dict):
        return str({str(k): _spelled(v) for k, v in sorted(value.items(), key=str)})
    name = getattr(value, "__qualname__", None) or type(value).__qualname__
    return f"{getattr(value, '__module__', '')}.{name}"


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
