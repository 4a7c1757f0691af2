import pytest
from httpx import ASGITransport, AsyncClient

from tasks.app import app, lifespan

pytestmark = pytest.mark.db_clone
FIRST = "Write down what there is to do"


@pytest.fixture
async def client(db_clone):
    async with lifespan(app), AsyncClient(transport=ASGITransport(app), base_url="http://t") as one:
        yield one


async def test_a_task_is_added(client):
    await client.post("/tasks", json={"title": "Rest"})

    assert (await client.get("/tasks")).json() == [FIRST, "Rest"]


async def test_no_other_test_sees_it(client):
    assert (await client.get("/tasks")).json() == [FIRST]
