"""The copy is made once, whichever thread or process comes first."""

import multiprocessing
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from shop import orders
from shop.db import REAL, engine


@pytest.fixture(autouse=True)
def real_database(db_clone):
    yield
    assert not REAL.exists()


def in_a_child(work):
    child = os.fork()
    if not child:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


def test_of_many_threads_one_copies(db_clone):
    barrier = threading.Barrier(8)

    def path(_):
        barrier.wait()
        return db_clone.path

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(path, range(8)))) == 1
    assert orders.count() == 1


def test_a_child_forked_before_the_copy_has_its_parents_database(db_clone):
    assert not db_clone.made

    in_a_child(lambda: orders.add_customer("Ada"))

    assert orders.names() == ["Ada", "the house"]


def test_a_child_forked_with_connections_in_the_pool_opens_its_own():
    assert orders.count() == 1
    assert engine.pool.checkedin() == 1

    def work():
        assert engine.pool.checkedin() == 0
        orders.add_customer("Ada")

    in_a_child(work)

    assert orders.names() == ["Ada", "the house"]


def test_a_process_of_multiprocessing_that_was_forked_writes_to_the_clone():
    context = multiprocessing.get_context("fork")
    process = context.Process(target=orders.add_customer, args=("Ada",))
    process.start()
    process.join()

    assert orders.names() == ["Ada", "the house"]


def test_a_process_that_is_started_anew_works_on_the_clone_that_it_is_told_of(db_clone):
    orders.add_customer("Ada")
    code = "import os, sys; sys.path.insert(0, os.getcwd()); from shop import orders; "

    subprocess.run(
        [sys.executable, "-c", code + "assert orders.names() == ['Ada', 'the house']"],
        env=db_clone.environ,
        check=True,
    )


def test_a_test_that_never_connects_makes_no_file(db_clone):
    assert not db_clone.made
    assert not db_clone.place.exists()


def test_an_environment_names_the_clone(db_clone):
    assert db_clone.environ["DATABASE_URL"] == f"sqlite:///{db_clone.path}"
    assert db_clone.environ["PATH"] == os.environ["PATH"]
