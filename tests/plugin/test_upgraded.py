"""``db_clone.upgrade()`` within a test: what is open is named at once, and what it can't do."""

from __future__ import annotations

import re

import pytest

OPEN = """
    import sqlite3
    import pytest
    from shop import orders
    from shop.db import SessionLocal, engine
    from shop.models import Customer
    from sqlalchemy import text
    from pytest_alembic_snapshot import clone_fixture

    pytestmark = pytest.mark.db_clone(revision="0001")

    def test_flushed(db_clone, db_session):
        db_session.add(Customer(name="Ada"))
        db_session.flush()
        db_clone.upgrade("0002")

    def test_read(db_clone, db_session):
        db_session.execute(text("SELECT 1"))
        db_clone.upgrade()

    def test_unflushed(db_clone, db_session):
        db_session.execute(text("SELECT 1"))
        db_session.commit()
        db_session.add(Customer(name="Ada"))
        db_clone.upgrade()

    def test_of_the_engine(db_clone):
        with engine.connect() as connection:
            connection.execute(text("INSERT INTO customers (name) VALUES ('Ada')"))
            db_clone.upgrade()

    def test_of_its_own_engine(db_clone):
        with db_clone.engine().connect() as connection:
            connection.execute(text("SELECT 1"))
            db_clone.upgrade()

    @pytest.mark.db_clone(readonly=True, revision=None)
    def test_read_only(db_clone):
        db_clone.upgrade()

    def test_committed(db_clone, db_session):
        db_session.add(Customer(name="Ada"))
        db_session.commit()
        db_clone.upgrade("head")
        assert orders.names() == ["Ada", "the house"]

    @pytest.mark.db_clone(revision="heads")
    def test_past_it(db_clone):
        db_clone.upgrade("0001")
    """
TOLD = [
    "can't upgrade the clone: a connection that test_it.py line 13 took is in use",
    "can't upgrade the clone: a connection that test_it.py line 17 took is in use",
    "can't upgrade the clone: not flushed: a session has 1 object added (test_it.py line 23)",
    "can't upgrade the clone: a connection that test_it.py line 27 took is in use",
    "can't upgrade the clone: a connection of its engine() is in use",
    "can't upgrade the clone, which is read-only",
    "the clone is at 0002, and 0001 is not after it",
]


def errors(result):
    """The messages of the errors in the reports, in their order."""
    begin = re.compile(r"E +alembic_snapshot\.errors\.(?:Clone|Config)Error: (.*)")
    return [found[1] for line in result.outlines if (found := begin.match(line))]


@pytest.mark.parametrize("clones", ["fresh", "reset"])
def test_what_is_open_is_named_at_once(shop, clones):
    result = shop.run("-p", "no:randomly", f"--snapshot-clones={clones}", test_it=OPEN)

    result.assert_outcomes(passed=1, failed=7)
    assert errors(result) == TOLD
    assert "failed/" not in str(result.stdout)
    assert "database is locked" not in str(result.stdout)


def test_so_it_is_on_a_server(on_server):
    shop = on_server("shop", "SHOP_URL")

    result = shop.run("-p", "no:randomly", test_it=OPEN)

    result.assert_outcomes(passed=1, failed=7)
    assert errors(result) == TOLD


def test_a_raw_connection_that_wrote_is_told(shop):
    result = shop.run(
        test_it="""
        import sqlite3
        import pytest

        @pytest.mark.db_clone(revision="0001")
        def test_it(db_clone):
            raw = sqlite3.connect(db_clone.path)
            raw.execute("INSERT INTO customers (name) VALUES ('Ada')")
            try:
                db_clone.upgrade()
            finally:
                raw.close()
        """
    )

    result.assert_outcomes(failed=1)
    assert errors(result) == [
        "can't upgrade the clone: a transaction is open in which something was written"
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("+1", "'+1' counts from where a database is, and names no revision"),
        ("base", "'base' is no revision, but what is before the first one"),
        ("", "an empty text is no revision"),
        ("9", "no revision '9'"),
    ],
)
def test_the_marker_says_what_it_does_not_take(shop, name, message):
    result = shop.run(
        test_it=f"""
        import pytest

        @pytest.mark.db_clone(revision={name!r})
        def test_it(): pass
        """
    )

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"ConfigError: {message}"])


def test_the_marker_takes_names_as_alembic_does(shop):
    result = shop.run(
        test_it="""
        import pytest
        from shop import orders

        @pytest.mark.db_clone(revision="head")
        def test_head(): orders.names()

        @pytest.mark.db_clone(revision="heads")
        def test_heads(): orders.names()

        @pytest.mark.db_clone(revision="0001")
        def test_earlier(): orders.names()
        """
    )

    result.assert_outcomes(passed=3)
    result.stdout.no_fnmatch_line("*warning*")
