"""With ``guard = "off"``, what was open before a test asks for a database is not what it gets."""

from __future__ import annotations

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
