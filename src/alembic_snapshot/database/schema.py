"""A schema as facts that can be compared, and its differences in words."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Set
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
    ``values`` has what objects have that both sides can have in another way, by its name.
    """

    others: frozenset[str]
    tables: Mapping[str, Statements] = field(default_factory=dict)
    facts_of: Callable[[str, Statements], frozenset[str]] = field(default=_nothing, compare=False)
    values: Mapping[str, str] = field(default_factory=dict)


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
    return [
        *(f"left behind: {fact}" for fact in appeared),
        *(f"missing: {fact}" for fact in gone),
        *(f"defined differently: {fact}" for fact in changed),
        *(f"defined differently: {line}" for line in value_changes(expected.values, actual.values)),
    ]


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
