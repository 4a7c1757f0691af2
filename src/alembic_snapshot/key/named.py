"""Which revisions a name means: an id, the beginning of one, a label, ``head`` or ``heads``.

They are names as Alembic reads them, but for those that count from where a database is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from alembic_snapshot.errors import ConfigError
from alembic_snapshot.key.history import Script

_RELATIVE = re.compile(r"[+-]\d+$")
_HEADS = frozenset({"head", "heads"})
_HINT = "name a revision by its id or a branch label, or write head, heads or LABEL@head"


def revisions_named(name: str, order: Sequence[tuple[Script, Sequence[str]]]) -> tuple[str, ...]:
    """The revisions that a name means; ``order`` are the scripts and their parents.

    Raises:
        ConfigError: it means none, or one of several.
    """
    parents = {script.id: tuple(above) for script, above in order}
    _refuse(name)
    branch, is_of_branch, symbol = name.rpartition("@")
    if is_of_branch:
        beginning = _one(branch, order)
        members = _after(beginning, order)
        if symbol in _HEADS:
            return _heads(name, symbol, order, members)
        found = _one(symbol, order)
        if found not in members and beginning not in _after(found, order):
            raise ConfigError(f"revision {found} is not of the branch {branch!r}", hint=_HINT)
        return (found,)
    if symbol in _HEADS:
        return _heads(name, symbol, order, set(parents))
    return (_one(name, order),)


def with_ancestors(tops: Sequence[str], parents: Mapping[str, Sequence[str]]) -> set[str]:
    """These revisions and all of their ancestors."""
    found: set[str] = set()
    waiting = list(tops)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(parents[name])
    return found


def _refuse(name: str) -> None:
    """Refuse what is no name of a revision, although Alembic takes it in another place."""
    why = None
    if not name.strip():
        why = "an empty text is no revision"
    elif name.rpartition("@")[2] == "base":
        why = f"{name!r} is no revision, but what is before the first one"
    elif ":" in name:
        why = f"{name!r} is a range of revisions, and not one"
    elif _RELATIVE.search(name):
        why = f"{name!r} counts from where a database is, and names no revision"
    if why is not None:
        raise ConfigError(why, hint=_HINT)


def _heads(
    name: str, symbol: str, order: Sequence[tuple[Script, Sequence[str]]], members: set[str]
) -> tuple[str, ...]:
    """The revisions of ``members`` after which none of them comes."""
    before = {
        parent
        for script, parents in order
        if script.id in members
        # What a revision merely depends on stays a head of its own branch.
        for parent in _down(script, parents, order)
    }
    heads = tuple(sorted(members - before))
    if symbol == "head" and len(heads) > 1:
        several = name.removesuffix("head") + "heads"
        raise ConfigError(
            f"{name!r} is several revisions: {' and '.join(heads)}",
            hint=f"name one of them, or write {several}",
        )
    return heads


def _one(name: str, order: Sequence[tuple[Script, Sequence[str]]]) -> str:
    """The one revision with an id, a label, or an id that begins so."""
    ids = [script.id for script, _ in order]
    matches = [one for one in ids if one == name]
    matches = matches or [script.id for script, _ in order if name in script.labels]
    matches = matches or ([one for one in ids if one.startswith(name)] if name else [])
    if len(matches) == 1:
        return matches.pop()
    if matches:
        raise ConfigError(
            f"{name!r} is several revisions: {', '.join(sorted(matches))}",
            hint="write more of the id of one of them",
        )
    known = ", ".join(sorted({label for script, _ in order for label in script.labels}))
    labels = f"; there are the labels {known}" if known else ""
    computed = next((script for script, _ in order if script.computed), None)
    if computed is not None:
        labels += f"; labels that are computed, as in {computed.id}, are known only when they run"
    raise ConfigError(f"no revision {name!r}", hint=f"name a revision of the scripts{labels}")


def _after(beginning: str, order: Sequence[tuple[Script, Sequence[str]]]) -> set[str]:
    """A revision and those that stand on it, as their down_revision says."""
    found = {beginning}
    for script, parents in order:
        if found.intersection(_down(script, parents, order)):
            found.add(script.id)
    return found


def _down(
    script: Script, parents: Sequence[str], order: Sequence[tuple[Script, Sequence[str]]]
) -> Iterator[str]:
    """The parents of a script without those that it merely depends on."""
    labels = {label: other.id for other, _ in order for label in other.labels}
    for name in script.down:
        full = labels.get(name, name)
        exact = (one for one in parents if one == full)
        yield from tuple(exact) or (one for one in parents if one.startswith(full))
