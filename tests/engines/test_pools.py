"""Every pool is emptied between tests, and what is still open is closed and named."""

from __future__ import annotations

import contextlib
import sqlite3
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


THREADS = """
import threading
import time
import pytest
from shop import orders
from shop.db import engine
from sqlalchemy import event, text

left, held = [], []

class Held:
    def __init__(self):
        self.begun, self.go = threading.Event(), threading.Event()

def hold():
    one = held[-1]
    one.begun.set()
    return int(one.go.wait(60))

@event.listens_for(engine, "connect")
def add_function(connection, record):
    connection.create_function("hold", 0, hold)

def let_go():
    for one in held:
        one.go.set()

def leave(work):
    held.append(Held())
    left.append(threading.Thread(target=work))
    left[-1].start()
    assert held[-1].begun.wait(60)

def long_statement():
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT hold()")) == 1

def many_statements():
    begun = held[-1].begun
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        try:
            orders.names()
        except Exception:
            # Between two tests there is no database.
            time.sleep(0)
        begun.set()

@pytest.fixture(scope="module", autouse=True)
def the_last_is_over():
    yield
    let_go()
    for thread in left:
        thread.join()

@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize("work", [long_statement, many_statements])
def test_leaves_a_thread_at_work(db_clone, work, number):
    assert orders.names() == ["the house"]
    orders.add_customer("Ada") if work is many_statements else None
    let_go()

    leave(work)

def test_failing_leaves_one_too(db_clone):
    let_go()
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode=WAL")
    leave(long_statement)
    orders.add_customer("Ada")
    assert 0
"""


@pytest.mark.parametrize("clones", ["fresh", "reset", "reset --snapshot-reset=rewind"])
def test_a_thread_that_is_in_a_statement_when_its_test_ends_finishes_it(shop, clones):
    result = shop.run("-W", "default", *f"--snapshot-clones={clones}".split(), test_it=THREADS)

    result.assert_outcomes(passed=12, failed=1)
    result.stdout.no_fnmatch_line("*Exception in thread*")
    result.stdout.fnmatch_lines(["*a connection to the test's database was still open*"])
    [kept] = shop.kept()
    with contextlib.closing(sqlite3.connect(kept)) as connection:
        assert connection.execute("SELECT count(*) FROM customers").fetchone() == (2,)


# A thread is on its way out of SQLAlchemy when its test ends, and goes on in the next.
RETURNING = """
import threading
from shop import orders
from shop.db import engine
from sqlalchemy import event

begun, go = threading.Event(), threading.Event()

def returning(connection, record):
    if threading.current_thread() is thread:
        begun.set()
        go.wait(60)
        connection.execute("INSERT INTO customers (name) VALUES ('Ada')")
        connection.commit()

def work():
    with engine.connect() as connection:
        connection.exec_driver_sql("SELECT 1")

thread = threading.Thread(target=work)

def test_leaves_it(db_clone):
    assert orders.names() == ["the house"]
    event.listen(engine, "checkin", returning)
    thread.start()
    assert begun.wait(60)

def test_next(db_clone):
    assert orders.names() == ["the house"]
    go.set()
    thread.join()
    assert orders.names() == ["the house"]
"""


@pytest.mark.parametrize("clones", ["fresh", "reset"])
def test_a_thread_that_returns_a_connection_reaches_no_later_tests_database(shop, clones):
    options = ("-p", "no:randomly", "-W", "ignore", f"--snapshot-clones={clones}")

    shop.run(*options, test_it=RETURNING).assert_outcomes(passed=2)


@pytest.mark.parametrize("clones", ["rewrite", "rewind"])
def test_a_transaction_goes_on_when_the_test_asks_where_its_database_is(shop, clones):
    result = shop.run(
        "--snapshot-clones=reset",
        f"--snapshot-reset={clones}",
        test_it="""
        from shop import orders
        from shop.models import Customer

        def test_it(db_clone, db_session):
            assert orders.names() == ["the house"]
            db_session.add(Customer(name="Ada"))
            db_session.flush()
            assert db_clone.path.exists()
            db_session.commit()
            assert orders.names() == ["Ada", "the house"]
        """,
    )

    result.assert_outcomes(passed=1)


@pytest.mark.parametrize("clones", ["fresh", "reset"])
def test_where_warnings_are_errors_an_open_connection_fails_the_test_and_only_it(shop, clones):
    result = shop.run(
        "-p",
        "no:randomly",
        f"--snapshot-clones={clones}",
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
