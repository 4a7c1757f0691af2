"""A file that is attached to a clone is written to past it, so it is refused before."""

from __future__ import annotations

import asyncio
import sqlite3

import aiosqlite
import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import DatabaseError
from sqlalchemy.ext.asyncio import create_async_engine

from alembic_snapshot.sqlite.attaching import Asking, watch_attaching

STATEMENTS = {
    "a literal": ("ATTACH 'real.db' AS other", (), "real.db"),
    "DATABASE": ("attach database 'real.db' as other", (), "real.db"),
    "a quoted name": ('ATTACH "real.db" AS other', (), "real.db"),
    "a bare name": ("ATTACH real AS other", (), "real"),
    "comments": ("-- now\n /* and\nhere */ ATTACH/* it */'real.db'AS other", (), "real.db"),
    "a byte order mark": ("\ufeffATTACH 'real.db' AS other", (), "real.db"),
    "semicolons": (";; ATTACH 'real.db' AS other", (), "real.db"),
    "a parameter": ("ATTACH ? AS other", ("real.db",), "real.db"),
    "two parameters": ("ATTACH ? AS ?", ["real.db", "other"], "real.db"),
    "a named parameter": ("ATTACH :file AS other", {"file": "real.db"}, "real.db"),
    "an expression": ("ATTACH 'real' || '.db' AS other", (), "real.db"),
    "AS in it": ("ATTACH 'as AS real.db' AS other", (), "as AS real.db"),
    "memory": ("ATTACH ':memory:' AS other", (), ":memory:"),
    "nothing": ("ATTACH '' AS other", (), ""),
    "NULL": ("ATTACH NULL AS other", (), ""),
    "what nobody knows": ("ATTACH mine('x') AS other", (), None),
    "two statements": ("ATTACH 'real.db'; SELECT 1 AS other", (), None),
}
# The ways to execute a statement on a driver's connection.
WAYS = {
    "connection": lambda connection, *what: connection.execute(*what),
    "cursor": lambda connection, *what: connection.cursor().execute(*what),
    "own cursor": lambda connection, *what: connection.cursor(Mine).execute(*what),
}


class Mine(sqlite3.Cursor):
    pass


class Refused(Exception):
    pass


@pytest.fixture
def asking(tmp_path, monkeypatch):
    """A connection that refuses all files, and notes them in ``heard``."""
    monkeypatch.chdir(tmp_path)
    connection = sqlite3.connect(":memory:", factory=Asking)
    connection.heard = []

    def refuse(file):
        connection.heard.append(file)
        raise Refused

    connection.on_attach = refuse
    yield connection
    connection.close()


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize(("statement", "parameters", "file"), STATEMENTS.values(), ids=STATEMENTS)
def test_each_spelling_is_heard_before_it_is_done(
    asking, tmp_path, way, statement, parameters, file
):
    with pytest.raises(Refused):
        way(asking, statement, parameters)

    assert asking.heard == [file]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "script",
    ["ATTACH 'real.db' AS other", "SELECT 1; ATTACH 'real.db' AS other; SELECT 2;",
     "SELECT ';'; -- one\nATTACH 'real.db' AS other"],
)  # fmt: skip
def test_so_it_is_in_a_script(asking, tmp_path, script):
    with pytest.raises(Refused):
        asking.executescript(script)
    with pytest.raises(Refused):
        asking.cursor().executescript(script)

    assert asking.heard == ["real.db", "real.db"]
    assert not list(tmp_path.iterdir())


def test_other_statements_are_not(asking):
    asking.executescript("CREATE TABLE t (x); INSERT INTO t VALUES ('ATTACH ''y'' AS x;');")
    asking.cursor().executescript("INSERT INTO t VALUES ('attach')")
    asking.execute("SELECT 'ATTACH'; ")
    asking.execute("VACUUM")
    with pytest.raises(sqlite3.OperationalError, match="no such database"):
        asking.execute("DETACH other")

    assert asking.heard == []
    assert asking.execute("SELECT x FROM t").fetchall() == [("ATTACH 'y' AS x;",), ("attach",)]


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_they_are_executed_with_their_parameters(asking, way):
    assert way(asking, "SELECT ? || ?", ("ATTACH ", "it")).fetchall() == [("ATTACH it",)]


TESTS = """
import asyncio
import sqlite3
import pytest
from alembic_snapshot import EngineError
from pathlib import Path
from shop.db import engine
from sqlalchemy import create_engine, event, text
from sqlalchemy.ext.asyncio import create_async_engine

REFUSED = pytest.raises(EngineError, match="attaches 'other.db' to the test's clone")
INSERT = "CREATE TABLE IF NOT EXISTS other.rows (id INTEGER)"

def with_text(file):
    with engine.connect() as connection:
        connection.execute(text("ATTACH :file AS other"), {"file": str(file)})
        connection.execute(text(INSERT))
        connection.invalidate()

def raw(file):
    connection = engine.raw_connection()
    cursor = connection.cursor()
    try:
        cursor.execute(f"ATTACH '{file}' AS other")
        cursor.execute(INSERT)
    finally:
        connection.invalidate()

def in_a_listener(file):
    other = create_engine(engine.url)

    @event.listens_for(other, "connect")
    def attach(connection, record):
        connection.execute(f"ATTACH '{file}' AS other")
        connection.execute(INSERT)

    with other.connect():
        pass
    other.dispose()

def when_taken(file):
    other = create_engine(engine.url)

    @event.listens_for(other, "checkout")
    def attach(connection, record, proxy):
        connection.cursor().executescript(f"ATTACH '{file}' AS other; {INSERT}")

    with other.connect():
        pass
    other.dispose()

def asynchronous(file):
    async def attach():
        other = create_async_engine(f"sqlite+aiosqlite:///{engine.url.database}")
        try:
            async with other.connect() as connection:
                await connection.execute(text(f"ATTACH '{file}' AS other"))
                await connection.execute(text(INSERT))
        finally:
            await other.dispose()
    asyncio.run(attach())

class Own(sqlite3.Connection):
    pass

def with_a_factory(file):
    other = create_engine(engine.url, connect_args={"factory": Own})
    with other.begin() as connection:
        connection.execute(text(f"ATTACH '{file}' AS other"))
        connection.execute(text(INSERT))
    other.dispose()

WAYS = [with_text, raw, in_a_listener, when_taken, asynchronous]

@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("time", [1, 2])
def test_a_real_file(db_clone, way, time):
    with REFUSED:
        way("other.db")

@pytest.mark.parametrize("way", WAYS)
def test_the_applications(db_clone, way):
    with pytest.raises(EngineError, match="attaches 'real.db'"):
        way(engine.url.database)

@pytest.mark.parametrize("way", WAYS)
def test_what_may_be_attached(db_clone, way, tmp_path):
    for file in (tmp_path / "x.db", ":memory:", ""):
        way(file)

def test_the_clone_itself(db_clone):
    with engine.connect() as connection:
        connection.execute(text(f"ATTACH '{db_clone.path}' AS again"))
        assert connection.scalar(text("SELECT count(*) FROM again.customers")) == 1

def test_a_factory_of_ones_own(db_clone, tmp_path):
    with pytest.raises(Exception, match="attaches|not authorized"):
        with_a_factory("other.db")
    with_a_factory(tmp_path / "x.db")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM"))

def test_not_one_of_them_is_there():
    assert not Path("other.db").exists() and not Path("real.db").exists()
"""


@pytest.mark.parametrize("clones", ["fresh", "reset", "reset --snapshot-reset=rewind"])
def test_a_file_is_attached_to_no_clone(shop, clones):
    result = shop.run("-p", "no:randomly", *f"--snapshot-clones={clones}".split(), test_it=TESTS)

    result.assert_outcomes(passed=23)
    assert not list(shop.root.glob("*.db"))


def test_an_async_connection_of_the_applications_own_making_is_watched_in_its_thread(tmp_path):
    heard = []

    def refuse(file):
        heard.append(file)
        raise Refused

    async def attach():
        engine = create_async_engine(
            "sqlite+aiosqlite://", async_creator=lambda: aiosqlite.connect(tmp_path / "own.db")
        )
        event.listen(
            engine.sync_engine, "connect", lambda connection, _: watch_attaching(connection, refuse)
        )
        async with engine.connect() as connection:
            found = (await connection.execute(text("SELECT 1"))).scalar()
            with pytest.raises(DatabaseError):
                await connection.execute(text(f"ATTACH '{tmp_path}/real.db' AS other"))
        await engine.dispose()
        return found

    assert asyncio.run(attach()) == 1
    assert heard == [f"{tmp_path}/real.db"]
    assert not (tmp_path / "real.db").exists()
