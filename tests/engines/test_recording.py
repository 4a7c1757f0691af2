"""What is recorded of a test's SQL: the steps of each connection, and how far they had come."""

from __future__ import annotations

import pytest

from alembic_snapshot.database.recording import (
    COMMIT,
    EXECUTE,
    FAILED,
    MOST_STEPS,
    ROLLBACK,
    Position,
    Recording,
    Step,
)
from alembic_snapshot.database.statements import is_reading


def ran(one, statement, connection=1):
    one.add(Step(connection, EXECUTE, statement))


def kinds(one):
    return [(step.connection, step.kind, step.statement) for step in one.steps]


def test_a_transaction_ends_once_and_only_if_something_was_done():
    one = Recording()
    one.end(1, COMMIT)
    ran(one, "a")
    one.end(2, COMMIT)
    one.end(1, ROLLBACK)
    one.end(1, COMMIT)

    assert kinds(one) == [(1, EXECUTE, "a"), (1, ROLLBACK, "")]


def test_the_newest_statement_of_a_connection_is_the_one_that_failed():
    one = Recording()
    one.fail(1, "a")
    ran(one, "a")
    ran(one, "a")
    ran(one, "b", 2)
    one.fail(1, "b")
    one.fail(3, "a")
    assert [step.kind for step in one.steps] == [EXECUTE] * 3

    one.fail(1, "a")

    assert [step.kind for step in one.steps] == [EXECUTE, FAILED, EXECUTE]
    one.fail(2, "b")
    assert [step.kind for step in one.steps] == [EXECUTE, FAILED, FAILED]


def test_who_listens_is_told_the_transaction_that_was_rolled_back():
    one, told = Recording(), []
    ran(one, "before")
    one.end(1, ROLLBACK)
    one.on_rollback = lambda steps: told.append([step.statement for step in steps])
    ran(one, "first")
    one.end(1, COMMIT)
    ran(one, "a")
    ran(one, "other", 2)
    ran(one, "b")
    one.end(1, ROLLBACK)
    ran(one, "c")
    one.end(1, ROLLBACK)
    one.end(2, COMMIT)

    assert told == [["a", "b"], ["c"]]


def test_what_came_after_a_position_is_forgotten():
    one = Recording()
    assert one.position == Position(0, 0)
    ran(one, "a")
    one.migrations += 1
    position = one.position
    assert position == Position(1, 1)
    ran(one, "b")
    one.migrations += 1

    one.back_to(position)
    one.end(1, COMMIT)

    assert kinds(one) == [(1, EXECUTE, "a")]
    assert (one.migrations, one.obstacle) == (1, None)


def test_more_steps_than_anybody_reads_are_not_kept():
    one = Recording()
    for _ in range(MOST_STEPS):
        ran(one, "a")
    assert (len(one.steps), one.obstacle) == (10_000, None)

    ran(one, "b")

    assert (len(one.steps), one.obstacle) == (10_000, "more than 10000 statements were executed")


@pytest.mark.parametrize(
    ("statement", "reads"),
    [
        ("SELECT 1", True),
        ("\n  select 1", True),
        ("EXPLAIN SELECT 1", True),
        ("PRAGMA foreign_keys", True),
        ("SELEC", False),
        ("INSERT INTO a VALUES ('SELECT')", False),
        ("", False),
    ],
)
def test_only_what_begins_as_a_query_reads(statement, reads):
    assert is_reading(statement) is reads
