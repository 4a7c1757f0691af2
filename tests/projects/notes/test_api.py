"""Requests commit for real; the next test sees none of it."""

import asyncio

import pytest
from fastapi.testclient import TestClient
from httpx import ASGITransport, AsyncClient
from notes.app import app
from notes.db import SessionLocal, engine
from notes.models import Note
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

asyncio_test = pytest.mark.asyncio


@pytest.fixture
def client(db_clone):
    with TestClient(app) as client:
        yield client


def over_http():
    return AsyncClient(transport=ASGITransport(app), base_url="http://notes")


@pytest.mark.parametrize("time", [1, 2, 3])
def test_requests_commit_and_the_next_test_sees_none_of_it(client, time):
    assert client.get("/notes").json() == []

    assert client.post("/notes", json={"text": "one"}).json() == 1
    assert client.post("/notes", json={"text": "two"}).json() == 2

    assert client.get("/notes").json() == ["one", "two"]
    assert client.delete("/notes/1").status_code == 204
    assert client.get("/notes").json() == ["two"]


def test_a_synchronous_session_arranges_and_asserts(client, db_session):
    db_session.add(Note(text="arranged"))
    db_session.commit()

    assert client.get("/notes").json() == ["arranged"]
    client.post("/notes", json={"text": "two"})

    assert db_session.scalar(select(func.count()).select_from(Note)) == 2


@asyncio_test
@pytest.mark.parametrize("time", [1, 2, 3])
async def test_the_engine_is_the_applications_in_every_event_loop(async_db_engine, time):
    assert async_db_engine is engine

    async with over_http() as client:
        await client.post("/notes", json={"text": "one"})
        assert (await client.get("/notes")).json() == ["one"]


@asyncio_test
@pytest.mark.parametrize("time", [1, 2])
async def test_an_async_session_is_the_applications(async_db_session, time):
    assert not async_db_session.sync_session.expire_on_commit

    async_db_session.add(Note(text="one"))
    await async_db_session.commit()

    async with over_http() as client:
        assert (await client.get("/notes")).json() == ["one"]


@asyncio_test
async def test_two_sessions_at_once(async_db_session):
    async def write(number):
        async with SessionLocal() as session:
            session.add(Note(text=f"note {number}"))
            await session.commit()

    await asyncio.gather(*map(write, range(20)))

    assert await async_db_session.scalar(select(func.count()).select_from(Note)) == 20


@asyncio_test
@pytest.mark.parametrize("time", [1, 2])
async def test_more_at_once_than_the_pool_has_connections(db_clone, time):
    async def read():
        async with SessionLocal() as session:
            await session.scalar(text("SELECT 1"))
            await asyncio.sleep(0)

    await asyncio.gather(*(read() for _ in range(40)))


@asyncio_test
async def test_a_session_that_is_never_closed(db_clone):
    global left
    left = SessionLocal()
    left.add(Note(text="flushed"))
    await left.flush()


@asyncio_test
async def test_another_engine_with_the_same_url_is_pointed_too(async_db_session):
    async_db_session.add(Note(text="one"))
    await async_db_session.commit()
    other = create_async_engine(engine.url)

    async with AsyncSession(other) as session:
        assert list(await session.scalars(select(Note.text))) == ["one"]
    await other.dispose()


@asyncio_test
@pytest.mark.parametrize("time", [1, 2])
async def test_an_engine_that_is_never_disposed_of_is_no_burden(db_clone, time):
    other = create_async_engine(engine.url)
    async with AsyncSession(other) as session:
        assert list(await session.scalars(select(Note.text))) == []


@asyncio_test
async def test_without_asking_there_is_no_database():
    with pytest.raises(Exception, match=r"notes/app.py line \d+ connects to notes.db:engine"):
        async with over_http() as client:
            await client.get("/notes")


@pytest.mark.anyio
async def test_anyio_runs_async_tests_too(own_session):
    own_session.add(Note(text="one"))
    await own_session.commit()

    async with over_http() as client:
        assert (await client.get("/notes")).json() == ["one"]


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
async def own_session(async_db_engine):
    async with AsyncSession(async_db_engine) as session:
        yield session


@asyncio_test
async def test_a_background_task_that_runs_on(db_clone):
    started = asyncio.Event()

    async def work():
        async with SessionLocal() as session:
            await session.scalar(text("SELECT 1"))
            started.set()
            await asyncio.sleep(60)

    global task
    task = asyncio.create_task(work())
    await started.wait()
