"""Async engines: pointed, emptied and closed, whatever event loop a test runs in."""

from __future__ import annotations

import pytest


@pytest.fixture
def notes(new_sample):
    """A FastAPI application with an async engine made at import."""
    return new_sample("notes")


def test_a_fastapi_application_is_tested_as_it_is(notes, mode):
    result = notes.run(mode=mode)

    assert result.parseoutcomes().keys() == {"passed"}
    assert not (notes.root / "real.db").exists()


def test_a_pool_that_was_waited_for_is_no_loops_even_when_nothing_is_open_any_more(notes, mode):
    result = notes.run("-p", "no:randomly", "-k", "two_sessions or more_at_once", mode=mode)

    assert result.parseoutcomes()["passed"] == 3
    assert "failed" not in result.parseoutcomes()


def test_anyio_alone_runs_the_session_fixture(notes):
    notes.replace("pyproject.toml", 'asyncio_default_fixture_loop_scope = "function"\n', "")
    (notes.root / "test_api.py").unlink()

    result = notes.run(
        "-p",
        "no:asyncio",
        test_it="""
        import pytest
        from notes.models import Note
        from sqlalchemy import func, select

        pytestmark = pytest.mark.anyio

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        @pytest.mark.parametrize("time", [1, 2])
        async def test_session(async_db_session, time):
            async_db_session.add(Note(text="one"))
            await async_db_session.commit()
            assert await async_db_session.scalar(select(func.count()).select_from(Note)) == 1
        """,
    )

    result.assert_outcomes(passed=2)


def test_tests_that_share_a_loop_can_have_a_session_of_that_loop(notes):
    (notes.root / "test_api.py").unlink()

    result = notes.run(
        test_it="""
        import asyncio

        import pytest
        import pytest_asyncio
        from notes.models import Note
        from sqlalchemy import func, select
        from sqlalchemy.ext.asyncio import AsyncSession

        pytestmark = pytest.mark.asyncio(loop_scope="module")
        loops = set()

        @pytest_asyncio.fixture(loop_scope="module")
        async def async_db_session(async_db_engine):
            loops.add(asyncio.get_running_loop())
            async with AsyncSession(async_db_engine, expire_on_commit=False) as session:
                yield session

        @pytest.mark.parametrize("time", [1, 2, 3])
        async def test_session(async_db_session, time):
            async_db_session.add(Note(text="one"))
            await async_db_session.commit()
            assert await async_db_session.scalar(select(func.count()).select_from(Note)) == 1
            assert loops == {asyncio.get_running_loop()}
        """,
    )

    result.assert_outcomes(passed=3)
