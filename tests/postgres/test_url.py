"""The URL of a server: who is let in, what is said otherwise, and where its password goes."""

from __future__ import annotations

import asyncio
import configparser
import os
import shutil
import subprocess
from contextlib import closing
from pathlib import Path

import asyncpg
import psycopg
import pytest
from alembic.config import Config
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from alembic_snapshot import ServerError
from alembic_snapshot.postgres import databases
from alembic_snapshot.postgres import server as servers
from alembic_snapshot.postgres.clone import PooledClone
from alembic_snapshot.postgres.database import ServerDatabase
from alembic_snapshot.postgres.pool import Pool, kept_name
from alembic_snapshot.postgres.server import Server
from tests.server import as_role, setting
from tests.waiting import until

PASSWORD = "a right+one: %41/@"


def lets_in(url):
    """Whether the server takes a connection."""
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True


@pytest.fixture
def locked(postgres):
    """Makes URLs, with a password, of a role that needs one."""
    with postgres.connect() as connection:
        connection.execute(f"CREATE ROLE locked LOGIN CREATEDB PASSWORD '{PASSWORD}'")
        rules = Path(setting(connection, "hba_file"))
        before = rules.read_text()
        rules.write_text(f"local all locked scram-sha-256\n{before}")
        connection.execute("SELECT pg_reload_conf()")

    def url(password):
        return as_role(postgres, "locked", password)

    # Until the server has read the rules it lets everybody in.
    until(lambda: not lets_in(url("wrong")), "the rules are read")
    yield url
    rules.write_text(before)
    with postgres.connect() as connection:
        connection.execute("SELECT pg_reload_conf()")
        for name, _ in list(databases.named(connection, "alembic_")):
            databases.drop(connection, name)
        connection.execute("DROP ROLE locked")


@pytest.fixture
def other_role(postgres):
    """A URL for somebody who may create databases, and nothing else."""
    with postgres.connect() as connection:
        connection.execute("CREATE ROLE other LOGIN CREATEDB")
    yield as_role(postgres, "other")
    with postgres.connect() as connection:
        for name, _ in list(databases.named(connection, "")):
            if name == "mine" or name.startswith("alembic_"):
                databases.drop(connection, name)
        connection.execute("DROP ROLE other")


@pytest.fixture
def start(postgres):
    """How a URL without a password begins."""
    return lambda role: f"postgresql://{role}@127.0.0.1:{make_url(postgres.url).port}"


class TestAPassword:
    def test_may_have_anything_in_it(self, project, locked, monkeypatch):
        monkeypatch.setenv(servers.VARIABLE, locked(PASSWORD))
        project.history(1)

        assert project.ensure().built

    def test_stays_out_of_reports(self, project, locked, start, monkeypatch):
        monkeypatch.setenv(servers.VARIABLE, locked(PASSWORD))
        project.history(1)
        with closing(Pool(servers.server_in_use())) as pool:
            clone = PooledClone(project.ensure(), pool)
            shown = [*clone.kept_as(project.root), repr(clone), str(clone.target)]

        assert f"{start('locked')}/{kept_name(clone.target.name)}?" in shown[1]
        assert "right" not in " ".join(shown)

    def test_is_given_to_psql_where_others_can_not_read_it(self, project, locked, start):
        psql = project.write("bin/psql", '#!/bin/sh\necho "$PGPASSWORD" for "$@"\n')
        psql.chmod(0o755)
        path = f"{psql.parent}{os.pathsep}{os.environ['PATH']}"

        shown = project.command(
            "psql", "template1", variables={servers.VARIABLE: locked(PASSWORD), "PATH": path}
        ).stdout

        assert shown.startswith(f"{PASSWORD} for {start('locked')}/template1?")


@pytest.mark.parametrize("named", ["/developers", "/?dbname=developers", "/?database=developers",
                                   "/developers?dbname=developers"])  # fmt: skip
def test_a_database_that_the_variable_names_is_not_opened(postgres, monkeypatch, named):
    developers = ServerDatabase(postgres, "developers")
    developers.start(None)
    url = make_url(postgres.url).set(drivername="postgresql").render_as_string(False)
    place, _, query = url.partition("?")
    separator = "&" if "?" in named else "?"
    monkeypatch.setenv(servers.VARIABLE, f"{place.rstrip('/')}{named}{separator}{query}")

    server = servers.server_in_use()
    made = ServerDatabase(server, "made")
    made.start(None)

    with server.connect("made") as connection:
        assert connection.info.dbname == "made"
    for way in (by_psycopg, by_sqlalchemy, by_sqlalchemys_asyncpg):
        way(made.url())


def test_a_server_that_opens_another_database_is_refused(postgres):
    class Led(Server):
        def _connected(self, kind, url):
            return super()._connected(kind, url.replace("/template1", "/postgres"))

    with pytest.raises(ServerError, match="gives the database 'postgres'"):
        Led(postgres.url).connect("template1")


@pytest.mark.parametrize(
    ("variable", "value"),
    [("PGSERVICE", "nowhere"), ("PGREQUIREAUTH", "scram-sha-256"), ("PGGSSENCMODE", "require")],
)
def test_a_variable_of_libpqs_that_does_not_suit_the_server_is_named(
    postgres, monkeypatch, variable, value
):
    with monkeypatch.context() as patched:
        for name in [name for name in os.environ if name.startswith("PG")]:
            patched.delenv(name)
        patched.setenv(variable, value)
        with pytest.raises(ServerError) as caught:
            postgres.connect()

    assert f"libpq reads {variable}, too" in str(caught.value.hint)


def by_pydantic(url):
    pydantic = pytest.importorskip("pydantic")
    assert str(pydantic.TypeAdapter(pydantic.PostgresDsn).validate_python(url)) == url


def by_alembic(url):
    config = Config()
    config.set_main_option("sqlalchemy.url", url)
    assert config.get_main_option("sqlalchemy.url") == url


def by_configparser(url):
    parser = configparser.ConfigParser()
    parser.read_dict({"alembic": {"url": url}})
    assert parser["alembic"]["url"] == url


def by_psycopg(url):
    with psycopg.connect(plain(url)) as connection:
        assert connection.info.dbname == "made"


def by_libpq(url):
    if shutil.which("psql") is None:
        pytest.skip("no psql is installed")
    command = ["psql", "-Atc", "SELECT current_database()", plain(url)]
    assert subprocess.run(command, capture_output=True, text=True).stdout == "made\n"


def by_sqlalchemy(url):
    engine = create_engine(make_url(url))
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT current_database()")) == "made"
    engine.dispose()


def by_asyncpg(url):
    async def ask():
        connection = await asyncpg.connect(plain(url))
        assert await connection.fetchval("SELECT current_database()") == "made"
        await connection.close()

    asyncio.run(ask())


def by_sqlalchemys_asyncpg(url):
    async def ask():
        engine = create_async_engine(url.replace("+psycopg", "+asyncpg"))
        async with engine.connect() as connection:
            assert await connection.scalar(text("SELECT current_database()")) == "made"
        await engine.dispose()

    asyncio.run(ask())


def by_psycopgs_async_connection(url):
    async def ask():
        async with await psycopg.AsyncConnection.connect(plain(url)) as connection:
            assert connection.info.dbname == "made"

    asyncio.run(ask())


def plain(url):
    """The URL without SQLAlchemy's driver."""
    return url.replace("+psycopg", "")


WAYS = [by_pydantic, by_alembic, by_configparser, by_psycopg, by_libpq, by_sqlalchemy,
        by_sqlalchemys_asyncpg, by_asyncpg, by_psycopgs_async_connection]  # fmt: skip


class TestThePrivateServersUrl:
    @pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
    def test_is_taken_as_it_is(self, postgres, way):
        database = ServerDatabase(postgres, "made")
        database.start(None)

        way(database.url())

    def test_has_parts_that_each_driver_takes(self, postgres):
        database = ServerDatabase(postgres, "made")
        database.start(None)
        parts = database.places()

        async def ask():
            connection = await asyncpg.connect(
                host=parts["host"], port=parts["port"], user=parts["user"],
                password=parts["password"], database=parts["database"],
            )  # fmt: skip
            found = await connection.fetchval("SELECT current_database()")
            await connection.close()
            return found

        assert asyncio.run(ask()) == "made"


class TestParts:
    @pytest.mark.parametrize(
        ("url", "parts"),
        [
            ("postgresql://ada:a%40b@db.x:5433/", ("db.x", "5433", "ada", "a@b")),
            ("postgresql://db.x/", ("db.x", "5432", "eve", "")),
            ("postgresql://ada@/?host=/a+b&port=1&password=c", ("/a b", "1", "ada", "c")),
            ("postgresql://ada:a@127.0.0.1:1/?host=/a", ("/a", "1", "ada", "a")),
            ("postgresql://ada@/?host=a:1&host=b:2", ("a:1,b:2", "5432", "ada", "")),
        ],
    )
    def test_are_those_of_the_server(self, monkeypatch, url, parts):
        monkeypatch.setenv("PGUSER", "eve")
        monkeypatch.setenv(servers.VARIABLE, url)
        names = ("host", "port", "user", "password")

        found = ServerDatabase(servers.server_in_use(), "made").places()

        assert tuple(found[name] for name in names) == parts
        assert found["database"] == "made"

    @pytest.mark.parametrize(
        ("url", "host"),
        [
            ("postgresql://postgres:a@127.0.0.1:1/?host=/a", "127.0.0.1"),
            # It has nothing but its socket.
            ("postgresql://postgres@/?host=/a&port=1", "/a"),
        ],
    )
    def test_of_a_private_server_have_its_address_if_it_listens_there(self, url, host):
        assert servers.Server(url, is_private=True).parts()["host"] == host

    def test_reach_env_py_and_a_child_of_a_test(self, project, postgres):
        project.configure("""
            backend = "postgresql"
            environment.DB_HOST = "{host}"
            environment.DB = "{user}@{database}:{port}"
            environment.DB_PASSWORD = "{password}"
            environment.LEFT = "{{host}}"
            x = ["name={database}", "all={url}"]
        """)
        project.write(
            "migrations/env.py",
            """
            import os
            from alembic import context
            from sqlalchemy import URL, create_engine

            user, _, rest = os.environ["DB"].partition("@")
            name, _, port = rest.partition(":")
            assert os.environ["LEFT"] == "{host}"
            assert context.get_x_argument(as_dictionary=True)["name"] == name
            host, password = os.environ["DB_HOST"], os.environ["DB_PASSWORD"]
            url = URL.create("postgresql+psycopg", user, password, host, port, name)
            with create_engine(url).connect() as connection:
                context.configure(connection=connection)
                with context.begin_transaction():
                    context.run_migrations()
        """,
        )
        project.history(1)

        clone = project.ensure().clone("mine")

        assert clone.target.tables() == ["alembic_version", "t_0001"]
        assert clone.environ["DB_HOST"] == "127.0.0.1"
        assert clone.environ["DB"] == f"postgres@mine:{make_url(postgres.url).port}"
        clone.delete()


class TestRoles:
    def test_each_has_snapshots_of_its_own(self, project, other_role, names, monkeypatch):
        project.history(1)
        ours = project.ensure()
        monkeypatch.setenv(servers.VARIABLE, other_role)

        theirs = project.ensure()
        clone = theirs.clone("mine")
        with clone.engine().connect() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM t_0001").scalar() == 0
        clone.close()
        again = project.ensure()
        project.command("prune", "--keep", "0")

        assert theirs.built
        assert again.database == theirs.database
        assert names(theirs.database) == []
        assert names(ours.database) == [ours.database]


class TestErrors:
    def test_no_url(self, project, monkeypatch):
        monkeypatch.setenv(servers.VARIABLE, "somewhere")

        with pytest.raises(ServerError, match="is not the URL of a PostgreSQL server"):
            project.key()

    def test_no_server(self, project, monkeypatch):
        monkeypatch.setenv(servers.VARIABLE, "postgresql://me:secret@localhost:1/")

        with pytest.raises(ServerError, match="no PostgreSQL server at localhost:1") as caught:
            project.key()

        assert servers.VARIABLE in caught.value.hint
        assert "secret" not in str(caught.value)

    def test_an_option_that_there_is_not(self, project, monkeypatch):
        monkeypatch.setenv(servers.VARIABLE, "postgresql://me:secret@localhost:1/?nonsense=1")

        with pytest.raises(ServerError, match=r"can't be understood: .*nonsense") as caught:
            project.key()

        assert "secret" not in str(caught.value)

    def test_a_wrong_password(self, project, locked, monkeypatch):
        monkeypatch.setenv(servers.VARIABLE, locked("wrong-one"))

        with pytest.raises(ServerError, match="refuses user 'locked'") as caught:
            project.key()

        assert "wrong-one" not in str(caught.value)

    def test_a_database_that_the_role_may_not_connect_to(
        self, project, other_role, postgres, monkeypatch
    ):
        monkeypatch.setenv(servers.VARIABLE, other_role)
        with postgres.connect() as connection:
            connection.execute("REVOKE CONNECT ON DATABASE postgres FROM public")
            try:
                with pytest.raises(ServerError, match="refused the connection") as caught:
                    project.key()
            finally:
                connection.execute("GRANT CONNECT ON DATABASE postgres TO public")

        assert "may the user connect to the database postgres" in caught.value.hint

    def test_a_role_that_may_not_create_databases(self, project, postgres, monkeypatch):
        with postgres.connect() as connection:
            connection.execute("CREATE ROLE humble LOGIN")
        monkeypatch.setenv(servers.VARIABLE, as_role(postgres, "humble"))
        project.history(1)
        try:
            with pytest.raises(ServerError, match="role 'humble' may not create") as caught:
                project.ensure()
            assert 'ALTER ROLE "humble" CREATEDB' in caught.value.hint
        finally:
            with postgres.connect() as connection:
                connection.execute("DROP ROLE humble")


def test_what_has_no_encoding_is_read_as_text(postgres):
    with postgres.connect() as connection:
        connection.execute(
            "CREATE DATABASE plain TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'"
        )

    with postgres.connect("plain") as connection:
        connection.execute('CREATE TABLE "café" (id int)')
        found = connection.execute("SELECT relname FROM pg_class WHERE relname ~ '^caf'").fetchall()

    assert found == [("café",)]
