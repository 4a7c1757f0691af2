"""``clones = "reset"`` on both databases: kills, threads in a statement, and many tests at once."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from alembic_snapshot.postgres import server as servers

# Imported here, and not only in fixtures: pytester forgets what is imported while it is in use.
from alembic_snapshot.postgres.private import acquire  # noqa: F401

RESET = "--snapshot-clones=reset"


@pytest.fixture
def shop(on_either):
    return on_either


def clones_on(kind, request):
    return request.getfixturevalue("names")("alembic_clone_") if kind == "postgresql" else []


def until(condition, what):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"still waiting: {what}"
        time.sleep(0.02)


WRITING = """
    import os, pathlib, signal, time
    import pytest
    from shop import orders

    @pytest.mark.parametrize("number", range(3))
    def test_before(db_session, number):
        orders.add_customer("Ada")
        assert len(orders.names()) == 2

    def test_running(db_session):
        orders.add_customer("Eve")
        pathlib.Path("running").touch()
        time.sleep(60)
"""
AFTER = """
    import pytest
    from shop import orders

    @pytest.mark.parametrize("number", range(3))
    def test_it(db_session, number):
        assert orders.names() == ["the house"]
        orders.add_customer("Bob")
"""


@pytest.mark.parametrize("clones", ["fresh", "reset"])
def test_a_killed_run_leaves_nothing_that_the_next_does_not_sweep(shop, kind, clones, request):
    shop.write("test_it.py", WRITING)
    before = {path for path in shop.root.rglob("*") if path.suffix in (".db", "")}
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:xdist",
         "--basetemp", str(shop.root / "base"), f"--snapshot-clones={clones}"],
        cwd=shop.root,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    until((shop.root / "running").exists, "the test begins")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    left = [path for path in shop.root.rglob("*.db*") if path not in before]

    after = shop.run(f"--snapshot-clones={clones}", "--basetemp", str(shop.root / "base"),
                     test_it=AFTER)  # fmt: skip

    after.assert_outcomes(passed=3)
    assert all(path.is_relative_to(shop.root / "base") for path in left)
    assert [path for path in shop.root.rglob("*.db*") if path not in before] == []
    assert clones_on(kind, request) == []
    assert not (shop.root / "shop.db").exists()


def test_a_killed_worker_fails_its_test_and_no_other(shop, kind, request):
    result = shop.run(
        RESET,
        "-p",
        "no:randomly",
        mode="n2",
        test_it="""
        import os, pytest
        from shop import orders

        @pytest.mark.parametrize("number", range(8))
        def test_it(db_session, number):
            assert orders.names() == ["the house"]
            orders.add_customer("Ada")
            if number == 3:
                os.kill(os.getpid(), 9)
        """,
    )

    result.assert_outcomes(passed=7, failed=1)
    assert "INTERNALERROR" not in result.stdout.str()
    shop.run(RESET, test_it=AFTER).assert_outcomes(passed=3)
    assert clones_on(kind, request) == []


@pytest.mark.parametrize("clones", ["fresh", "reset"])
def test_a_thread_in_the_middle_of_a_statement_reaches_no_other_test(
    new_sample, postgres, monkeypatch, names, clones
):
    monkeypatch.setenv("ALEMBIC_SNAPSHOT_BACKEND", "postgresql")
    shop = new_sample("shop")
    shop.configure('environment = { SHOP_URL = "{url}" }')

    result = shop.run(
        f"--snapshot-clones={clones}",
        "-p",
        "no:randomly",
        test_it="""
        import threading, time
        import psycopg, pytest
        from alembic_snapshot.postgres.server import server_in_use
        from shop import orders
        from shop.db import engine
        from sqlalchemy import text

        ended, threads = [], []
        SLEEP = ("INSERT INTO customers (name) SELECT 'of the thread' FROM pg_sleep(100)")
        ASLEEP = ("SELECT count(*) FROM pg_stat_activity "
                  "WHERE query ~ '^INSERT.*pg_sleep' AND state = 'active'")

        def work():
            try:
                with engine.begin() as connection:
                    connection.execute(text(SLEEP))
            except Exception as error:
                ended.append(error)

        @pytest.mark.filterwarnings("ignore:a connection to the test's database was still open")
        def test_leaving(db_session):
            orders.add_customer("Ada")
            threads.append(threading.Thread(target=work, daemon=True))
            threads[0].start()
            url = server_in_use().url
            with psycopg.connect(url, autocommit=True) as connection:
                while connection.execute(ASLEEP).fetchone() == (0,):
                    time.sleep(0.01)

        @pytest.mark.parametrize("number", range(3))
        def test_after(db_session, number):
            assert orders.names() == ["the house"]
            orders.add_customer("Bob")

        def test_that_the_thread_was_told():
            threads[0].join(60)
            assert len(ended) == 1
        """,
    )

    result.assert_outcomes(passed=5)
    assert names("alembic_clone_") == []


def test_a_transaction_that_only_read_is_not_told_as_open_work(new_sample, postgres, monkeypatch):
    monkeypatch.setenv("ALEMBIC_SNAPSHOT_BACKEND", "postgresql")
    shop = new_sample("shop")
    shop.configure('environment = { SHOP_URL = "{url}" }')

    result = shop.run(
        "-p",
        "no:randomly",
        test_it="""
        from shop.models import Customer
        from sqlalchemy import insert, select, text

        def test_read(db_session):
            assert db_session.scalars(select(Customer)).all() == []

        def test_locked(db_session):
            db_session.execute(text("SET LOCAL work_mem = '1MB'"))
            db_session.execute(text("LOCK TABLE customers IN ACCESS SHARE MODE"))
            assert 0

        def test_wrote(db_session):
            db_session.execute(insert(Customer).values(name="Ada"))
            assert 0
        """,
    )

    parts = re.split(r"^_+ (test_\w+) _+$", result.stdout.str(), flags=re.MULTILINE)
    told = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert "not committed" not in told["test_read"] + told["test_locked"]
    assert "not committed: a transaction is open, on a connection that" in told["test_wrote"]


def test_a_way_that_fails_its_self_test_is_told_in_the_summary(new_sample):
    shop = new_sample("shop")
    shop.write(
        "conftest.py",
        """
        import alembic_snapshot.sqlite.reset.clones as clones
        import alembic_snapshot.sqlite.reset.rewind as rewind

        clones.LARGE = 10
        rewind._KNOWN_VERSION = bytes(4)
        """,
    )

    result = shop.run(RESET, test_it=AFTER)

    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(
        ["*; reset 3 times; files are rewritten and not rewound: the self-test failed: *"]
    )


MANY = """
    import os, subprocess, sys, threading
    import pytest
    from shop import orders
    from shop.db import engine
    from sqlalchemy import text

    CHILD = (
        "import os; from sqlalchemy import create_engine, text\\n"
        "with create_engine(os.environ['SHOP_URL']).begin() as connection:\\n"
        "    connection.execute(text(\\"INSERT INTO customers (name) VALUES ('a child')\\"))\\n"
    )

    def commits(name, clone):
        orders.add_customer(name)
        orders.order(name, "tea")

    def rolls_back(name, clone):
        orders.add_customer(name)
        with engine.connect() as connection:
            connection.execute(text("DELETE FROM customers"))

    def threads(name, clone):
        made = [threading.Thread(target=orders.add_customer, args=(f"{name} {n}",)) for n in (1, 2)]
        for thread in made:
            thread.start()
        for thread in made:
            thread.join()
        orders.add_customer(name)

    def changes(name, clone):
        with engine.begin() as connection:
            connection.execute(text("UPDATE customers SET name = name || '!'"))
            connection.execute(text("DELETE FROM customers"))
        orders.add_customer(name)

    def child(name, clone):
        subprocess.run([sys.executable, "-c", CHILD], env=clone.environ, check=True)
        orders.add_customer(name)

    def reads(name, clone):
        pass

    COUNT = int(os.environ["MANY"])
    WAYS = [commits, rolls_back, threads, changes, reads]
    CHILDREN = range(5, COUNT, COUNT // int(os.environ["CHILDREN"]))
    EXPECTED = {
        commits: lambda name: ["the house", name],
        rolls_back: lambda name: ["the house", name],
        threads: lambda name: ["the house", name, f"{name} 1", f"{name} 2"],
        changes: lambda name: [name],
        child: lambda name: ["the house", "a child", name],
        reads: lambda name: ["the house"],
    }

    @pytest.mark.parametrize("number", range(COUNT))
    def test_its_own_rows_alone(db_clone, number):
        way = child if number in CHILDREN else WAYS[number % len(WAYS)]
        assert orders.names() == ["the house"]
        way(f"customer {number}", db_clone)
        assert orders.names() == sorted(EXPECTED[way](f"customer {number}"))
        assert number != COUNT // 2, "fails on purpose"
"""


@pytest.mark.parametrize("whose", ["private", "own"])
@pytest.mark.parametrize(
    ("count", "children"),
    [(30, 2), pytest.param(300, 15, marks=pytest.mark.campaign)],
)
def test_each_of_many_sees_its_own_rows_and_a_failing_ones_database_opens(
    new_sample, postgres, monkeypatch, names, whose, count, children
):
    monkeypatch.setenv("ALEMBIC_SNAPSHOT_BACKEND", "postgresql")
    monkeypatch.setenv("MANY", str(count))
    monkeypatch.setenv("CHILDREN", str(children))
    if whose == "own":
        monkeypatch.setenv(servers.VARIABLE, postgres.url)
    shop = new_sample("shop")
    shop.configure('environment = { SHOP_URL = "{url}" }')

    result = shop.run(RESET, mode="n2", test_it=MANY)

    result.assert_outcomes(passed=count - 1, failed=1)
    found = re.search(r"; reset (\d+) times?", result.stdout.str())
    assert found, result.stdout.str()
    assert int(found[1]) > count // 3
    (kept,) = names("alembic_kept_")
    with postgres.connect(kept) as connection:
        rows = connection.execute("SELECT name FROM customers ORDER BY name").fetchall()
    assert (f"customer {count // 2}",) in rows
    assert not any(row[0].startswith("customer ") and row != (f"customer {count // 2}",)
                   for row in rows)  # fmt: skip
    assert names("alembic_clone_") == []
