"""What failed is still there: the clone, the way to it, and what was in it."""

from __future__ import annotations

import shlex
import sqlite3

import pytest

FAILING = """
import pytest
from shop import orders
from shop.db import SessionLocal
from shop.models import Customer

@pytest.fixture
def broken(db_clone):
    orders.add_customer("in the setup")
    raise RuntimeError("setup")

@pytest.fixture
def breaks_later(db_clone):
    yield
    raise RuntimeError("teardown")

def test_setup(broken):
    pass

def test_call(db_session):
    for number in range(9):
        db_session.add(Customer(name=f"customer {number} " + "x" * 99))
    db_session.get(Customer, 1).name = "renamed"
    db_session.commit()
    db_session.add(Customer(name="never committed"))
    db_session.flush()
    assert 0

def test_teardown(breaks_later):
    orders.add_customer("before the teardown")

def test_passing(db_session):
    orders.add_customer("forgotten")

def test_never_opened(db_clone):
    assert 0

@pytest.mark.xfail
def test_expected_to_fail(db_session):
    orders.add_customer("forgotten")
    assert 0
"""


def names(path):
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return [row[0] for row in connection.execute("SELECT name FROM customers ORDER BY id")]
    finally:
        connection.close()


def test_a_failure_keeps_the_clone_and_its_report_leads_there(shop, mode):
    result = shop.run(mode=mode, test_it=FAILING)

    result.assert_outcomes(passed=2, failed=2, errors=2, xfailed=1)
    kept = {path.stem: path for path in shop.kept()}
    assert set(kept) == {f"test_it.py_test_{when}" for when in ("setup", "call", "teardown")}
    assert names(kept["test_it.py_test_setup"]) == ["the house", "in the setup"]
    assert names(kept["test_it.py_test_teardown"]) == ["the house", "before the teardown"]
    assert names(kept["test_it.py_test_call"])[:2] == ["renamed", f"customer 0 {'x' * 99}"]
    assert len(names(kept["test_it.py_test_call"])) == 10
    call = kept["test_it.py_test_call"]
    result.stdout.fnmatch_lines(
        [
            "*- database of the test -*",
            str(call),
            f"open it: sqlite3 {shlex.quote(str(call))}",
            "compared with the snapshot:",
            "customers: 9 added, 1 changed",
            f"  + id=2, name='customer 0 {'x' * 27}… ← test_it.py:* test_call",
            "  ~ id=1, name='the house' → 'renamed' ← test_it.py:* test_call",
            "  … 4 more",
        ]
    )
    result.stdout.fnmatch_lines(["the test did not open its database"])
    result.stdout.no_fnmatch_line("*never committed'*")
    result.stdout.fnmatch_lines([f"alembic-snapshot: * 3 kept in {call.parents[1]}"])


def test_ten_are_kept_of_all_workers_together_and_the_next_run_deletes_them(shop):
    failing = """
    import pytest
    from shop import orders

    @pytest.mark.parametrize("number", range(24))
    def test_failing(db_clone, number):
        orders.add_customer("Ada")
        assert number < 0
    """

    result = shop.run("--tb=no", mode="n2", test_it=failing)

    result.assert_outcomes(failed=24)
    first = shop.kept()
    assert len(first) == 10
    for path in first:
        assert [other.name for other in path.parent.iterdir()] == [path.name]
    again = shop.run("-q", "-k", "number", test_it="def test_number():\n    pass\n")
    again.assert_outcomes(passed=1)
    assert shop.kept() == first
    shop.run("--tb=no", "-k", "failing and 3", "-p", "no:randomly", test_it=failing)
    assert len(shop.kept()) == 3
    assert not set(first) & set(shop.kept())


@pytest.mark.parametrize(("whose", "count"), [("none", 0), ("all", 13)])
def test_whose_clones_are_kept_can_be_chosen(shop, whose, count):
    result = shop.run(
        "--snapshot-keep",
        whose,
        test_it="""
        import pytest
        from shop import orders

        @pytest.mark.parametrize("number", range(12))
        def test_passing(db_clone, number):
            orders.add_customer("Ada")

        def test_failing(db_clone):
            orders.add_customer("Ada")
            assert 0
        """,
    )

    result.assert_outcomes(passed=12, failed=1)
    result.stdout.fnmatch_lines(["compared with the snapshot:", "customers: 1 added"])
    assert len(shop.kept()) == count


def test_a_long_id_with_any_letters_makes_a_file_name(shop):
    shop.run(
        "--tb=no",
        test_it="""
        import pytest
        from shop import orders

        @pytest.mark.parametrize("text", ["ä/€ '%" * 60, "ä/€ '%" * 60 + "b", "../../up"])
        def test_failing(db_clone, text):
            orders.count()
            assert 0
        """,
    )

    kept = shop.kept()
    assert len({path.name for path in kept}) == 3
    assert all(len(path.name.encode()) < 110 for path in kept)


def test_a_database_that_is_still_locked_does_not_hang_the_report(shop):
    result = shop.run(
        test_it="""
        from shop.db import engine
        from sqlalchemy import text

        def test_failing(db_clone):
            connection = engine.connect()
            connection.exec_driver_sql("BEGIN EXCLUSIVE")
            assert 0
        """
    )

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["it can't be shown: database is locked"])
    assert names(shop.kept()[0]) == ["the house"]


INTERRUPTED = """
import pytest
from pytest_alembic_snapshot import clone_fixture
from shop import orders

shared = clone_fixture("module")

@pytest.fixture
def interrupted(db_clone):
    yield
    raise KeyboardInterrupt

def test_shared(shared):
    orders.add_customer("Ada")
    assert 0

def test_interrupted(interrupted):
    orders.add_customer("Ada")
    assert 0

def test_last():
    pass
"""


@pytest.mark.parametrize("mode", ["plain", "n2"])
@pytest.mark.parametrize("name", ["shared", "interrupted"])
def test_what_a_run_that_ends_early_reports_as_kept_is_there(shop, mode, name):
    result = shop.run(
        "-x", "-k", f"{name} or last", "-p", "no:randomly", mode=mode, test_it=INTERRUPTED
    )

    [kept] = shop.kept()
    result.stdout.fnmatch_lines([str(kept), f"alembic-snapshot: * 1 kept in {kept.parents[1]}"])
    assert names(kept) == ["the house", "Ada"]
    assert not list(shop.temporary.glob("**/databases/*"))
