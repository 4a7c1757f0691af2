"""A schema as facts that can be compared, and its differences in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Statements = tuple[str, ...]


def _nothing(table: str, statements: Statements) -> frozenset[str]:
    return frozenset()


@dataclass(frozen=True)
class Schema:
    """What a database's catalog says: facts, and tables by the statements that make them.

    ``facts_of`` works out the facts of one table. It is asked where statements differ only.
    """

    others: frozenset[str]
    tables: Mapping[str, Statements] = field(default_factory=dict)
    facts_of: Callable[[str, Statements], frozenset[str]] = field(default=_nothing, compare=False)


def differences(expected: Schema, found: Schema) -> list[str]:
    """What is there and should not be, and what is missing, a line each."""
    if expected == found:
        return []
    before, after = set(expected.others), set(found.others)
    for table in expected.tables.keys() | found.tables.keys():
        old, new = expected.tables.get(table), found.tables.get(table)
        if old != new:
            before |= expected.facts_of(table, old) if old else set()
            after |= found.facts_of(table, new) if new else set()
    left = [f"left behind: {fact}" for fact in sorted(after - before)]
    return left + [f"missing: {fact}" for fact in sorted(before - after)]
