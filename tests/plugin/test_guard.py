"""A test that did not ask for a database does not get one, and learns what to do."""

from __future__ import annotations

import re

import pytest

CREATOR = """
import sqlite3
from sqlalchemy import create_engine
from sqlalchemy.orm import sessionmaker

engine = create_engine("sqlite://", creator=lambda: sqlite3.connect("real.db"))
SessionLocal = sessionmaker(engine)
"""

MYSQL = """
from types import SimpleNamespace
from sqlalchemy import create_engine
from sqlalchemy.orm import sessionmaker

driver = SimpleNamespace(paramstyle="format", __version__="1.0")
engine = create_engine("mysql+pymysql://localhost/shop", module=driver)
SessionLocal = sessionmaker(engine)
"""


def test_a_test_that_asked_for_nothing_fails_and_the_others_pass(shop, mode):
    result = shop.run(
        mode=mode,
        test_it="""
        from shop import orders

        def test_asking(db_clone):
            assert orders.count() == 1

        def test_not_asking():
            orders.count()

        def test_without_a_database():
            pass
        """,
    )

    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        [
            "E*DatabaseNotRequested: shop/orders.py line 22 connects to shop.db:engine, but "
            "test_it.py::test_not_asking did not ask for a database",
            "E*hint: add a fixture such as db_session or db_clone to the test, or mark it with "
            "@pytest.mark.db_clone",
        ]
    )
    assert not re.search(r"^\S*alembic_snapshot/\w+.py:\d+", result.stdout.str(), re.MULTILINE)
    assert not (shop.root / "real.db").exists()


def test_a_module_that_connects_when_it_is_imported_is_told_so(shop):
    shop.write("shop/eager.py", "from shop.db import engine\n\nengine.connect()\n")

    result = shop.run(test_it="import shop.eager\n\ndef test_nothing():\n    pass\n")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*shop/eager.py line 3 connects to shop.db:engine while no test is running"]
    )
    assert not (shop.root / "real.db").exists()


def test_with_the_guard_off_tests_that_ask_get_a_clone_and_others_what_they_had(shop):
    shop.configure('guard = "off"')
    shop.write(
        "conftest.py",
        """
        from shop.db import engine
        from shop.models import Base

        Base.metadata.create_all(engine)
        """,
    )

    result = shop.run(
        "-p",
        "no:randomly",
        "-W",
        "always::pytest_alembic_snapshot.UnguardedDatabaseWarning",
        test_it="""
        import pytest
        from shop import orders

        def test_as_before():
            orders.add_customer("a developer")
            assert orders.names() == ["a developer"]

        def test_asking(db_clone):
            assert orders.names() == ["the house"]

        def test_as_before_again():
            assert orders.names() == ["a developer"]
        """,
    )

    # Two lines of the first test, and one of the last; and its conftest.py.
    result.assert_outcomes(passed=3, warnings=4)
    result.stdout.fnmatch_lines(
        ["*UnguardedDatabaseWarning: shop/orders.py line * connects to shop.db:engine, but test_*"]
    )


def test_connections_that_an_early_plugin_opened_are_not_used(shop):
    shop.write(
        "early.py",
        """
        from shop.db import engine
        from shop.models import Base

        Base.metadata.create_all(engine)
        """,
    )

    result = shop.run(
        "-p",
        "early",
        test_it="""
        from shop import orders

        def test_asking(db_clone):
            assert orders.names() == ["the house"]

        def test_not_asking():
            orders.names()
        """,
    )

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["E*DatabaseNotRequested*"])


def test_the_body_of_a_test_may_be_the_first_to_import_sqlalchemy(shop, mode):
    result = shop.run(
        mode=mode,
        test_it="""
        import sys

        def test_asking(db_clone):
            from shop import orders
            assert orders.names() == ["the house"]

        def test_not_asking():
            from shop import orders
            orders.names()
        """,
    )

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["E*DatabaseNotRequested*"])


def test_an_engine_with_a_creator_is_refused_by_name(shop):
    shop.write("shop/db.py", CREATOR)

    result = shop.run(
        test_it="""
        from shop import orders

        def test_it(db_clone):
            orders.names()
        """
    )

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E*EngineError: shop/orders.py line * connects to shop.db:engine through a creator, "
            "which can't be pointed at a clone",
            "E*hint: give create_engine() a URL and connect_args instead of a creator",
        ]
    )


def test_an_engine_of_another_dialect_is_refused_by_name(shop):
    shop.write("shop/db.py", MYSQL)

    result = shop.run(
        test_it="""
        from shop import orders

        def test_fixture(db_engine):
            pass

        def test_connection(db_clone):
            orders.names()
        """
    )

    result.assert_outcomes(errors=2)
    message = "*shop.db:engine speaks MySQL, which is not supported*"
    result.stdout.fnmatch_lines([message, message], consecutive=False)


def test_the_applications_own_do_connect_listeners_run_unless_they_go_elsewhere(shop):
    shop.write(
        "conftest.py",
        """
        import sqlite3
        from sqlalchemy import event
        from shop.db import engine

        heard = []
        elsewhere = []

        @event.listens_for(engine, "do_connect")
        def connect(dialect, record, cargs, cparams):
            heard.append(cargs[0])
            if elsewhere:
                return sqlite3.connect(elsewhere[0])
        """,
    )

    result = shop.run(
        test_it="""
        import conftest
        import pytest
        from alembic_snapshot import EngineError
        from shop import orders

        def test_listener_is_heard(db_clone):
            assert orders.names() == ["the house"]
            assert conftest.heard[-1] == str(db_clone.path)

        def test_listener_goes_elsewhere(db_clone, monkeypatch):
            monkeypatch.setattr(conftest, "elsewhere", [":memory:"])
            with pytest.raises(EngineError, match="went to memory and not to the test's clone"):
                orders.names()
        """
    )

    result.assert_outcomes(passed=2)


def test_an_application_that_begins_its_transactions_itself_can_go_on_doing_so(shop):
    shop.write(
        "conftest.py",
        """
        import pytest
        from sqlalchemy import event
        from shop.db import engine

        @event.listens_for(engine, "connect")
        def connect(connection, record):
            connection.isolation_level = None
            connection.execute("PRAGMA journal_mode=WAL")

        @event.listens_for(engine, "begin")
        def begin(connection):
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        """,
    )

    result = shop.run(
        test_it="""
        import pytest
        from shop import orders
        from shop.models import Customer

        @pytest.mark.parametrize("time", range(3))
        def test_wal(db_session, time):
            with db_session.begin_nested():
                db_session.add(Customer(name="Ada"))
            db_session.commit()
            assert orders.names() == ["Ada", "the house"]

        def test_failing(db_session, db_clone):
            db_session.add(Customer(name="Ada"))
            db_session.commit()
            assert db_clone.path.with_name(db_clone.path.name + "-wal").exists()
            assert 0
        """
    )

    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["customers: 1 added", "  + id=2, name='Ada' ← *"])
    (kept,) = shop.kept()
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]
    assert kept.read_bytes()[18:20] == b"\x01\x01"


def test_a_wrong_configuration_is_a_usage_error(shop):
    shop.configure("clone = 1")

    result = shop.run(test_it="def test_it(db_session):\n    pass\n")

    assert result.ret == 1
    result.stdout.fnmatch_lines(["*ConfigError*clone*"])
    eager = shop.run(test_it="import sqlalchemy\n\ndef test_it(db_session):\n    pass\n")
    assert eager.ret == 4
    eager.stderr.fnmatch_lines(["ERROR: *clone*"])


LATE = """
import atexit, threading, time
from shop import orders

def add():
    orders.add_customer("late")

def forever():
    while True:
        try:
            add()
        except Exception:
            pass
        time.sleep(0.01)

def at_the_end():
    threading.main_thread().join()
    add()

def test_it(db_clone):
    orders.names()
    {}
"""


@pytest.mark.parametrize("mode", ["plain", "n2"])
@pytest.mark.parametrize(
    "way",
    [
        "threading.Thread(target=at_the_end).start()",
        "atexit.register(add)",
        "threading.Thread(target=forever, daemon=True).start()",
    ],
    ids=["a thread", "at exit", "a daemon"],
)
def test_what_goes_on_after_the_last_test_is_refused(shop, mode, way):
    result = shop.run("-W", "ignore", mode=mode, test_it=LATE.format(way))

    assert result.ret == 0
    assert not (shop.root / "real.db").exists()
    if "forever" not in way and mode == "plain":
        result.stderr.fnmatch_lines(["*DatabaseNotRequested: *while no test is running*"])


@pytest.mark.parametrize("mode", ["plain", "n2"])
@pytest.mark.parametrize(
    "hook",
    [
        "@pytest.hookimpl(trylast=True)\ndef pytest_sessionfinish(session):\n    add()",
        "@pytest.hookimpl(wrapper=True)\ndef pytest_sessionfinish(session):\n    yield\n    add()",
        "def pytest_unconfigure(config):\n    add()",
        "@pytest.hookimpl(trylast=True)\ndef pytest_unconfigure(config):\n    add()",
    ],
    ids=["finish", "after finish", "unconfigure", "last"],
)
def test_what_a_hook_does_after_the_last_test_is_refused(shop, mode, hook):
    add = (
        "import pytest\nfrom shop import orders\n\ndef add():\n    orders.add_customer('late')\n\n"
    )
    shop.run(
        mode=mode,
        conftest=add + hook,
        test_it="def test_it(db_clone):\n    pass\n",
    )

    assert not (shop.root / "real.db").exists()


@pytest.mark.parametrize("imports", ["", "import shop.db\n"], ids=["by the plugin", "by the test"])
def test_an_application_that_connects_when_it_is_imported_is_told_so(shop, imports):
    shop.replace(
        "shop/db.py",
        "SessionLocal = ",
        "engine.connect().close()\nSessionLocal = ",
    )

    result = shop.run(test_it=f"{imports}def test_it(db_session):\n    pass\n")

    assert result.ret != 0
    said = result.stdout.str() + result.stderr.str()
    assert "connect in a function that a test or a fixture calls, not at import" in said
    assert "did not ask for a database" not in said


def test_what_a_test_asks_for_and_has_not_yet_is_told_as_that(shop):
    result = shop.run(
        "-p",
        "no:randomly",
        test_early="""
        import pytest
        from shop import orders

        @pytest.fixture(scope="session")
        def app():
            return orders.names()

        @pytest.fixture
        def own():
            return orders.names()

        def test_with(app, db_clone): pass
        def test_session(own, db_session): pass
        @pytest.mark.usefixtures("own", "db_engine")
        def test_engine(): pass
        @pytest.mark.db_clone
        def test_marked(own): pass
        def test_after(db_clone, own): pass
        def test_none(own): pass
        """,
    )

    told = result.stdout.str()
    result.assert_outcomes(passed=2, errors=4)
    for name in ("with", "session", "engine"):
        assert f"but the clone that test_early.py::test_{name} asks for begins later" in told
    assert "hint: have the fixture that uses the database take db_clone; setUpClass, " in told
    assert "test_early.py::test_none did not ask for a database\n" in told
    assert told.count("hint: add a fixture such as") == 1
