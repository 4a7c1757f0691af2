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
