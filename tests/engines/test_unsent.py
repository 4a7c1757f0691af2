"""What sessions have that they never sent: while they are open, closed, or garbage collected."""

from __future__ import annotations

import contextlib
import gc

import pytest
from greenlet import greenlet
from sqlalchemy import create_engine, event, inspect
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import StaticPool

from alembic_snapshot.database.unsent import Unsent, lost_lines

LINE = ("a.py", 1, "adds")


class Base(DeclarativeBase):
    pass


class Note(Base):
    __tablename__ = "notes"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str | None]


class Hearing:
    """The listener, what it was told of, and the line that is running."""

    def __init__(self):
        self.line, self.lost, self.sent = LINE, [], []
        self.unsent = Unsent(
            lambda: self.line, self.lost.append, lambda *of: self.sent.append(of[2])
        )

    def told(self):
        return list(lost_lines(self.lost, spelled))

    def open(self, session):
        return list(self.unsent.lines(session, spelled))


def spelled(writer):
    return f"{writer[0]} line {writer[1]}"


@pytest.fixture
def hearing():
    made, heard = Hearing(), []

    def hear(*listener):
        heard.append(listener)
        event.listen(*listener)

    made.unsent.listen(hear)
    yield made
    for listener in heard:
        event.remove(*listener)


@pytest.fixture
def engine():
    made = create_engine("sqlite://", poolclass=StaticPool)
    Base.metadata.create_all(made)
    with Session(made) as session:
        session.add(Note(id=1, text="x"))
        session.commit()
    yield made
    made.dispose()


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
def test_new_objects_are_lost_where_nobody_let_go_of_them(
    engine, hearing, let_go, is_lost, values, count
):
    session = Session(engine)
    session.add_all([Note(**values) for _ in range(count)])
    let_go(session)
    session.close()

    objects = "1 object" if count == 1 else "2 objects"
    told = [f"a session was closed with {objects} that it never sent (a.py line 1)"]
    assert hearing.told() == (told if is_lost else [])
    assert all(one.engine is engine for one in hearing.lost)
    assert (hearing.unsent.sessions(), hearing.sent) == ([], [])


@pytest.mark.parametrize(("let_go", "is_lost"), LETTING_GO.values(), ids=LETTING_GO)
@pytest.mark.parametrize("is_changed", [True, False])
def test_changes_are_lost_where_nobody_let_go_of_them(engine, hearing, let_go, is_lost, is_changed):
    session = Session(engine)
    note = session.get(Note, 1)
    if is_changed:
        note.text = "y"
    let_go(session)
    session.close()

    told = ["a session was closed with 1 object that it never sent"]
    assert hearing.told() == (told if is_lost and is_changed else [])
    assert inspect(note).detached


def test_what_an_exception_ends_is_not_lost(engine, hearing):
    with contextlib.suppress(KeyError), Session(engine) as session:
        session.add(Note())
        raise KeyError

    assert hearing.told() == []


@pytest.mark.parametrize("values", [{}, {"text": "y"}], ids=["unset", "set"])
def test_what_a_session_had_that_is_collected_is_lost(engine, hearing, values):
    session = Session(engine)
    session.add(Note(**values))
    assert hearing.unsent.sessions() == [session]
    del session
    gc.collect()

    told = ["a session was garbage collected with 1 object that it never sent (a.py line 1)"]
    assert hearing.told() == told
    assert hearing.lost[0].engine is engine
    assert hearing.unsent.sessions() == []


def test_what_was_sent_is_not_lost(engine, hearing):
    session = Session(engine)
    session.add(Note())
    session.flush()
    session.close()
    session.add(Note())
    session.commit()
    del session
    gc.collect()

    assert (hearing.told(), hearing.sent) == ([], [LINE, LINE])


def test_an_open_session_says_what_it_has_and_who_added_it(engine, hearing):
    session = Session(engine)
    assert hearing.open(session) == []
    session.get(Note, 1).text = "y"
    assert hearing.open(session) == ["not flushed: a session has 1 object changed"]
    session.rollback()
    session.delete(session.get(Note, 1))
    for number in (2, 3, 3, 4, 5):
        hearing.line = ("a.py", number, "adds")
        session.add(Note())
        if number == 3:
            told = "(a.py line 2, a.py line 3)"
            assert told in hearing.open(session)[0]
    hearing.line = None
    session.add(Note())

    told = "6 objects added (a.py line 2, a.py line 3, a.py line 4, …), 1 object deleted"
    assert hearing.open(session) == [f"not flushed: a session has {told}"]
    assert hearing.unsent.sessions() == [session]
    session.rollback()
    assert hearing.open(session) == []


def test_a_session_of_no_engine_tells_none(hearing):
    session = Session()
    session.add(Note())
    session.close()

    assert [one.engine for one in hearing.lost] == [None]
