"""Which builds belong to one state of the project's code: its heads, named layers, revisions."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from alembic_snapshot.store.manifest import Entry, Manifest


def by_code(families: Iterable[Sequence[Entry]]) -> list[list[Entry]]:
    """What builds published, joined where one state of the code has it; the last used first.

    A build is of the state of the code whose revisions, with equal digests, are the same, or begin
    with those at which somebody had it stop. Of two that differ in nothing but a file, such as a
    seed's, the one used last is of the newer state.
    """
    states: list[_Code] = []
    builds = [build for family in families for build in _asked_for(family)]
    # Those at the heads tell what the code's revisions are.
    for entries in sorted(builds, key=lambda one: (*_order(_whole(one).manifest), age(one))):
        manifest = _whole(entries).manifest
        state = next((one for one in states if one.has(manifest)), None)
        if state is None:
            state = _Code(manifest)
            states.append(state)
        state.names[_names(manifest)] = manifest.digest
        state.entries += entries
    return sorted((state.entries for state in states), key=age)


def age(entries: Sequence[Entry]) -> float:
    """Seconds since one of these was asked for."""
    return time.time() - max(entry.used for entry in entries)


@dataclass
class _Code:
    """One state of the code, by the first manifest that was found of it."""

    first: Manifest
    names: dict[frozenset[str], str] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)

    def has(self, manifest: Manifest) -> bool:
        """Whether a snapshot can be of this state."""
        if manifest.project != self.first.project:
            return False
        if self.names.get(_names(manifest), manifest.digest) != manifest.digest:
            return False
        if manifest.layers["base"] != self.first.layers["base"]:
            return False
        is_same = manifest.revisions == self.first.revisions
        return is_same or (_stops(manifest) and _begins(manifest.revisions, self.first.revisions))


def _asked_for(family: Sequence[Entry]) -> Iterator[list[Entry]]:
    """What one build published, without the states on its way that were asked for since: each of
    these is by itself.
    """
    last = _whole(family).used
    yield [entry for entry in family if entry.used <= last]
    yield from ([entry] for entry in family if entry.used > last)


def _whole(entries: Sequence[Entry]) -> Entry:
    """What a build was for; of what is left of it, what has the most layers."""
    return max(entries, key=lambda one: len(one.manifest.layers))


def _order(manifest: Manifest) -> tuple[bool, int]:
    is_below = _stops(manifest)
    return is_below, -len(manifest.revisions) if is_below else 0


def _stops(manifest: Manifest) -> bool:
    """Whether it is of a build that stopped at a revision: it is not compared with the models."""
    return "drift" not in manifest.checks


def _begins(some: Mapping[str, str], every: Mapping[str, str]) -> bool:
    return some.items() <= every.items()


def _names(manifest: Manifest) -> frozenset[str]:
    return frozenset(manifest.layers)
