"""Tests begin from what a function committed, each with a clone of its own."""

import asyncio
import unittest
from collections import Counter
from dataclasses import dataclass

import pytest
from shop import orders
from shop.db import SessionLocal, engine
from shop.models import Customer, Order
from sqlalchemy import func, inspect, select, text

from pytest_alembic_snapshot import checkpoint_fixture

SERVER = engine.dialect.name == "postgresql"
runs = Counter()
ended = []


@checkpoint_fixture("module")
def catalogue():
    """Through the application."""
    runs["catalogue"] += 1
    orders.add_customer("the catalogue")
    return {"size": 1}


@checkpoint_fixture("module")
def customer(catalogue, db_session):
    """On the catalogue, with a session on the clone, which is left open after it has read."""
    runs["customer"] += 1
    assert orders.names() == ["the catalogue", "the house"]
    ada = Customer(name="Ada")
    db_session.add(ada)
    db_session.commit()
    return ada.id


@checkpoint_fixture("class")
def order(customer):
    """Of a class, on one of the module, with a session of its own."""
    runs["order"] += 1
    with SessionLocal.begin() as session:
        session.add(Order(customer_id=customer, item="tea"))
    return customer


@checkpoint_fixture("module", params=["tea", "milk"])
def item(request, catalogue):
    orders.order("the catalogue", request.param)
    return request.param


@checkpoint_fixture("module", name="renamed")
def with_another_name():
    orders.add_customer("renamed")


@checkpoint_fixture("module", layer="demo")
def on_a_layer():
    orders.add_customer("Bob")


@checkpoint_fixture("module", revision="0001")
def at_a_revision(db_engine):
    with db_engine.begin() as connection:
        connection.execute(text("INSERT INTO customers (name) VALUES ('before')"))


@checkpoint_fixture("module", empty=True)
def of_nothing():
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE mine (id INTEGER)"))


@checkpoint_fixture("module")
def that_goes_on(db_engine):
    orders.add_customer("Eve")
    with db_engine.connect() as connection:
        count = connection.scalar(text("SELECT count(*) FROM customers"))
    yield count
    ended.append("that_goes_on")


@checkpoint_fixture("module")
async def made_by_async_code(catalogue):
    await asyncio.sleep(0)
    await asyncio.to_thread(orders.add_customer, "async")
    return catalogue


@checkpoint_fixture("module")
async def that_goes_on_asynchronously():
    loop = asyncio.get_running_loop()
    orders.add_customer("async")
    yield "async"
    assert asyncio.get_running_loop() is loop


@checkpoint_fixture("module")
def without_a_change():
    return orders.names()


@checkpoint_fixture("module")
def that_uses_nothing():
    """It is what it stands on: here the snapshot."""
    return 3


@checkpoint_fixture("module")
def that_only_takes_a_session(db_session):
    pass


@checkpoint_fixture("module")
def on_another_and_uses_nothing(customer):
    return customer


@checkpoint_fixture("module", params=[0, 1])
def of_some_rounds(request, db_session):
    for number in range(request.param):
        db_session.add(Customer(name=f"number {number}"))
    db_session.commit()
    return request.param


@checkpoint_fixture("module", empty=True)
def of_nothing_and_uses_nothing():
    pass


@checkpoint_fixture("module")
def on_one_that_uses_nothing(that_uses_nothing):
    orders.add_customer(f"on {that_uses_nothing}")


@checkpoint_fixture("module")
async def that_uses_nothing_asynchronously():
    yield 3


@dataclass
class Page:
    title: str


@pytest.fixture(scope="module")
def page():
    return Page("a page")


@checkpoint_fixture("module")
def of_plain_fixtures(page, tmp_path_factory):
    orders.add_customer(page.title)
    return tmp_path_factory.getbasetemp()


@pytest.mark.parametrize("time", [1, 2])
def test_what_a_test_writes_is_not_in_the_next(catalogue, time):
    assert catalogue == {"size": 1}
    assert orders.names() == ["the catalogue", "the house"]
    orders.add_customer("Bob")
    assert orders.count() == 3


@pytest.mark.parametrize("time", [1, 2])
def test_a_difference_is_from_the_checkpoint(customer, time, db_session, db_clone):
    assert db_session.get(Customer, customer).name == "Ada"
    tea = Order(customer_id=customer, item="tea")
    db_session.add(tea)
    db_session.commit()
    row = "id=1, customer_id=3, item='tea'"
    assert str(db_clone.diff()) == f"orders: 1 added\n  + {row}"


@pytest.mark.parametrize("time", [1, 2])
def test_a_schema_that_changed(customer, time, db_clone, db_engine):
    with db_engine.begin() as connection:
        connection.execute(text("CREATE TABLE other (id INTEGER)"))
    assert any("not in the checkpoint customer (" in line for line in db_clone.diff().schema)


def test_both_at_once_is_the_newer(customer, catalogue):
    assert orders.names() == ["Ada", "the catalogue", "the house"]


@pytest.mark.parametrize("time", [1, 2])
def test_on_none(db_session, time):
    assert orders.names() == ["the house"]
    orders.add_customer("Ada")


@pytest.mark.usefixtures("customer")
class TestByName:
    def test_one(self):
        assert orders.count() == 3

    @pytest.mark.db_clone(durable=True)
    def test_durable(self):
        assert orders.count() == 3

    @pytest.mark.db_clone(readonly=True)
    def test_that_only_reads(self):
        assert orders.count() == 3
        with pytest.raises(Exception, match=r"read-?only"):
            orders.add_customer("Bob")


class TestOfAClass:
    @pytest.mark.parametrize("time", [1, 2])
    def test_it(self, order, time, db_session):
        assert db_session.scalars(select(Order.item)).all() == ["tea"]
        db_session.add(Order(customer_id=order, item="milk"))
        db_session.commit()


class TestOfAnotherClass:
    def test_it(self, order, db_session):
        assert db_session.scalars(select(Order.item)).all() == ["tea"]


class TestWithAMethod:
    @checkpoint_fixture("class")
    @classmethod
    def bob(cls, catalogue):
        orders.add_customer("Bob")
        return cls.__name__

    def test_it(self, bob):
        assert bob == "TestWithAMethod"
        assert orders.names() == ["Bob", "the catalogue", "the house"]


@pytest.mark.usefixtures("customer")
class TestOfUnittest(unittest.TestCase):
    def setUp(self):
        orders.add_customer("Bob")

    def test_one(self):
        assert orders.count() == 4

    def test_two(self):
        assert orders.count() == 4


@pytest.fixture
def bob(customer):
    orders.add_customer("Bob")


@pytest.mark.parametrize("time", [1, 2])
def test_through_a_fixture(bob, time):
    assert orders.names() == ["Ada", "Bob", "the catalogue", "the house"]


@pytest.mark.parametrize("time", [1, 2])
def test_parameters(item, time, db_session):
    assert db_session.scalars(select(Order.item)).all() == [item]
    db_session.add(Order(customer_id=1, item="bread"))
    db_session.commit()


def test_another_name(renamed):
    assert orders.names() == ["renamed", "the house"]


def test_on_a_layer(on_a_layer):
    assert orders.names() == ["Bob", "a demo customer", "the house"]


def test_at_a_revision(at_a_revision, db_clone):
    assert inspect(engine).get_table_names() == ["alembic_version", "customers"]
    db_clone.upgrade()
    assert orders.names() == ["before", "the house"]


@pytest.mark.parametrize("time", [1, 2])
def test_of_nothing(of_nothing, time):
    assert inspect(engine).get_table_names() == ["mine"]
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE mine"))


def test_that_goes_on(that_goes_on):
    assert that_goes_on == 2
    assert orders.names() == ["Eve", "the house"]
    assert not ended


def test_async_code(made_by_async_code):
    assert made_by_async_code == {"size": 1}
    assert orders.names() == ["async", "the catalogue", "the house"]


def test_async_code_that_goes_on(that_goes_on_asynchronously):
    assert orders.names() == [that_goes_on_asynchronously, "the house"]


def test_without_a_change(without_a_change):
    assert orders.names() == without_a_change


def test_that_uses_nothing_and_neither_does_the_test(that_uses_nothing):
    assert that_uses_nothing == 3


@pytest.mark.parametrize("time", [1, 2])
def test_that_uses_nothing(that_uses_nothing, time, db_clone):
    assert orders.names() == ["the house"]
    orders.add_customer("Bob")
    assert "Bob" in str(db_clone.diff())
    db_clone.restore("that_uses_nothing")
    assert orders.names() == ["the house"]


@pytest.mark.parametrize("time", [1, 2])
def test_that_only_takes_a_session(that_only_takes_a_session, time):
    assert orders.names() == ["the house"]
    orders.add_customer("Bob")


@pytest.mark.parametrize("time", [1, 2])
def test_on_another_and_uses_nothing(on_another_and_uses_nothing, time, db_clone):
    assert orders.names() == ["Ada", "the catalogue", "the house"]
    orders.add_customer("Bob")
    for name in ("on_another_and_uses_nothing", "customer"):
        db_clone.restore(name)
        assert orders.names() == ["Ada", "the catalogue", "the house"]
    db_clone.restore("catalogue")
    assert orders.names() == ["the catalogue", "the house"]


@pytest.mark.parametrize("time", [1, 2])
def test_of_some_rounds(of_some_rounds, time):
    assert orders.count() == 1 + of_some_rounds
    orders.add_customer("Bob")


@pytest.mark.parametrize("time", [1, 2])
def test_of_nothing_and_uses_nothing(of_nothing_and_uses_nothing, time):
    assert inspect(engine).get_table_names() == []
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE mine (id INTEGER)"))


def test_on_one_that_uses_nothing(on_one_that_uses_nothing, db_clone):
    assert orders.names() == ["on 3", "the house"]
    db_clone.restore("that_uses_nothing")
    assert orders.names() == ["the house"]


def test_that_uses_nothing_asynchronously(that_uses_nothing_asynchronously):
    assert that_uses_nothing_asynchronously == 3
    assert orders.names() == ["the house"]


def test_of_plain_fixtures(of_plain_fixtures, page):
    assert of_plain_fixtures.is_dir()
    assert orders.names() == ["a page", "the house"]


@pytest.mark.parametrize("time", [1, 2])
def test_sequences_go_on_from_the_checkpoint(customer, time, db_session):
    bob = Customer(name="Bob")
    db_session.add(bob)
    db_session.commit()
    assert bob.id == customer + 1


def test_restored_within_the_test(customer, db_clone):
    orders.add_customer("Bob")
    db_clone.restore("customer")
    assert orders.names() == ["Ada", "the catalogue", "the house"]
    db_clone.restore("catalogue")
    assert orders.names() == ["the catalogue", "the house"]
    db_clone.restore()
    assert orders.count() == 3


def test_how_often_each_ran():
    assert not runs["order"] or runs["customer"]
    assert all(count == 1 for name, count in runs.items() if name != "order")


def test_another_engine_on_the_same_clone(customer, db_clone):
    with db_clone.engine().connect() as connection:
        assert connection.scalar(select(func.count()).select_from(Customer)) == 3
