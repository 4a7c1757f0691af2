import pytest

from blog import create_app


@pytest.fixture
def client(db_clone):
    return create_app().test_client()


def test_a_post_is_written(client):
    client.post("/posts", json={"title": "Hello"})

    assert client.get("/posts").json == ["Hello"]


def test_no_other_test_sees_it(client):
    assert client.get("/posts").json == []
