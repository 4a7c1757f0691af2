"""``--snapshot-sql`` and ``-vv``: a failing test's statements, with values and transactions."""

from __future__ import annotations

import pytest

TEST = """
    from shop import orders
    from shop.db import engine
    from shop.models import Customer
    from sqlalchemy import insert, text

    def test_failing(db_session):
        db_session.add(Customer(name="Ada" + "x" * 99))
        db_session.commit()
        with engine.connect() as connection:
            connection.execute(insert(Customer), [{"name": f"n{n}"} for n in range(9)])
        try:
            with engine.begin() as connection:
                connection.execute(text("INSERT INTO customers (id, name) VALUES (1, 'again')"))
        except Exception:
            pass
        assert False

    def test_passing(db_session):
        orders.add_customer("Bob")
    """


@pytest.mark.parametrize("option", ["--snapshot-sql", "-vv", "-q"])
def test_a_failing_tests_statements_are_shown_if_they_are_asked_for(shop, option):
    result = shop.run(option, "-p", "no:randomly", test_it=TEST)

    result.assert_outcomes(passed=1, failed=1)
    if option == "-q":
        result.stdout.no_fnmatch_line("*SQL of the test*")
        return
    result.stdout.fnmatch_lines(
        [
            "*- SQL of the test -*",
            f"INSERT INTO customers (name) VALUES (?) -- ('Ada{'x' * 35}…) ← test_it.py:8 *",
            "COMMIT",
            "INSERT INTO customers (name) VALUES * -- * ← test_it.py:10 test_failing",
            "ROLLBACK",
            "INSERT INTO customers (id, name) VALUES (1, 'again') -- failed ← test_it.py:13 *",
            "ROLLBACK",
        ],
        consecutive=True,
    )
    assert "'Bob'" not in str(result.stdout)
