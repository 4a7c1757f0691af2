"""Requests commit for real; the next test sees none of it."""

import pytest
from board import Post, Session, create_app


@pytest.fixture
def client(db_clone):
    return create_app().test_client()


@pytest.mark.parametrize("time", [1, 2, 3])
def test_requests_commit_and_the_next_test_sees_none_of_it(client, time):
    assert client.get("/posts").json == []

    assert client.post("/posts", json={"title": "one"}).status_code == 201
    assert client.post("/posts", json={"title": "one"}).status_code == 409
    assert client.post("/posts", json={"title": "two"}).status_code == 201

    assert client.get("/posts").json == ["one", "two"]


def test_a_session_of_the_fixture_sees_what_requests_did(client, db_session):
    db_session.add(Post(title="arranged"))
    db_session.commit()
    client.post("/posts", json={"title": "one"})

    assert db_session.query(Post).count() == 2


def test_a_request_without_asking_fails():
    client = create_app().test_client()
    with pytest.raises(Exception, match="did not ask for a database"):
        create_app().config.update(TESTING=True)
        client.application.config.update(TESTING=True)
        client.get("/posts")


def test_a_scoped_session_that_is_left_open_is_no_burden(client):
    Session.add(Post(title="never committed"))
    Session.flush()
