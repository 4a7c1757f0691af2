"""A forked process that outlives its test is refused what that test had."""

import asyncio
import contextlib
import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor

import pytest
from shop import orders
from shop.db import REAL, SessionLocal, engine
from shop.models import Customer
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from alembic_snapshot.errors import DatabaseNotRequested
from pytest_alembic_snapshot import checkpoint_fixture, clone_fixture

FORK = multiprocessing.get_context("fork")
COUNT = text("SELECT count(*) FROM customers")
INSERT = text("INSERT INTO customers (name) VALUES ('Eve')")
ASYNC = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}[engine.dialect.name]
# What a child has, from one question to the next.
HELD = contextlib.ExitStack()
OWN = []
LEFT = {}


class Child:
    """A process that is forked now, and does what it is asked for until it is ended."""

    def __init__(self, process=FORK.Process):
        self._end, end = FORK.Pipe()
        self._process = process(target=_serve, args=(end,), daemon=True)
        self._process.start()

    def ask(self, act, *arguments):
        self._end.send((act, arguments))
        is_right, answer = self._end.recv()
        if not is_right:
            raise answer
        return answer

    def close(self):
        self._end.send(None)
        self._process.join()


class Pool:
    """A pool of multiprocessing's, with the same questions."""

    def __init__(self):
        self._pool = FORK.Pool(1)

    def ask(self, act, *arguments):
        return self._pool.apply(act, arguments)

    def close(self):
        self._pool.terminate()
        self._pool.join()


class Executor:
    """A pool of concurrent.futures, with the same questions."""

    def __init__(self):
        self._pool = ProcessPoolExecutor(1, mp_context=FORK)

    def ask(self, act, *arguments):
        return self._pool.submit(act, *arguments).result(20)

    def close(self):
        self._pool.shutdown()


class Grandchild(Child):
    """A process whose parent, which is forked now, does nothing but wait for it."""

    def __init__(self):
        super().__init__(_Forking)


class _Forking(FORK.Process):
    def run(self):
        child = os.fork()
        if not child:
            super().run()
            os._exit(0)
        os.waitpid(child, 0)


def _serve(end):
    while (asked := end.recv()) is not None:
        act, arguments = asked
        try:
            answer = True, act(*arguments)
        except Exception as error:
            answer = False, error
        end.send(answer)


def nothing():
    return 0


def with_a_null_pool():
    with create_engine(engine.url, poolclass=NullPool).connect() as connection:
        return connection.scalar(COUNT)


def in_an_event_loop():
    async def count():
        async with create_async_engine(engine.url.set(drivername=ASYNC)).connect() as connection:
            return await connection.scalar(COUNT)

    return asyncio.run(count())


def in_a_thread():
    found = []

    def work():
        try:
            found.append(orders.count())
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if isinstance(found[0], Exception):
        raise found[0]
    return found[0]


def raw():
    connection = engine.raw_connection()
    try:
        return connection.cursor().execute(str(COUNT)).fetchone()[0]
    finally:
        connection.close()


def on_an_engine_of_its_own(url):
    OWN.append(create_engine(url))
    return again_on_its_own()


def again_on_its_own():
    with OWN[-1].connect() as connection:
        return connection.scalar(COUNT)


def hold():
    OWN.append(HELD.enter_context(engine.connect()))
    return OWN[-1].scalar(COUNT)


def hold_written():
    hold()
    OWN[-1].execute(INSERT)


def read_on():
    return OWN[-1].scalar(COUNT)


def write_on():
    OWN[-1].execute(INSERT)


def commit():
    OWN[-1].commit()


def leave():
    # A server has ended the connection by now.
    with contextlib.suppress(DBAPIError):
        HELD.close()


def add():
    with SessionLocal() as session:
        session.add(Customer(name="Eve"))
        session.commit()


OF_ITS_OWN = on_an_engine_of_its_own
# By what a child is, and what it does in the first test and in the next.
WAYS = {
    "a process that connected": (Child, orders.count, orders.count),
    "a process that had not connected": (Child, nothing, orders.count),
    "a process that writes": (Child, add, add),
    "an executor": (Executor, add, add),
    "an executor that reads": (Executor, orders.count, orders.count),
    "a pool": (Pool, orders.count, add),
    "a grandchild": (Grandchild, orders.count, orders.count),
    "without a pool of connections": (Child, with_a_null_pool, with_a_null_pool),
    "in an event loop": (Child, in_an_event_loop, in_an_event_loop),
    "in a thread": (Child, in_a_thread, in_a_thread),
    "a raw connection": (Child, raw, raw),
    "a held connection that reads": (Child, hold, read_on),
    "a held connection that writes": (Child, hold, write_on),
    "a held connection that commits": (Child, hold_written, commit),
    "an engine of its own": (Child, on_an_engine_of_its_own, again_on_its_own),
    "a new engine of its own": (Child, nothing, on_an_engine_of_its_own),
}


@pytest.fixture(autouse=True)
def real_database():
    yield
    assert not REAL.exists()


@pytest.mark.parametrize("way", WAYS)
class TestOutlives:
    def test_it_may_use_the_clone_of_its_test(self, db_clone, way):
        kind, first, second = WAYS[way]
        # So that there is something in the pool that is not the child's.
        assert orders.count() == 1
        url = [db_clone.url] if OF_ITS_OWN in (first, second) else []
        LEFT[way] = kind(), url, db_clone.place

        answer = LEFT[way][0].ask(first, *arguments(way, first))

        assert answer in (None, 0, 1)
        if first is add:
            assert orders.count() == 2

    def test_it_is_refused_in_the_next(self, db_clone, way):
        _, _, second = WAYS[way]
        child, _, place = LEFT[way]
        orders.add_customer("Ada")

        with pytest.raises(DatabaseNotRequested, match="clone was taken back") as caught:
            child.ask(second, *arguments(way, second))

        assert "test_it_may_use_the_clone_of_its_test[" in caught.value.message
        assert "in a fixture that takes db_clone" in caught.value.hint
        # It is refused before it makes an empty file of that name.
        assert place is None or not place.exists()
        child.ask(leave)
        child.close()
        assert orders.names() == ["Ada", "the house"]


def arguments(way, act):
    return LEFT[way][1] if act is OF_ITS_OWN else []


def test_one_that_is_forked_where_there_is_no_clone():
    LEFT["child"] = Child()
    with pytest.raises(DatabaseNotRequested, match="did not ask for a database"):
        LEFT["child"].ask(orders.count)


def test_one_that_was_is_told_so(db_session):
    with pytest.raises(DatabaseNotRequested, match="when there was no clone"):
        LEFT["child"].ask(orders.count)
    LEFT.pop("child").close()


@checkpoint_fixture("module")
def begun():
    orders.add_customer("Ada")
    LEFT["child"] = Child()
    assert LEFT["child"].ask(orders.count) == 2


def test_one_that_a_checkpoint_forked_is_refused(begun, db_clone):
    assert orders.count() == 2

    with pytest.raises(DatabaseNotRequested, match="clone was taken back"):
        LEFT["child"].ask(orders.count)
    LEFT.pop("child").close()


shared = clone_fixture("class")


class TestShared:
    @pytest.mark.parametrize("time", [1, 2])
    def test_one_may_live_as_long_as_the_clone_of_several_tests(self, shared, time):
        if time == 1:
            LEFT["child"] = Child()

        LEFT["child"].ask(orders.add_customer, f"customer {time}")

        assert orders.count() == 1 + time

    def test_and_no_longer(self, shared):
        LEFT["shared"] = LEFT.pop("child")


def test_after_the_clone_of_several_tests_it_is_refused(db_clone):
    with pytest.raises(DatabaseNotRequested, match="clone was taken back"):
        LEFT["shared"].ask(orders.count)
    LEFT.pop("shared").close()
