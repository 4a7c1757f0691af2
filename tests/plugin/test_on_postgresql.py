"""The plugin on a PostgreSQL server: nothing in a test changes."""

from __future__ import annotations

import os
import select
import signal
import socket
import socketserver
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sqlalchemy import make_url

from alembic_snapshot.postgres.database import ServerDatabase, readable
from alembic_snapshot.postgres.pool import Pool, sweep
from alembic_snapshot.postgres.private import acquire as private
from alembic_snapshot.postgres.server import VARIABLE, lock_key
from tests.processes import processes
from tests.waiting import until


@pytest.fixture
def shop(on_server):
    return on_server("shop", "SHOP_URL")


MODES = pytest.mark.parametrize("mode", ["plain", "n2"])


@MODES
def test_what_a_test_does_stays_in_the_test(shop, mode, names):
    shop.behaviour("on_postgresql")

    result = shop.run(mode=mode)

    assert result.parseoutcomes().keys() == {"passed"}
    assert names("alembic_clone_") == []
    assert not (shop.root / "real.db").exists()


@MODES
def test_an_async_application_is_tested_as_it_is(on_server, mode, names):
    notes = on_server("notes", "NOTES_URL", "{async_url}")

    result = notes.run(mode=mode)

    assert result.parseoutcomes().keys() == {"passed"}
    assert names("alembic_clone_") == []


def test_asyncs_other_driver(on_server, monkeypatch):
    monkeypatch.setenv("NOTES_URL", "postgresql+psycopg://localhost/notes")
    notes = on_server("notes", "NOTES_URL", "{async_url}")

    assert notes.run().parseoutcomes().keys() == {"passed"}


PASSING = """
    from shop import orders

    def test_it(db_clone):
        assert orders.names() == ["the house"]
"""
FAILING = """
    from shop import orders

    def test_it(db_clone):
        orders.add_customer("Ada")
        assert False
"""


def test_a_failed_tests_database_is_kept_and_can_be_opened(shop, names):
    result = shop.run(test_it=FAILING)

    (kept,) = names("alembic_kept_")
    result.stdout.fnmatch_lines(
        [
            f"database {kept} on *",
            f"open it: alembic-snapshot psql {kept}",
            "compared with the snapshot:",
            "customers: 1 added",
            "  + id=2, name='Ada' ← shop/orders.py:12 add_customer",
        ]
    )
    command = [sys.executable, "-m", "alembic_snapshot", "psql", kept]
    question = "SELECT name FROM customers ORDER BY name"
    shown = subprocess.run(command, input=question, capture_output=True, text=True, check=True)
    assert "Ada" in shown.stdout


HIDING = """
    from shop import orders

    def test_it(db_clone):
        orders.add_customer("Ada")
        with db_clone.engine().begin() as connection:
            for statement in (
                "ALTER TABLE customers ENABLE ROW LEVEL SECURITY",
                "ALTER TABLE customers FORCE ROW LEVEL SECURITY",
            ):
                connection.exec_driver_sql(statement)
        assert db_clone.diff()
        assert False
"""


def test_rows_that_policies_hide_from_the_role_are_told_in_the_report(shop, tenant, monkeypatch):
    monkeypatch.setenv(VARIABLE, tenant.url)

    result = shop.run(test_it=HIDING)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*assert False",
            'customers: not compared: query would be affected by row-level security policy for *"',
            "no token: * row-level security *",
        ]
    )


def test_what_was_kept_goes_when_a_later_run_has_nothing_to_keep(shop, names, postgres):
    shop.run(test_it=FAILING)
    Pool(postgres).close()
    assert len(names("alembic_kept_")) == 1

    shop.run(test_it=PASSING)
    shop.run(test_it=PASSING)

    assert names("alembic_kept_") == []


def test_a_second_run_builds_nothing(shop):
    shop.write("test_it.py", PASSING)
    shop.configure('x = ["a key of its own"]')
    first = shop.run()

    second = shop.run()

    first.stdout.fnmatch_lines(["alembic-snapshot: * built *"])
    second.stdout.fnmatch_lines(["alembic-snapshot: * reused; 1 clone*"])


def test_an_engine_for_sqlite_is_an_error_that_says_what_to_do(shop):
    shop.replace("pyproject.toml", 'environment = { SHOP_URL = "{url}" }', "")

    result = shop.run(test_it=PASSING)

    result.stdout.fnmatch_lines(["*speaks sqlite, but the snapshot is a PostgreSQL database*"])


SLEEPING = """
    import pathlib, time
    from shop import orders

    def test_it(db_clone):
        orders.add_customer("Ada")
        pathlib.Path("running").touch()
        time.sleep(60)
"""


def started(shop, *arguments):
    """A run of pytest that is in the middle of a test."""
    shop.write("test_it.py", SLEEPING)
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-q", *arguments],
        cwd=shop.root,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    until((shop.root / "running").exists, "the test begins")
    return process


def test_the_clones_of_a_killed_run_are_swept_by_the_next_and_nothing_else_is(
    shop, names, postgres
):
    ServerDatabase(postgres, "alembic_clone_of_mine").start(None)
    ServerDatabase(postgres, "somebodys").start(None)
    process = started(shop, "-p", "no:xdist")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    left = set(names("alembic_clone_"))
    alive = Pool(postgres)
    mine = alive.take(None).name

    shop.run(test_it=PASSING)

    assert left
    assert set(names("alembic_clone_")) == {mine, "alembic_clone_of_mine"}
    assert "somebodys" in names("")
    alive.close()


def test_a_killed_worker_leaves_the_others_what_is_theirs(shop, names):
    process = started(shop, "-n", "2")
    workers = [one.pid for one in processes() if one.parent == process.pid]
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert names("alembic_clone_")

    shop.run(test_it=PASSING)

    assert names("alembic_clone_") == []


def test_a_worker_has_dropped_its_clones_when_it_reports_that_it_is_done(shop, names):
    shop.write(
        "conftest.py",
        """
        import os, pytest

        @pytest.hookimpl(tryfirst=True)
        def pytest_unconfigure(config):
            if hasattr(config, "workerinput"):
                os.kill(os.getpid(), 9)
        """,
    )

    result = shop.run(mode="n2", test_it=PASSING)

    assert result.parseoutcomes() == {"passed": 1}
    assert names("alembic_clone_") == []


def test_the_private_server_is_gone_with_a_killed_run(shop, postgres):
    url = make_url(postgres.url)
    socket = Path(str(url.query["host"])) / f".s.PGSQL.{url.port}"
    private.release()
    process = started(shop, "-p", "no:xdist")
    assert socket.exists()

    os.killpg(process.pid, signal.SIGKILL)
    process.wait()

    until(lambda: not socket.exists(), "the server ends")


def test_clones_are_counted_ready_and_dropped(postgres, names):
    template = ServerDatabase(postgres, "alembic_template")
    template.start(None)
    pool = Pool(postgres)
    taken = [pool.take(template.name).name for _ in range(12)]
    assert len(set(taken)) == 12

    for name in taken:
        pool.drop(name)
    until(lambda: not set(taken) & set(names()), "they are dropped")
    assert len(names("alembic_clone_")) <= 2

    pool.close()
    assert names("alembic_clone_") == []


def test_an_owner_that_lives_is_left_alone(postgres, names):
    pool = Pool(postgres)
    name = pool.take(None).name

    with postgres.connect() as connection:
        sweep(connection)
        assert name in names("alembic_clone_")
        key = lock_key(f"owner {pool.owner}")
        assert connection.execute("SELECT pg_try_advisory_lock(%s)", (key,)).fetchone() == (False,)

    pool.close()


def test_a_copy_to_compare_with_is_left_alone_by_others_and_goes_afterwards(postgres, names):
    template = ServerDatabase(postgres, "alembic_snapshot_template")
    template.start(None)
    try:
        with postgres.connect() as connection, readable(template, template) as copy:
            sweep(connection)

            assert names("alembic_clone_") == [copy.info.dbname]
        assert names("alembic_clone_") == []
    finally:
        template.remove()


def test_a_test_that_opened_another_database_and_not_its_clone_fails(shop):
    shop.replace("alembic.ini", "sqlite:///real.db", "postgresql+psycopg://ada:secret@db.x/shop")
    result = shop.run(
        test_it="""
        import pytest
        from alembic_snapshot import DatabaseNotRequested, EngineError
        from alembic_snapshot.postgres.server import server_in_use
        from shop import orders
        from sqlalchemy import create_engine, pool

        def look(url=None):
            url = url or server_in_use().address("postgres", "psycopg")
            create_engine(url, poolclass=pool.NullPool).connect().close()

        def test_stray(db_session):
            look()

        def test_both(db_session):
            look()
            orders.names()

        def test_the_url(db_clone):
            look()
            look(db_clone.url)

        def test_nothing(db_session):
            pass

        URL = "postgresql+psycopg://other@db.x:5432/shop"

        def test_known(db_clone):
            with pytest.raises(EngineError, match="'shop' on db.x:5432 .* the test's clone") as e:
                look(URL)
            assert 'engine = "postgresql+psycopg://db.x:5432/shop"' in e.value.hint
            assert "secret" not in str(e.value)

        def test_not_asking():
            with pytest.raises(DatabaseNotRequested, match="sqlalchemy.url of alembic.ini"):
                look(URL)
        """
    )

    result.assert_outcomes(passed=5, failed=1)
    result.stdout.fnmatch_lines(
        ["*::test_stray asked for a database and did not use it: test_it.py line * opened the *"]
    )


@pytest.fixture
def by_tcp(postgres):
    """A port of this machine that leads to the server's socket, which asks for no password."""
    url = make_url(postgres.url)
    socket_file = f"{url.query['host']}/.s.PGSQL.{url.port}"

    class Forward(socketserver.BaseRequestHandler):
        def handle(self):
            with socket.socket(socket.AF_UNIX) as server:
                server.connect(socket_file)
                ends = {self.request: server, server: self.request}
                while True:
                    for ready in select.select([*ends], [], [])[0]:
                        content = ready.recv(65536)
                        if not content:
                            return
                        ends[ready].sendall(content)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Forward) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


HIDDEN = """
import asyncio, os
import pytest
from alembic_snapshot import DatabaseNotRequested, EngineError
from shop import db, orders
from sqlalchemy import create_engine, event, make_url, text
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

# What the variable of the application says leads nowhere in a test.
URL = make_url(os.environ["DEVELOPERS"])
INSERT = text("INSERT INTO rows VALUES (1)")

def insert(url, **options):
    engine = create_engine(url, poolclass=NullPool, **options)
    with engine.begin() as connection:
        connection.execute(INSERT)

def listener():
    engine = create_engine("postgresql+psycopg://nobody@nowhere/other", poolclass=NullPool)

    @event.listens_for(engine, "do_connect")
    def another(dialect, record, cargs, cparams):
        cparams.update(host=URL.host, port=URL.port, dbname=URL.database, user="postgres")

    with engine.begin() as connection:
        connection.execute(INSERT)

def several_hosts():
    where = f"host=127.0.0.1:1&host={URL.host}:{URL.port}"
    insert(f"postgresql+psycopg://postgres@/{URL.database}?{where}")

def address():
    insert(URL.set(host="nowhere").update_query_dict({"hostaddr": URL.host}))

def service(name="mine"):
    insert(f"postgresql+psycopg://?service={name}")

def capitals():
    insert(URL.set(host="LOCALHOST"))

def zero():
    insert(URL.set(host="0"))

def unspecified():
    insert(URL.set(host="0.0.0.0"))

def short():
    insert(URL.set(host="127.1"))

def another_loopback():
    insert(URL.set(host="127.0.0.1"), connect_args={"hostaddr": "127.0.0.1"})

class Other(PGDialect_psycopg):
    name = "other"
    supports_statement_cache = False

registry.register("other.psycopg", __name__, "Other")
# Its drivers are the same: a dialect for another database that speaks PostgreSQL's protocol.
OTHER = URL.set(drivername="other+psycopg")

def another_dialect():
    insert(OTHER)

def by_asyncpg():
    async def run():
        engine = create_async_engine(
            URL.set(drivername="postgresql+asyncpg", host="127.1"), poolclass=NullPool
        )
        try:
            async with engine.begin() as connection:
                await connection.execute(INSERT)
        finally:
            await engine.dispose()
    asyncio.run(run())

def by_asyncpg_with_a_listener():
    async def run():
        engine = create_async_engine("postgresql+asyncpg://u@nowhere/other", poolclass=NullPool)

        @event.listens_for(engine.sync_engine, "do_connect")
        def another(dialect, record, cargs, cparams):
            cparams.update(host="localhost", port=URL.port, database=URL.database)
            cparams.update(user="postgres")

        try:
            async with engine.begin() as connection:
                await connection.execute(INSERT)
        finally:
            await engine.dispose()
    asyncio.run(run())

WAYS = [listener, several_hosts, address, service, capitals, zero, unspecified, short,
        another_loopback, another_dialect, by_asyncpg, by_asyncpg_with_a_listener]

def test_what_is_nobodys_is_let_through_in_any_dialect(db_session):
    assert orders.names() == ["the house"]
    for url in (URL, OTHER):
        with create_engine(url.set(database="postgres"), poolclass=NullPool).connect() as other:
            assert other.scalar(text("SELECT current_database()")) == "postgres"

@pytest.mark.parametrize("way", WAYS)
def test_not_asking(way):
    with pytest.raises(DatabaseNotRequested):
        way()

@pytest.mark.parametrize("way", WAYS)
def test_beside_a_clone(db_session, way):
    assert orders.names() == ["the house"]
    with pytest.raises(Exception, match="rows|under another name"):
        way()
"""


def test_the_applications_database_is_not_reached_by_any_of_its_names(
    shop, postgres, by_tcp, monkeypatch
):
    real = ServerDatabase(postgres, "developers")
    real.start(None)
    with postgres.connect("developers") as connection:
        connection.execute("CREATE TABLE rows (id int)")
    service = shop.root / "services.conf"
    service.write_text(f"[mine]\nhost=localhost\nport={by_tcp}\ndbname=developers\nuser=postgres\n")
    monkeypatch.setenv("PGSERVICEFILE", str(service))
    for variable in ("SHOP_URL", "DEVELOPERS"):
        monkeypatch.setenv(variable, f"postgresql+psycopg://postgres@127.0.0.1:{by_tcp}/developers")

    result = shop.run(test_it=HIDDEN)

    with postgres.connect("developers") as connection:
        assert connection.execute("SELECT * FROM rows").fetchall() == []
    result.assert_outcomes(passed=25)


@pytest.mark.parametrize(
    "left",
    [
        "PREPARE TRANSACTION 'left {time}'",
        "CREATE SUBSCRIPTION left_{time} CONNECTION 'dbname=none' PUBLICATION none "
        "WITH (connect = false)",
        "SELECT pg_create_logical_replication_slot('left_{time}', 'pgoutput')",
    ],
    ids=["prepared transaction", "subscription", "replication slot"],
)
def test_what_outlives_a_test_does_not_keep_its_clone(shop, names, left):
    result = shop.run(
        test_it=f"""
        import pytest
        from sqlalchemy import text
        from sqlalchemy.exc import DBAPIError

        @pytest.mark.parametrize("time", range(2))
        def test_it(db_session, time):
            if "slot" not in {left!r}:
                db_session.execute(text("INSERT INTO customers (name) VALUES ('a')"))
            try:
                db_session.execute(text({left!r}.format(time=time)))
            except DBAPIError as error:
                if "wal_level" not in str(error):
                    raise
                pytest.skip("the server has no logical replication")
            if "PREPARE" not in {left!r}:
                db_session.commit()
        """,
    )
    if result.parseoutcomes().get("skipped"):
        pytest.skip("the server has no logical replication")

    result.assert_outcomes(passed=2)
    assert names("alembic_clone_") == []


@pytest.mark.parametrize("is_set", [True, False])
@pytest.mark.parametrize(
    ("spelled", "made"),
    [
        ('{ EVENTS_URL = "{url}" }', 'os.environ.get("EVENTS_URL", "sqlite:///events.db")'),
        ('{ EVENTS_URL = "{async_url}" }', 'os.environ.get("EVENTS_URL", "sqlite:///events.db")'),
        (
            '{ EVENTS_HOST = "{host}", EVENTS_NAME = "{database}" }',
            "f\"postgresql+psycopg://{os.environ['EVENTS_HOST']}/{os.environ['EVENTS_NAME']}\"",
        ),
    ],
    ids=["url", "async url", "parts"],
)
def test_each_database_of_a_project_has_a_dialect_before_a_test_asks(
    shop, add_events, monkeypatch, spelled, made, is_set
):
    if is_set:
        monkeypatch.setenv("EVENTS_URL", "sqlite:///developers.db")
    add_events(shop, f"environment = {spelled}\n")
    kind = "create_async_engine" if "async" in spelled else "create_engine"
    where = "sqlalchemy.ext.asyncio" if "async" in spelled else "sqlalchemy"
    shop.write(
        "shop/events.py", f"import os\n\nfrom {where} import {kind}\n\nengine = {kind}({made})\n"
    )

    result = shop.run(
        test_it="""
        from sqlalchemy import text

        from shop import db, events, orders

        engine = getattr(events.engine, "sync_engine", events.engine)

        # Both are made when this file is imported.
        assert engine.dialect.name == "postgresql"
        assert engine.url != db.engine.url

        def test_it(db_clones):
            assert db_clones["events"].url != db_clones["default"].url
            orders.add_customer("Ada")
            if engine is events.engine:
                with engine.connect() as connection:
                    assert connection.scalar(text("SELECT count(*) FROM events")) == 0
        """,
    )

    result.assert_outcomes(passed=1)


@pytest.mark.parametrize("opened", ["a file", "memory", "a server"])
def test_another_kind_of_database_is_another_one_too(shop, monkeypatch, postgres, tmp_path, opened):
    """As where the variable of a second engine is not set, or has a developer's own server."""
    url = f"sqlite:///{tmp_path}/worker.db" if opened == "a file" else "sqlite://"
    if opened == "a server":
        with postgres.connect() as connection:
            connection.execute("CREATE DATABASE developers")
        url = make_url(postgres.url).set(drivername="postgresql+psycopg", database="developers")
        url = url.render_as_string(hide_password=False)
        monkeypatch.delenv("ALEMBIC_SNAPSHOT_BACKEND")

    result = shop.run(
        test_it=f"""
        import pytest
        from shop import orders
        from sqlalchemy import create_engine, text

        engine = create_engine({url!r})

        def work():
            with engine.begin() as connection:
                connection.execute(text("CREATE TABLE IF NOT EXISTS work (id integer)"))

        @pytest.mark.db_clone
        def test_it():
            work()

        @pytest.mark.db_clone
        def test_of_both():
            orders.add_customer("Ada")
            work()

        def test_that_asks_for_none():
            work()
        """,
    )

    result.assert_outcomes(passed=2, failed=1)
    kind = "sqlite" if opened == "a server" else "postgresql"
    result.stdout.fnmatch_lines(
        [
            "*EngineError: *test_it asked for a database and did not use it: test_it.py line *",
            f"*give the application a {kind} URL when it is tested*",
        ]
    )


# Ways to put a URL together of parts; some take no folder for a host.
TOGETHER = {
    "a text": 'f"postgresql+psycopg://{user}:{password}@{host}:{port}/{name}"',
    "pydantic": "str(MultiHostUrl.build(scheme='postgresql+psycopg', username=user, "
    "password=password, host=host, port=int(port), path=name))",
    "SQLAlchemy": "URL.create('postgresql+psycopg', user, password, host, int(port), name)",
}


@pytest.mark.parametrize("way", TOGETHER)
def test_a_url_that_is_put_together_of_its_parts_leads_to_the_clone(on_server, way):
    shop = on_server("shop", "SHOP_URL")
    parts = ("user", "password", "host", "port", "database")
    variables = ", ".join(f'DB_{part} = "{{{part}}}"' for part in parts)
    shop.replace("pyproject.toml", 'SHOP_URL = "{url}"', variables)
    shop.write(
        "shop/db.py",
        f"""
        import os

        from pydantic_core import MultiHostUrl
        from sqlalchemy import URL, create_engine
        from sqlalchemy.orm import sessionmaker

        user, password, host, port, name = (os.environ["DB_" + part] for part in {parts!r})
        engine = create_engine({TOGETHER[way]})
        SessionLocal = sessionmaker(engine)
        """,
    )
    shop.write("migrations/env.py", """
        from alembic import context
        from shop.db import engine
        from shop.models import Base

        with engine.connect() as connection:
            context.configure(connection=connection, target_metadata=Base.metadata)
            with context.begin_transaction():
                context.run_migrations()
    """)  # fmt: skip

    result = shop.run(
        test_it="""
        import subprocess, sys
        from shop import orders

        def test_both_see_it(db_clone):
            orders.add_customer("Ada")
            code = "from shop import orders; print(orders.count())"
            told = subprocess.run([sys.executable, "-c", code], env=db_clone.environ,
                                  capture_output=True, text=True, check=True)
            assert told.stdout.strip() == "2" == str(orders.count())
        """
    )

    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*redirected*")
