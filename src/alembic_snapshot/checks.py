"""Facts about a migrated database: found in the builder, told by whoever asks."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

CHECKS = ("sound_data", "one_head", "drift", "mappers")
SHOWN = 10
# Why there is no drift to find where env.py has no models.
NO_METADATA = "env.py gives no target_metadata to context.configure()"


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
        parts.append(number(found, "finding"))
    if missing:
        parts.append(f"{number(missing, 'check')} not made")
    return ", ".join(parts)


def number(count: int, thing: str) -> str:
    """A count with its noun: ``1 snapshot``, ``2 snapshots``."""
    return f"{count} {thing}{'s' if count != 1 else ''}"


def size(count: float) -> str:
    """A number of bytes in the unit that fits: ``0 bytes``, ``20 kB``, ``3.1 MB``."""
    if count < 1000:
        return number(int(count), "byte")
    for unit in ("kB", "MB", "GB", "TB"):
        count /= 1000
        if count < 999.5 or unit == "TB":
            break
    return f"{count:.1f} {unit}" if count < 9.95 else f"{count:.0f} {unit}"


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
