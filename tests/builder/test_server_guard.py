"""G2 of servers, without one: which database the arguments of a connection lead to."""

from __future__ import annotations

import contextlib
import types

import pytest

from alembic_snapshot.builder.server_guard import ServerGuard, place_of
from alembic_snapshot.errors import GuardError

TEXTS = {
    ("psycopg", "dbname=a user=b"): {"dbname": "a", "user": "b"},
    ("psycopg", "postgresql://b@host:5433/a"): {
        "dbname": "a", "user": "b", "host": "host", "port": "5433"},
    ("psycopg2", "dbname='a b'"): {"dbname": "a b"},
    ("psycopg2", ""): {},
    ("asyncpg", "postgresql://b@host/a"): {"dbname": "a"},
    ("asyncpg", "postgresql://host/a%20b"): {"dbname": "a b"},
    ("asyncpg", "postgresql://host/a?database=b&dbname=c"): {"dbname": "a"},
    ("asyncpg", "postgresql://host/?database=b&dbname=c"): {"dbname": "b"},
    ("asyncpg", "postgresql://host/?dbname=c"): {"dbname": "c"},
    ("asyncpg", "postgresql://host"): {"dbname": None},
    ("asyncpg", "postgresql://?service=a"): {"dbname": None, "service": "a"},
    ("psycopg", "service=a"): {"service": "a"},
}  # fmt: skip


@pytest.mark.parametrize(("driver", "text"), TEXTS)
@pytest.mark.parametrize("way", ["first", "second", "conninfo", "dsn"])
def test_a_connection_string_is_read_however_it_is_given(driver, text, way):
    arguments, options = ((text,), {}) if way == "first" else ((object(), text), {})
    if way in ("conninfo", "dsn"):
        arguments, options = (), {way: text}

    told = place_of(driver, arguments, options)

    assert {name: value for name, value in told.items() if name != way} == TEXTS[driver, text]


def test_what_is_given_by_name_counts_before_the_connection_string():
    given = place_of("psycopg", ("dbname=a user=b", "dbname=other"), {"dbname": "c", "user": None})
    assert given == {"dbname": "c", "user": "b"}

    assert place_of("psycopg", (), {"database": "a"}) == {"dbname": "a"}
    assert place_of("asyncpg", ("postgresql://h/a",), {"database": "b"}) == {"dbname": "b"}
    assert place_of("psycopg", (7,), {"conninfo": None, "dsn": 7}) == {"dsn": 7}


class Refusing:
    """Connects to anything, and has what was refused."""

    def __init__(self, monkeypatch):
        for name in ("PGDATABASE", "PGSERVICE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("PGUSER", "of this user")
        self.guard = ServerGuard(types.SimpleNamespace(name="built"), self.refuse)
        self.connect = self.guard._watched("psycopg", self.connected)

    def refuse(self, what):
        raise GuardError(what)

    def connected(self, *arguments, **options):
        """Whatever was given."""
        return arguments, options


@pytest.fixture
def driver(monkeypatch):
    return Refusing(monkeypatch)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"dbname": "real"}, "real"),
        ({"database": "real"}, "real"),
        ({"dbname": "real", "user": "built"}, "real"),
        ({"user": "me"}, "me"),
        ({"host": "built"}, "of this user"),
        ({}, "of this user"),
    ],
)
def test_what_leads_elsewhere_is_refused(driver, options, name):
    with pytest.raises(GuardError) as told:
        driver.connect(**options)

    assert told.value.message == f"the PostgreSQL database {name!r}"
    with driver.guard.own_work():
        assert driver.connect(**options) == ((), options)
    with pytest.raises(GuardError):
        driver.connect(**options)


def test_a_service_is_the_database_that_it_names(driver, tmp_path, monkeypatch):
    (tmp_path / "services").write_text("[real]\ndbname=real\n[own]\ndbname=built\n")
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    for text, shown in (("service=real", "real"), ("service=no", "of service 'no'")):
        with pytest.raises(GuardError) as told:
            driver.connect(text)
        assert told.value.message == f"the PostgreSQL database {shown!r}"

    assert driver.connect("service=own") == (("service=own",), {})
    monkeypatch.setenv("PGSERVICE", "own")
    assert driver.connect() == ((), {})


def test_what_leads_to_what_is_built_is_connected_as_it_was_asked(driver, monkeypatch):
    assert driver.connect("dbname=built", 1, x=2) == (("dbname=built", 1), {"x": 2})
    assert driver.connect.__doc__ == "Whatever was given."
    for options in ({"dbname": "built"}, {"database": "built"}, {"user": "built"}):
        assert driver.connect(**options) == ((), options)
    monkeypatch.setenv("PGDATABASE", "built")
    assert driver.connect(user="me") == ((), {"user": "me"})
    assert driver.guard.database_of({"dbname": "a", "database": "b", "user": "c"}) == "a"
    assert driver.guard.database_of({"database": "b", "user": "c"}) == "b"
    assert driver.guard.database_of({"user": "c"}) == "built"


def test_own_work_ends_with_an_error_too_and_closes_what_nobody_uses(driver):
    class Record:
        def __init__(self, *, in_use, fails=False):
            self.in_use, self.fails, self.is_closed = in_use, fails, False

        def invalidate(self):
            self.is_closed = True
            if self.fails:
                raise RuntimeError("outside its loop")

    records = [Record(in_use=True), Record(in_use=False, fails=True), Record(in_use=False)]
    driver.guard._records.update(records)

    with contextlib.suppress(ZeroDivisionError), driver.guard.own_work():
        assert driver.guard.allows({"dbname": "real"})
        raise ZeroDivisionError

    assert not driver.guard.allows({"dbname": "real"})
    assert [record.is_closed for record in records] == [False, True, True]
