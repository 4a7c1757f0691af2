"""What the marker chooses, and clones that several tests share."""

from __future__ import annotations

MARKERS = """
import sqlite3

import pytest
from shop import orders
from shop.db import engine
from sqlalchemy import inspect, text
from sqlalchemy.exc import OperationalError


def tables():
    return inspect(engine).get_table_names()


@pytest.mark.db_clone(layer="demo")
def test_layer():
    assert orders.names() == ["a demo customer", "the house"]


@pytest.mark.db_clone(layer="demo")
class TestInALayer:
    def test_of_its_class(self, db_session):
        assert orders.names() == ["a demo customer", "the house"]

    @pytest.mark.db_clone(revision="0001")
    def test_nearer_marker_wins(self, db_session):
        assert tables() == ["alembic_version", "customers"]


@pytest.mark.db_clone(revision="0001")
def test_revision(db_session):
    assert tables() == ["alembic_version", "customers"]


@pytest.mark.db_clone(empty=True)
def test_empty(db_clone):
    assert tables() == []
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE mine (id INTEGER)"))
    assert str(db_clone.diff()) == "table mine: not in the snapshot"


@pytest.mark.db_clone(readonly=True)
def test_readonly(db_clone, db_snapshot, db_session):
    assert orders.names() == ["the house"]
    assert db_clone.path == db_snapshot.path
    with pytest.raises(OperationalError, match="readonly"):
        orders.add_customer("Ada")
    with db_clone.engine().connect() as connection:
        with pytest.raises(OperationalError, match="readonly"):
            connection.execute(text("DELETE FROM customers"))


def test_after_a_readonly_test(db_clone, db_snapshot):
    orders.add_customer("Ada")
    assert db_snapshot.path.exists()


@pytest.mark.db_clone(durable=True)
def test_durable():
    with engine.connect() as connection:
        assert connection.scalar(text("PRAGMA synchronous")) == 2


def test_not_durable(db_clone):
    with engine.connect() as connection:
        assert connection.scalar(text("PRAGMA synchronous")) == 0
    with db_clone.engine().connect() as connection:
        assert connection.scalar(text("PRAGMA synchronous")) == 0


@pytest.fixture(scope="class")
def shared():
    with pytest.raises(Exception, match="asks for begins later"):
        orders.names()


@pytest.fixture
def ada(shared):
    orders.add_customer("Ada")


@pytest.mark.db_clone
def test_a_marked_test_has_its_clone_before_its_own_fixtures(ada, db_session):
    assert orders.names() == ["Ada", "the house"]


@pytest.mark.parametrize("marked", [False, pytest.param(True, marks=pytest.mark.db_clone), False])
def test_one_of_several_is_marked(marked):
    if not marked:
        with pytest.raises(Exception, match="did not ask for a database"):
            orders.names()
    else:
        assert orders.names() == ["the house"]


def test_marked_by_a_hook(request):
    assert orders.names() == ["the house"]
    assert "db_clone" in request.fixturenames


class TestWithUnittest(__import__("unittest").TestCase):
    pytestmark = pytest.mark.db_clone

    def test_marked(self):
        orders.add_customer("Ada")
        self.assertEqual(orders.names(), ["Ada", "the house"])
"""

MARKING = """
import pytest


def pytest_collection_modifyitems(items):
    for item in items:
        if item.name == "test_marked_by_a_hook":
            item.add_marker(pytest.mark.db_clone)
"""

SHARED = """
import pytest
from pytest_alembic_snapshot import clone_fixture
from shop import orders
from shop.db import SessionLocal
from shop.models import Customer

catalogue = clone_fixture("class")
for_all = clone_fixture("module", layer="demo", name="whole_module")
alone = clone_fixture("function", layer="demo")


@pytest.fixture(scope="class")
def ada(catalogue):
    orders.add_customer("Ada")
    return "Ada"


class TestInOneClass:
    def test_first(self, ada, db_session):
        assert orders.names() == ["Ada", "the house"]
        db_session.add(Customer(name="Bob"))
        db_session.commit()

    def test_second(self, ada, db_clone, catalogue):
        assert db_clone is catalogue
        assert orders.names() == ["Ada", "Bob", "the house"]

    def test_third_asks_for_nothing(self):
        assert orders.count() == 3


class TestInAnother:
    def test_starts_anew(self, catalogue):
        assert orders.names() == ["the house"]


def test_on_its_own(db_session):
    assert orders.names() == ["the house"]


@pytest.mark.parametrize("time", [1, 2])
def test_each_alone(alone, db_session, time):
    orders.add_customer("Ada")
    assert orders.names() == ["Ada", "a demo customer", "the house"]


class TestWhatTheMarkerAsksForToo:
    @pytest.mark.db_clone(layer="demo")
    def test_joins(self, whole_module, db_session):
        assert "a demo customer" in orders.names()
"""


def test_the_marker_chooses_a_layer_a_revision_or_nothing_at_all(shop, mode):
    shop.write("conftest.py", MARKING)

    result = shop.run(mode=mode, test_it=MARKERS)

    assert result.parseoutcomes().keys() == {"passed"}


def test_a_shared_clone_lives_as_long_as_its_scope(shop):
    result = shop.run("-p", "no:randomly", test_it=SHARED)
    result.assert_outcomes(passed=8)
    workers = shop.run("-p", "no:randomly", "--dist", "loadscope", mode="n2", test_it=SHARED)
    workers.assert_outcomes(passed=8)


def test_a_failure_on_a_shared_clone_keeps_it_when_its_scope_ends(shop):
    result = shop.run(
        "-p",
        "no:randomly",
        test_it="""
        from pytest_alembic_snapshot import clone_fixture
        from shop import orders

        shared = clone_fixture("module")

        def test_failing(shared):
            orders.add_customer("Ada")
            assert 0

        def test_passing(shared):
            orders.add_customer("Bob")
        """,
    )

    result.assert_outcomes(passed=1, failed=1)
    (kept,) = shop.kept()
    result.stdout.fnmatch_lines([str(kept), "customers: 1 added"])


WRONG = {
    '"demo"': "the db_clone marker does not take 'demo'",
    'layers="demo"': "db_clone does not take layers",
    'layer="x"': "no layer 'x' in layers",
    'layer="demo", revision="0001"': "a clone can't have layer=… and revision=… at once",
    'revision="9"': "no revision '9'",
    "revision=1": "db_clone does not take revision=1",
    'layer=["demo"]': "db_clone does not take layer=['demo']",
    'empty="yes"': "db_clone does not take empty='yes'",
}


def test_a_wrong_marker_is_an_error_of_its_test_only(shop):
    tests = [
        f"@pytest.mark.db_clone({marker})\ndef test_wrong_{number}():\n    pass\n"
        for number, marker in enumerate(WRONG)
    ]

    result = shop.run(
        "-p",
        "no:randomly",
        test_it="\n".join(["import pytest", *tests, "def test_right(db_session):\n    pass"]),
    )

    result.assert_outcomes(passed=1, errors=len(WRONG))
    for message in WRONG.values():
        assert f"ConfigError: {message}" in result.outlines


def test_a_test_that_wishes_something_else_than_the_shared_clone_is_told(shop):
    result = shop.run(
        test_it="""
        import pytest
        from pytest_alembic_snapshot import clone_fixture

        shared = clone_fixture("module", autouse=True)

        @pytest.mark.db_clone(empty=True)
        def test_empty():
            pass

        def test_joins(db_session):
            pass
        """
    )

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        ["CloneError: a clone is in use already, that of shared for several tests, and a diff*"]
    )


def test_a_second_clone_is_told_with_the_names_of_both(shop):
    result = shop.run(
        "-p",
        "no:randomly",
        test_it="""
        import pytest
        from pytest_alembic_snapshot import checkpoint_fixture, clone_fixture

        first = clone_fixture("module")
        second = clone_fixture("class", name="renamed")

        @checkpoint_fixture("class")
        def customer(): pass

        class TestTwo:
            def test_it(self, first, renamed): pass

        class TestCheckpoint:
            def test_it(self, first, customer): pass

        class TestLate:
            def test_it(self, request): request.getfixturevalue("renamed")
        """,
    )

    result.assert_outcomes(failed=1, errors=2)
    that = "can't begin while a clone is in use already, that of first for several tests"
    move = "hint: move the test out of the scope of that clone, or do not ask for the"
    result.stdout.fnmatch_lines(
        [
            f"CloneError: the clone renamed {that}",
            f"{move} clone renamed",
            f"CloneError: the checkpoint customer {that}",
            f"{move} checkpoint customer",
        ]
    )


def test_a_second_clone_asked_for_late_is_told_so(shop):
    result = shop.run(
        test_it="""
        from pytest_alembic_snapshot import clone_fixture

        shared = clone_fixture("class")

        def test_it(db_session, request): request.getfixturevalue("shared")
        """
    )

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "CloneError: the clone shared can't begin while a clone is in use *, the test's own",
            "hint: ask for the clone shared before the test's own clone, in an argument",
        ]
    )


UNITTEST = """
import unittest
import pytest
from shop import orders
{shared}

@pytest.mark.db_clone
class TestSetUpClass(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        orders.add_customer("Ada")

    def test_one(self):
        assert orders.names() == ["Ada", "the house"]

    def test_two(self):
        assert orders.names() == ["Ada", "the house"]

@pytest.mark.db_clone
class TestSetUp(unittest.TestCase):
    def setUp(self):
        orders.add_customer(self.id())

    def test_one(self):
        assert orders.count() >= 2

    def test_two(self):
        assert orders.count() >= 2
"""


def test_what_unittest_sets_up_for_a_class_needs_a_clone_of_the_class_and_is_told_so(shop):
    shared = "from pytest_alembic_snapshot import clone_fixture\n"
    shared += 'shared = clone_fixture("class", autouse=True)'

    without = shop.run(test_it=UNITTEST.format(shared=""))
    with_one = shop.run(test_it=UNITTEST.format(shared=shared))

    without.assert_outcomes(passed=2, errors=2)
    without.stdout.fnmatch_lines(["*hint: *setUpClass, or a fixture for several tests, needs a *"])
    with_one.assert_outcomes(passed=4)
