"""A seed whose own sessions lose what they had, or wrote, is an error that names the line."""

from __future__ import annotations

import contextlib
import gc

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import StaticPool

from alembic_snapshot import MigrationError
from alembic_snapshot.builder.losses import LostWorkError, refusing_losses
from alembic_snapshot.project.callsite import Callsites

INSERT = text("insert into notes (text) values ('x')")
KEPT = []


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
    yield made
    KEPT.clear()
    made.dispose()


def never_sent(connection):
    with Session(connection) as session:
        session.add(Note())


def changed(connection):
    with Session(connection) as session:
        session.add(Note())
        session.flush()
        session.get(Note, 1).text = "y"


def left_open(connection):
    KEPT.append(Session(connection))
    KEPT[-1].add_all([Note(), Note()])


def forgotten(connection):
    Session(connection).add(Note())
    gc.collect()


def closed(session):
    session.add(Note())
    session.close()


def closed_after_a_flush(session):
    session.add(Note())
    session.flush()
    session.close()


def of_its_engine(connection):
    with connection.engine.connect() as another:
        another.execute(INSERT)


CLOSED = r"a session was closed with 1 object that it never sent \(test_losses\.py line"
BACK = r"what test_losses\.py line {} wrote was rolled back, because its session or connection was"
LOST = {
    never_sent: rf"{CLOSED} 42\): commit it, or roll it back",
    changed: f"a session was closed with 1 object that it never sent; {BACK.format(48)}",
    left_open: r"a session has 2 objects added \(test_losses\.py line 54\): commit it, or roll it",
    forgotten: r"a session was garbage collected with 1 object that it never sent \(test_losses",
    closed: rf"{CLOSED} 63\)",
    closed_after_a_flush: BACK.format(69),
    of_its_engine: BACK.format(75),
}


def sent(connection):
    with Session(connection) as session:
        session.add(Note())
        session.commit()


def given_up(connection):
    with Session(connection) as session:
        session.add(Note())
        session.rollback()
    with contextlib.suppress(KeyError), Session(connection) as session:
        session.add(Note())
        raise KeyError


def of_the_given(session):
    session.add(Note())
    session.execute(INSERT)
    session.rollback()
    session.add(Note())


def read(connection):
    with connection.engine.connect() as another:
        another.execute(text("select * from notes"))


def run(function, engine, sites):
    given = Session(engine) if "session" in function.__code__.co_varnames[:1] else engine.connect()
    with given, refusing_losses(engine, given, sites):
        function(given)


@pytest.mark.parametrize("function", LOST, ids=lambda function: function.__name__)
def test_what_a_seed_loses_is_refused(engine, request, function):
    with pytest.raises(LostWorkError, match=LOST[function]):
        run(function, engine, Callsites(request.path.parent))


@pytest.mark.parametrize("function", [sent, given_up, of_the_given, read])
def test_what_it_sends_or_gives_up_is_not(engine, request, function):
    run(function, engine, Callsites(request.path.parent))


def test_its_own_error_is_its_own_and_nothing_is_heard_afterwards(engine, request):
    def failing(connection):
        never_sent(connection)
        raise KeyError

    with pytest.raises(KeyError):
        run(failing, engine, Callsites(request.path.parent))
    with pytest.raises(LostWorkError, match="1 object"):
        run(never_sent, engine, Callsites(request.path.parent))


@pytest.mark.parametrize("given", ["connection", "session: Session"])
def test_a_build_names_the_seed_and_the_line(project, given):
    project.revision("0001", upgrade='op.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY)")')
    bind = given.partition(":")[0] + (".connection()" if ":" in given else "")
    project.write(
        "seed.py",
        f"""
        from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

        class Base(DeclarativeBase): ...

        class Note(Base):
            __tablename__ = "notes"
            id: Mapped[int] = mapped_column(primary_key=True)

        def fill({given}):
            with Session({bind}) as own:
                own.add(Note(id=1))
        """,
    )
    project.configure('seeds = ["seed:fill"]')

    with pytest.raises(MigrationError, match=r"seed seed:fill .* sent \(seed\.py line 11\)"):
        project.ensure()
