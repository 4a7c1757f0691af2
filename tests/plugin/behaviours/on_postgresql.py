"""What a test does to its database on a server is real, and nobody else's."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from shop import orders
from shop.db import SessionLocal, engine
from shop.models import Base, Customer
from sqlalchemy import create_engine, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError


@pytest.mark.parametrize("time", [1, 2])
def test_a_commit_is_seen_by_other_connections_and_by_no_other_test(db_session, time):
    db_session.add(Customer(name="Ada"))
    assert orders.names() == ["the house"]

    db_session.commit()

    assert orders.names() == ["Ada", "the house"]


@pytest.mark.parametrize("time", [1, 2])
def test_sequences_start_anew(db_session, time):
    ada = Customer(name="Ada")
    db_session.add(ada)
    db_session.commit()

    assert ada.id == 2


def test_a_constraint_is_the_servers(db_session):
    orders.add_customer("Ada")

    with pytest.raises(IntegrityError):
        orders.add_customer("Ada")


def test_threads_and_connections_are_on_the_clone(db_clone):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(orders.add_customer, map(str, range(20))))

    assert orders.count() == 21


def test_the_engine_is_the_applications(db_engine):
    assert db_engine is engine


def test_a_child_process_finds_it_in_its_environment(db_clone):
    script = "from shop import orders; orders.add_customer('Ada')"

    subprocess.run([sys.executable, "-c", script], env=db_clone.environ, check=True)

    assert orders.names() == ["Ada", "the house"]


def test_a_forked_child_may_use_the_engine(db_clone):
    orders.add_customer("Ada")
    child = os.fork()
    if not child:
        orders.add_customer("Bob")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0

    assert orders.names() == ["Ada", "Bob", "the house"]


@pytest.mark.parametrize("time", [1, 2])
def test_the_schema_can_be_changed(db_session, time):
    db_session.execute(text("DROP TABLE orders"))
    db_session.execute(text("CREATE TYPE mood AS ENUM ('glad')"))
    db_session.commit()


def test_an_engine_of_ones_own(db_clone):
    with db_clone.engine().begin() as connection:
        connection.execute(text("INSERT INTO customers (name) VALUES ('Ada')"))

    assert orders.names() == ["Ada", "the house"]
    assert db_clone.diff().tables[0].counts == (1, 0, 0)


def test_another_engine_with_the_same_url_is_pointed_too(db_clone):
    other = create_engine(engine.url)
    with other.begin() as connection:
        connection.execute(text("INSERT INTO customers (name) VALUES ('Ada')"))
    other.dispose()

    assert orders.names() == ["Ada", "the house"]


@pytest.mark.parametrize("time", [1, 2])
@pytest.mark.db_clone(readonly=True)
def test_reading_is_all_that_can_be_done(db_session, time):
    assert orders.names() == ["the house"]
    with pytest.raises(DBAPIError, match="read-only"):
        orders.add_customer("Ada")


@pytest.mark.db_clone(empty=True)
def test_an_empty_database(db_engine):
    Base.metadata.create_all(db_engine)
    orders.add_customer("Ada")

    assert orders.names() == ["Ada"]


@pytest.mark.db_clone(layer="demo")
def test_a_layer(db_session):
    assert orders.names() == ["a demo customer", "the house"]


@pytest.mark.db_clone(revision="0001")
def test_a_data_migration_on_data(db_clone):
    orders.add_customer("Ada")

    db_clone.upgrade()

    orders.order("Ada", "a hat")


@pytest.mark.db_clone(durable=True)
def test_a_durable_clone(db_session):
    orders.add_customer("Ada")


def test_a_transaction_that_stays_open_ends_with_the_test(db_clone):
    global left
    left = SessionLocal()
    left.add(Customer(name="Ada"))
    left.flush()


def test_nobody_who_did_not_ask_connects():
    with pytest.raises(Exception, match=r"connects to shop\.db:engine"):
        orders.names()


def test_a_clone_is_no_file(db_clone):
    with pytest.raises(Exception, match="is no file"):
        print(db_clone.path)
    with SessionLocal() as session:
        name = session.scalar(select(text("current_database()")))
    assert name.startswith("alembic_clone_")
    assert name in repr(db_clone)
