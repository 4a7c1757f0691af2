"""``clones = "reset"`` on a PostgreSQL server: as private as fresh clones, on live connections."""

from __future__ import annotations

import re

import pytest

# Imported here, and not only in fixtures: pytester forgets what is imported while it is in use.
from alembic_snapshot.postgres.private import acquire  # noqa: F401
from tests.server import as_role

RESET = "--snapshot-clones=reset"


@pytest.fixture
def on_server(new_sample, postgres, monkeypatch):
    """Makes a copy of a project whose one setting is an environment variable."""
    monkeypatch.setenv("ALEMBIC_SNAPSHOT_BACKEND", "postgresql")

    def make(project, variable, url="{url}"):
        sample = new_sample(project)
        sample.configure(f'environment = {{ {variable} = "{url}" }}')
        return sample

    return make


@pytest.fixture
def shop(on_server):
    return on_server("shop", "SHOP_URL")


def resets(result: pytest.RunResult) -> int:
    """How often the summary says that a clone was put back; -1 if it does not say."""
    found = re.search(r"; reset (\d+) times?\b", result.stdout.str())
    return int(found[1]) if found else -1


def test_connections_and_the_database_are_the_same_for_each_test_and_the_rows_are_not(shop):
    result = shop.run(
        RESET,
        test_it="""
        import pytest
        from shop import orders
        from sqlalchemy import text

        seen = set()

        @pytest.mark.parametrize("time", range(5))
        def test_rows(db_session, time):
            orders.add_customer(f"customer {time}")
            seen.add(db_session.scalar(text("SELECT pg_backend_pid()")))
            seen.add(db_session.scalar(text("SELECT current_database()")))
            assert orders.names() == sorted([f"customer {time}", "the house"])

        def test_that_there_was_one_connection_at_a_time():
            assert len(seen) <= 3
        """,
    )

    result.assert_outcomes(passed=6)
    assert resets(result) == 5
    assert "1 clone," in result.stdout.str()


@pytest.mark.parametrize("part", ["0", "1"])
def test_what_a_test_leaves_behind_does_not_reach_the_next(shop, names, part, monkeypatch):
    monkeypatch.setenv("PART", part)
    shop.behaviour("reset_on_postgresql")

    result = shop.run(RESET, "-p", "no:randomly", "-W", "ignore")

    assert result.parseoutcomes().keys() == {"passed"}
    assert resets(result) > 2
    assert names("alembic_clone_") == []


@pytest.mark.parametrize("mode", ["plain", "n2"])
def test_what_a_test_does_stays_in_the_test(shop, mode, names):
    shop.behaviour("on_postgresql")

    result = shop.run(RESET, mode=mode)

    assert result.parseoutcomes().keys() == {"passed"}
    assert resets(result) > 3
    assert names("alembic_clone_") == []


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_an_async_application_is_tested_as_it_is(on_server, driver, monkeypatch):
    if driver == "psycopg":
        monkeypatch.setenv("NOTES_URL", "postgresql+psycopg://localhost/notes")
    notes = on_server("notes", "NOTES_URL", "{async_url}")

    result = notes.run(RESET)

    assert result.parseoutcomes().keys() == {"passed"}
    assert resets(result) > 5


LOOPS = """
    import asyncio
    import pytest
    from notes.db import engine
    from notes.models import Note
    from sqlalchemy import func, select, text
    from sqlalchemy.ext.asyncio import AsyncSession

    seen = set()

    async def work(session):
        assert await session.scalar(select(func.count()).select_from(Note)) == 0
        note = Note(text="one")
        session.add(note)
        await session.flush()
        assert note.id == 1
        await session.commit()
        seen.add(await session.scalar(text("SELECT current_database()")))

    @pytest.mark.asyncio(loop_scope="SCOPE")
    @pytest.mark.parametrize("time", range(3))
    async def test_the_fixture(async_db_session, time):
        await work(async_db_session)

    @pytest.mark.asyncio(loop_scope="SCOPE")
    @pytest.mark.parametrize("time", range(3))
    async def test_the_engine(db_clone, time):
        async with AsyncSession(engine) as session:
            await work(session)

    @pytest.mark.asyncio(loop_scope="SCOPE")
    async def test_many(db_clone):
        async def one(number):
            async with AsyncSession(engine) as session:
                session.add(Note(text=f"note {number}"))
                await session.commit()

        await asyncio.gather(*map(one, range(20)))

    def test_a_loop_of_its_own(db_clone):
        async def own():
            async with AsyncSession(engine) as session:
                await work(session)

        asyncio.run(own())

    @pytest.mark.asyncio(loop_scope="SCOPE")
    async def test_the_fixture_again(async_db_session):
        await work(async_db_session)

    def test_that_it_was_one_database():
        assert len(seen) == 1
"""


SCOPES = [
    ("asyncpg", "function"),
    ("asyncpg", "module"),
    ("asyncpg", "session"),
    ("psycopg", "session"),
]


@pytest.mark.parametrize(("driver", "scope"), SCOPES)
def test_loops_of_every_scope(on_server, driver, scope, monkeypatch):
    if driver == "psycopg":
        monkeypatch.setenv("NOTES_URL", "postgresql+psycopg://localhost/notes")
    notes = on_server("notes", "NOTES_URL", "{async_url}")

    loop = f"asyncio_default_fixture_loop_scope={scope}"
    tests = LOOPS.replace("SCOPE", scope)
    result = notes.run(RESET, "-p", "no:randomly", "-o", loop, "test_it.py", test_it=tests)

    result.assert_outcomes(passed=10)
    assert resets(result) == 9


def test_a_failing_test_keeps_its_database_and_the_next_has_another(shop, names):
    result = shop.run(
        RESET,
        "-p",
        "no:randomly",
        test_it="""
        from shop import orders

        def test_before(db_clone):
            orders.add_customer("of a passing test")

        def test_fails(db_clone):
            orders.add_customer("of the failing test")
            assert False

        def test_passes(db_clone):
            assert orders.count() == 1
        """,
    )

    result.assert_outcomes(passed=2, failed=1)
    (kept,) = names("alembic_kept_")
    result.stdout.fnmatch_lines(
        [f"database {kept} on *", "customers: 1 added", "  + id=2, name='of the failing test'*"]
    )


def test_a_server_whose_log_cannot_be_read_gets_fresh_clones_and_the_summary_says_why(
    shop, postgres, monkeypatch
):
    with postgres.connect() as connection:
        connection.execute("DROP ROLE IF EXISTS plain")
        connection.execute("CREATE ROLE plain LOGIN CREATEDB")
    monkeypatch.setenv("SNAPSHOT_POSTGRES_URL", as_role(postgres, "plain"))

    result = shop.run(
        RESET,
        test_it="""
        import pytest
        from shop import orders

        @pytest.mark.parametrize("time", range(3))
        def test_rows(db_clone, time):
            orders.add_customer("Ada")
            assert orders.count() == 2
        """,
    )

    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(
        ["*3 clones*fresh clones instead of reset ones: * is no superuser, and can't read *"]
    )


def test_what_each_test_leaves_is_kept_if_all_is_to_be_kept(shop, names, postgres):
    result = shop.run(
        RESET,
        "--snapshot-keep=all",
        test_it="""
        import pytest
        from shop import orders

        @pytest.mark.parametrize("time", range(3))
        def test_rows(db_session, time):
            orders.add_customer(f"customer {time}")
        """,
    )

    result.assert_outcomes(passed=3)
    kept = names("alembic_kept_")
    assert len(kept) == 3
    added = set()
    for name in kept:
        with postgres.connect(name) as connection:
            added |= {row[0] for row in connection.execute("SELECT name FROM customers")}
    assert added == {"the house", "customer 0", "customer 1", "customer 2"}
