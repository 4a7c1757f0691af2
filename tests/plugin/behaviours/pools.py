"""Engines that a factory makes, with any pool, are pointed at the clone of each test in turn."""

import threading

import pytest
from shop.db import REAL, engine
from shop.models import Customer
from sqlalchemy import create_engine, select, text
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


warm = []


@pytest.mark.parametrize("time", [1, 2, 3])
def test_statements_are_compiled_once_for_all_tests(db_engine, time):
    with db_engine.connect() as connection:
        result = connection.execute(select(Customer.name).where(Customer.id == 1))
        assert result.scalar_one() == "the house"

    assert result.context.cache_hit.name == ("CACHE_HIT" if warm else "CACHE_MISS")
    warm.append(time)


def test_a_transaction_that_stays_open_is_rolled_back_with_its_session(db_session):
    db_session.execute(text("INSERT INTO customers (name) VALUES ('Ada')"))
