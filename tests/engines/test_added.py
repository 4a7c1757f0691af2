"""Which line added an object that something else flushed, by its table and its key."""

from __future__ import annotations

import uuid

import pytest
from sqlalchemy import ForeignKey, MetaData, create_engine, event
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import StaticPool

from alembic_snapshot.database.unsent import Unsent
from alembic_snapshot.engines.added import Added, Flush

LINE = ("a.py", 1, "adds")


class Base(DeclarativeBase):
    metadata = MetaData()


class Animal(Base):
    __tablename__ = "Animals"
    id: Mapped[int] = mapped_column("Number", primary_key=True)
    kind: Mapped[str]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}  # noqa: RUF012


class Cat(Animal):
    __tablename__ = "cats"
    id: Mapped[int] = mapped_column("animal", ForeignKey("Animals.Number"), primary_key=True)
    __mapper_args__ = {"polymorphic_identity": "cat"}  # noqa: RUF012


class Pair(Base):
    __tablename__ = "pairs"
    a: Mapped[int] = mapped_column(primary_key=True)
    b: Mapped[uuid.UUID] = mapped_column(primary_key=True)


class Lines:
    """Callsites of which the line is the one that was set."""

    line = LINE

    def writer(self):
        return self.line


@pytest.fixture
def hearing():
    """What hears of sessions, and the lines that it asks for."""
    lines, heard = Lines(), []
    added = Added()

    def hear(*listener):
        heard.append(listener)
        event.listen(*listener)

    added.listen(hear)
    Unsent(lines.writer, pytest.fail, added.on_sent).listen(hear)
    yield added, lines
    for listener in heard:
        event.remove(*listener)


@pytest.fixture
def session():
    engine = create_engine("sqlite://", poolclass=StaticPool)
    Base.metadata.create_all(engine)
    with Session(engine) as made:
        yield made
    engine.dispose()


def flushed(added, session, objects):
    """The flush of these objects, as a statement of it sees that."""
    info, seen = {}, []
    connection = session.connection()
    added.begin(session, type("Connection", (), {"info": info}))
    assert added.flush(info) is None
    session.add_all(objects)

    def look(*_):
        seen.append(added.flush(info))

    event.listen(connection.engine, "before_cursor_execute", look)
    session.flush()
    event.remove(connection.engine, "before_cursor_execute", look)
    assert added.flush(info) is None
    assert added.flush({}) is None
    assert len(set(map(id, seen))) == 1
    return seen[0]


def test_a_row_has_the_line_in_each_of_its_tables(hearing, session):
    flush = flushed(hearing[0], session, [Cat(id=3)])

    assert flush.line("animals", {"NUMBER": 3}) == LINE
    assert flush.line("cats", {"animal": "3"}) == LINE
    assert flush.line("cats", {"animal": 4}) is None
    assert flush.line("animals", {"animal": 3}) is None
    assert flush.line("Animals", {"number": 3}) is None


def test_a_key_of_two_columns_is_spelled_as_databases_do(hearing, session):
    key = uuid.uuid4()
    flush = flushed(hearing[0], session, [Pair(a=1, b=key)])

    for spelled in (key, str(key), key.hex):
        assert flush.line("pairs", {"b": spelled, "a": 1}) == LINE
    assert flush.line("pairs", {"a": 1}) is None
    assert flush.line("pairs", {"a": key, "b": 1}) is None


def test_each_object_has_the_line_that_added_it(hearing, session):
    added, lines = hearing
    first, second, third = Animal(id=1), Animal(id=2), Animal(id=3)
    session.add(first)
    lines.line = None
    session.add(second)
    lines.line = ("a.py", 2, "other")

    flush = flushed(added, session, [third])

    told = [flush.line("animals", {"number": number}) for number in (1, 2, 3)]
    assert told == [LINE, None, ("a.py", 2, "other")]


def test_a_line_is_that_of_one_flush(hearing, session):
    flushed(hearing[0], session, [Animal(id=1)])
    flush = flushed(hearing[0], session, [Animal(id=2)])

    assert [flush.line("animals", {"number": number}) for number in (1, 2)] == [None, LINE]


def test_a_session_that_is_gone_flushes_nothing(hearing, session):
    added, _ = hearing
    info = {}
    added.begin(Session(), type("Connection", (), {"info": info}))
    added._flushes[session] = Flush()

    assert added.flush(info) is None
