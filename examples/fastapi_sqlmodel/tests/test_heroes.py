import pytest
from fastapi.testclient import TestClient
from sqlmodel import select

from app.main import app
from app.models import Hero


@pytest.fixture
def client(db_clone):
    return TestClient(app)


def test_a_hero_is_added(client, db_session):
    client.post("/heroes", json={"name": "Spider-Boy"})

    assert db_session.exec(select(Hero.name)).all() == ["Spider-Boy"]


def test_no_other_test_sees_it(client):
    assert client.get("/heroes").json() == []
