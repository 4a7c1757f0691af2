"""A schema as facts that can be compared, and its differences in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Statements = tuple[str, ...]


def _nothing(table: str, statements: Statements) -> frozenset[str]:
    return frozenset()


@dataclass(frozen=True)
class Schema:
    """A database's catalog: facts, and tables by the statements that make them.

    ``facts_of`` works out the facts of one table. It is asked where statements differ only.
    """

    others: frozenset[str]
    tables: Mapping[str, Statements] = field(default_factory=dict)
    facts_of: Callable[[str, Statements], frozenset[str]] = field(default=_nothing, compare=False)


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
    left = [f"left behind: {fact}" for fact in sorted(after - before)]
    return left + [f"missing: {fact}" for fact in sorted(before - after)]
