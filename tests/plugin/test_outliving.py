"""A forked process that goes on when its test is over finds out by itself, and is refused."""

from __future__ import annotations

import pytest

from alembic_snapshot.plugin.summary import Tally

CLONES = pytest.mark.parametrize("clones", ["fresh", "reset"])


@CLONES
def test_what_a_forked_process_may_use_ends_with_its_test(shop, clones):
    shop.configure('environment = { SHOP_URL = "{url}" }')
    shop.behaviour("outliving")

    result = shop.run("-p", "no:randomly", f"--snapshot-clones={clones}")

    assert result.parseoutcomes().keys() == {"passed"}
    assert not list(shop.temporary.rglob("default-*"))


def test_it_ends_with_its_test_with_the_guard_off_too(shop):
    shop.configure('guard = "off"')

    result = shop.run(
        "-p",
        "no:randomly",
        test_it="""
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor

        import pytest
        from alembic_snapshot.errors import DatabaseNotRequested
        from shop import orders

        POOL = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork"))

        def test_one(db_clone):
            POOL.submit(orders.add_customer, "Ada").result(20)
            assert orders.names() == ["Ada", "the house"]

        def test_two(db_clone):
            with pytest.raises(DatabaseNotRequested, match="clone was taken back"):
                POOL.submit(orders.add_customer, "Ada").result(20)
            POOL.shutdown()
        """,
    )

    result.assert_outcomes(passed=2)
    assert not (shop.root / "real.db").exists()


UNASKED = """
import os

from shop import orders

CHILDREN = []


def test_one({first}):
    (questions, asking), (answers, answering) = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        os.read(questions, 1)
        try:
            orders.add_customer("Ada")
        except Exception:
            os.write(answering, b"!")
        os._exit(0)
    CHILDREN.append((asking, answers))


def test_two(db_session):
    asking, answers = CHILDREN.pop()
    os.write(asking, b"!")
    assert os.read(answers, 1) == b"!"
"""
# By what the first test has, what the child's refusal is.
SAID = {
    "db_clone": "uses shop.db:engine in a process that was forked in test_it.py::test_one, and "
    "whose clone was taken back",
    "": "connects to shop.db:engine in a process that was forked in test_it.py::test_one, when "
    "there was no clone",
}


@pytest.mark.parametrize("mode", ["plain", "n2"])
@pytest.mark.parametrize("first", SAID, ids=["with a clone", "without a clone"])
def test_what_nobody_asks_the_process_is_said_at_the_end(shop, mode, first):
    options = ["--dist=loadfile"] if mode == "n2" else []

    result = shop.run("-p", "no:randomly", *options, mode=mode, test_it=UNASKED.format(first=first))

    result.assert_outcomes(passed=2)
    warning = "alembic-snapshot: warning: a forked process was refused this: "
    lines = [line for line in result.outlines if line.startswith(warning)]
    assert lines == [f"{warning}shop/orders.py line 12 {SAID[first]}"]


CATCHING = """
import multiprocessing
import os
import sqlite3
from concurrent.futures import ProcessPoolExecutor

import pytest
from shop import db, orders
from sqlalchemy import create_engine, text

FORK = multiprocessing.get_context("fork")


def by_the_engine():
    orders.add_customer("Ada")


def by_another_engine():
    create_engine(db.engine.url).connect()


def by_a_creator():
    create_engine("sqlite://", creator=lambda: sqlite3.connect(db.REAL)).connect()


def by_attaching():
    with db.engine.connect() as connection:
        connection.execute(text(f"ATTACH '{db.REAL}' AS real"))


def quietly(function):
    try:
        function()
    except Exception:
        pass


def in_a_process(function):
    process = FORK.Process(target=quietly, args=[function])
    process.start()
    process.join()


def in_a_pool(function):
    with ProcessPoolExecutor(1, mp_context=FORK) as pool:
        pool.submit(quietly, function).result()


def in_a_fork(function):
    child = os.fork()
    if not child:
        quietly(function)
        os._exit(0)
    os.waitpid(child, 0)


@pytest.mark.parametrize("how", [in_a_process, in_a_pool, in_a_fork])
def test_without_one(how):
    how(by_the_engine)


@pytest.mark.parametrize("function", [by_another_engine, by_a_creator])
def test_past_it(function):
    in_a_process(function)


def test_with_one(db_clone):
    in_a_process(by_attaching)
    in_a_process(by_a_creator)
    assert orders.names() == ["the house"]
"""


@pytest.mark.parametrize(("chosen", "count"), [("without_one", 3), ("past_it", 2), ("with_one", 2)])
def test_what_a_child_catches_is_said_at_the_end_whatever_it_was_refused(shop, chosen, count):
    result = shop.run("-k", chosen, test_it=CATCHING)

    warning = "alembic-snapshot: warning: a forked process was refused this: "
    lines = [line for line in result.outlines if line.startswith(warning)]
    assert len(lines) == count
    assert result.parseoutcomes().keys() == {"passed", "deselected"}
    assert all(chosen in line or "clone" in line for line in lines)


def test_of_many_such_refusals_some_are_said_and_the_others_counted():
    tally = Tally()
    for number in (1, 1, 2, 3, 4):
        tally.see_forked(f"line {number}")
    other = Tally(forked=["line 4", "line 5"])

    lines = Tally.of([tally.to_record(), other.to_record()]).lines()

    begin = "alembic-snapshot: warning:"
    assert lines == [
        *(f"{begin} a forked process was refused this: line {n}" for n in (1, 2, 3)),
        f"{begin} forked processes were refused 2 more of these",
    ]
    assert not any("more" in line for line in Tally(forked=["a", "b", "c"]).lines())


@CLONES
def test_it_ends_so_on_a_server(on_server, clones):
    shop = on_server("shop", "SHOP_URL")
    shop.behaviour("outliving")

    result = shop.run("-p", "no:randomly", f"--snapshot-clones={clones}")

    assert result.parseoutcomes().keys() == {"passed"}
