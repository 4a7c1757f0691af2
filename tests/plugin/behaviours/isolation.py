"""What a test does to its database is real, and nobody else's."""

import asyncio
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from shop import orders
from shop.db import REAL, SessionLocal, engine
from shop.models import Customer, Order
from sqlalchemy import create_engine, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, scoped_session, sessionmaker

Scoped = scoped_session(SessionLocal)


@pytest.fixture(autouse=True)
def pristine(db_clone):
    assert orders.names() == ["the house"]
    yield
    assert not REAL.exists()


def in_threads(count, work):
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(work, range(count)))


@pytest.mark.parametrize("time", [1, 2])
def test_a_commit_is_seen_by_other_connections_and_by_no_other_test(db_session, time):
    db_session.add(Customer(name="Ada"))
    assert orders.names() == ["the house"]

    db_session.commit()

    assert orders.names() == ["Ada", "the house"]
    assert not db_session.in_transaction()


@pytest.mark.parametrize("time", [1, 2])
def test_sequences_start_anew(db_session, time):
    ada = Customer(name="Ada")
    db_session.add(ada)
    db_session.commit()

    assert ada.id == 2


def test_a_session_on_another_engine_is_as_it_was(db_session):
    other = create_engine("sqlite://")
    with Session(other) as session:
        session.execute(text("CREATE TABLE t AS SELECT 7 AS x"))
        session.commit()
        assert session.scalar(text("SELECT x FROM t")) == 7
    other.dispose()

    assert orders.names() == ["the house"]


def test_a_rollback_undoes_what_was_not_committed(db_session):
    db_session.add(Customer(name="Ada"))
    db_session.commit()
    db_session.add(Customer(name="Bob"))
    db_session.flush()

    db_session.rollback()

    assert orders.names() == ["Ada", "the house"]


def test_nested_transactions_are_savepoints(db_session):
    db_session.add(Customer(name="Ada"))
    savepoint = db_session.begin_nested()
    db_session.add(Customer(name="Bob"))
    db_session.flush()
    savepoint.rollback()
    db_session.commit()

    assert orders.names() == ["Ada", "the house"]


def test_a_session_goes_on_after_an_integrity_error(db_session):
    db_session.add(Customer(name="the house"))
    with pytest.raises(IntegrityError):
        db_session.commit()
    db_session.rollback()

    db_session.add(Customer(name="Ada"))
    db_session.commit()

    assert orders.names() == ["Ada", "the house"]


def test_the_applications_own_listeners_enforce_foreign_keys(db_session):
    db_session.add(Order(customer_id=99, item="a book"))

    with pytest.raises(IntegrityError):
        db_session.commit()


def test_several_connections_at_once_are_of_one_database():
    with engine.connect() as one, engine.connect() as two:
        one.execute(text("INSERT INTO customers (name) VALUES ('Ada')"))
        one.commit()

        assert two.scalar(text("SELECT count(*) FROM customers")) == 2


def test_threads_work_on_the_tests_database():
    in_threads(4, lambda number: orders.add_customer(f"customer {number}"))

    assert orders.count() == 5


def test_the_engine_of_the_fixture_is_the_applications(db_engine):
    assert db_engine is engine


def test_an_engine_with_the_same_url_is_pointed_too():
    other = create_engine(engine.url)
    orders.add_customer("Ada")

    with other.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM customers")) == 2


def test_an_engine_in_memory_that_is_not_the_applications_is_left_alone():
    other = create_engine("sqlite://")

    with other.connect() as connection:
        assert connection.scalars(text("SELECT name FROM sqlite_master")).all() == []
    other.dispose()


def test_an_engine_elsewhere_and_raw_drivers_are_left_alone(tmp_path):
    other = create_engine(f"sqlite:///{tmp_path / 'other.db'}")
    with other.begin() as connection:
        connection.execute(text("CREATE TABLE here (id INTEGER)"))
    other.dispose()

    raw = sqlite3.connect(tmp_path / "other.db")
    assert raw.execute("SELECT name FROM sqlite_master").fetchall() == [("here",)]
    raw.close()


def test_a_scoped_session_of_a_module_keeps_its_registry_and_loses_its_rows():
    assert Scoped.scalars(select(Customer.name)).all() == ["the house"]
    Scoped.add(Customer(name="Ada"))
    Scoped.commit()
    assert Scoped.get(Customer, 2).name == "Ada"


def test_a_scoped_session_of_a_module_starts_clean():
    assert not list(Scoped())
    assert Scoped.get(Customer, 2) is None
    Scoped.add(Customer(name="Ada"))
    Scoped.flush()


class Routing(Session):
    def get_bind(self, mapper=None, **options):
        return engine


SCOPED = {
    "bound": Scoped,
    "bound to a factory's engine": scoped_session(sessionmaker(create_engine(engine.url))),
    "bound to nothing, as Flask-SQLAlchemy's": scoped_session(sessionmaker(class_=Routing)),
}


@pytest.mark.parametrize("time", [1, 2])
@pytest.mark.parametrize("kind", SCOPED)
def test_what_a_scoped_session_never_flushed_is_forgotten(kind, time):
    assert not SCOPED[kind].new
    SCOPED[kind].add(Customer(name="nobody"))


elsewhere, added = Session(create_engine("sqlite://")), []


@pytest.mark.parametrize("time", [1, 2])
def test_a_session_on_another_database_is_left_alone(time):
    assert len(elsewhere.new) == len(added)
    added.append(Customer(name="somebody"))
    elsewhere.add(added[-1])


def test_a_child_process_works_on_the_tests_database(db_clone):
    code = (
        "import os, sys; sys.path.insert(0, os.getcwd());"
        "from shop import orders; orders.add_customer('Ada')"
    )
    subprocess.run([sys.executable, "-c", code], env=db_clone.environ, check=True)

    assert orders.names() == ["Ada", "the house"]


def test_a_test_may_change_the_schema(db_session):
    db_session.execute(text("ALTER TABLE customers ADD COLUMN age INTEGER"))
    db_session.execute(text("DROP TABLE orders"))
    db_session.commit()


def test_a_diff_shows_what_the_test_did(db_clone):
    orders.add_customer("Ada")

    assert str(db_clone.diff()) == "customers: 1 added\n  + id=2, name='Ada'"


def test_a_further_engine_is_closed_with_the_clone(db_clone):
    with db_clone.engine().connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM customers")) == 1


def test_the_snapshot_can_be_cloned_to_a_path(db_snapshot, tmp_path):
    clone = db_snapshot.clone(tmp_path / "mine.db")
    with clone.engine().begin() as connection:
        connection.execute(text("DELETE FROM customers"))
    clone.delete()

    assert orders.count() == 1
    assert list(db_snapshot.manifest.heads) == ["0002"]


async def test_an_async_test_may_use_the_synchronous_engine():
    await asyncio.gather(*(asyncio.to_thread(orders.add_customer, f"{n}") for n in range(3)))

    assert orders.count() == 4


test_an_async_test_may_use_the_synchronous_engine = pytest.mark.asyncio(
    test_an_async_test_may_use_the_synchronous_engine
)
