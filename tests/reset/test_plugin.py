"""``clones = "reset"`` in real pytest runs: as private as fresh clones, on live connections."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
RESET = "--snapshot-clones=reset"


class Project:
    """A copy of one of the sample projects, in which pytest is run."""

    def __init__(self, pytester: pytest.Pytester, name: str):
        self.pytester = pytester
        self.root = pytester.path
        # To import anyio's plugin costs as much as all else in a run; one project has tests for it.
        self.plugins = () if name == "notes" else ("-p", "no:anyio")
        ignored = shutil.ignore_patterns("__pycache__", "*.db")
        shutil.copytree(TESTS / "projects" / name, self.root, dirs_exist_ok=True, ignore=ignored)

    def behaviour(self, name: str) -> None:
        """Have the tests of a behaviour, and the line that tells child processes of the clone."""
        shutil.copy(TESTS / "plugin" / "behaviours" / f"{name}.py", self.root / "test_it.py")
        path, table = self.root / "pyproject.toml", "[tool.alembic-snapshot]\n"
        text = path.read_text(encoding="utf-8")
        assert table in text
        line = 'environment = { SHOP_URL = "{url}" }\n'
        path.write_text(text.replace(table, table + line), encoding="utf-8")

    def run(self, *options: str, test_it: str = "") -> pytest.RunResult:
        """Run the project's tests, or these, in their order."""
        if test_it:
            (self.root / "test_it.py").write_text(textwrap.dedent(test_it))
            options = ("test_it.py", *options)
        options = ("-p", "no:randomly", "-p", "no:cacheprovider", *self.plugins, *options)
        return self.pytester.runpytest_subprocess(*options, timeout=120)


@pytest.fixture
def project(
    pytester: pytest.Pytester,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[str], Project]:
    """Makes a project; all share a store, so that each is built once."""
    for name in ("DATABASE_URL", "PYTHONPATH", "PYTEST_XDIST_TESTRUNUID", "PYTEST_CURRENT_TEST"):
        monkeypatch.delenv(name, raising=False)
    store = tmp_path_factory.getbasetemp() / "reset-store"
    monkeypatch.setenv("ALEMBIC_SNAPSHOT_DIR", str(store))
    return lambda name: Project(pytester, name)


def resets(result: pytest.RunResult) -> int:
    """How often the summary says that a clone was put back; -1 if it does not say."""
    found = re.search(r"; reset (\d+) times?\b", result.stdout.str())
    return int(found[1]) if found else -1


@pytest.mark.parametrize("workers", ["0", "2"])
@pytest.mark.parametrize("behaviour", ["isolation", "pools", "processes"])
def test_every_behaviour_of_fresh_clones_holds(project, behaviour, workers):
    shop = project("shop")
    shop.behaviour(behaviour)

    result = shop.run(RESET, "-n", workers)

    assert result.parseoutcomes().keys() == {"passed"}
    assert resets(result) >= 0


@pytest.mark.parametrize("order", ["-p randomly", "-p no:randomly"])
def test_an_async_application_passes_in_any_order(project, order):
    notes = project("notes")

    result = notes.pytester.runpytest_subprocess(RESET, *order.split(), timeout=120)

    assert result.parseoutcomes().keys() == {"passed"}
    assert resets(result) > 5


def test_an_async_connection_serves_test_after_test(project):
    result = project("notes").run(
        RESET,
        test_it="""
        import pytest
        from notes.db import engine
        from notes.models import Note
        from sqlalchemy import event, func, select

        opened = []
        event.listen(engine.sync_engine, "connect", lambda connection, _: opened.append(connection))

        @pytest.mark.asyncio
        @pytest.mark.parametrize("time", range(4))
        async def test_rows(async_db_session, time):
            assert await async_db_session.scalar(select(func.count()).select_from(Note)) == 0
            async_db_session.add(Note(text="one"))
            await async_db_session.commit()

        def test_that_it_was_one():
            assert len(opened) == 1
        """,
    )

    result.assert_outcomes(passed=5)
    assert resets(result) == 4


def test_of_two_async_connections_only_the_one_that_was_altered_is_another_one(project):
    result = project("notes").run(
        RESET,
        test_it="""
        import pytest
        from notes.db import engine
        from sqlalchemy import event, text

        opened = []
        event.listen(engine.sync_engine, "connect", lambda connection, _: opened.append(connection))

        @pytest.mark.asyncio
        async def test_that_alters_one(async_db_engine):
            async with engine.connect() as one, engine.connect() as other:
                await one.execute(text("PRAGMA case_sensitive_like=ON"))
                await other.execute(text("INSERT INTO notes (text) VALUES ('one')"))
                await other.commit()

        @pytest.mark.asyncio
        @pytest.mark.parametrize("time", range(2))
        async def test_after_it(async_db_engine, time):
            async with engine.connect() as one, engine.connect() as other:
                for each in (one, other):
                    assert await each.scalar(text("SELECT 'A' LIKE 'a'")) == 1
                    assert await each.scalar(text("SELECT count(*) FROM notes")) == 0

        def test_that_one_was_opened_again():
            assert len(opened) == 3
        """,
    )

    result.assert_outcomes(passed=4)
    assert "1 clone," in result.stdout.str()


def test_connections_and_the_file_are_the_same_for_each_test_and_the_rows_are_not(project):
    result = project("shop").run(
        RESET,
        test_it="""
        import pytest
        from shop import orders
        from shop.db import engine

        seen = set()

        @pytest.mark.parametrize("time", range(5))
        def test_rows(db_session, time):
            orders.add_customer(f"customer {time}")
            seen.add(id(db_session.connection().connection.dbapi_connection))
            assert orders.names() == sorted([f"customer {time}", "the house"])

        def test_that_there_was_one_connection_at_a_time():
            assert len(seen) <= 2
        """,
    )

    result.assert_outcomes(passed=6)
    assert resets(result) == 5
    assert "1 clone," in result.stdout.str()


def test_nothing_is_put_back_after_a_test_that_wrote_nothing(project):
    result = project("shop").run(
        RESET,
        test_it="""
        from shop import orders

        def test_one(db_clone):
            assert orders.count() == 1

        def test_two(db_clone):
            pass
        """,
    )

    result.assert_outcomes(passed=2)
    assert resets(result) == 0


LEFTOVERS = {
    "a pragma": "db_session.execute(text('PRAGMA foreign_keys=OFF'))",
    "a pragma that has no value": "db_session.execute(text('PRAGMA case_sensitive_like=ON'))",
    "a pragma past SQLAlchemy": "driver(db_session).execute('PRAGMA foreign_keys=OFF')",
    "a pragma on a cursor": "driver(db_session).cursor().execute('PRAGMA foreign_keys=OFF')",
    "one that has no value": "driver(db_session).cursor().execute('PRAGMA case_sensitive_like=1')",
    "a temporary table": "db_session.execute(text('CREATE TEMP TABLE customers (id)'))",
    "one on a cursor": "driver(db_session).cursor().execute('CREATE TEMP TABLE customers (id)')",
    "an attached database": "db_session.execute(text('ATTACH \\':memory:\\' AS other'))",
    "a function": "driver(db_session).create_function('lower', 1, lambda text: 'changed')",
    "a row factory": "driver(db_session).row_factory = lambda cursor, row: None",
    "a script": "driver(db_session).executescript('PRAGMA query_only=ON')",
    "a new table": "db_session.execute(text('CREATE TABLE more (id)'))",
    "a new column": "db_session.execute(text('ALTER TABLE customers ADD COLUMN more'))",
    "a dropped table": "db_session.execute(text('DROP TABLE orders'))",
    "the write-ahead log": "db_session.execute(text('PRAGMA journal_mode=WAL'))",
    "an exclusive lock": "db_session.execute(text('PRAGMA locking_mode=EXCLUSIVE'))",
    "an open cursor": "left.append(driver(db_session).cursor().execute(MANY))",
    "an open connection": "left.append(engine.connect()); left[-1].execute(text(INSERT))",
    "an open session": "left.append(SessionLocal()); left[-1].execute(text(INSERT))",
    "a vacuum": "db_session.connection().exec_driver_sql('VACUUM')",
    "a path": "left.append(sqlite3.connect(db_clone.path, isolation_level=None))",
    "a path from SQLite": "left.append(sqlite3.connect(path(db_session), isolation_level=None))",
    "a path by a SELECT": "left.append(sqlite3.connect(selected_path(db_session), timeout=1))",
    "a path past SQLAlchemy": "left.append(sqlite3.connect(raw_path(db_session), timeout=1))",
}


@pytest.mark.parametrize("leftover", LEFTOVERS)
def test_what_a_test_leaves_behind_does_not_reach_the_next(project, leftover):
    result = project("shop").run(
        RESET,
        "-W",
        "ignore",
        test_it=f"""
        import contextlib
        import sqlite3
        import pytest
        from shop.db import SessionLocal, engine
        from sqlalchemy import inspect, text

        left = []
        INSERT = "INSERT INTO customers (name) VALUES ('left')"
        MANY = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9) "
        MANY += "SELECT i, name FROM n, customers"

        def path(session):
            return session.execute(text("PRAGMA database_list")).first()[2]

        def selected_path(session):
            query = "SELECT file FROM pragma_database_list WHERE name = 'main'"
            return session.execute(text(query)).scalar()

        def driver(session):
            return session.connection().connection.driver_connection

        def raw_path(session):
            return driver(session).execute("PRAGMA database_list").fetchone()[2]

        def facts(session):
            connection = session.connection()
            query = lambda sql: [tuple(row) for row in connection.execute(text(sql))]
            found = [query("SELECT type, name, sql FROM sqlite_master")]
            found.append(query("SELECT * FROM customers"))
            found.append(query("SELECT lower('A'), 'A' LIKE 'a'"))
            found.append(query("SELECT name FROM sqlite_temp_master"))
            found += [driver(session).row_factory, driver(session).text_factory]
            for name in ("foreign_keys", "query_only", "journal_mode", "locking_mode"):
                found.append(query(f"PRAGMA {{name}}"))
            found.append([row[1] for row in query("PRAGMA database_list") if row[1] != "temp"])
            session.execute(text(INSERT))
            session.commit()
            return found

        before = []

        def test_before(db_session):
            before.append(facts(db_session))

        def test_leaving(db_clone, db_session):
            {LEFTOVERS[leftover]}

        @pytest.mark.parametrize("time", [1, 2])
        def test_after(db_session, time):
            for connection in left:
                if isinstance(connection, sqlite3.Connection):
                    with contextlib.suppress(sqlite3.Error), connection:
                        connection.execute(INSERT)
            assert facts(db_session) == before[0]
        """,
    )

    result.assert_outcomes(passed=4)


OWN = {
    "a temporary table": ("CREATE TEMP TABLE own (a)", "SELECT 1"),
    "a database in memory": ("ATTACH ':memory:' AS other", "CREATE TABLE other.own (a)"),
    "a temporary index of words": ("CREATE VIRTUAL TABLE temp.own USING fts5(a)", "SELECT 1"),
}


@pytest.mark.parametrize("own", OWN)
def test_rows_in_what_a_listener_made_for_its_connection_do_not_reach_the_next(project, own):
    result = project("shop").run(
        RESET,
        test_it=f"""
        import pytest
        from shop.db import engine
        from sqlalchemy import event, text

        @event.listens_for(engine, "connect")
        def _make(connection, _record):
            for statement in {OWN[own]}:
                connection.execute(statement)

        @pytest.mark.parametrize("time", [1, 2, 3])
        def test_it(db_session, time):
            assert db_session.execute(text("SELECT count(*) FROM own")).scalar() == 0
            db_session.execute(text("INSERT INTO own VALUES ('left')"))
            db_session.execute(text("INSERT INTO customers (name) VALUES ('one')"))
            db_session.commit()
        """,
    )

    result.assert_outcomes(passed=3)
    assert resets(result) == 3


def test_a_test_that_asked_for_no_database_is_refused_although_a_connection_is_open(project):
    result = project("shop").run(
        RESET,
        test_it="""
        from shop import orders

        def test_with(db_clone):
            orders.add_customer("Ada")

        def test_without():
            orders.count()

        def test_with_again(db_clone):
            assert orders.count() == 1
        """,
    )

    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*DatabaseNotRequested*did not ask for a database*"])


def test_a_failing_test_keeps_its_file_and_the_next_has_another(project):
    shop = project("shop")

    result = shop.run(
        RESET,
        test_it="""
        from shop import orders

        def test_fails(db_clone):
            orders.add_customer("of the failing test")
            assert False

        def test_passes(db_clone):
            assert orders.count() == 1
            orders.add_customer("of the passing test")
        """,
    )

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["*kept-databases*test_fails.db", "*customers: 1 added*", "*of the failing test*"]
    )
    assert len(list(shop.root.rglob("kept-databases/*/*.db"))) == 1
    assert "2 clones" in result.stdout.str()


def test_durable_empty_and_read_only_clones_are_fresh_ones(project):
    result = project("shop").run(
        RESET,
        test_it="""
        import pytest
        from shop import orders
        from sqlalchemy import text

        def test_reset(db_session):
            orders.add_customer("Ada")
            assert db_session.scalar(text("PRAGMA synchronous")) == 0

        @pytest.mark.db_clone(durable=True)
        def test_durable(db_session):
            orders.add_customer("Ada")
            assert db_session.scalar(text("PRAGMA synchronous")) == 2

        @pytest.mark.db_clone(empty=True)
        def test_empty(db_session):
            assert db_session.scalar(text("SELECT count(*) FROM sqlite_master")) == 0

        def test_reset_again(db_session):
            assert orders.names() == ["the house"]
        """,
    )

    result.assert_outcomes(passed=4)


def test_an_application_in_wal_mode_is_rewound_from_the_third_test_on(project):
    shop = project("shop")
    module = shop.root / "shop" / "db.py"
    pragma = 'cursor.execute("PRAGMA foreign_keys=ON")'
    module.write_text(
        module.read_text().replace(pragma, f'{pragma}; cursor.execute("PRAGMA journal_mode=WAL")')
    )

    result = shop.run(
        RESET,
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
    assert resets(result) == 6
    result.stdout.fnmatch_lines(["*3 clones*, and fresh 2 times: the journal mode became WAL*"])


def test_an_application_in_wal_mode_gets_fresh_clones_where_rewriting_is_insisted_on(project):
    shop = project("shop")
    module = shop.root / "shop" / "db.py"
    pragma = 'cursor.execute("PRAGMA foreign_keys=ON")'
    module.write_text(
        module.read_text().replace(pragma, f'{pragma}; cursor.execute("PRAGMA journal_mode=WAL")')
    )
    table = "[tool.alembic-snapshot]\n"
    toml = shop.root / "pyproject.toml"
    toml.write_text(toml.read_text().replace(table, f'{table}reset = "rewrite"\n'))

    result = shop.run(
        RESET,
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
    result.stdout.fnmatch_lines(["*8 clones*fresh clones instead of reset ones*WAL*"])


def test_a_large_snapshot_is_rewound(project):
    shop = project("shop")
    (shop.root / "conftest.py").write_text(
        "import alembic_snapshot.sqlite.reset.clones as clones\nclones.LARGE = 10\n"
    )

    result = shop.run(
        RESET,
        test_it="""
        import pytest
        from shop import orders
        from sqlalchemy import text

        @pytest.mark.parametrize("time", range(4))
        def test_rows(db_session, time):
            assert db_session.scalar(text("PRAGMA journal_mode")) == "wal"
            orders.add_customer("Ada")
            assert orders.count() == 2
        """,
    )

    result.assert_outcomes(passed=4)
    assert resets(result) == 4


def test_the_configuration_chooses_and_the_option_wins(project):
    shop = project("shop")
    toml = shop.root / "pyproject.toml"
    table = "[tool.alembic-snapshot]\n"
    toml.write_text(toml.read_text().replace(table, f'{table}clones = "reset"\n'))
    test = """
        from shop import orders

        def test_it(db_clone):
            orders.add_customer("Ada")
    """

    assert resets(shop.run(test_it=test)) == 1
    assert resets(shop.run("--snapshot-clones=fresh", test_it=test)) == -1


def test_a_thread_that_keeps_a_session_is_the_reason_and_nobody_was_told(
    project: Callable[[str], Project],
) -> None:
    result = project("shop").run(
        RESET,
        test_it="""
        import queue
        import threading
        import pytest
        from shop.db import SessionLocal
        from shop.models import Customer

        ASKED, DONE = queue.Queue(), queue.Queue()

        def work():
            with SessionLocal() as session:
                while (name := ASKED.get()) is not None:
                    session.add(Customer(name=name))
                    session.commit()
                    session.begin()
                    DONE.put(session.query(Customer).count())

        @pytest.fixture(scope="module", autouse=True)
        def thread():
            started = threading.Thread(target=work)
            started.start()
            yield
            ASKED.put(None)
            started.join()

        @pytest.mark.filterwarnings("ignore:a connection")
        @pytest.mark.parametrize("number", range(2))
        def test_it(db_clone, number):
            ASKED.put("Ada")
            assert DONE.get() == 2
        """,
    )

    told = result.stdout.str()
    result.assert_outcomes(passed=2)
    assert "another thread still had a connection to it (" in told
    assert "was told where" not in told
