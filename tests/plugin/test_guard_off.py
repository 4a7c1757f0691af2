"""With ``guard = "off"``, what was open before a test asks for a database is not what it gets."""

from __future__ import annotations

import re

import pytest

BEFORE = {
    "in its pool": "with engine.connect() as own:\n        assert own.scalar(ONE) == 1",
    "still open": "HELD.append(engine.connect())\n    assert HELD[-1].scalar(ONE) == 1",
    "in a session": "HELD.append(SessionLocal())\n    assert HELD[-1].scalar(ONE) == 1",
}
TESTS = """
import pytest
from shop import orders
from shop.db import SessionLocal, engine
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

HELD, ONE = [], text("select 1")


def test_that_asks_for_nothing():
    {before}


def test_that_asks(db_session):
    while HELD:
        with pytest.raises(ProgrammingError, match="closed"):
            HELD.pop().execute(text("insert into customers (name) values ('Eve')"))
    orders.add_customer("Ada")
    assert orders.names() == ["Ada", "the house"]


def test_that_asks_for_nothing_again():
    {before}


def test_that_asks_again(db_session):
    assert orders.names() == ["the house"]
"""


@pytest.mark.parametrize("before", BEFORE)
def test_what_the_application_has_open_is_not_what_a_test_gets(shop, before):
    shop.configure('guard = "off"')

    result = shop.run(
        "-p", "no:randomly", "-W", "ignore", test_it=TESTS.format(before=BEFORE[before])
    )

    result.assert_outcomes(passed=4)


EACH = """
from concurrent.futures import ThreadPoolExecutor

import pytest
from shop import orders
from shop.db import SessionLocal, engine
from sqlalchemy import create_engine, text

ANOTHER = create_engine(engine.url)


def test_1(): orders.names()
def test_2(): orders.names()
def test_twice(): orders.names(), orders.names()
def test_asks(db_clone): orders.names()
def test_of_the_engine():
    with engine.connect() as connection:
        connection.execute(text("select 1"))
def test_of_another_engine():
    ANOTHER.connect().close()
def test_of_it_again():
    ANOTHER.connect().close()
def test_in_a_thread():
    with ThreadPoolExecutor() as pool:
        pool.submit(orders.names).result()
def test_nothing(): pass
@pytest.fixture
def used(): orders.names()
def test_in_a_fixture(used): pass
def test_asks_again(db_session): orders.names()
def test_last(): orders.names()
"""
# What an engine that asks for nothing, or that was used before pytest listened, has in its pool.
HAD = {
    "its own pool": "",
    "a pool of one": ", poolclass=sqlalchemy.StaticPool",
    "no pool": ", poolclass=sqlalchemy.NullPool",
    "a creator": ", creator=lambda: sqlite3.connect(REAL, check_same_thread=False)",
}


@pytest.mark.parametrize("has", HAD)
def test_each_test_is_warned_of_wherever_its_connection_comes_from(shop, has):
    shop.configure('guard = "off"')
    shop.replace(
        "shop/db.py",
        'f"sqlite:///{REAL}")',
        f'f"sqlite:///{{REAL}}"{HAD[has]})',
    )
    shop.replace("shop/db.py", "import os\n", "import os\nimport sqlite3\nimport sqlalchemy\n")
    asks = has != "a creator"
    text = EACH if asks else EACH.replace("(db_clone)", "()").replace("(db_session)", "()")
    shop.write(
        "conftest.py",
        """
        from shop.db import engine
        from shop.models import Base

        Base.metadata.create_all(engine)
        """,
    )

    result = shop.run("-p", "no:randomly", "-W", "default", test_it=text)

    result.assert_outcomes(passed=12, warnings=result.parseoutcomes()["warnings"])
    named = set(re.findall(r"but test_it\.py::(test_\w+) did not ask", str(result.stdout)))
    tests = set(re.findall(r"def (test_\w+)\(", EACH)) - {"test_nothing"}
    if asks:
        tests -= {"test_asks", "test_asks_again"}
    assert named == tests
    result.stdout.fnmatch_lines(
        [f"alembic-snapshot: warning: * connections went past the clones in {len(tests)} tests, *"]
    )
