"""A schema as facts that can be compared, and its differences in words."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field

from alembic_snapshot.database.diff import value_changes

# Of what is too long to be told, a fact has a hash behind its name.
_HASH = re.compile(r": [0-9a-f]{32}$")
Statements = tuple[str, ...]


def _nothing(table: str, statements: Statements) -> frozenset[str]:
    return frozenset()


@dataclass(frozen=True)
class Schema:
    """A database's catalog: facts, and tables by the statements that make them.

    ``facts_of`` works out the facts of one table. It is asked where statements differ only.
    ``subjects`` tells what facts are about, where two can be about the same.
    ``values`` has what objects have that both sides can have in another way, by its name.
    """

    others: frozenset[str]
    tables: Mapping[str, Statements] = field(default_factory=dict)
    facts_of: Callable[[str, Statements], frozenset[str]] = field(default=_nothing, compare=False)
    values: Mapping[str, str] = field(default_factory=dict)
    subjects: Mapping[str, str] = field(default_factory=dict, compare=False)


def differences(expected: Schema, actual: Schema) -> list[str]:
    """The facts that were left behind, and those that are missing, a line each."""
    if expected == actual:
        return []
    before, after = set(expected.others), set(actual.others)
    for table in expected.tables.keys() | actual.tables.keys():
        old, new = expected.tables.get(table), actual.tables.get(table)
        if old != new:
            before |= expected.facts_of(table, old) if old else set()
            after |= actual.facts_of(table, new) if new else set()
    appeared, gone, changed = sides(before, after)
    told = _about_the_same(gone, appeared, expected.subjects, actual.subjects)
    appeared, gone = ([fact for fact in one if fact not in told] for one in (appeared, gone))
    return [
        *(f"left behind: {fact}" for fact in appeared),
        *(f"missing: {fact}" for fact in gone),
        *sorted(set(told.values())),
        *(f"defined differently: {fact}" for fact in changed),
        *(f"defined differently: {line}" for line in value_changes(expected.values, actual.values)),
    ]


def _about_the_same(
    gone: Sequence[str], new: Sequence[str], before: Mapping[str, str], after: Mapping[str, str]
) -> dict[str, str]:
    """The facts that are about what is there on both sides, each with a line that tells both."""
    told: dict[str, str] = {}
    old = {before[fact]: fact for fact in gone if before.get(fact)}
    for fact in new:
        subject = after.get(fact)
        if subject and subject in old:
            told[fact] = told[old[subject]] = _change(subject, old[subject], fact)
    return told


def _change(subject: str, old: str, new: str) -> str:
    """What was said of a subject and what is said of it now, or the words that are more or less."""
    before, after = ("".join(fact.split(subject, 1)).strip(" :").split() for fact in (old, new))
    same = _shared(before, after)
    cut = _shared(before[same:][::-1], after[same:][::-1])
    less, more = (" ".join(words[same : len(words) - cut]) for words in (before, after))
    if not less or not more:
        return f"left behind: {subject}: {more}" if more else f"missing: {subject}: {less}"
    return f"defined differently: {subject}: {' '.join(before)} → {' '.join(after)}"


def _shared(one: Sequence[str], other: Sequence[str]) -> int:
    """How many words two texts begin with alike."""
    pairs = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    return sum(1 for _ in pairs)


def sides(before: Set[str], after: Set[str]) -> tuple[list[str], list[str], list[str]]:
    """The facts after that are new, those before that are gone, and what is known by a hash alone
    and has another one.
    """
    new, gone = after - before, before - after
    there = {named(fact) for fact in new if _HASH.search(fact)}
    hashed = there & {named(fact) for fact in gone}
    return (
        sorted({named(fact) for fact in new} - hashed),
        sorted({named(fact) for fact in gone} - hashed),
        sorted(hashed),
    )


def named(fact: str) -> str:
    """A fact without a hash, which tells nobody anything."""
    return _HASH.sub("", fact)
