"""``reset = "rewind"`` in real pytest runs: as private as fresh clones, in WAL mode."""

from __future__ import annotations

import re
import sqlite3

import pytest

from .test_plugin import LEFTOVERS, Project

REWIND = ("--snapshot-clones=reset", "--snapshot-reset=rewind")


@pytest.fixture
def project(pytester, tmp_path_factory, monkeypatch):
    for name in ("DATABASE_URL", "PYTHONPATH", "PYTEST_XDIST_TESTRUNUID", "PYTEST_CURRENT_TEST"):
        monkeypatch.delenv(name, raising=False)
    store = tmp_path_factory.getbasetemp() / "reset-store"
    monkeypatch.setenv("ALEMBIC_SNAPSHOT_DIR", str(store))
    return lambda name: Project(pytester, name)


@pytest.fixture
def shop(project):
    return project("shop")


def rewinds(result):
    """How often the summary says that a clone was rewound; -1 if it does not say."""
    found = re.search(r"; reset (\d+) times?\b", result.stdout.str())
    return int(found[1]) if found else -1


@pytest.mark.parametrize(
    ("behaviour", "workers"), [("isolation", 2), ("pools", 0), ("processes", 0)]
)
def test_every_behaviour_of_fresh_clones_holds(shop, behaviour, workers):
    shop.behaviour(behaviour)

    result = shop.run(*REWIND, "-n", str(workers))

    assert result.parseoutcomes().keys() == {"passed"}
    assert rewinds(result) >= 0


def test_an_async_application_passes(project):
    result = project("notes").pytester.runpytest_subprocess(*REWIND, timeout=120)

    assert result.parseoutcomes().keys() == {"passed"}
    assert rewinds(result) > 5


def test_what_tests_leave_behind_does_not_reach_the_next(shop):
    cases = "\n".join(
        f"    if name == {name!r}:\n        {statement}" for name, statement in LEFTOVERS.items()
    )
    head = f"""\
import contextlib
import sqlite3
import pytest
from shop.db import SessionLocal, engine
from sqlalchemy import text

left, before = [], []
INSERT = "INSERT INTO customers (name) VALUES ('left')"
MANY = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9) "
MANY += "SELECT i, name FROM n, customers"
NAMES = {[name for leftover in LEFTOVERS for name in (leftover, "")]!r}

def driver(session):
    return session.connection().connection.driver_connection

def path(session):
    return session.execute(text("PRAGMA database_list")).first()[2]

def selected_path(session):
    query = "SELECT file FROM pragma_database_list WHERE name = 'main'"
    return session.execute(text(query)).scalar()

def raw_path(session):
    return driver(session).execute("PRAGMA database_list").fetchone()[2]

def facts(session):
    query = lambda sql: [tuple(row) for row in session.connection().execute(text(sql))]
    found = [query("SELECT type, name, sql FROM sqlite_master")]
    found += [query("SELECT * FROM customers"), query("SELECT lower('A'), 'A' LIKE 'a'")]
    found += [query("SELECT name FROM sqlite_temp_master"), driver(session).row_factory]
    for name in ("foreign_keys", "query_only", "journal_mode", "locking_mode"):
        found.append(query(f"PRAGMA {{name}}"))
    session.execute(text(INSERT))
    session.commit()
    return found

def test_before(db_session):
    before.append(facts(db_session))

@pytest.mark.parametrize("name", NAMES)
def test_leaving(db_clone, db_session, name):
    for connection in left:
        if isinstance(connection, sqlite3.Connection):
            with contextlib.suppress(sqlite3.Error), connection:
                connection.execute(INSERT)
    if not name:
        assert facts(db_session) == before[0]
"""
    (shop.root / "test_it.py").write_text(head + cases)

    result = shop.run(*REWIND, "-W", "ignore", "test_it.py")

    result.assert_outcomes(passed=1 + 2 * len(LEFTOVERS))
    assert rewinds(result) > 10


def test_a_failing_test_keeps_its_rows_in_one_file_outside_wal_mode(shop):
    result = shop.run(
        *REWIND,
        test_it="""
        from shop import orders

        def test_before(db_clone):
            orders.add_customer("of the first test")

        def test_fails(db_clone, db_session):
            orders.add_customer("of the failing test")
            assert False

        def test_after(db_clone):
            assert orders.count() == 1
        """,
    )

    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*customers: 1 added*", "*of the failing test*"])
    (kept,) = shop.root.rglob("kept-databases/*/*")
    connection = sqlite3.connect(kept)
    assert ("of the failing test",) in connection.execute("SELECT name FROM customers").fetchall()
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    connection.close()


def test_rows_of_a_failing_test_are_kept_although_somebody_has_the_file_open(shop):
    result = shop.run(
        *REWIND,
        test_it="""
        import sqlite3
        from shop import orders
        from sqlalchemy import text

        def test_fails(db_session):
            (_, _, path), *_ = db_session.execute(text("PRAGMA database_list"))
            global left
            left = sqlite3.connect(path)
            left.execute("SELECT * FROM customers").fetchall()
            orders.add_customer("of the failing test")
            assert False
        """,
    )

    result.assert_outcomes(failed=1)
    (kept,) = shop.root.rglob("kept-databases/*/*.db")
    connection = sqlite3.connect(kept)
    assert ("of the failing test",) in connection.execute("SELECT name FROM customers").fetchall()
    connection.close()


@pytest.mark.parametrize("mode", ["MEMORY", "WAL"])
def test_an_application_may_set_a_journal_mode_whenever_it_connects(shop, mode):
    module = shop.root / "shop" / "db.py"
    pragma = 'cursor.execute("PRAGMA foreign_keys=ON")'
    more = f'{pragma}; cursor.execute("PRAGMA journal_mode={mode}")'
    module.write_text(module.read_text().replace(pragma, more))

    result = shop.run(
        *REWIND,
        test_it="""
        import pytest
        from shop import orders

        @pytest.mark.parametrize("time", range(8))
        def test_rows(db_clone, time):
            orders.add_customer("Ada")
            assert orders.count() == 2
        """,
    )

    result.assert_outcomes(passed=8)
    if mode == "WAL":
        assert rewinds(result) == 8
    else:
        result.stdout.fnmatch_lines(
            ["*8 clones*fresh clones instead of reset ones*sets its own journal*"]
        )


def test_a_file_whose_path_was_asked_for_is_a_plain_one_with_all_its_rows(shop):
    result = shop.run(
        *REWIND,
        test_it="""
        import shutil
        import sqlite3
        from shop import orders

        def test_before(db_clone):
            orders.add_customer("Ada")

        def test_it(db_clone, tmp_path):
            orders.add_customer("Bob")
            shutil.copy(db_clone.path, tmp_path / "copy.db")
            copy = sqlite3.connect(tmp_path / "copy.db")
            assert len(copy.execute("SELECT * FROM customers").fetchall()) == 2
            copy.close()

        def test_after(db_clone):
            assert orders.count() == 1
        """,
    )

    result.assert_outcomes(passed=3)


def test_where_it_can_not_be_used_clones_are_fresh_and_the_summary_says_why(shop):
    (shop.root / "conftest.py").write_text("import fcntl\ndel fcntl.F_OFD_SETLK\n")
    toml, table = shop.root / "pyproject.toml", "[tool.alembic-snapshot]\n"
    toml.write_text(toml.read_text().replace(table, f'{table}clones = "reset"\nreset = "rewind"\n'))

    result = shop.run(
        test_it="""
        from shop import orders

        def test_it(db_clone):
            orders.add_customer("Ada")
        """,
    )

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*1 clone*fresh clones instead of reset ones*which Linux has*"])
