"""Engines that a factory makes, with any pool, are pointed at the clone of each test in turn."""

import threading

import pytest
from shop.db import REAL, engine
from sqlalchemy import create_engine, text
from sqlalchemy.pool import AssertionPool, NullPool, QueuePool, SingletonThreadPool, StaticPool

POOLS = (AssertionPool, NullPool, QueuePool, SingletonThreadPool, StaticPool)
ENGINES = {
    kind: create_engine(engine.url, poolclass=kind, connect_args={"check_same_thread": True})
    for kind in POOLS
}


def names(kind):
    with ENGINES[kind].connect() as connection:
        return connection.scalars(text("SELECT name FROM customers ORDER BY name")).all()


def add(kind):
    with ENGINES[kind].begin() as connection:
        connection.execute(text("INSERT INTO customers (name) VALUES ('Ada')"))


@pytest.mark.parametrize("time", [1, 2, 3])
@pytest.mark.parametrize("kind", POOLS)
def test_a_pool_starts_with_the_snapshots_rows(db_clone, kind, time):
    assert names(kind) == ["the house"]
    thread = threading.Thread(target=add, args=(kind,))
    thread.start()
    thread.join()
    assert names(kind) == ["Ada", "the house"]
    assert not REAL.exists()


@pytest.mark.parametrize("kind", POOLS)
def test_all_pools_see_one_database(db_clone, kind):
    add(kind)

    assert all(names(other) == ["Ada", "the house"] for other in POOLS)


def test_the_compiled_statements_stay_from_test_to_test(db_clone):
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    seen.append((id(engine.dialect), id(engine.pool.__class__)))


test_they_are_still_there = test_the_compiled_statements_stay_from_test_to_test
seen = []


def test_a_transaction_that_stays_open_is_rolled_back_with_its_session(db_session):
    db_session.execute(text("INSERT INTO customers (name) VALUES ('Ada')"))
