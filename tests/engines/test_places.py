"""The databases that the arguments of PostgreSQL's drivers lead to."""

from __future__ import annotations

import pytest
from sqlalchemy import make_url

from alembic_snapshot.database.identity import (
    Place,
    places_of,
    server_place,
    server_place_at,
    url_place,
    url_places,
    variables_for,
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
    for name in ("PGHOST", "PGPORT", "PGDATABASE", "PGUSER", "PGSERVICE"):
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


SERVICES = """
# as libpq has it
[shop]
host=a
port=6000
dbname=x
user=ada

[several]
host=a,b
port=6000,7000
dbname=x

[address]
host=a
hostaddr=10.0.0.1
dbname=x

[user]
host=a
user=ada

[empty]
[shop]
dbname=a second one of that name
"""
SERVED = {
    "all of it": ({"service": "shop"}, {}, "x", [("a", 6000)]),
    "a variable names it": ({}, {"PGSERVICE": "shop"}, "x", [("a", 6000)]),
    "given before the variable": (
        {"service": "several"},
        {"PGSERVICE": "shop"},
        "x",
        [("a", 6000), ("b", 7000)],
    ),
    "given before the service": (
        {"service": "shop", "host": "b", "port": 5, "database": "y"},
        {},
        "y",
        [("b", 5)],
    ),
    "asyncpg's hosts": (
        {"service": "shop", "host": ["b", "c"], "port": [5, 6]},
        {},
        "x",
        [("b", 5), ("c", 6)],
    ),
    "the service before variables": (
        {"service": "shop"},
        {"PGHOST": "b", "PGPORT": "5", "PGDATABASE": "y"},
        "x",
        [("a", 6000)],
    ),
    "variables where it says nothing": (
        {"service": "empty"},
        {"PGHOST": "b", "PGPORT": "5", "PGDATABASE": "y"},
        "y",
        [("b", 5)],
    ),
    "an address": ({"service": "address"}, {}, "x", [("10.0.0.1", 5432)]),
    "a user alone": ({"service": "user"}, {}, "ada", [("a", 5432)]),
}


@pytest.fixture
def write_services(tmp_path, monkeypatch):
    def write(name, text, variable, folder=tmp_path):
        (folder / name).write_text(text)
        monkeypatch.setenv(variable, str(folder / name if variable == "PGSERVICEFILE" else folder))

    for name in ("PGSERVICEFILE", "PGSYSCONFDIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return write


@pytest.mark.parametrize(
    ("arguments", "variables", "name", "addresses"), SERVED.values(), ids=SERVED
)
@pytest.mark.parametrize(
    ("file", "variable"),
    [
        ("services", "PGSERVICEFILE"),
        (".pg_service.conf", "HOME"),
        ("pg_service.conf", "PGSYSCONFDIR"),
    ],
)
def test_a_service_leads_where_libpq_takes_it(
    file, variable, arguments, variables, name, addresses, write_services, monkeypatch
):
    write_services(file, SERVICES, variable)
    for one, value in variables.items():
        monkeypatch.setenv(one, value)

    places = places_of("postgresql", (), arguments)

    assert places == [Place("postgresql", name, *address) for address in addresses]
    assert not any(place.is_unknown for place in places)


def test_a_url_leads_to_its_services_database(write_services):
    write_services("services", SERVICES, "PGSERVICEFILE")

    for driver in ("psycopg", "asyncpg"):
        url = make_url(f"postgresql+{driver}:///?service=shop")

        assert url_place(url) == Place("postgresql", "x", "a", 6000)
        assert [*variables_for(url_places(url), {"A": str(url), "B": "postgresql://a:6000/x"})] == [
            ("A", True),
            ("B", True),
        ]


@pytest.mark.parametrize(
    "text", ["", "[shop]\nhost\n", "[shop]\nunknown=1\n", "[shop]\nservice=other\n", None]
)
def test_a_service_that_libpq_does_not_know_is_a_database_of_its_own(
    text, tmp_path, write_services
):
    write_services("services", text or "", "PGSERVICEFILE")
    if text is None:
        (tmp_path / "services").unlink()
    here, other = server_place({}), server_place({"host": "a", "port": 6000, "dbname": "x"})

    unknown = server_place({"service": "shop"})

    assert unknown.is_unknown
    assert not any(unknown.is_same(one) for one in (here, other, server_place({"service": "b"})))
    assert unknown.is_same(server_place({"service": "shop"}))
    assert not unknown.is_same(server_place({"service": "shop", "dbname": "y"}))
    assert unknown.text(tmp_path) == (
        "the PostgreSQL database of service 'shop', which is not known here"
    )
    assert Place.from_record(unknown.to_record(tmp_path), tmp_path) == unknown


def test_where_a_server_is_that_answered_no_service_says(write_services, monkeypatch):
    write_services("services", SERVICES, "PGSERVICEFILE")
    monkeypatch.setenv("PGSERVICE", "address")

    assert server_place_at("127.0.0.1", 0, "y") == Place("postgresql", "y", "localhost", 5432)


@pytest.mark.parametrize("kind", ["mysql", "oracle", ""])
def test_other_kinds_have_no_places(kind):
    assert places_of(kind, (), {"host": "a", "dbname": "x"}) == []
