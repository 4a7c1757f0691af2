"""What a seed writes by way of the application's own engine, and loses, is an error too."""

from __future__ import annotations

import asyncio
import contextlib
import gc

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session

from alembic_snapshot import MigrationError
from alembic_snapshot.builder.losses import LostWorkError, refusing_losses
from alembic_snapshot.database.statements import is_writing
from alembic_snapshot.postgres.database import ServerDatabase
from alembic_snapshot.project.callsite import Callsites

SCHEMA = [
    "create table notes (id integer primary key, body text)",
    "insert into notes (id) values (1)",
]
INSERT = "insert into notes (id) values (7)"
CLOSED = "was rolled back, because its session or connection was closed"
FAILED = "is rolled back, because a statement failed in its transaction"
OPEN = "is not committed"
KEPT = []


@contextlib.contextmanager
def closed(engine):
    """A connection that is closed without a commit."""
    with engine.connect() as connection:
        yield connection


@contextlib.contextmanager
def session(engine):
    """A session that is closed without a commit."""
    with Session(engine) as made:
        yield made


@contextlib.contextmanager
def left_open(engine):
    """A connection that nobody closes."""
    KEPT.append(engine.connect())
    yield KEPT[-1]


@contextlib.contextmanager
def forgotten(engine):
    """A connection that is garbage collected, or that nobody has any more."""
    yield engine.connect()


@contextlib.contextmanager
def committed(engine):
    """A connection that is committed."""
    with engine.begin() as connection:
        yield connection


@contextlib.contextmanager
def given_up(engine):
    """A connection that is rolled back on purpose."""
    with engine.connect() as connection:
        yield connection
        connection.rollback()


@contextlib.contextmanager
def by_itself(engine):
    """A connection on which each statement is committed."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        yield connection


@contextlib.contextmanager
def own(_engine):
    """What the seed is given."""
    yield None


WITH = "with x as (select 7 as id) insert into notes (id) select id from x"
FORMS = [
    INSERT,
    f"-- the first\n{INSERT}",
    f"/* c */ {INSERT}",
    f"/* '*/ -- \"\n\n/**/ {INSERT}",
    f"  -- x\r\n\t{INSERT}",
    WITH,
    "/* c */ with x as (select 7) -- c\n insert into notes (id) select * from x",
    "delete from notes -- all",
]
ON_SQLITE = [
    *[(way, form, CLOSED) for way in (closed, session) for form in FORMS if "with" not in form],
    # Python begins no transaction for it.
    (closed, WITH, None),
    (left_open, INSERT, OPEN),
    (forgotten, INSERT, OPEN),
    (closed, ["begin", "create table made (a)"], CLOSED),
    *[(way, INSERT, None) for way in (committed, given_up, by_itself)],
    (closed, "select * from notes", None),
    (closed, "-- insert into notes (id) values (7)\nselect 1", None),
    (closed, [INSERT, "commit"], None),
    (closed, "create table made (a)", None),
    (closed, ["begin", "create temp table made (a)"], None),
    (closed, ["begin", "select upper(body) from notes"], None),
]
BAD = "select nothing"
ON_POSTGRESQL = [
    *[(closed, form, CLOSED) for form in FORMS],
    (closed, f"/* a /* b */ c */ {INSERT}", CLOSED),
    (closed, "create table made (a int)", CLOSED),
    (closed, "do $$ begin insert into notes (id) values (7); end $$", CLOSED),
    (closed, "-- x\nselect add_note(7)", CLOSED),
    (closed, "select 1 as a into made", CLOSED),
    (closed, "call add_notes()", CLOSED),
    (closed, "truncate notes", CLOSED),
    (closed, ["prepare p as insert into notes (id) values (7)", "execute p"], CLOSED),
    (closed, [INSERT, BAD], CLOSED),
    (committed, [INSERT, BAD], FAILED),
    (own, [INSERT, BAD], FAILED),
    (own, INSERT, None),
    (left_open, INSERT, OPEN),
    (forgotten, INSERT, OPEN),
    *[(way, INSERT, None) for way in (committed, given_up, by_itself)],
    (
        closed,
        ["insert into notes (id) select 7 where false", "update notes set id = 1 where false"],
        None,
    ),
    (closed, "do $$ begin perform 1; end $$", None),
    (closed, "select lower(body) from notes for no key update", None),
    (closed, "select nextval('numbers')", None),
    (closed, "/* c */ create temp table made as select 1", None),
    (closed, "select now()", None),
    (closed, [INSERT, "commit"], None),
]


@pytest.fixture(params=["sqlite", "postgresql"])
def places(request, tmp_path):
    """The URL of a database with rows, and what is done there."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'built.db'}", [*SCHEMA], ON_SQLITE
    else:
        database = ServerDatabase(request.getfixturevalue("postgres"), "alembic_losses")
        database.start(None)
        more = [
            "create sequence numbers",
            "create function add_note(int) returns void language sql as "
            "'insert into notes (id) values ($1)'",
            "create procedure add_notes() language sql as 'insert into notes (id) values (7)'",
        ]
        yield f"{database.url()}&options=-clock_timeout%3D2s", SCHEMA + more, ON_POSTGRESQL
        database.remove()


def lost_by(builders, application, way, statements, sites, *, is_collected):
    """How a seed's work is lost, as the error says; None if it is not."""

    def seed(given):
        with way(application) as connection:
            for statement in [statements] if isinstance(statements, str) else statements:
                with (
                    contextlib.suppress(Exception) if statement == BAD else contextlib.nullcontext()
                ):
                    (connection or given).execute(text(statement))

    try:
        with builders.connect() as given, refusing_losses(builders, given, sites):
            seed(given)
            if is_collected:
                gc.collect()
    except LostWorkError as error:
        return str(error)
    finally:
        for one in KEPT:
            one.close()
        KEPT.clear()
        gc.collect()
    return None


def test_each_way_to_lose_is_refused_and_no_other(places, request):
    url, schema, cases = places
    builders, application = create_engine(url), create_engine(url)
    with builders.begin() as connection:
        for statement in schema:
            connection.exec_driver_sql(statement)
    sites = Callsites(request.path.parent)

    for number, (way, statements, how) in enumerate([*cases, (forgotten, INSERT, OPEN)]):
        is_collected = number == len(cases)
        told = lost_by(builders, application, way, statements, sites, is_collected=is_collected)

        case = way.__name__, statements, is_collected
        if how is None:
            assert told is None, (case, told)
        else:
            assert (told or "").count(how) == 1, (case, told)
            assert "what test_losses_of_applications.py line " in told, case
        application.dispose()
        with contextlib.suppress(Exception), builders.begin() as connection:
            connection.exec_driver_sql("delete from notes where id = 7")
        with contextlib.suppress(Exception), builders.begin() as connection:
            connection.exec_driver_sql("drop table made")
    builders.dispose()


def test_an_asynchronous_application_is_heard_and_a_database_in_memory_is_none(tmp_path, request):
    url = f"sqlite:///{tmp_path / 'built.db'}"
    builders, sites = create_engine(url), Callsites(request.path.parent)
    with builders.begin() as connection:
        connection.exec_driver_sql(SCHEMA[0])

    async def seeded(url):
        engine = create_async_engine(url.replace("sqlite:", "sqlite+aiosqlite:"))
        async with engine.connect() as connection:
            await connection.execute(text("create table if not exists notes (id int)"))
            await connection.execute(text(INSERT))
        await engine.dispose()

    with (
        pytest.raises(LostWorkError, match=CLOSED),
        builders.connect() as given,
        refusing_losses(builders, given, sites),
    ):
        asyncio.run(seeded(url))
    with builders.connect() as given, refusing_losses(builders, given, sites):
        asyncio.run(seeded("sqlite://"))
    builders.dispose()


def test_what_is_quoted_is_no_comment():
    assert is_writing("update notes set body = '--'")
    assert not is_writing("select '/*', \"--\" -- insert\n, $$--$$, e'\\'--', 1 /* into */")


def test_a_build_names_the_seed_that_loses_it_there(project, rows):
    project.revision("0001", upgrade=f'op.execute("{SCHEMA[0]}")')
    seed = """
        import os
        from sqlalchemy import create_engine, text

        engine = create_engine(os.environ["SHOP_URL"])

        def fill(connection):
            with engine.connect() as own:
                own.execute(text("-- the first\\ninsert into notes (id) values (7)"))
        """
    project.write("seed.py", seed)
    project.configure('seeds = ["seed:fill"]\nenvironment = { SHOP_URL = "{url}" }')

    with pytest.raises(MigrationError, match=rf"seed seed:fill .*seed\.py line 8 wrote {CLOSED}"):
        project.ensure()
    project.write("seed.py", f"{seed.rstrip()}\n                own.commit()\n")

    assert rows(project.ensure().path, "select id from notes") == [(7,)]
