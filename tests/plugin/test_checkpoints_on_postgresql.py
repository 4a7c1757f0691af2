"""Checkpoints on a server: databases that nobody connects to, gone with their scope."""

from __future__ import annotations

import signal

import pytest

from alembic_snapshot.errors import CloneError
from alembic_snapshot.postgres import frozen
from alembic_snapshot.postgres.database import ServerDatabase
from alembic_snapshot.postgres.pool import Pool, sweep
from alembic_snapshot.postgres.server import lock_key


@pytest.fixture
def shop(on_server):
    return on_server("shop", "SHOP_URL")


@pytest.fixture
def pool(postgres):
    pool = Pool(postgres)
    yield pool
    pool.close()


@pytest.mark.parametrize(("clones", "workers"), [("fresh", "n2"), ("reset", "plain")])
def test_each_test_begins_from_it(shop, clones, workers, names):
    shop.behaviour("checkpoints")
    shop.behaviour("restored")

    result = shop.run(f"--snapshot-clones={clones}", mode=workers)

    assert result.parseoutcomes().keys() == {"passed"}
    assert names("alembic_clone_") == []


@pytest.mark.parametrize(("driver", "clones"), [("asyncpg", "reset"), ("psycopg", "fresh")])
def test_async_code(on_server, driver, clones, monkeypatch, names):
    if driver == "psycopg":
        monkeypatch.setenv("NOTES_URL", "postgresql+psycopg://localhost/notes")
    notes = on_server("notes", "NOTES_URL", "{async_url}")
    notes.behaviour("async_checkpoints")

    result = notes.run(f"--snapshot-clones={clones}", "test_async_checkpoints.py")

    assert result.parseoutcomes().keys() == {"passed"}
    assert names("alembic_clone_") == []


FAILING = """
    import os, signal
    from pytest_alembic_snapshot import checkpoint_fixture
    from shop import orders
    from shop.db import engine

    @checkpoint_fixture("module")
    def customer():
        orders.add_customer("Ada")

    def test_failing(customer):
        orders.add_customer("Bob")
        assert False

    def test_killed(customer):
        assert orders.count() == 2
        if os.environ.get("KILLED"):
            os.kill(os.getpid(), signal.SIGKILL)
    """


def test_a_failing_tests_difference_is_from_the_checkpoint(shop, names):
    result = shop.run("-p", "no:randomly", test_it=FAILING)

    result.assert_outcomes(passed=1, failed=1)
    (kept,) = names("alembic_kept_")
    result.stdout.fnmatch_lines(
        [
            f"database {kept} on *",
            "compared with the checkpoint customer (test_it.py line 6):",
            "customers: 1 added",
            "  + id=3, name='Bob' ← shop/orders.py:12 add_customer",
        ]
    )
    assert names("alembic_clone_") == []


def test_those_of_a_process_that_was_killed_are_swept(shop, names, postgres, monkeypatch):
    monkeypatch.setenv("KILLED", "1")

    result = shop.run("-p", "no:randomly", "-k", "killed", test_it=FAILING)

    assert result.ret == -signal.SIGKILL
    left = names("alembic_clone_")
    assert left
    with postgres.connect() as connection:
        # The server may take a moment to notice that the owner is gone.
        key = lock_key(f"owner {left[0].split('_')[2]}")
        connection.execute("SELECT pg_advisory_lock(%s)", (key,))
        connection.execute("SELECT pg_advisory_unlock(%s)", (key,))
        sweep(connection)
    assert names("alembic_clone_") == []


def test_nobody_can_connect_to_one_and_what_is_compared_with_it_is_a_copy(pool, postgres):
    before, after = pool.take(None), pool.take(None)
    with postgres.connect(before.name) as connection:
        connection.execute("CREATE TABLE mine (id integer)")
        pool.freeze(before.name)
        with pytest.raises(Exception, match=r"terminating connection|closed"):
            connection.execute("INSERT INTO mine VALUES (1)")

    with pytest.raises(Exception, match="not currently accepting connections"):
        postgres.connect(before.name).close()
    assert "table mine: only in the snapshot" in after.diff(before).schema
    assert str(pool.take(before.name).diff(before)) == "no difference"


def test_what_was_made_ready_goes_with_its_template(pool, names, postgres):
    template = pool.take(None)
    pool.freeze(template.name)
    pool.take(template.name)

    pool.drop(template.name)
    pool.close()

    assert names("alembic_clone_") == []
    pool.__init__(postgres)


@pytest.mark.parametrize("work", ["copy", "freeze"])
def test_a_prepared_transaction_is_work_that_is_not_committed(pool, postgres, work):
    database = pool.take(None)
    with postgres.connect(database.name) as connection:
        if connection.execute("SHOW max_prepared_transactions").fetchone() == ("0",):
            pytest.skip("the server has no prepared transactions")
        connection.execute("CREATE TABLE mine (id integer)")
        connection.execute("BEGIN")
        connection.execute("INSERT INTO mine VALUES (1)")
        connection.execute("PREPARE TRANSACTION 'work'")

    with pytest.raises(CloneError, match="the prepared transaction 'work' is neither committed"):
        getattr(pool, work)(database.name)


def test_who_is_at_work_is_not_ended_and_who_is_idle_is(pool, postgres, monkeypatch):
    monkeypatch.setattr(frozen, "_PATIENCE", 0.0)
    found = pool.take(None)
    with postgres.connect(found.name) as connection:
        connection.execute("BEGIN")
        connection.execute("CREATE TABLE mine (id integer)")
        for work in (pool.copy, lambda name: pool.renew(name, None)):
            with pytest.raises(CloneError, match=r"is in use by .*idle in transaction"):
                work(found.name)
        connection.execute("COMMIT")
        copy = pool.copy(found.name)

    assert copy.tables() == ["mine"]
    pool.renew(found.name, None)
    assert ServerDatabase(postgres, found.name).tables() == []
    pool.renew(found.name, copy.name)
    assert ServerDatabase(postgres, found.name).tables() == ["mine"]
