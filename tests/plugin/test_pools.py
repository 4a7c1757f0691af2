"""Every pool is emptied between tests, and what is still open is closed and named."""

from __future__ import annotations

import sys

import pytest

IN_MEMORY = """
from sqlalchemy import create_engine, event
from sqlalchemy.orm import sessionmaker
{imports}
engine = create_engine("sqlite://"{options})
SessionLocal = sessionmaker(engine)
"""


def test_every_kind_of_pool_is_emptied_between_tests(shop, mode):
    shop.behaviour("pools")

    result = shop.run(mode=mode)

    assert result.parseoutcomes().keys() == {"passed"}


def test_an_application_with_an_in_memory_url_is_pointed_by_its_engine(shop):
    for imports, options in (
        ("", ""),
        ("from sqlalchemy.pool import StaticPool", ", poolclass=StaticPool"),
    ):
        shop.write("shop/db.py", IN_MEMORY.format(imports=imports, options=options))

        result = shop.run(
            "-p",
            "no:randomly",
            test_it="""
            import threading
            import pytest
            from shop import orders
            from sqlalchemy import create_engine, text

            def test_not_asking():
                with pytest.raises(Exception, match="did not ask for a database"):
                    orders.names()

            @pytest.mark.parametrize("time", range(3))
            def test_asking(db_session, time):
                assert orders.names() == ["the house"]
                thread = threading.Thread(target=orders.add_customer, args=("Ada",))
                thread.start()
                thread.join()
                assert orders.names() == ["Ada", "the house"]

            def test_another_engine_in_memory_is_left_alone():
                other = create_engine("sqlite://")
                with other.connect() as connection:
                    assert connection.scalar(text("SELECT 1")) == 1
                other.dispose()
            """,
        )

        result.assert_outcomes(passed=5)


def test_what_a_test_leaves_open_is_closed_and_named(shop, mode):
    result = shop.run(
        "-p",
        "no:randomly",
        "-W",
        "default",
        mode=mode,
        test_it="""
        import contextlib
        import threading
        import pytest
        from shop import orders
        from shop.db import SessionLocal, engine
        from shop.models import Customer
        from sqlalchemy import text

        left = []

        def test_connection_in_a_transaction(db_clone):
            left.append(engine.connect())
            left[-1].execute(text("INSERT INTO customers (name) VALUES ('Ada')"))

        def test_session_is_closed_in_silence(db_clone):
            session = SessionLocal()
            session.add(Customer(name="Ada"))
            session.flush()
            left.append(session)

        def test_thread_that_runs_on(db_clone):
            opened, go = threading.Event(), threading.Event()

            def work():
                with contextlib.suppress(Exception), engine.connect() as connection:
                    connection.execute(text("SELECT 1"))
                    opened.set()
                    go.wait()

            thread = threading.Thread(target=work)
            thread.start()
            opened.wait()
            left.append((thread, go))

        def test_the_next_is_not_disturbed(db_clone):
            assert orders.names() == ["the house"]

        @pytest.mark.parametrize("number", range(20))
        def test_slots_of_the_pool_are_not_used_up(db_clone, number):
            left.append(engine.connect())
            assert orders.names() == ["the house"]

        def test_last():
            for one in left:
                if isinstance(one, tuple):
                    one[1].set()
                    one[0].join()
        """,
    )

    result.assert_outcomes(passed=25, warnings=22)
    for line in (12, 25, 40):
        result.stdout.fnmatch_lines(
            [f"*: a connection to the test's database was still open: test_it.py line {line} "
             "took it"]
        )  # fmt: skip


def test_where_warnings_are_errors_an_open_connection_fails_the_test_and_only_it(shop):
    result = shop.run(
        "-p",
        "no:randomly",
        test_it="""
        from shop import orders
        from shop.db import engine

        left = []

        def test_leaves(db_clone):
            left.append(engine.connect())

        def test_next(db_clone):
            assert orders.names() == ["the house"]
            left.pop().close()
        """,
    )

    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*OpenConnectionWarning: a connection to the test's database*"])


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python 3.12 brought the attribute")
def test_connections_that_are_always_in_a_transaction_are_not_slowed_down_either(shop):
    shop.replace(
        "shop/db.py",
        'f"sqlite:///{REAL}")',
        'f"sqlite:///{REAL}", connect_args={"autocommit": False})',
    )
    shop.replace(
        "shop/db.py",
        '    cursor.execute("PRAGMA foreign_keys=ON")\n',
        "    connection.autocommit = False\n",
    )

    result = shop.run(
        test_it="""
        import pytest
        from shop import orders
        from shop.db import engine
        from sqlalchemy import text

        @pytest.mark.parametrize("time", [1, 2])
        def test_it(db_clone, time):
            with engine.connect() as connection:
                assert connection.scalar(text("PRAGMA synchronous")) == 0
            orders.add_customer("Ada")
            assert orders.names() == ["Ada", "the house"]
        """
    )

    result.assert_outcomes(passed=2)
