"""Work that was rolled back by who did not ask for it, in all the ways to lose and to let go."""

from __future__ import annotations

import contextlib

import pytest

from alembic_snapshot.database.recording import COMMIT, EXECUTE, FAILED, ROLLBACK, Recording, Step
from alembic_snapshot.engines.lost import LostWork

ONE, OTHER = ("a.py", 1, "one"), ("a.py", 2, "other")


def wrote(recording, statement, writer=ONE, *, on=1, kind=EXECUTE, autocommit=False):
    recording.add(
        Step(on, kind, statement, is_autocommit=autocommit, writer=writer),
    )


WRITING = [
    "INSERT INTO a VALUES (1)",
    "  insert into a values (1)",
    "UPDATE a SET b = 1",
    "DELETE FROM a",
    "REPLACE INTO a VALUES (1)",
    "MERGE INTO a USING b",
    "WITH x AS (SELECT 1)\nINSERT INTO a SELECT * FROM x",
    "WITH x AS (DELETE FROM a RETURNING *) SELECT * FROM x",
    "-- c\nINSERT INTO a VALUES (1)",
    "/* SELECT */ -- c\r\n\t/* /* c */ */ insert into a values (1)",
    "/* a /* b */ UPDATE a SET b = 1",
    "/* c */ WITH x AS (SELECT 1) INSERT INTO a SELECT * FROM x",
    "TRUNCATE a",
    "CREATE TABLE b (c int)",
    "DO $$ BEGIN INSERT INTO a VALUES (1); END $$",
    "CALL fill()",
    "COPY a FROM STDIN",
    "SELECT 1 AS c INTO b",
]
OTHERS = [
    "WITH x AS (SELECT 'DELETE') SELECT * FROM x",
    "-- INSERT INTO a VALUES (1)\nSELECT 1",
    "/* INSERT */ (SELECT 1)",
    "SELECT '--', '/*', \"--\", 'INTO' FROM a -- INTO b",
    "/* c */ CREATE TEMP TABLE b (c int)",
    "COPY a TO STDOUT",
    "DOCUMENT",
    "/* INSERT INTO a VALUES (1)",
    "SELECT 'INSERT'",
    "WITH x AS (SELECT 1) SELECT * FROM x",
    "SAVEPOINT a",
    "INSERTED",
]


@pytest.mark.parametrize("statement", WRITING + OTHERS)
def test_what_was_written_and_rolled_back_is_lost(statement):
    recording = Recording()
    with LostWork(recording) as lost:
        wrote(recording, statement)
        recording.end(1, ROLLBACK)

    assert list(lost.writers) == ([ONE] if statement in WRITING else [])


def test_each_line_is_lost_once_and_only_of_the_transaction_that_ended():
    recording = Recording()
    wrote(recording, WRITING[0], ("a.py", 9, "before"))
    recording.end(1, ROLLBACK)
    with LostWork(recording) as lost:
        wrote(recording, WRITING[0], ("a.py", 8, "committed"))
        recording.end(1, COMMIT)
        wrote(recording, WRITING[0])
        wrote(recording, WRITING[0], OTHER)
        wrote(recording, WRITING[0])
        wrote(recording, WRITING[0], ("a.py", 7, "elsewhere"), on=2)
        wrote(recording, WRITING[0], ("a.py", 6, "by itself"), autocommit=True)
        recording.end(1, ROLLBACK)
    wrote(recording, WRITING[0], ("a.py", 5, "after"), on=3)
    recording.end(3, ROLLBACK)

    assert list(lost.writers) == [ONE, OTHER]


def test_what_could_not_be_committed_is_not_lost():
    recording = Recording()
    with LostWork(recording) as lost:
        wrote(recording, WRITING[0])
        wrote(recording, WRITING[0], OTHER, kind=FAILED)
        recording.end(1, ROLLBACK)

    assert list(lost.writers) == []


def test_what_an_exception_ends_is_not_lost():
    recording = Recording()
    with LostWork(recording) as lost, contextlib.suppress(KeyError):
        try:
            raise KeyError
        finally:
            wrote(recording, WRITING[0])
            recording.end(1, ROLLBACK)

    assert list(lost.writers) == []
