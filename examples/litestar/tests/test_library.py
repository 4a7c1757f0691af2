import pytest
from litestar.testing import TestClient

from library.app import app


@pytest.fixture
def client(db_clone):
    with TestClient(app) as one:
        yield one


def test_a_book_is_added(client):
    client.post("/books", json={"title": "Emma"})

    assert client.get("/books").json() == ["Emma"]


def test_no_other_test_sees_it(client):
    assert client.get("/books").json() == []
