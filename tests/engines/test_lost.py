"""Work that was rolled back by who did not ask for it, in all the ways to lose and to let go."""

from __future__ import annotations

import contextlib

import pytest
from greenlet import greenlet
from sqlalchemy import create_engine, inspect
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import StaticPool

from alembic_snapshot.database.recording import COMMIT, EXECUTE, FAILED, ROLLBACK, Recording, Step
from alembic_snapshot.engines.lost import LostWork

ONE, OTHER = ("a.py", 1, "one"), ("a.py", 2, "other")


class Base(DeclarativeBase):
    pass


class Note(Base):
    __tablename__ = "notes"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str | None]


@pytest.fixture
def engine():
    made = create_engine("sqlite://", poolclass=StaticPool)
    Base.metadata.create_all(made)
    with Session(made) as session:
        session.add(Note(id=1, text="x"))
        session.commit()
    yield made
    made.dispose()


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
]
OTHERS = ["SELECT 'INSERT'", "WITH x AS (SELECT 1) SELECT * FROM x", "SAVEPOINT a", "INSERTED"]


@pytest.mark.parametrize("statement", WRITING + OTHERS)
def test_what_was_written_and_rolled_back_is_lost(statement):
    recording = Recording()
    with LostWork(recording) as lost:
        wrote(recording, statement)
        recording.end(1, ROLLBACK)

    assert list(lost.writers) == ([ONE] if statement in WRITING else [])
    assert lost.objects() == []


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


def test_what_an_exception_ends_is_not_lost(engine):
    recording = Recording()
    with LostWork(recording) as lost, contextlib.suppress(KeyError):
        session = Session(engine)
        session.add(Note())
        try:
            raise KeyError
        finally:
            wrote(recording, WRITING[0])
            recording.end(1, ROLLBACK)
            session.close()

    assert (list(lost.writers), lost.objects()) == ([], [])


def closed(session):
    session.close()


def forgotten(session):
    with session:
        pass


LETTING_GO = {
    "close": (closed, True),
    "the end of a with": (forgotten, True),
    "rollback": (lambda session: session.rollback(), False),
    "rollback, awaited": (lambda session: greenlet(session.rollback).switch(), False),
    "expunge": (lambda session: [session.expunge(one) for one in list(session)], False),
    "expunge_all": (lambda session: session.expunge_all(), False),
}


@pytest.mark.parametrize(("let_go", "is_lost"), LETTING_GO.values(), ids=LETTING_GO)
@pytest.mark.parametrize("values", [{}, {"text": "y"}], ids=["unset", "set"])
@pytest.mark.parametrize("count", [1, 2])
def test_new_objects_are_lost_where_nobody_let_go_of_them(engine, let_go, is_lost, values, count):
    session = Session(engine)
    with LostWork(Recording()) as lost:
        session.add_all([Note(**values) for _ in range(count)])
        let_go(session)
    session.close()

    objects = "1 object" if count == 1 else "2 objects"
    told = [f"a session was closed with {objects} that it never sent"]
    assert lost.objects() == (told if is_lost else [])


@pytest.mark.parametrize(("let_go", "is_lost"), LETTING_GO.values(), ids=LETTING_GO)
@pytest.mark.parametrize("is_changed", [True, False])
def test_changes_are_lost_where_nobody_let_go_of_them(engine, let_go, is_lost, is_changed):
    session = Session(engine)
    note = session.get(Note, 1)
    if is_changed:
        note.text = "y"
    with LostWork(Recording()) as lost:
        let_go(session)
    session.close()

    told = ["a session was closed with 1 object that it never sent"]
    assert lost.objects() == (told if is_lost and is_changed else [])
    assert inspect(note).detached


def test_nothing_is_heard_before_and_after(engine):
    lost = LostWork(Recording())
    for heard in (False, True, False):
        session = Session(engine)
        with lost if heard else contextlib.nullcontext():
            session.add(Note())
            session.close()

    assert lost.objects() == ["a session was closed with 1 object that it never sent"]
