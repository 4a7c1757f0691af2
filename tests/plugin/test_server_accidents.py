"""A server that dies, refuses or forgets in the middle of a run: tests fail, and the run ends."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import psycopg
import pytest

from alembic_snapshot.errors import ServerError, SnapshotError, from_record
from alembic_snapshot.postgres import server as servers
from alembic_snapshot.postgres.database import ServerDatabase
from alembic_snapshot.postgres.pool import Pool, sweep
from alembic_snapshot.postgres.room import needed, refuse_crowd
from tests.server import as_role, setting

ACCIDENTS = """
    import contextlib, os, signal, sys, time
    import psycopg, pytest
    from alembic_snapshot.postgres.server import server_in_use
    from shop import orders

    def admin(*statements):
        server = server_in_use()
        with psycopg.connect(server.url, autocommit=True) as connection:
            for statement in statements:
                with contextlib.suppress(psycopg.OperationalError):
                    connection.execute(statement)

    def postmaster():
        with psycopg.connect(server_in_use().url) as connection:
            return connection.execute(
                "SELECT pg_read_file('postmaster.pid')").fetchone()[0].split()[0]

    OTHERS = "FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datid IS NOT NULL"

    def killed():
        os.kill(int(postmaster()), signal.SIGKILL)

    def crashed():
        with psycopg.connect(server_in_use().url) as connection:
            os.kill(connection.info.backend_pid, signal.SIGKILL)

    def terminated():
        admin(f"SELECT pg_terminate_backend(pid) {OTHERS}")

    def clones_dropped():
        with psycopg.connect(server_in_use().url, autocommit=True) as connection:
            for (name,) in connection.execute(
                "SELECT datname FROM pg_database WHERE datname ~ '^alembic_clone_'").fetchall():
                connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def snapshots_dropped():
        with psycopg.connect(server_in_use().url, autocommit=True) as connection:
            for (name,) in connection.execute(
                "SELECT datname FROM pg_database WHERE datname ~ '^alembic_snapshot_'").fetchall():
                connection.execute(f'ALTER DATABASE "{name}" IS_TEMPLATE false')
                connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def test_a_before(db_clone):
        assert orders.names() == ["the house"]

    def test_b_accident(db_session):
        orders.add_customer("Ada")
        ACCIDENT()
        for _ in range(200):
            orders.names()

    def test_c_without_a_database():
        pass

    @pytest.mark.parametrize("number", range(4))
    def test_d_after(db_clone, number):
        assert orders.names() == ["the house"]
        orders.add_customer("Eve")
"""
# Whether the tests after an accident go on, on the private server and on one of the user's.
KINDS = {
    "killed": (True, False),
    "crashed": (True, True),
    "terminated": (True, True),
    "clones_dropped": (True, True),
    "snapshots_dropped": (False, False),
}
CASES = [
    *((kind, whose, "fresh") for kind in KINDS for whose in ("private", "own")),
    *((kind, "private", "reset") for kind in ("killed", "terminated", "clones_dropped")),
]


@pytest.fixture
def on_server(new_sample, postgres, monkeypatch):
    """A shop on the private server, or on one that is named as a user's own would be."""
    monkeypatch.setenv("ALEMBIC_SNAPSHOT_BACKEND", "postgresql")

    def make(whose):
        if whose == "own":
            monkeypatch.setenv(servers.VARIABLE, postgres.url)
        sample = new_sample("shop")
        sample.configure('environment = { SHOP_URL = "{url}" }')
        sample.configure(f'x = ["{whose}"]')
        return sample

    return make


@pytest.mark.parametrize(("kind", "whose", "clones"), CASES)
def test_an_accident_fails_the_tests_that_need_the_server_and_no_others(
    on_server, kind, whose, clones
):
    shop = on_server(whose)
    goes_on = KINDS[kind][whose == "own"]

    result = shop.run(
        f"--snapshot-clones={clones}",
        "-p",
        "no:randomly",
        "-rA",
        test_it=ACCIDENTS.replace("ACCIDENT()", f"{kind}()"),
    )

    told = result.stdout.str() + result.stderr.str()
    assert "INTERNALERROR" not in told
    assert result.ret == 1
    passed = {line.split("::")[1] for line in result.outlines if line.startswith("PASSED")}
    assert {"test_a_before", "test_c_without_a_database"} <= passed
    assert goes_on == ("test_d_after[3]" in passed), told
    if kind != "snapshots_dropped":
        assert "test_b_accident" not in passed
    if not goes_on:
        last = [line for line in result.outlines if "test_d_after[3]" in line][-1]
        assert "Error" in last
        assert "psycopg" not in last
    result.stdout.fnmatch_lines(["alembic-snapshot: *; * clone*"])


@pytest.mark.parametrize("kind", ["killed", "terminated"])
def test_under_xdist_too(on_server, kind):
    shop = on_server("private")

    result = shop.run(
        "-p", "no:randomly", mode="n2", test_it=ACCIDENTS.replace("ACCIDENT()", f"{kind}()")
    )

    told = result.stdout.str() + result.stderr.str()
    assert "INTERNALERROR" not in told
    assert "worker 'gw" not in told
    assert result.ret == 1
    assert sum(result.parseoutcomes().values()) >= 7
    result.stdout.fnmatch_lines(["alembic-snapshot: *; * clone*"])


def test_a_failed_tests_database_that_can_not_be_kept_is_told(on_server):
    shop = on_server("private")

    result = shop.run(
        "-p", "no:randomly",
        test_it=ACCIDENTS.replace("ACCIDENT()", "clones_dropped(); assert False"),
    )  # fmt: skip

    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["ServerError: the server at * refused: database *alembic_clone_* does not exist"]
    )


FULL = """
    import psycopg, pytest
    from alembic_snapshot.postgres.server import server_in_use
    from shop import orders

    held = []

    def test_a_before(db_clone):
        assert orders.names() == ["the house"]

    def take_all():
        with pytest.raises(psycopg.OperationalError):
            while True:
                held.append(psycopg.connect(server_in_use().url, dbname="postgres"))

    def test_b_takes_all(db_clone):
        orders.names()
        take_all()

    @pytest.mark.parametrize("number", range(4))
    def test_c_after(db_clone, number):
        orders.names()
        take_all()
        db_clone.diff()

    def test_d_gives_back():
        while held:
            held.pop().close()

    def test_e_after(db_clone):
        assert orders.names() == ["the house"]
"""


@pytest.fixture
def limited(postgres):
    """Makes a role that has so many connections at most, and its server's URL."""
    with postgres.connect() as connection:
        connection.execute("CREATE ROLE few LOGIN CREATEDB")

    def make(limit):
        with postgres.connect() as connection:
            connection.execute(f"ALTER ROLE few CONNECTION LIMIT {limit}")
        return as_role(postgres, "few")

    yield make
    with postgres.connect() as connection:
        for name in [row[0] for row in connection.execute(
            "SELECT datname FROM pg_database WHERE pg_get_userbyid(datdba) = 'few'")]:  # fmt: skip
            ServerDatabase(postgres, name).remove()
        connection.execute("DROP ROLE few")


def test_a_server_that_is_full_fails_the_tests_that_need_it(on_server, limited, monkeypatch):
    shop = on_server("private")
    monkeypatch.setenv(servers.VARIABLE, limited(9))

    result = shop.run("-p", "no:randomly", "-rA", test_it=FULL)

    told = result.stdout.str() + result.stderr.str()
    assert "INTERNALERROR" not in told
    passed = {line.split("::")[1] for line in result.outlines if line.startswith("PASSED")}
    assert {"test_a_before", "test_b_takes_all", "test_d_gives_back", "test_e_after"} <= passed
    result.stdout.fnmatch_lines(["*has no room for one more connection*", "alembic-snapshot: *"])


def take_until_it_fails(pool):
    while True:
        pool.take(None)


ENOUGH = """
    import pytest
    from shop import orders

    @pytest.mark.parametrize("number", range(8))
    def test_it(db_clone, number):
        orders.add_customer("Ada")
        assert len(orders.names()) == 2
        assert db_clone.diff()

    def test_without():
        pass
"""


@pytest.mark.parametrize(("clones", "processes"), [("fresh", 2), ("reset", 1)])
def test_too_few_connections_are_told_before_the_run_and_enough_are_enough(
    on_server, limited, postgres, monkeypatch, clones, processes
):
    shop = on_server("private")
    resets = clones == "reset"
    enough = needed(processes, resets=resets)
    monkeypatch.setenv(servers.VARIABLE, limited(enough - 1))
    options, mode = (f"--snapshot-clones={clones}",), {1: "plain", 2: "n2"}[processes]

    few = shop.run(*options, mode=mode, test_it=ENOUGH)
    limited(enough)
    right = shop.run(*options, mode=mode)

    few.assert_outcomes(passed=1, errors=8)
    few.stdout.fnmatch_lines(
        [f"*ServerError: the server at * has room for {enough - 1} more connections, and the "
         f"tests' {processes} processes need {enough} at least",
         "*hint: raise the role's CONNECTION LIMIT there by 1*"]
    )  # fmt: skip
    right.assert_outcomes(passed=9)


def test_a_servers_own_limit_and_what_others_hold_count(postgres):
    with postgres.connect() as connection:
        (most,) = connection.execute("SELECT current_setting('max_connections')::int").fetchone()
    fits = most // needed(1, resets=False)
    refuse_crowd(postgres, fits - 1, resets=False)
    others = [psycopg.connect(postgres.url) for _ in range(10)]

    with pytest.raises(ServerError, match=f"has room for {most - 10} more connections") as caught:
        refuse_crowd(postgres, fits, resets=False)

    for other in others:
        other.close()
    assert re.match(
        r"raise max_connections there by \d+, or run \d+ of them: -n", caught.value.hint
    )


class TestOwnConnections:
    def test_an_error_is_ours_and_the_drivers(self, postgres):
        with postgres.connect() as connection:
            with pytest.raises(ServerError, match="refused: division by zero") as caught:
                connection.execute("SELECT 1 / 0")
            with pytest.raises(psycopg.errors.UndefinedTable):
                connection.cursor().execute("SELECT * FROM nowhere")
            with (
                pytest.raises(ServerError, match='relation "nowhere" does not exist'),
                connection.cursor().copy("COPY nowhere TO STDOUT") as copy,
            ):
                list(copy)

        assert isinstance(caught.value, psycopg.errors.DivisionByZero)
        assert type(from_record(caught.value.to_record())) is ServerError

    def test_a_lost_one_is_told_and_can_be_left(self, postgres):
        with postgres.connect() as connection:
            with pytest.raises(ServerError, match="was lost: terminating connection") as caught:
                connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
            with pytest.raises(ServerError, match="was lost: the connection is closed"):
                connection.execute("SELECT 1")

        assert "Run the tests again" in caught.value.hint

    def test_a_pool_goes_on_as_the_same_owner(self, postgres, names):
        pool = Pool(postgres)
        first = pool.take(None).name
        with postgres.connect() as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> "
                "pg_backend_pid() AND application_name = %s", (servers.APPLICATION,),
            )  # fmt: skip
            second = pool.take(None).name
            sweep(connection)

        assert {first, second} <= set(names("alembic_clone_"))
        pool.close()
        assert names("alembic_clone_") == []

    def test_a_pool_whose_server_is_gone_says_so(self, postgres, monkeypatch):
        own = servers.Server(postgres.url)
        pool = Pool(own)
        with own.connect() as connection:
            status = Path(setting(connection, "data_directory")) / "postmaster.pid"
        os.kill(int(status.read_text().split()[0]), signal.SIGKILL)

        with pytest.raises(SnapshotError, match="no PostgreSQL server at"):
            take_until_it_fails(pool)
        pool.close()
