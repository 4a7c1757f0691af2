"""Async functions make checkpoints, and async tests begin from them and restore."""

import asyncio
import gc

import pytest
from notes.db import SessionLocal, engine
from notes.models import Note
from sqlalchemy import func, select

from alembic_snapshot import CloneError
from pytest_alembic_snapshot import checkpoint_fixture

pytestmark = pytest.mark.asyncio


@checkpoint_fixture("module")
async def first():
    async with SessionLocal() as session:
        note = Note(text="first")
        session.add(note)
        await session.commit()
        return note.id


@checkpoint_fixture("module")
async def second(first, async_db_session):
    assert await async_db_session.get(Note, first)
    async_db_session.add(Note(text="second"))
    await async_db_session.commit()
    await asyncio.gather(count(), count(), count())
    return await count()


@checkpoint_fixture("module")
async def that_goes_on(second):
    loop = asyncio.get_running_loop()
    async with engine.begin() as connection:
        await connection.run_sync(lambda sync: sync.execute(Note.__table__.delete()))
    yield "nothing"
    assert asyncio.get_running_loop() is loop


@checkpoint_fixture("module")
def by_synchronous_code(second, db_session):
    db_session.add(Note(text="third"))
    db_session.commit()


async def add(text):
    async with SessionLocal() as session:
        session.add(Note(text=text))
        await session.commit()


async def count():
    async with SessionLocal() as session:
        return await session.scalar(select(func.count()).select_from(Note))


@pytest.mark.parametrize("time", [1, 2])
async def test_on_the_first(first, time, async_db_session):
    assert (await async_db_session.get(Note, first)).text == "first"
    await add("more")
    assert await count() == 2


@pytest.mark.parametrize("time", [1, 2])
async def test_on_the_second(second, time):
    assert second == await count() == 2
    await asyncio.gather(*(add(f"more {number}") for number in range(5)))
    assert await count() == 7


async def test_of_a_generator(that_goes_on):
    assert await count() == 0


async def test_of_synchronous_code(by_synchronous_code):
    assert await count() == 3


@pytest.mark.parametrize("time", [1, 2])
async def test_restored(second, time, db_clone):
    await add("three")
    db_clone.checkpoint("three")
    await asyncio.gather(add("four"), add("five"))
    assert await count() == 5
    db_clone.restore("three")
    assert await count() == 3
    db_clone.restore("first")
    assert await count() == 1
    await add("another")
    db_clone.restore("second")
    assert await count() == 2


async def test_refused_while_a_session_is_at_work(second, db_clone, async_db_session):
    async_db_session.add(Note(text="more"))
    await async_db_session.flush()
    with pytest.raises(CloneError, match="took is in use"):
        db_clone.restore()
    await async_db_session.rollback()
    db_clone.restore()
    assert await count() == 2


async def test_connections_that_are_left_idle_are_closed(db_clone):
    await asyncio.gather(*(add(f"more {number}") for number in range(3)))
    db_clone.checkpoint()
    await add("too many")
    db_clone.restore()
    # A connection that is deleted open warns.
    gc.collect()
    assert await count() == 3
