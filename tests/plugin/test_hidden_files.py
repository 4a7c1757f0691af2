"""The application's own file is reached under no name, and through no connection, but a clone's."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

WAYS = """
import asyncio
import sqlite3
import pytest
from alembic_snapshot import DatabaseNotRequested, EngineError
from shop import db, orders
from sqlalchemy import create_engine, event, text
from sqlalchemy.ext.asyncio import create_async_engine

REAL = str(db.REAL)
INSERT = text("INSERT INTO rows VALUES (1)")
ATTACHED = "INSERT INTO other.rows VALUES (1)"

def argument(url):
    engine = create_engine(url)

    @event.listens_for(engine, "do_connect")
    def another(dialect, record, cargs, cparams):
        cargs[:] = [REAL]

    try:
        with engine.begin() as connection:
            connection.execute(INSERT)
    finally:
        engine.dispose()

def changed_argument():
    argument("sqlite:///another.db")

def changed_memory():
    argument("sqlite://")

def asynchronous_argument():
    async def run():
        engine = create_async_engine("sqlite+aiosqlite:///another.db")

        @event.listens_for(engine.sync_engine, "do_connect")
        def other(dialect, record, cargs, cparams):
            cargs[:] = [REAL]

        try:
            async with engine.begin() as connection:
                await connection.execute(INSERT)
        finally:
            await engine.dispose()
    asyncio.run(run())

def attached(url="sqlite:///another.db", file=REAL, **options):
    engine = create_engine(url, **options)
    try:
        with engine.begin() as connection:
            connection.execute(text("ATTACH :file AS other"), {"file": file})
            connection.execute(text(ATTACHED))
    finally:
        engine.dispose()

def attached_to_memory():
    attached("sqlite://")

def attached_by_a_uri():
    attached("sqlite:///file:another.db?uri=true", f"file:{REAL}?mode=rw")

def attached_by_a_script():
    engine = create_engine("sqlite://")
    connection = engine.raw_connection()
    try:
        connection.executescript(f"ATTACH '{REAL}' AS other; {ATTACHED}; COMMIT")
    finally:
        connection.close()
        engine.dispose()

def attached_by_a_listener():
    engine = create_engine("sqlite://")

    @event.listens_for(engine, "connect")
    def attach(connection, record):
        connection.execute(f"ATTACH '{REAL}' AS other")

    try:
        with engine.begin() as connection:
            connection.execute(text(ATTACHED))
    finally:
        engine.dispose()

class Own(sqlite3.Connection):
    pass

def attached_with_a_factory():
    attached(connect_args={"factory": Own})

def attached_asynchronously():
    async def run():
        engine = create_async_engine("sqlite+aiosqlite:///another.db")
        try:
            async with engine.begin() as connection:
                await connection.execute(text("ATTACH :file AS other"), {"file": REAL})
                await connection.execute(text(ATTACHED))
        finally:
            await engine.dispose()
    asyncio.run(run())

def attached_through_a_creator():
    engine = create_engine("sqlite://", creator=lambda: sqlite3.connect("another.db"))
    try:
        with engine.begin() as connection:
            connection.execute(text("ATTACH :file AS other"), {"file": REAL})
            connection.execute(text(ATTACHED))
    finally:
        engine.dispose()

HIDDEN = [found for name, found in list(globals().items()) if name.startswith(
    ("changed", "attached", "asynchronous"))]

@pytest.mark.parametrize("way", HIDDEN)
def test_not_asking(way):
    with pytest.raises(Exception, match="did not ask|attaches 'real.db'|not authorized"):
        way()

@pytest.mark.parametrize("way", HIDDEN)
def test_beside_a_clone(db_session, way):
    assert orders.names() == ["the house"]
    with pytest.raises(Exception, match="another name|attaches 'real.db'|not authorized"):
        way()

def test_what_is_nobodys_may_be_opened_by_another_name(db_session, tmp_path):
    orders.names()
    engine = create_engine("sqlite:///another.db")

    @event.listens_for(engine, "do_connect")
    def third(dialect, record, cargs, cparams):
        cargs[:] = [str(tmp_path / "third.db")]

    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE rows (id int)"))
        connection.execute(INSERT)
    engine.dispose()

@pytest.mark.parametrize("place", ["", ":memory:", "third.db"])
def test_what_is_nobodys_may_be_attached(db_session, place, tmp_path):
    orders.names()
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        connection.execute(text("ATTACH :file AS other"), {"file": place and str(tmp_path / place)})
        connection.execute(text("CREATE TABLE other.rows (id int)"))
        connection.execute(text(ATTACHED))
    engine.dispose()
"""


@pytest.mark.parametrize("clones", ["fresh", "reset"])
def test_no_row_is_in_the_applications_file(shop, clones):
    with closing(sqlite3.connect(shop.root / "real.db")) as connection:
        connection.execute("CREATE TABLE rows (id int)")

    result = shop.run(f"--snapshot-clones={clones}", test_it=WAYS)

    with closing(sqlite3.connect(shop.root / "real.db")) as connection:
        assert connection.execute("SELECT * FROM rows").fetchall() == []
    result.assert_outcomes(passed=26)
