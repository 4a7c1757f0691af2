"""What is open on a clone, connection by connection: said, closed, kept for the next test."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import threading
import types
from pathlib import Path

import aiosqlite
import pytest
from sqlalchemy import StaticPool, create_engine, text
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.orm import Session

from alembic_snapshot.database.identity import Place
from alembic_snapshot.database.recording import EXECUTE, Step
from alembic_snapshot.engines.events import EngineEvents
from alembic_snapshot.engines.held import Held
from alembic_snapshot.engines.loops import Loop
from alembic_snapshot.engines.redirect import EngineRedirect, TrackedConnection
from alembic_snapshot.engines.uncommitted import is_in_transaction
from alembic_snapshot.errors import DatabaseNotRequested, EngineError
from alembic_snapshot.project.callsite import Callsites
from alembic_snapshot.project.config import Project
from alembic_snapshot.sqlite.attaching import Asking


class Record:
    """A connection's place in a pool, with a connection of its own."""

    def __init__(self, *, in_use=False):
        self.info, self.in_use = {}, in_use
        self.dbapi_connection = sqlite3.connect(":memory:", isolation_level=None)
        self.is_closed = False

    def invalidate(self):
        self.is_closed = True
        self.dbapi_connection.close()


class Connections:
    """What is known of connections that stay: each is in the state that it says."""

    keeps_async, if_unknown = True, "a function can't be asked"

    def __init__(self):
        self.states = {}

    def state_of(self, connection, _listener):
        return self.states.get(connection, "new")

    def is_as_it_was(self, connection, state):
        return self.states.get(connection, "new") == state


class Clone:
    """A clone in whose stead nothing is opened."""

    was_told, place, label = False, Path("/clones/clone.db"), "clone.db"

    def __init__(self):
        self.connections, self.elsewhere, self.hurried = Connections(), None, []

    def rewrite_connect_args(self, _dialect, cargs, cparams):
        cargs[:] = ["clone.db"]
        cparams["uri"] = True

    def other_database(self, _connection):
        return self.elsewhere

    def disable_fsync(self, connection):
        self.hurried.append(connection)


@pytest.fixture
def redirect(tmp_path):
    loop, redirects = Loop(), []
    held = Held(redirects, Callsites(tmp_path), lambda *_: None)
    made = EngineRedirect(Project(root=tmp_path), loop, {}, types.SimpleNamespace(), held)
    redirects.append(made)
    yield made
    loop.close()


@pytest.fixture
def url():
    return "sqlite://"


@pytest.fixture
def dialect(url):
    return create_engine(url).dialect


@pytest.fixture
def opened(redirect, dialect, tmp_path):
    """Opens a connection of the redirect's, as a line of the project."""
    records = []

    def open_one(line=3, *, in_use=False, is_taken=True):
        record = Record(in_use=in_use)
        records.append(record)
        redirect.rewrite_connect_args(redirect.clone, dialect, record, ["real.db"], {})
        tracked = record.info[TrackedConnection]
        if is_taken:
            redirect.take(record.dbapi_connection, tracked, record.info)
            tracked.site = (str(tmp_path / "a.py"), line) if line else None
        return record

    yield open_one
    for record in records:
        if record.dbapi_connection is not None:
            record.dbapi_connection.close()


def test_a_clone_begins_with_nothing_of_the_one_before(redirect, opened):
    first, second = Clone(), Clone()
    redirect.point(first, durable=True)
    record = opened()
    recording = redirect.recording
    redirect.strays[Place("sqlite", "x")] = None
    redirect.was_told, redirect.unknown = True, "x"
    assert (redirect.clone, redirect.durable, redirect.is_in_use) == (first, True, True)

    redirect.point(second)

    assert (redirect.clone, redirect.durable, redirect.is_in_use) == (second, False, False)
    assert (redirect.was_used, redirect.was_told, redirect.unknown) == (False, False, None)
    assert (redirect.strays, redirect.recording is recording) == ({}, False)
    assert record.is_closed
    second.was_told = True
    assert redirect.is_in_use
    redirect.release()
    assert not redirect.is_in_use


def test_what_is_released_is_closed_and_named(redirect, opened, tmp_path):
    redirect.point(Clone())
    idle, used, unknown = opened(), opened(4, in_use=True), opened(None, in_use=True)

    held = redirect.release()

    assert held == [(str(tmp_path / "a.py"), 4), None]
    assert [one.is_closed for one in (idle, used, unknown)] == [True] * 3
    assert [TrackedConnection in one.info for one in (idle, used, unknown)] == [False] * 3
    assert (redirect.clone, redirect.release()) == (None, [])


def test_arguments_that_are_the_engines_own_are_put_back(redirect, dialect):
    cargs, cparams = ["real.db"], {"timeout": 1}
    other = dict(cparams)
    redirect.rewrite_connect_args(redirect.clone, dialect, None, cargs, cparams)
    assert (cargs, cparams) == (["real.db"], {"timeout": 1})
    redirect.point(Clone())

    redirect.rewrite_connect_args(redirect.clone, dialect, None, cargs, cparams)
    assert (cargs, cparams) == (["clone.db"], {"timeout": 1, "uri": True, "factory": Asking})
    assert redirect.has_altered(cparams)
    assert not redirect.has_altered({**cparams})
    redirect.rewrite_connect_args(redirect.clone, dialect, None, cargs, cparams)
    redirect.release()

    assert (cargs, cparams) == (["real.db"], other)
    assert not redirect.has_altered(cparams)


class EndsTheTest:
    """What errors are noted with, where the main thread takes the clone back meanwhile."""

    def __init__(self, redirect):
        self.redirect = redirect

    @contextlib.contextmanager
    def noting(self):
        self.redirect.release()
        yield


def test_a_thread_that_connects_while_its_test_ends_is_not_let_through(redirect, tmp_path):
    events = EngineEvents(tmp_path, lambda: tmp_path, 0.0)
    events.redirects.append(redirect)
    events.notices = EndsTheTest(redirect)
    clone, record, cargs = Clone(), types.SimpleNamespace(info={}, in_use=True), ["real.db"]
    redirect.point(clone)

    events._on_do_connect(redirect.engines.sync().dialect, record, cargs, {})

    assert cargs == ["clone.db"]
    assert redirect.clone is None
    assert record.info[TrackedConnection].clone is clone


@pytest.mark.parametrize("has_connection", [True, False])
def test_one_whose_test_ends_before_it_has_its_connection_is_told_so(
    redirect, tmp_path, opened, has_connection
):
    events = EngineEvents(tmp_path, lambda: tmp_path, 0.0)
    events.redirects.append(redirect)
    redirect.point(Clone())
    record = opened(is_taken=False)
    connection = record.dbapi_connection
    if not has_connection:
        record.dbapi_connection.close()
        record.dbapi_connection = None

    redirect.release()
    assert TrackedConnection in record.info
    with pytest.raises(DatabaseNotRequested):
        events._on_connect(connection, record)

    redirect.point(Clone())
    with pytest.raises(DisconnectionError):
        events._on_connect(connection, record)


def test_of_one_that_was_taken_its_record_keeps_nothing(redirect, opened):
    redirect.point(Clone())
    record = opened()

    redirect.release()

    assert TrackedConnection not in record.info


def test_a_factory_of_the_applications_stays(redirect, dialect):
    class Mine(sqlite3.Connection):
        pass

    redirect.point(Clone())
    cparams = {"factory": Mine}
    redirect.rewrite_connect_args(redirect.clone, dialect, None, [], cparams)

    assert cparams["factory"] is Mine


def test_what_is_not_committed_is_said_with_its_line(redirect, opened):
    redirect.point(Clone())
    assert (redirect.uncommitted(), redirect.busy()) == ([], [])
    opened(3)
    opened(4, in_use=True)
    begun, unknown = opened(5, in_use=True), opened(None, in_use=True)
    for record in (begun, unknown):
        record.dbapi_connection.execute("BEGIN")
    idle = opened(6)
    idle.dbapi_connection.execute("BEGIN")

    open_ = "a transaction is open, on a connection that {} took"
    places = ["a.py line 5", "code outside the project"]
    assert redirect.transactions() == [open_.format(place) for place in places]
    assert redirect.uncommitted() == [
        f"not committed: {open_.format(place)}; what it wrote is not below" for place in places
    ]
    assert redirect.busy() == [
        f"a connection that {place} took is in use" for place in ("a.py line 4", *places)
    ]
    assert redirect.unflushed() == []


def test_only_idle_connections_are_closed_in_between(redirect, opened):
    redirect.point(Clone())
    idle, used = opened(), opened(in_use=True)

    redirect.let_go()
    assert not idle.is_closed
    redirect.close_idle()

    assert (idle.is_closed, used.is_closed) == (True, False)


def test_a_connection_that_went_elsewhere_is_refused(redirect, opened):
    clone = Clone()
    record = opened(is_taken=False)
    clone.elsewhere = "other.db"
    redirect.greet(record.dbapi_connection, record.info[TrackedConnection])
    redirect.point(clone)
    record = opened(is_taken=False)

    with pytest.raises(EngineError) as caught:
        redirect.greet(record.dbapi_connection, record.info[TrackedConnection])

    assert (caught.value.message, caught.value.hint) == (
        "a connection of the engine went to other.db and not to the test's clone",
        "does the application have a do_connect listener that connects by itself? It should use "
        "the arguments that it is given",
    )
    assert clone.hurried == []


@pytest.mark.parametrize("is_durable", [True, False])
def test_only_a_durable_clone_waits_for_the_disk(redirect, opened, is_durable):
    clone = Clone()
    redirect.point(clone, durable=is_durable)
    record = opened(is_taken=False)

    redirect.greet(record.dbapi_connection, record.info[TrackedConnection])

    assert clone.hurried == ([] if is_durable else [record.dbapi_connection])


def test_a_connection_that_is_taken_has_lost_what_it_had_not_committed(redirect, opened):
    redirect.point(Clone())
    record = opened(is_taken=False)
    assert not redirect.was_used
    redirect.recording.add(Step(id(record.info), EXECUTE, "INSERT INTO a VALUES (1)"))
    redirect.recording.add(Step(1, EXECUTE, "INSERT INTO a VALUES (2)"))

    redirect.take(record.dbapi_connection, record.info[TrackedConnection], record.info)

    assert redirect.was_used
    assert record.info[TrackedConnection].was_taken
    assert [step.kind for step in redirect.recording.steps] == [EXECUTE, EXECUTE, "rollback"]
    assert redirect.recording.steps[-1].connection == id(record.info)


def test_its_state_is_that_in_which_it_was_first_taken(redirect, opened):
    clone = Clone()
    redirect.point(clone)
    record = opened()
    clone.connections.states[record.dbapi_connection] = "later"
    redirect.take(record.dbapi_connection, record.info[TrackedConnection], record.info)
    assert (record.info[TrackedConnection].state, redirect.unknown) == ("new", None)

    other = opened(is_taken=False)
    clone.connections.states[other.dbapi_connection] = None
    redirect.take(other.dbapi_connection, other.info[TrackedConnection], other.info)

    assert redirect.unknown == "a function can't be asked"


@pytest.mark.parametrize("url", ["sqlite://", "sqlite+aiosqlite://"])
def test_what_rests_is_idle_and_as_it_was(redirect, opened, url):
    clone, following = Clone(), Clone()
    redirect.point(clone)
    clean, changed, unknown = opened(), opened(), opened(is_taken=False)
    clone.connections.states[changed.dbapi_connection] = "changed"

    assert redirect.rest() == []

    assert redirect.clone is None
    assert [one.is_closed for one in (clean, changed, unknown)] == [False, True, True]
    redirect.resume(following)
    assert redirect.clone is following
    assert clean.info[TrackedConnection].clone is following
    assert not clean.is_closed
    assert not redirect.was_used


def test_where_one_is_in_use_nothing_rests(redirect, opened, tmp_path):
    redirect.point(Clone())
    clean, used = opened(), opened(9, in_use=True)

    assert redirect.rest() == [(str(tmp_path / "a.py"), 9)]

    assert clean.is_closed
    assert used.is_closed


def test_one_that_is_on_no_clone_does_not_stay_open_for_the_next(redirect, opened):
    elsewhere = opened(is_taken=False)

    redirect.resume(Clone())

    assert elsewhere.is_closed


def test_a_forked_child_closes_nothing_of_its_parents(redirect, opened):
    redirect.point(Clone())
    record = opened(in_use=True)

    redirect.abandon()

    assert redirect.release() == []
    assert not record.is_closed


# What its parent does with the clone of a test in which a child was forked.
GOES_ON = {
    "a release": lambda redirect: redirect.release(),
    "a rest": lambda redirect: redirect.rest(),
    "another clone": lambda redirect: redirect.point(Clone()),
    "another clone on the same file": lambda redirect: redirect.resume(Clone()),
}


@pytest.mark.parametrize("begins", ["with a clone", "without a clone"])
@pytest.mark.parametrize("goes_on", GOES_ON)
def test_a_forked_child_is_left_behind_when_its_parent_goes_on(redirect, begins, goes_on):
    if begins == "with a clone":
        redirect.point(Clone())
    clone = redirect.clone
    (questions, asking), (answers, answering) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        before = redirect.is_left_behind
        os.write(answering, b"!")
        os.read(questions, 1)
        is_right = (before, redirect.is_left_behind, redirect.clone) == (False, True, clone)
        redirect.point(Clone())
        os._exit(0 if is_right and not redirect.is_left_behind else 1)

    os.read(answers, 1)
    GOES_ON[goes_on](redirect)
    os.write(asking, b"!")

    assert os.waitpid(child, 0)[1] == 0
    assert not redirect.is_left_behind
    for end in (questions, asking, answers, answering):
        os.close(end)


def test_sessions_are_closed_with_their_clone(redirect):
    engine = create_engine("sqlite://")
    redirect.point(Clone())
    session = Session(engine)
    session.begin()
    redirect.sessions.add(session)
    opened_before = session.in_transaction()

    redirect.rest()

    assert (opened_before, session.in_transaction()) == (True, False)
    assert session not in redirect.sessions


def test_a_place_is_that_of_the_clone_in_use(redirect):
    place, label = Place("sqlite", "/clones/clone.db"), Place("postgresql", "clone.db")
    assert not redirect.is_at(place)
    assert not redirect.keeps_connections
    clone = Clone()
    redirect.point(clone)

    assert (redirect.is_at(place), redirect.is_at(label)) == (True, False)
    assert redirect.keeps_connections
    clone.connections.keeps_async = False
    assert not redirect.keeps_connections
    clone.place = None
    assert (redirect.is_at(place), redirect.is_at(label)) == (False, True)
    clone.connections = None
    assert not redirect.keeps_connections


class Untouched(Asking):
    """A connection that must not be asked for its transaction."""

    @property
    def in_transaction(self):
        raise AssertionError("SQLite waits for its statement, and Python for SQLite")


class Holding:
    """SQL's function ``hold()``, whose statement goes on until it may end."""

    def __init__(self):
        self.begun, self.go = threading.Event(), threading.Event()

    def __call__(self):
        self.begun.set()
        return int(self.go.wait(60))


@pytest.mark.parametrize("way", ["an engine", "a driver"])
def test_a_connection_that_another_thread_is_at_work_with_is_not_asked_and_counts(way):
    hold = Holding()
    connection = sqlite3.connect(":memory:", factory=Untouched, check_same_thread=False)
    connection.create_function("hold", 0, hold)
    engine = create_engine("sqlite://", creator=lambda: connection, poolclass=StaticPool)

    def work():
        if way == "an engine":
            with engine.connect() as connected:
                connected.execute(text("SELECT hold()"))
        else:
            connection.cursor().execute("SELECT hold()")

    thread = threading.Thread(target=work)
    thread.start()
    assert hold.begun.wait(60)

    assert is_in_transaction(connection, thread.ident)

    hold.go.set()
    thread.join()
    engine.dispose()
    connection.close()


def test_nor_is_one_whose_own_thread_is_at_work():
    hold = Holding()

    async def leave():
        async with aiosqlite.connect(":memory:", factory=Untouched) as connection:
            await connection.create_function("hold", 0, hold)
            work = asyncio.ensure_future(connection.execute("SELECT hold()"))
            await asyncio.to_thread(hold.begun.wait, 60)

            assert is_in_transaction(connection, threading.get_ident())

            hold.go.set()
            await work

    asyncio.run(leave())
