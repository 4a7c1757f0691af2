"""Databases that no engine of the project has: which are refused, and which are noted."""

from __future__ import annotations

import os
import socket
import sqlite3
import types

import pytest

from alembic_snapshot.database.identity import Place
from alembic_snapshot.engines.notices import Notices, UnguardedDatabaseWarning
from alembic_snapshot.engines.strangers import Strangers, open_place
from alembic_snapshot.engines.untouched import Untouched
from alembic_snapshot.errors import DatabaseNotRequested, EngineError
from alembic_snapshot.postgres import databases
from alembic_snapshot.project.callsite import Callsites
from alembic_snapshot.project.config import Project

SERVER = Place("postgresql", "shop", "localhost", 5432)


class Redirect:
    """Where the engines of one database lead."""

    def __init__(self, root, *, backend="sqlite", clone=None, known=(), problem=None, guard="on"):
        self.project = Project(root=root, backend=backend, store=root / "store", guard=guard)
        self.clone = types.SimpleNamespace(place=clone) if clone else None
        self.is_in_use, self.strays, self.looked = False, {}, []
        self.known = types.SimpleNamespace(why=lambda place: "known" if place in known else None)
        self.engines = types.SimpleNamespace(configured=self)
        self.problem = problem

    def verify(self, *, final):
        self.looked.append(final)
        if self.problem:
            raise self.problem


@pytest.fixture
def meeting(tmp_path):
    """Makes strangers to redirects; pytest's temporary folder is one of its own."""

    def make(*redirects, temporary=tmp_path / "temporary"):
        notices = Notices(Callsites(tmp_path))
        return Strangers(redirects, notices, lambda: temporary, Untouched(0.0))

    return make


def file(tmp_path, name="real.db"):
    return Place("sqlite", os.path.realpath(tmp_path / name))


def test_what_is_nobodys_is_noted_while_a_clone_is_not_used(meeting, tmp_path):
    begun = Redirect(tmp_path, clone=tmp_path / "clone.db")
    idle, other = Redirect(tmp_path), Redirect(tmp_path, backend="postgresql", clone="x")
    strangers = meeting(begun, idle, other)

    strangers.meet(file(tmp_path))
    begun.strays[file(tmp_path)] = "first"
    strangers.meet(file(tmp_path))
    strangers.meet(Place("sqlite", ""))
    begun.is_in_use = True
    strangers.meet(file(tmp_path, "more.db"))

    assert list(begun.strays) == [file(tmp_path), Place("sqlite", "")]
    assert begun.strays[file(tmp_path)] == "first"
    assert idle.strays == {}
    assert list(other.strays) == [*begun.strays, file(tmp_path, "more.db")]
    assert set(begun.looked) == {False}
    assert other.looked == []


@pytest.mark.parametrize("is_asked", [True, False])
def test_a_database_of_the_migrations_is_refused_wherever_it_is(meeting, tmp_path, is_asked):
    place = file(tmp_path, "temporary/real.db")
    first = Redirect(tmp_path, clone=tmp_path / "clone.db" if is_asked else None)
    second = Redirect(tmp_path, known=[place])
    third = Redirect(tmp_path, known=[place])

    with pytest.raises(EngineError if is_asked else DatabaseNotRequested) as caught:
        meeting(first, second, third).meet(place)

    assert "connects to 'temporary/real.db' (known)" in caught.value.message
    assert first.strays == {}
    assert first.looked == []


@pytest.mark.parametrize("is_asked", [True, False])
@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
def test_a_database_of_the_migrations_is_refused_of_whatever_kind(
    meeting, tmp_path, backend, is_asked
):
    place = file(tmp_path) if backend == "postgresql" else SERVER
    clone = tmp_path / "clone.db" if is_asked else None
    one = Redirect(tmp_path, backend=backend, known=[place], clone=clone)

    with pytest.raises(EngineError if is_asked else DatabaseNotRequested) as caught:
        meeting(one).meet(place)

    assert f"give the application a {backend} URL when it is tested" in caught.value.hint
    assert (one.strays, one.looked) == ({}, [])


def test_with_an_engine_that_can_not_be_had_only_a_file_of_the_tests_is_let_through(
    meeting, tmp_path
):
    one = Redirect(tmp_path, problem=EngineError("no", hint="ask"))
    strangers = meeting(Redirect(tmp_path), one)

    with pytest.raises(EngineError, match="can't be known: no"):
        strangers.meet(file(tmp_path))
    looked = len(one.looked)
    strangers.meet(file(tmp_path, "temporary/a.db"))
    strangers.meet(file(tmp_path, "store/snapshots/a/snapshot.db"))
    strangers.meet(Place("sqlite", ""))
    strangers.meet(SERVER)

    assert len(one.looked) == looked == 1


def test_where_nothing_is_guarded_each_is_said_once(meeting, tmp_path):
    found = []
    for one in (
        Redirect(tmp_path, known=[file(tmp_path)], guard="off"),
        Redirect(tmp_path, problem=EngineError("no", hint="ask"), guard="off"),
    ):
        with pytest.warns(UnguardedDatabaseWarning) as caught:
            meeting(one, one).meet(file(tmp_path))
        found.append(len(caught))

    assert found == [1, 1]


def test_clones_and_snapshots_are_nobodys_mistake(meeting, tmp_path):
    clone = tmp_path / "link.db"
    clone.symlink_to(tmp_path / "clone.db")
    ours = [file(tmp_path, "clone.db"), file(tmp_path, "store/snapshots/a/b.db")]
    server = Place("postgresql", "alembic_snapshot_1", "localhost", 5432)
    one = Redirect(tmp_path, clone=clone, known=ours)
    other = Redirect(tmp_path, backend="postgresql", known=[server, SERVER])
    strangers = meeting(one, Redirect(tmp_path), other)

    for place in [*ours, server]:
        strangers.meet(place)

    with pytest.raises(EngineError):
        meeting(Redirect(tmp_path, clone="elsewhere", known=ours)).meet(ours[0])
    with pytest.raises(DatabaseNotRequested):
        strangers.meet(SERVER)


@pytest.mark.parametrize("name", ["store/dev.db", "store/data/dev.db", "store/snapshots.db"])
def test_what_else_is_in_the_stores_folder_is_not_ours(meeting, tmp_path, name):
    place, clone = file(tmp_path, name), tmp_path / "clone.db"
    one = Redirect(tmp_path, clone=clone, known=[place])

    with pytest.raises(EngineError, match="not to the test's clone"):
        meeting(one).meet(place)
    with pytest.raises(EngineError, match="attaches"):
        meeting(one).attach(one, place.name)


@pytest.mark.parametrize("name", databases.ALL)
def test_only_a_whole_name_of_ours_is_nobodys_mistake(meeting, tmp_path, name):
    own = Place("postgresql", f"{name}0a1b2c", "localhost", 5432)
    others = ["alembic_shop", "alembic_", "alembic_version", name.rstrip("_"), f"my_{name}1"]
    places = [Place("postgresql", other, "localhost", 5432) for other in others]
    strangers = meeting(Redirect(tmp_path, backend="postgresql", known=[own, *places]))

    strangers.meet(own)

    for place in places:
        with pytest.raises(DatabaseNotRequested):
            strangers.meet(place)


def test_only_a_file_of_the_tests_or_of_ours_may_be_attached(meeting, tmp_path):
    one = Redirect(tmp_path, clone=tmp_path / "clone.db")
    strangers = meeting(one)

    for name in ("temporary/a.db", "store/snapshots/a.db", "clone.db"):
        strangers.attach(one, str(tmp_path / name))
    strangers.attach(one, ":memory:")
    for name in (str(tmp_path / "real.db"), None):
        with pytest.raises(EngineError, match="attaches"):
            strangers.attach(one, name)
    with pytest.raises(EngineError, match="attaches"):
        meeting(one, temporary=None).attach(one, str(tmp_path / "temporary/a.db"))


def driver(module, **names):
    kind = type("Connection", (), {"__module__": module})
    made = kind()
    vars(made).update(names)
    return made


@pytest.fixture
def connected():
    """Two ends of a connection on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        one = socket.create_connection(server.getsockname())
        other, _ = server.accept()
        with one, other:
            yield one


class TestAnOpenConnection:
    def test_of_sqlite_is_on_its_file(self, tmp_path):
        connection = sqlite3.connect(tmp_path / "a.db")
        assert open_place(connection) == file(tmp_path, "a.db")
        connection.close()
        memory = sqlite3.connect(":memory:")
        assert open_place(memory) == Place("sqlite", "")
        memory.close()

    @pytest.mark.parametrize("module", ["psycopg", "psycopg2.extensions"])
    def test_of_psycopg_is_where_its_socket_leads(self, connected, module):
        port = connected.getpeername()[1]
        info = types.SimpleNamespace(dbname="shop", host="a.name", port=1)
        one = driver(module, info=info, fileno=connected.fileno)

        assert open_place(one) == Place("postgresql", "shop", "localhost", port)
        assert connected.fileno() >= 0

    @pytest.mark.parametrize("address", [("a.name", 1), ("a.name", 1, 0, 0), "/tmp/.s.PGSQL.1"])
    def test_of_asyncpg_is_where_its_socket_leads(self, connected, address):
        transport = types.SimpleNamespace(get_extra_info={"socket": connected}.get)
        one = driver(
            "asyncpg.connection",
            _transport=transport,
            _addr=address,
            _params=types.SimpleNamespace(database="shop"),
        )

        found = open_place(types.SimpleNamespace(driver_connection=one))

        assert found == Place("postgresql", "shop", "localhost", connected.getpeername()[1])

    def test_that_is_closed_or_of_another_driver_is_not_known(self, connected):
        info = types.SimpleNamespace(dbname="shop", host="a.name", port=1)

        assert open_place(driver("psycopg", info=info, fileno=lambda: -1)) is None
        assert open_place(driver("asyncpg")) is None
        assert open_place(driver("oracledb", info=info, fileno=connected.fileno)) is None

    def test_on_a_unix_socket_is_at_its_port(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(".s.PGSQL.6000")
            server.listen()
            with socket.socket(socket.AF_UNIX) as one:
                one.connect(".s.PGSQL.6000")
                info = types.SimpleNamespace(dbname="shop", host="/run", port=1)
                found = open_place(driver("psycopg", info=info, fileno=one.fileno))

        assert (found.name, found.port) == ("shop", 6000)
