"""The findings of a migrated database's checks. The builder makes them; other rooms tell them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from alembic_snapshot.errors import CheckError

# The spelling of a command of Alembic's on the project, from its words.
Spell = Callable[..., str]
CHECKS = ("sound_data", "one_head", "drift", "mappers")
SHOWN = 10
ENV_PY = "env.py"
# How many characters of a statement a message shows.
_SHOWN_SQL = 200
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


def findings(checks: Mapping[str, Any], *, drift: str, heads: str, spell: Spell) -> list[str]:
    """The findings of a snapshot's checks, a line each, of those that the project wants."""
    lines_by_check = by_check(checks, drift=drift, heads=heads, spell=spell)
    return [line for lines in lines_by_check.values() for line in lines]


def unchecked(checks: Mapping[str, Any], *, drift: str) -> dict[str, str]:
    """The checks that the project wants and that were not made, with the reasons, by name."""
    reasons: dict[str, str] = dict(checks.get("unchecked") or {})
    if checks.get("heads_error"):
        reasons["one_head"] = checks["heads_error"]
    if checks.get("integrity_error"):
        reasons["sound_data"] = checks["integrity_error"]
    if checks.get("drift_error"):
        reasons["drift"] = checks["drift_error"]
    for name, key in (("sound_data", "integrity"), ("one_head", "heads")):
        if key not in checks:
            reasons.setdefault(name, "its manifest does not say what was found")
    if drift == "ignore":
        reasons.pop("drift", None)
    return {name: reasons[name] for name in sorted(reasons)}


def not_checked(name: str, reason: str) -> str:
    """The line that says why a check was not made."""
    return f"{name}: not checked, because {reason}"


def told(checks: Mapping[str, Any], *, drift: str, heads: str, spell: Spell) -> list[str]:
    """All results of a snapshot's checks, a line each: the findings, then what was not checked."""
    missing = unchecked(checks, drift=drift)
    return [
        *findings(checks, drift=drift, heads=heads, spell=spell),
        *(not_checked(name, reason) for name, reason in missing.items()),
    ]


def of_layer(name: str, lines: Iterable[str], known: Collection[str]) -> list[str]:
    """The lines on a named layer, but for those on what it stands on."""
    return [f"layer {name}: {line}" for line in lines if line not in known]


def counted(count: int, missing: int) -> str:
    """The number of findings and of checks that were not made; "0 findings" if all were made."""
    parts = []
    if count or not missing:
        parts.append(number(count, "finding"))
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


def brief(sql: str) -> str:
    """A statement on one line, cut off where it is long."""
    return " ".join(sql.split())[:_SHOWN_SQL]


def shortened(lines: Sequence[str], command: str) -> list[str]:
    """The first of these lines, and how many more there are, which ``command`` lists."""
    more = len(lines) - SHOWN
    if more <= 0:
        return list(lines)
    return [*lines[:SHOWN], f"and {more} more: `{command}` lists them"]


def by_check(
    checks: Mapping[str, Any], *, drift: str, heads: str, spell: Spell
) -> dict[str, list[str]]:
    """The findings of each check of a snapshot, by the check's name."""
    lines_by_check: dict[str, list[str]] = {name: [] for name in CHECKS}
    lines_by_check["sound_data"] = [f"integrity: {line}" for line in checks.get("integrity", ())]
    lines_by_check["sound_data"] += [
        f"foreign key: {line}" for line in checks.get("foreign_keys", ())
    ]
    if heads == "one" and len(checks.get("heads", ())) > 1:
        lines_by_check["one_head"].append(
            f"there are {len(checks['heads'])} heads, {' and '.join(checks['heads'])}: join them "
            f'with `{spell("merge", "heads")}`, or set heads = "many"'
        )
    lines_by_check["drift"] = [
        f"{_maker(name)} calls create_all: the models' drift can't show"
        for name in dict.fromkeys(checks.get("create_all", ()))
    ]
    lines_by_check["drift"] += [
        f"{_maker(name)} takes its schema from the models: their drift can't show"
        for name in dict.fromkeys(checks.get("from_models", ()))
        if name not in checks.get("create_all", ()) and not (drift == "ignore" and is_beside(name))
    ]
    if drift != "ignore":
        lines_by_check["drift"] += [f"drift: {line}" for line in checks.get("drift", ())]
    if checks.get("mappers"):
        lines_by_check["mappers"].append(f"mappers don't configure: {checks['mappers']}")
    return lines_by_check


def is_beside(name: str) -> bool:
    """Whether this is no revision and no seed, but what runs beside them: ``migrate app:make``."""
    return name == ENV_PY or " " in name


def _maker(name: str) -> str:
    """Who has made something of a metadata: a revision, a seed, or what is named in full."""
    if is_beside(name):
        return name
    return f"seed {name}" if ":" in name else f"revision {name}"


def raise_for_checks(
    checks: Mapping[str, Any],
    *,
    drift: str,
    command: Callable[[], str],
    spell: Spell,
    title: str = "",
) -> None:
    """Raise for the findings of a snapshot's checks, if ``drift`` is ``"error"``.

    ``command`` tells the command that lists all of them, ``title`` begins what is said.

    Raises:
        CheckError: it lists what was found and says what to do.
    """
    if drift != "error":
        return
    if checks.get("mappers"):
        raise CheckError(
            f"{title}the models' mappers don't configure: {checks['mappers']}",
            hint="import every module with mapped classes where env.py gets its metadata",
        )
    if checks.get("drift"):
        lines = "\n  ".join(shortened(checks["drift"], command()))
        raise CheckError(
            f"{title}the models differ from the migrated schema:\n  {lines}",
            hint=f"make the missing revision with `{spell('revision', '--autogenerate')}`, "
            'or set drift = "warn"',
        )
    missing = unchecked(checks, drift=drift)
    for name, hint in _UNCHECKED_HINTS.items():
        if name in missing:
            alone = spell("check")
            line = f"{title}{not_checked(name, missing[name])}"
            raise CheckError(line, hint=hint.format(alone=alone))


_UNCHECKED_HINTS = {
    "drift": "run `{alone}` to see it alone; env.py has to give the models' metadata to "
    'context.configure(); or set drift = "warn"',
    "mappers": "import every module with mapped classes where env.py gets its metadata, or set "
    'drift = "warn"',
}
