"""Which file a name or URI stands for is what SQLite itself opens."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from urllib.parse import quote

import pytest

from alembic_snapshot.database.identity import file_of, file_place

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


def test_memory_is_told_from_a_file():
    assert file_of("file:a.db?mode=memory&mode%00=rwc") == os.path.abspath("a.db")
    assert file_of("") == file_of(":memory:") == file_of("file:") == ""
