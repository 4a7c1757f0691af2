"""Which file a name or URI stands for is what SQLite itself opens."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import warnings
from urllib.parse import quote

import pytest
import sqlalchemy as sa

from alembic_snapshot.database.identity import address_of, file_of, file_place, url_file
from alembic_snapshot.errors import CloneError
from alembic_snapshot.sqlite import files

NAMES = [
    "a.db",
    "./a.db",
    "sub/../a.db",
    "a b.db",
    "a#b.db",
    "a?b.db",
    "a%41.db",
    "ä.db",
    ":memory:x",
]
BEGINNINGS = ["", "/", "//", "///"]
QUERIES = ["", "?mode=rwc", "?mode=memory", "?vfs=memdb", "?mode=memory&mode=rwc", "?cache=shared",
           "?mode=rwc&mode=memory", "?mode%00=memory", "?mode=memory&mode%00=rwc", "#mode=memory",
           "?mode=mem%6Fry", "?MODE=memory", "?mode=memory#x", "?x=%00&mode=memory"]  # fmt: skip


def opened(database, *, uri):
    """The file that SQLite has open after a write, "" if there is none; None if it refuses."""
    with contextlib.suppress(sqlite3.Error):
        connection = sqlite3.connect(database, uri=uri)
        with contextlib.closing(connection):
            connection.execute("CREATE TABLE IF NOT EXISTS t (a)")
            file = connection.execute("PRAGMA database_list").fetchone()[2]
            # What is in memory may have a name all the same.
            return file if file and os.path.exists(file) else ""
    return None


def claim_same(database, *, uri):
    found = opened(database, uri=uri)
    if found is not None:
        assert file_of(database) == found, database
        assert file_place(database).name == (os.path.realpath(found) if found else "")


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_a_plain_name_is_the_file_that_sqlite_opens(name, tmp_path):
    for spelled in (name, f"{tmp_path}/{name}", f"/{tmp_path}/{name}", f"//{tmp_path}/{name}"):
        claim_same(spelled, uri=False)
        claim_same(spelled.encode(), uri=False)


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("name", NAMES)
def test_a_uri_is_the_file_that_sqlite_opens(name, query, tmp_path):
    for path in (name, quote(name), f"{quote(name)}%00.bak"):
        claim_same(f"file:{path}{query}", uri=True)
        for beginning in BEGINNINGS:
            claim_same(f"file:{beginning}{tmp_path}/{path}{query}", uri=True)
        claim_same(f"file://localhost{tmp_path}/{path}{query}", uri=True)


# No path of Python's has a NUL in it.
@pytest.mark.parametrize("query", [query for query in QUERIES if "%00" not in query])
@pytest.mark.parametrize(
    "name", ["a.db", "file:a.db", "file:sub/a%20b.db", ":memory:", "file:", ""]
)
def test_a_url_is_the_file_that_sqlalchemy_opens(name, query, tmp_path):
    query = query.partition("#")[0].removeprefix("?")
    for uri in ("uri=true", "uri=YES", "uri=false", "timeout=3"):
        url = sa.make_url(f"sqlite:///{name}?{'&'.join(filter(None, (query, uri)))}")
        with warnings.catch_warnings():
            # It warns of options that it leaves out.
            warnings.simplefilter("ignore")
            (given,), options = url.get_dialect()().create_connect_args(url)
        found = opened(given, uri=options.get("uri", False))
        if found is not None:
            assert url_file(url) == found, (name, query, uri)
        if url_file(url):
            assert url_file(url, "elsewhere") == url_file(url).replace(
                str(tmp_path), f"{tmp_path}/elsewhere"
            )


def test_memory_is_told_from_a_file():
    assert file_of("file:a.db?mode=memory&mode%00=rwc") == os.path.abspath("a.db")
    assert file_of("") == file_of(":memory:") == file_of("file:") == ""


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        (errno.ENOSPC, "make room on the disk"),
        (errno.EDQUOT, "make room on the disk"),
        (errno.EIO, "may this user write there?"),
    ],
)
def test_a_copy_that_breaks_off_is_one_error_and_leaves_nothing(tmp_path, monkeypatch, code, hint):
    (tmp_path / "a.db").write_bytes(b"content")

    def broken_off(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(files._Real, "sendfile", broken_off)
    with pytest.raises(CloneError, match=os.strerror(code)) as failed:
        files.copy(tmp_path / "a.db", tmp_path / "b.db")

    assert failed.value.hint == hint
    assert not (tmp_path / "b.db").exists()


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("127.0.0.1", "localhost"),
        ("127.0.1.1", "localhost"),
        ("0.0.0.0", "localhost"),
        ("::1", "localhost"),
        ("::", "localhost"),
        ("::ffff:127.0.0.1", "localhost"),
        ("::ffff:10.0.0.7", "10.0.0.7"),
        ("10.0.0.7", "10.0.0.7"),
        ("fe80::1%eth0", "fe80::1"),
        ("2001:DB8:0::7", "2001:db8::7"),
        ("LocalHost", "localhost"),
        ("DB.example", "db.example"),
        ("", "localhost"),
        ("/tmp", "localhost"),
        ("/srv/Sockets", "/srv/Sockets"),
    ],
)
def test_all_addresses_of_this_machine_are_one_host(address, host):
    assert address_of(address) == host
