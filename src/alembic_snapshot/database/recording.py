"""The SQL that a test's engines ran on its clone, in the order in which it was done.

It is cheap to keep, and read only when the test has failed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from alembic_snapshot.project.callsite import Writer

# What nobody reads through, nor runs again, in a moment.
MOST_STEPS = 10_000
COMMIT, ROLLBACK, EXECUTE, FAILED = "commit", "rollback", "execute", "failed"


class Objects(Protocol):
    """What was inserted for objects of an application's."""

    def line(self, table: str, key: Mapping[str, Any]) -> Writer | None:
        """The line that added the row of a table with that primary key, if it is known."""


class Step(NamedTuple):
    """What one connection did: a statement, one that failed, or a transaction's end.

    ``writer`` is the line that had it done; it is looked for only where something may be written.
    ``flush`` are the objects that it was done for.
    """

    connection: int
    kind: str
    statement: str = ""
    parameters: Any = None
    is_many: bool = False
    is_autocommit: bool = False
    writer: Writer | None = None
    flush: Objects | None = None


class Position(NamedTuple):
    """How far a recording had come: its steps, and its migrations."""

    steps: int = 0
    migrations: int = 0


class Recording:
    """The steps since a clone began. ``obstacle`` is why they don't tell who wrote what.

    ``migrations`` counts how often migrations were run on the clone, in a process of their own.

    ``on_rollback`` is told the steps of a transaction that was rolled back, if somebody listens.
    """

    def __init__(self) -> None:
        self.on_rollback: Callable[[Sequence[Step]], None] | None = None
        self.steps: list[Step] = []
        self.migrations = 0
        self.obstacle: str | None = None
        self._at_work: set[int] = set()

    def add(self, step: Step) -> None:
        """Note a statement."""
        if len(self.steps) < MOST_STEPS:
            self._at_work.add(step.connection)
            self.steps.append(step)
        else:
            self.obstacle = f"more than {MOST_STEPS} statements were executed"

    def fail(self, connection: int, statement: str) -> None:
        """Note that the connection's newest statement failed."""
        for index in range(len(self.steps) - 1, -1, -1):
            step = self.steps[index]
            if step.connection == connection:
                if step.statement == statement:
                    self.steps[index] = step._replace(kind=FAILED)
                return

    def end(self, connection: int, kind: str) -> None:
        """Note the end of a connection's transaction, if it has done anything."""
        if connection in self._at_work:
            self._at_work.discard(connection)
            if kind == ROLLBACK and self.on_rollback is not None:
                self.on_rollback(self._transaction(connection))
            self.steps.append(Step(connection, kind))

    def _transaction(self, connection: int) -> list[Step]:
        """The connection's steps since its last transaction ended."""
        found = []
        for step in reversed(self.steps):
            if step.connection == connection:
                if step.kind in (COMMIT, ROLLBACK):
                    break
                found.append(step)
        return found[::-1]

    @property
    def position(self) -> Position:
        """How far it has come."""
        return Position(len(self.steps), self.migrations)

    def back_to(self, position: Position) -> None:
        """Forget what came later: the database is what it was then."""
        del self.steps[position.steps :]
        self.migrations = position.migrations
        self._at_work.clear()
