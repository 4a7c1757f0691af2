"""The databases that the arguments of PostgreSQL's drivers lead to."""

from __future__ import annotations

import pytest
from sqlalchemy import make_url

from alembic_snapshot.database.identity import (
    Place,
    places_of,
    server_place,
    url_place,
    url_places,
)

ARGUMENTS = {
    "a host": ({"host": "a", "dbname": "x"}, [("a", 5432)]),
    "a port": ({"host": "a", "port": 6000, "dbname": "x"}, [("a", 6000)]),
    "hosts": ({"host": "a,b", "dbname": "x"}, [("a", 5432), ("b", 5432)]),
    "hosts and one port": (
        {"host": "a,b", "port": "6000", "dbname": "x"},
        [("a", 6000), ("b", 6000)],
    ),
    "hosts and ports": (
        {"host": "a,b,c", "port": "6000,,7000", "dbname": "x"},
        [("a", 6000), ("b", 5432), ("c", 7000)],
    ),
    "hosts and fewer ports": (
        {"host": "a,b,c", "port": "6000,7000", "dbname": "x"},
        [("a", 6000), ("b", 7000), ("c", 7000)],
    ),
    "asyncpg's hosts": (
        {"host": ["a", "b"], "port": [6000, 7000], "database": "x"},
        [("a", 6000), ("b", 7000)],
    ),
    "an address": ({"host": "a", "hostaddr": "10.0.0.1", "dbname": "x"}, [("10.0.0.1", 5432)]),
}


@pytest.fixture(autouse=True)
def without_libpqs_variables(monkeypatch):
    for name in ("PGHOST", "PGPORT", "PGDATABASE", "PGUSER"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(("arguments", "addresses"), ARGUMENTS.values(), ids=ARGUMENTS)
def test_each_host_is_a_place_and_the_first_is_tried_first(arguments, addresses):
    places = [Place("postgresql", "x", *address) for address in addresses]

    assert places_of("postgresql", (), arguments) == places
    assert server_place(arguments) == places[0]


@pytest.mark.parametrize(
    ("given", "variables", "name"),
    [
        ({"dbname": "x", "user": "ada"}, {"PGDATABASE": "y"}, "x"),
        ({"user": "ada"}, {"PGDATABASE": "y"}, "y"),
        ({"user": "ada"}, {}, "ada"),
        ({"user": "ada"}, {"PGUSER": "bob"}, "ada"),
        ({}, {"PGUSER": "bob"}, "bob"),
    ],
)
def test_a_name_that_is_not_given_is_libpqs(given, variables, name, monkeypatch):
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)

    assert server_place({"host": "a", **given}).name == name


def test_variables_say_where_a_server_is_that_is_not_named(monkeypatch):
    monkeypatch.setenv("PGHOST", "a,b")
    monkeypatch.setenv("PGPORT", "6000,7000")

    places = places_of("postgresql", (), {"dbname": "x"})

    assert [(place.host, place.port) for place in places] == [("a", 6000), ("b", 7000)]


def test_a_url_leads_to_each_of_its_hosts():
    url = make_url("postgresql+psycopg://u@/x?host=a:6000&host=b:7000")

    assert [(p.host, p.port, p.name) for p in url_places(url)] == [
        ("a", 6000, "x"),
        ("b", 7000, "x"),
    ]
    assert url_place(url) == url_places(url)[0]


@pytest.mark.parametrize("kind", ["mysql", "oracle", ""])
def test_other_kinds_have_no_places(kind):
    assert places_of(kind, (), {"host": "a", "dbname": "x"}) == []
