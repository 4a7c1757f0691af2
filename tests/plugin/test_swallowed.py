"""A refusal that something catches and goes on from fails the test all the same."""

from __future__ import annotations

import re

import pytest

from alembic_snapshot.plugin.summary import Tally

APPLICATION = """
import asyncio
import contextlib
import threading
from contextlib import suppress
from concurrent.futures import ThreadPoolExecutor
from sqlalchemy import create_engine, text
from sqlalchemy.orm import sessionmaker
from shop.db import REAL, engine

def connect():
    engine.connect().close()

def other():
    create_engine(f"sqlite:///{REAL.parent / 'named.db'}").connect().close()

def attach():
    with engine.connect() as connection:
        connection.execute(text("ATTACH 'other.db' AS other"))

def in_a_suppress(work):
    with suppress(Exception):
        work()

def in_an_except(work):
    try:
        work()
    except Exception as error:
        return str(error)

def in_a_bare_except(work):
    try:
        work()
    except:
        pass

def from_another(work):
    try:
        try:
            work()
        except Exception as error:
            raise RuntimeError("not now") from error
    except RuntimeError:
        pass

def in_a_pool(work):
    with ThreadPoolExecutor(1) as pool:
        pool.submit(work)

def in_a_gather(work):
    async def one():
        work()
    async def run():
        return await asyncio.gather(one(), return_exceptions=True)
    asyncio.run(run())

def in_a_web_application(work):
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    application = FastAPI()

    @application.get("/")
    def view():
        work()

    with TestClient(application, raise_server_exceptions=False) as client:
        assert client.get("/").status_code == 500

def in_a_return(work):
    for _ in range(2):
        try:
            return work()
        except Exception:
            continue

CATCHING = [in_a_suppress, in_an_except, in_a_bare_except, from_another, in_a_pool, in_a_gather,
            in_a_web_application, in_a_return]
"""
CAUGHT = """
import pytest
from shop import swallow
from alembic_snapshot import DatabaseNotRequested, EngineError
import unittest

@pytest.mark.parametrize("catch", swallow.CATCHING)
@pytest.mark.parametrize("work", [swallow.connect, swallow.other])
def test_not_asking(catch, work):
    catch(work)

@pytest.mark.parametrize("catch", swallow.CATCHING)
@pytest.mark.parametrize("work", [swallow.other, swallow.attach])
def test_asking(db_session, catch, work):
    db_session.connection()
    catch(work)
"""
TOLD = """
import unittest
import pytest
from shop import swallow
from alembic_snapshot import DatabaseNotRequested

def test_it_itself_expects_it():
    with pytest.raises(DatabaseNotRequested):
        swallow.connect()
    pytest.raises(DatabaseNotRequested, swallow.connect)

def test_it_itself_catches_it():
    try:
        swallow.connect()
    except DatabaseNotRequested:
        pass

class TestCase(unittest.TestCase):
    def test_it_expects_it(self):
        with self.assertRaises(DatabaseNotRequested):
            swallow.connect()
        self.assertRaises(DatabaseNotRequested, swallow.connect)

def test_it_is_skipped():
    swallow.in_a_suppress(swallow.connect)
    pytest.skip("no database")

def test_it_comes_after_that():
    pass

@pytest.fixture
def helped():
    with pytest.raises(DatabaseNotRequested):
        swallow.connect()

def test_its_fixture_expects_it(helped):
    pass
"""
AROUND = """
import pytest
from shop import swallow

@pytest.fixture
def before():
    swallow.in_a_suppress(swallow.connect)

@pytest.fixture
def after():
    yield
    swallow.in_a_suppress(swallow.connect)

def test_before(before):
    pass

def test_after(after):
    pass

def test_neither():
    pass
"""


@pytest.fixture
def swallowing(shop):
    shop.replace("alembic.ini", "sqlite:///real.db", "sqlite:///named.db")
    shop.write("shop/swallow.py", APPLICATION)
    return shop


@pytest.mark.parametrize("mode", ["plain", "n2"])
def test_a_test_fails_whoever_caught_it(swallowing, mode):
    result = swallowing.run(mode=mode, test_it=CAUGHT)

    result.assert_outcomes(failed=32)
    result.stdout.fnmatch_lines_random(
        ["*test_not_asking* passed, although something caught this: shop/swallow.py line *"]
    )
    result.stdout.no_fnmatch_line("*INTERNALERROR*")


def test_what_the_test_itself_expects_is_told(swallowing):
    result = swallowing.run(test_it=TOLD)

    result.assert_outcomes(passed=5, skipped=1)


def test_fixtures_are_heard_too(swallowing):
    result = swallowing.run("-p", "no:randomly", test_it=AROUND)

    result.assert_outcomes(passed=2, failed=1, errors=1)
    result.stdout.fnmatch_lines_random(["ERROR *::test_after*", "FAILED *::test_before*"])


@pytest.mark.parametrize("mode", ["plain", "n2"])
def test_what_is_caught_before_the_tests_is_said_at_the_end(swallowing, mode):
    swallowing.write(
        "conftest.py", "from shop import swallow; swallow.in_a_suppress(swallow.connect)"
    )

    result = swallowing.run(mode=mode, test_it="def test_it(): pass")

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["alembic-snapshot: warning: something caught this outside of a test: shop/swallow.py *"]
    )


@pytest.mark.parametrize("more", [[], ["-p", "no:warnings"], ["-W", "ignore"]])
def test_what_the_guard_lets_through_is_counted(swallowing, more):
    swallowing.configure('guard = "off"')

    result = swallowing.run(
        "-W", "default", *more,
        test_it="from shop import swallow\ndef test_it(): swallow.connect(); swallow.other()",
    )  # fmt: skip

    result.assert_outcomes(passed=1, warnings=None)
    result.stdout.fnmatch_lines(
        [
            "alembic-snapshot: warning: 2 connections went past the clones in 1 test, with "
            'guard = "off"'
        ]
    )


POLLING = """
import threading
import pytest
from shop import swallow

asked, answered = threading.Event(), threading.Event()

def poll():
    while asked.wait():
        asked.clear()
        swallow.in_a_suppress(swallow.connect)
        answered.set()

threading.Thread(target=poll, daemon=True).start()

@pytest.mark.parametrize("number", range(5))
def test_it(number):
    asked.set()
    assert answered.wait(60)
    answered.clear()
"""


def test_a_thread_that_no_test_started_fails_none_and_is_said_at_the_end(swallowing):
    result = swallowing.run(test_it=POLLING)

    result.assert_outcomes(passed=5)
    lines = [line for line in result.outlines if "caught this outside of a test" in line]
    assert 1 <= len(lines) <= 3


def test_what_is_not_shown_of_it_is_counted():
    def record(number, more):
        return Tally(refused=[f"line {number}"], refused_more=more).to_record()

    lines = Tally.of([record(1, 2), record(2, 3)]).lines()

    assert lines[-1] == "alembic-snapshot: warning: something caught 5 more of these"
    assert not any("more" in line for line in Tally.of([record(1, 0)]).lines())


# How a refusal ends in what is no failure.
HIDDEN = """
import unittest
import pytest
from sqlalchemy import text
from alembic_snapshot import DatabaseNotRequested
from shop import swallow

@pytest.fixture
def connected():
    swallow.connect()

@pytest.fixture
def skipping():
    try:
        swallow.connect()
    except Exception:
        pytest.skip("no database")

@pytest.fixture
def leaving():
    yield
    swallow.connect()

@pytest.mark.xfail
def test_xfail_of_a_fixture(connected): pass

@pytest.mark.xfail(reason="flaky")
def test_xfail(): swallow.connect()

@pytest.mark.xfail(raises=Exception)
def test_xfail_of_any_error(): swallow.connect()

@pytest.mark.xfail
def test_xfail_of_what_came_of_it():
    assert swallow.in_an_except(swallow.connect) is None

@pytest.mark.xfail
def test_xfail_of_what_was_swallowed(): swallow.in_a_suppress(swallow.connect)

@pytest.mark.xfail
def test_xfail_of_an_end(leaving): pass

def test_xfail_within():
    try:
        swallow.connect()
    except Exception:
        pytest.xfail("no database")

def test_skip_of_a_fixture(skipping): pass

def test_skip():
    try:
        swallow.connect()
    except Exception as error:
        pytest.skip(str(error))

def test_skip_of_what_names_it():
    try:
        swallow.connect()
    except DatabaseNotRequested:
        pytest.skip("no database")

def test_skip_later():
    if swallow.in_an_except(swallow.connect):
        pytest.skip("no database")

def test_skip_from_another():
    try:
        try:
            swallow.connect()
        except Exception as error:
            raise RuntimeError("not now") from error
    except RuntimeError:
        raise unittest.SkipTest("no database") from None

def test_skip_of_what_it_asked_for(db_session):
    try:
        db_session.execute(text("ATTACH 'other.db' AS other"))
    except Exception:
        pytest.skip("no database")

class TestCase(unittest.TestCase):
    @unittest.expectedFailure
    def test_expected(self): swallow.connect()

    def test_skipped(self):
        if swallow.in_an_except(swallow.connect):
            self.skipTest("no database")
"""
SHOWN = """
import unittest
import pytest
from alembic_snapshot import DatabaseNotRequested, EngineError
from shop import swallow

@pytest.mark.xfail(raises=DatabaseNotRequested)
def test_xfail(): swallow.connect()

@pytest.mark.xfail(raises=(ValueError, DatabaseNotRequested))
def test_xfail_of_several(): swallow.connect()

@pytest.mark.xfail
def test_xfail_of_something_else(): assert False

def test_skip(): pytest.skip("not today")

def test_skip_after_an_expected_one():
    with pytest.raises(DatabaseNotRequested):
        swallow.connect()
    pytest.skip("not today")

class TestCase(unittest.TestCase):
    @unittest.expectedFailure
    def test_expected(self):
        with self.assertRaises(DatabaseNotRequested):
            swallow.connect()
        assert False
"""


@pytest.mark.parametrize("mode", ["plain", "n2"])
def test_what_a_skip_or_an_xfail_hides_is_said_at_the_end(swallowing, mode):
    result = swallowing.run(mode=mode, test_it=HIDDEN)

    outcomes = result.parseoutcomes()
    assert "failed" not in outcomes
    assert "errors" not in outcomes
    lines = [line for line in result.outlines if line.startswith("alembic-snapshot: warning: ")]
    told = [line for line in lines if " was skipped, or failed as expected, and " in line]
    assert len(told) == 3
    assert all("refused: DatabaseNotRequested: shop/swallow.py" in line for line in told)
    assert not any("passed, although" in line for line in lines)
    names = re.findall(
        r"test_it\.py::(?:TestCase::)?(test_\w+)(?=,| was skipped|$)", "\n".join(lines)
    )
    assert sorted(names) == sorted(re.findall(r"def (test_\w+)", HIDDEN))


def test_what_is_expected_by_its_class_or_has_no_refusal_is_not_said(swallowing):
    result = swallowing.run(test_it=SHOWN)

    assert "failed" not in result.parseoutcomes()
    result.stdout.no_fnmatch_line("*failed as expected, and*")


def test_a_snapshot_that_can_not_be_built_is_said_behind_an_xfail(shop, own_store):
    version = next(shop.root.glob("**/versions/*.py"))
    version.write_text(version.read_text() + "\nraise RuntimeError('it broke')\n")

    result = shop.run(test_it="import pytest\n@pytest.mark.xfail\ndef test_it(db_session): pass\n")

    result.assert_outcomes(xfailed=1)
    result.stdout.fnmatch_lines(
        ["alembic-snapshot: warning: *test_it was skipped, or failed as expected, and this was "
         "refused: *it broke*"]
    )  # fmt: skip
