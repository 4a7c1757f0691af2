"""What a failing test shows: its own lines and the project's, and what is with its database."""

from __future__ import annotations

import re

import pytest

# Each opens the application's database without asking for one, in another way.
NOT_ASKED = """
import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from shop import orders
from shop.db import SessionLocal, engine
from shop.models import Customer
from sqlalchemy import select
from sqlalchemy.ext.asyncio import create_async_engine

ASYNC = engine.url.set(drivername="sqlite+aiosqlite")

@pytest.fixture
def fixture():
    orders.add_customer("Ada")

def test_core():
    with engine.connect() as connection:
        connection.execute(select(Customer))

def test_session():
    with SessionLocal() as session:
        session.get(Customer, 1)

def test_project():
    orders.add_customer("Ada")

def test_setup(fixture):
    pass

def test_thread():
    with ThreadPoolExecutor() as pool:
        pool.submit(orders.add_customer, "Ada").result()

def test_async():
    async def connect():
        async with create_async_engine(ASYNC).connect():
            pass
    asyncio.run(connect())

def test_group():
    async def connect():
        async with create_async_engine(ASYNC).connect():
            pass
    async def several():
        async with asyncio.TaskGroup() as group:
            group.create_task(connect())
    asyncio.run(several())

def test_chained():
    try:
        engine.connect()
    except Exception as error:
        raise RuntimeError("no database") from error

def test_something_else():
    import json
    json.loads("{")
"""

# The key as it is, and one with which nobody can import SQLAlchemy.
WHERE_IMPORTED = {"connects": "engine = ", "a wrong table": "engin = "}


def shown(result):
    """What was shown of each test."""
    text = result.stdout.str()
    parts = re.split(r"^_+ (?:ERROR at setup of )?test_(\w+) _+$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def files(text, root):
    """The files whose lines are shown, relative to the project."""
    text = text.replace(f"{root}/", "")
    return set(
        re.findall(r'^(?:E?\s*\|?\s*File ")?([^\s":]+\.py)(?:", line |:)\d+', text, re.MULTILINE)
    )


class TestAnErrorOfOurs:
    @pytest.mark.parametrize("style", ["auto", "long", "short"])
    def test_shows_the_projects_lines_alone(self, shop, style):
        result = shop.run(f"--tb={style}", "-p", "no:randomly", test_it=NOT_ASKED)

        result.assert_outcomes(failed=8, errors=1)
        tests = shown(result)
        for name in ("core", "session", "project", "setup", "thread", "async", "group", "chained"):
            assert "DatabaseNotRequested: " in tests[name]
            own = {"test_it.py", "shop/orders.py"}
            assert "test_it.py" in files(tests[name], shop.root)
            assert files(tests[name], shop.root) <= own, name
        assert "shop/orders.py" in files(tests["thread"], shop.root)
        assert any("json" in file for file in files(tests["something_else"], shop.root))

    @pytest.mark.parametrize("option", ["--full-trace", "--tb=native"])
    def test_shows_all_when_it_is_asked_to(self, shop, option):
        result = shop.run(option, "-k", "core", test_it=NOT_ASKED)

        result.assert_outcomes(failed=1)
        assert "sqlalchemy" in result.stdout.str()
        assert "engines/events.py" in result.stdout.str()

    @pytest.mark.parametrize("key", WHERE_IMPORTED.values(), ids=WHERE_IMPORTED)
    def test_shows_them_alone_where_a_module_is_imported(self, shop, key):
        shop.replace("pyproject.toml", "engine = ", key)

        result = shop.run("--tb=short", test_it="from shop import orders\norders.add_customer('A')")

        text = result.stdout.str()
        assert re.search("^E .*(ConfigError|DatabaseNotRequested): ", text, re.MULTILINE)
        assert "test_it.py" in files(text, shop.root)
        own = {"test_it.py", "shop/db.py", "shop/models.py", "shop/orders.py"}
        assert files(text, shop.root) <= own


class TestAFailingTestsDatabase:
    def test_says_what_the_models_have_that_no_revision_makes(self, shop):
        shop.replace(
            "shop/models.py",
            "    name: Mapped[str]",
            "    nick: Mapped[str | None]\n    name: Mapped[str]",
        )

        result = shop.run(
            "-p",
            "no:randomly",
            test_it="""
            from shop import orders

            def test_a_forgotten_migration(db_session):
                orders.add_customer("Ada")

            def test_passes(db_session):
                pass
            """,
        )

        result.assert_outcomes(passed=1, failed=1)
        section = result.stdout.str().partition("database of the test")[2]
        assert "the models have `customers.nick`, no revision makes it\n" in section
        assert "`alembic revision --autogenerate`" in section

    def test_says_what_is_not_committed(self, shop):
        result = shop.run(
            "-p",
            "no:randomly",
            test_it="""
            from shop.db import engine
            from shop.models import Customer
            from sqlalchemy import insert, select

            def test_flushed(db_session):
                db_session.add(Customer(name="Ada"))
                db_session.flush()
                assert 0

            def test_core(db_engine):
                with engine.connect() as connection:
                    connection.execute(insert(Customer).values(name="Ada"))
                    assert 0

            def test_added(db_session):
                db_session.get(Customer, 1).name = "Ada"
                db_session.add_all([Customer(name="Bob"), Customer(name="Cy")])
                assert 0

            def test_read(db_session):
                assert db_session.scalars(select(Customer)).all() == []

            def test_committed(db_session):
                db_session.add(Customer(name="Ada"))
                db_session.commit()
                assert 0
            """,
        )

        tests = shown(result)
        line = (
            r"not committed: a transaction is open, on a connection that test_it\.py line \d+ took"
        )
        assert re.search(line, tests["flushed"])
        assert "2 objects added (test_it.py line 17), 1 object changed" in tests["added"]
        for name in ("read", "committed"):
            assert "not committed" not in tests[name]
            assert "not flushed" not in tests[name]

    def test_says_whether_a_read_only_one_is_the_snapshot(self, on_either, kind):
        result = on_either.run(
            test_it="""
            import pytest
            from shop import orders

            @pytest.mark.db_clone(readonly=True)
            def test_it():
                assert orders.names() == []
            """
        )

        result.assert_outcomes(failed=1)
        told = "the test read a clone of the snapshot, which others read, too"
        if kind == "sqlite":
            told = "the test read the snapshot itself: *.db"
        result.stdout.fnmatch_lines([told])
