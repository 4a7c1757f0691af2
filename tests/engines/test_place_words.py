"""A place as messages, URLs and records spell it, and when two places are the same database."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from sqlalchemy import make_url

from alembic_snapshot.database.identity import (
    Place,
    file_of,
    places_of,
    server_place,
    url_place,
    url_places,
    variables_for,
)

MEMORY = Place("sqlite", "")
SERVER = Place("postgresql", "shop", "db.example", 6000)
SOCKETS = Place("postgresql", "shop", "/srv/sockets", 5432)


@pytest.fixture
def root(tmp_path):
    """A project's folder, reached by a link."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    return tmp_path / "link"


@pytest.fixture(autouse=True)
def without_libpqs_variables(monkeypatch):
    for name in ("PGHOST", "PGPORT", "PGDATABASE", "PGUSER", "PGSERVICE"):
        monkeypatch.delenv(name, raising=False)


def file(path):
    return Place("sqlite", os.path.realpath(path))


def test_a_file_below_the_root_is_spelled_from_there(root):
    place = file(root / "data" / "shop.db")

    assert place.text(root) == "'data/shop.db'"
    assert place.url(root) == "sqlite:///data/shop.db"
    assert place.to_record(root) == {"kind": "sqlite", "file": "data/shop.db"}
    assert Place.from_record(place.to_record(root), root) == place


def test_the_root_may_be_the_topmost_folder():
    place = file("/data/shop.db")

    assert place.below("/")
    assert place.url(Path("/")) == "sqlite:///data/shop.db"
    assert Place.from_record(place.to_record(Path("/")), Path("/")) == place


def test_any_other_file_is_spelled_whole(root, tmp_path):
    for place in (file(tmp_path / "shop.db"), file(tmp_path / "real-too" / "shop.db")):
        assert place.text(root) == repr(place.name)
        assert place.url(root) == f"sqlite:///{place.name}"
        assert place.to_record(root) == {"kind": "sqlite", "file": place.name}
        assert Place.from_record(place.to_record(root), root) == place


def test_a_database_in_memory_has_no_file(root):
    assert MEMORY.text(root) == "a database in memory"
    assert MEMORY.url(root) == "sqlite://"
    assert MEMORY.to_record(root) == {"kind": "sqlite", "file": ""}
    assert [place.is_memory for place in (MEMORY, file(root / "a"), SERVER)] == [True, False, False]
    assert not Place("postgresql", "").is_memory


def test_a_database_on_a_server_is_spelled_by_its_address(root):
    assert SERVER.text(root) == "the PostgreSQL database 'shop' on db.example:6000"
    assert SERVER.url(root) == "postgresql+psycopg://db.example:6000/shop"
    assert SOCKETS.url(root) == "postgresql+psycopg:///shop?host=/srv/sockets&port=5432"
    record = {"kind": "postgresql", "host": "db.example", "port": 6000, "dbname": "shop"}
    assert SERVER.to_record(root) == record
    assert Place.from_record(record, root) == SERVER
    for place in (SERVER, SOCKETS):
        assert url_places(make_url(place.url(root))) == [place]


def test_only_a_file_is_below_a_folder_and_not_the_folder_itself(root, tmp_path):
    assert file(root / "a.db").below(root)
    assert file(root / "b" / "a.db").below(str(root))
    assert not file(root).below(root)
    assert not file(tmp_path / "real-too.db").below(root)
    assert not file(root / "a.db").below(None)
    assert not MEMORY.below(root)
    assert not Place("postgresql", os.path.realpath(root / "a.db")).below(root)


PASSING = {
    "a file": (lambda path: Place("sqlite", path), True),
    "the folder of a server's sockets": (lambda path: Place("postgresql", "x", path, 1), True),
    "a server's name": (lambda _: Place("postgresql", "x", "db.example", 1), False),
    "memory": (lambda _: MEMORY, False),
}


@pytest.mark.parametrize(("make", "is_passing"), PASSING.values(), ids=PASSING)
def test_a_place_passes_that_is_in_a_folder_of_temporary_files(tmp_path, make, is_passing):
    temporary, project = tmp_path / "temporary", tmp_path / "project"
    place = make(os.path.realpath(temporary / "deep" / "x"))

    assert place.is_passing(project, [None, temporary]) is is_passing
    # A folder of temporary files may be in the project, or the project in one.
    assert place.is_passing(tmp_path, [temporary]) is is_passing
    assert not place.is_passing(temporary / "deep", [temporary])
    assert not place.is_passing(project, [None, project, tmp_path / "temp"])
    assert not place.is_passing(project, [])


def test_a_server_is_the_same_by_any_of_its_names():
    here = Place("postgresql", "shop", "localhost", 5432)

    assert here.is_same(here)
    assert Place("postgresql", "shop", "127.0.0.2", 5432).is_same(here)
    assert not here.is_same(None)
    assert not here.is_same(Place("postgresql", "other", "localhost", 5432))
    assert not here.is_same(Place("postgresql", "shop", "localhost", 5433))
    assert not here.is_same(Place("sqlite", "shop", "localhost", 5432))
    assert not here.is_same(SOCKETS)
    assert not here.is_same(Place("postgresql", "shop", "10.255.0.1", 5432))
    assert not MEMORY.is_same(None)


@pytest.mark.parametrize("name", ["no-such-host.invalid", "a..b", "x" * 70])
def test_a_name_that_does_not_resolve_is_a_server_of_its_own(name):
    place = Place("postgresql", "shop", name, 5432)

    assert not place.is_same(Place("postgresql", "shop", "localhost", 5432))
    assert place.is_same(Place("postgresql", "shop", name, 5432))


@pytest.mark.parametrize(
    "spelled",
    ["", "localhost", "LOCALHOST", "127.0.0.1", "::1", "/var/run/postgresql", "/run/postgresql",
     "/tmp"],
)  # fmt: skip
def test_this_machine_is_one_host_as_drivers_spell_it(spelled):
    assert server_place({"host": spelled, "dbname": "x"}).host == "localhost"


def test_a_server_that_nothing_names_is_this_machine_s_with_this_user_s_database(monkeypatch):
    monkeypatch.setattr("getpass.getuser", lambda: "ada")
    assert server_place({}) == Place("postgresql", "ada", "localhost", 5432)

    for error in (KeyError("uid"), OSError("no user")):

        def unknown(error=error):
            raise error

        monkeypatch.setattr("getpass.getuser", unknown)
        assert server_place({}).name == "of this user"


def test_more_ports_than_hosts_make_no_more_places():
    hosts = {"host": ["a"], "port": ["1", "2"], "dbname": "x"}

    assert places_of("postgresql", (), hosts) == [Place("postgresql", "x", "a", 1)]
    assert places_of("postgresql", (), {"host": [], "port": (), "dbname": "x"}) == [
        Place("postgresql", "x", "localhost", 5432)
    ]


def test_a_file_is_the_first_argument_of_its_driver_or_the_named_one(tmp_path):
    path = str(tmp_path / "a.db")

    assert places_of("sqlite", (path, "b"), {"database": "c"}) == [file(path)]
    assert places_of("sqlite", (), {"database": path}) == [file(path)]
    assert places_of("sqlite", (), {}) == [MEMORY]


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("sqlite:///a.db", "{base}/a.db"),
        ("sqlite:////srv/a.db", "/srv/a.db"),
        ("sqlite:///file:/srv/a.db?uri=true", "/srv/a.db"),
        ("sqlite://", ""),
        ("sqlite:///:memory:", ""),
    ],
)
def test_a_relative_file_of_a_url_starts_from_the_base(url, name, tmp_path, monkeypatch):
    if not url.startswith("sqlite:///file:"):
        wanted = name.format(base=os.path.realpath(tmp_path))
        assert url_places(make_url(url), tmp_path) == [Place("sqlite", wanted)]
    monkeypatch.chdir(tmp_path)
    wanted = name.format(base=os.path.realpath(tmp_path))
    assert url_places(make_url(url)) == [Place("sqlite", wanted)]


def test_a_url_without_its_driver_leads_to_the_same_server():
    url = make_url("postgresql+nobody://ada:secret@db.example:6000/shop")

    assert url_place(url) == SERVER
    nameless = make_url("postgresql+nobody://ada:secret@db.example")
    assert url_place(nameless) == Place("postgresql", "ada", "db.example", 5432)


@pytest.mark.parametrize("url", ["mysql://a/x", "mssql+pyodbc://a/x"])
def test_a_url_of_another_kind_leads_nowhere(url):
    assert url_places(make_url(url)) == []
    assert url_place(make_url(url)) is None


def test_the_variables_of_a_database_are_those_whose_url_or_path_is_it(tmp_path):
    path = tmp_path / "shop.db"
    environ = {
        "URL": f"sqlite:///{path}",
        "FILE": f"{path}",
        "SERVER": "postgresql://db.example:6000/shop",
        "SECOND_HOST": "postgresql://u@/shop?host=elsewhere:6000&host=db.example:6000",
        "OTHER": f"sqlite:///{path}2",
        "OTHER_FILE": f"{path}2",
        "PAGE": "https://db.example:6000/shop",
        "BROKEN": "postgresql://[",
        "WORDS": "see https://db.example/shop for more",
        "EMPTY": "",
        "MEMORY": ":memory:",
    }

    assert list(variables_for([file(path), SERVER], environ)) == [
        ("URL", True),
        ("FILE", False),
        ("SERVER", True),
        ("SECOND_HOST", True),
    ]
    assert list(variables_for([MEMORY], environ)) == []


@pytest.mark.parametrize("database", [None, 7, object(), "", b"", ":memory:", b":memory:"])
def test_what_is_no_name_is_no_file(database):
    assert file_of(database) == ""


def test_a_name_may_be_bytes_or_a_path(tmp_path):
    path = tmp_path / "a.db"

    assert places_of("sqlite", (path,), {}) == [Place("sqlite", os.path.realpath(path), "", 0)]
    assert file_of(path) == file_of(os.fsencode(path)) == str(path)
