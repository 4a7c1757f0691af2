"""``db_clone.checkpoint()`` and ``restore()`` within a test."""

import pytest
from shop import orders
from shop.db import SessionLocal, engine
from shop.models import Customer, Order
from sqlalchemy import inspect, select, text

from alembic_snapshot import CloneError
from pytest_alembic_snapshot import clone_fixture

shared = clone_fixture("class")


def test_there_and_back(db_clone):
    orders.add_customer("Ada")
    db_clone.checkpoint("before")
    orders.add_customer("Bob")
    assert orders.count() == 3

    db_clone.restore("before")
    assert orders.names() == ["Ada", "the house"]
    orders.add_customer("Eve")
    db_clone.restore("before")
    assert orders.names() == ["Ada", "the house"]


def test_several(db_clone):
    db_clone.checkpoint("nobody")
    orders.add_customer("Ada")
    db_clone.checkpoint("ada")
    orders.add_customer("Bob")
    db_clone.restore("nobody")
    assert orders.names() == ["the house"]
    db_clone.restore("ada")
    assert orders.names() == ["Ada", "the house"]


def test_without_names(db_clone):
    orders.add_customer("Ada")
    db_clone.restore()
    assert orders.names() == ["the house"]
    orders.add_customer("Bob")
    db_clone.checkpoint()
    orders.add_customer("Ada")
    db_clone.restore()
    assert orders.names() == ["Bob", "the house"]


def test_a_name_that_is_given_again(db_clone):
    db_clone.checkpoint("it")
    orders.add_customer("Ada")
    db_clone.checkpoint("it")
    orders.add_customer("Bob")
    db_clone.restore("it")
    assert orders.names() == ["Ada", "the house"]


def test_what_it_was_before_anybody_used_it(db_clone):
    db_clone.checkpoint("start")
    orders.add_customer("Ada")
    db_clone.restore("start")
    assert orders.names() == ["the house"]


def test_the_schema_and_the_sequences_too(db_clone, db_session):
    db_clone.checkpoint("start")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE mine (id INTEGER)"))
        connection.execute(text("INSERT INTO customers (name) VALUES ('Ada')"))
    db_clone.restore("start")
    assert "mine" not in inspect(engine).get_table_names()
    bob = Customer(name="Bob")
    db_session.add(bob)
    db_session.commit()
    assert bob.id == 2


def test_sessions_read_again(db_clone, db_session):
    house = db_session.scalars(select(Customer)).one()
    db_session.commit()
    db_clone.checkpoint("start")
    house.name = "another house"
    db_session.commit()
    assert house.name == "another house"
    db_session.commit()
    db_clone.restore("start")
    assert house.name == "the house"


def test_a_connection_of_its_own_engine(db_clone):
    own = db_clone.engine()
    db_clone.checkpoint("start")
    with own.begin() as connection:
        connection.execute(text("INSERT INTO customers (name) VALUES ('Ada')"))
    db_clone.restore("start")
    with own.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM customers")) == 1
    with own.connect(), pytest.raises(CloneError, match=r"of its engine\(\) is in use"):
        db_clone.restore("start")


@pytest.mark.db_clone(empty=True)
def test_of_an_empty_one(db_clone):
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE mine (id INTEGER)"))
    db_clone.checkpoint("mine")
    db_clone.restore()
    assert inspect(engine).get_table_names() == ["mine"]
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE mine"))
    db_clone.restore("mine")
    assert inspect(engine).get_table_names() == ["mine"]


@pytest.mark.db_clone(empty=True)
def test_back_to_nothing(db_clone):
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE mine (id INTEGER)"))
    db_clone.restore()
    assert inspect(engine).get_table_names() == []


class TestShared:
    def test_one(self, shared, db_clone):
        db_clone.checkpoint("start")
        orders.add_customer("Ada")
        db_clone.restore("start")
        orders.add_customer("Bob")
        assert orders.names() == ["Bob", "the house"]


class TestMisuse:
    def test_an_unknown_name(self, db_clone):
        with pytest.raises(CloneError, match="there is no checkpoint 'befor' in this test"):
            db_clone.restore("befor")
        db_clone.checkpoint("before")
        with pytest.raises(CloneError, match="there is 'before'"):
            db_clone.restore("befor")

    @pytest.mark.parametrize("name", ["", None, 1, ["before"]])
    def test_no_name(self, db_clone, name):
        with pytest.raises(CloneError, match="is no name of a checkpoint"):
            db_clone.checkpoint(name)

    @pytest.mark.db_clone(readonly=True)
    def test_read_only(self, db_clone):
        with pytest.raises(CloneError, match="which is read-only"):
            db_clone.checkpoint("before")
        with pytest.raises(CloneError, match="which is read-only"):
            db_clone.restore()

    def test_not_flushed(self, db_clone, db_session):
        db_session.scalars(select(Customer)).all()
        db_session.commit()
        db_session.add(Customer(name="Ada"))
        with pytest.raises(CloneError, match="a session has 1 object added"):
            db_clone.checkpoint("before")
        db_session.rollback()
        db_clone.checkpoint("before")

    def test_not_committed(self, db_clone, db_session):
        db_clone.checkpoint("before")
        db_session.add(Customer(name="Ada"))
        db_session.flush()
        for use in (db_clone.checkpoint, db_clone.restore):
            with pytest.raises(CloneError, match=r"a connection that .* line \d+ took is in use"):
                use("before")
        db_session.commit()
        db_clone.restore("before")
        assert orders.names() == ["the house"]

    def test_a_connection_in_use(self, db_clone):
        with engine.connect(), pytest.raises(CloneError, match="is in use"):
            db_clone.checkpoint("before")
        db_clone.checkpoint("before")

    def test_a_clone_of_nobodys_test(self, db_snapshot, tmp_path):
        name = str(tmp_path / "own.db") if engine.dialect.name == "sqlite" else "own_clone"
        own = db_snapshot.clone(name)
        with pytest.raises(CloneError, match="it is not the clone of a test"):
            own.checkpoint("before")
        own.delete()


kept = []


@pytest.mark.parametrize("time", [1, 2])
def test_when_the_test_is_over(db_clone, time):
    db_clone.checkpoint("before")
    for earlier in kept:
        with pytest.raises(CloneError, match="its test is over"):
            earlier.restore("before")
    kept.append(db_clone)


def test_orders_of_a_customer(db_clone):
    db_clone.checkpoint("start")
    for item in ("tea", "milk"):
        db_clone.restore("start")
        orders.order("the house", item)
        with SessionLocal() as session:
            assert session.scalars(select(Order.item)).all() == [item]
