"""What tests did in a process that does not come to its end: a worker that crashed, a fork."""

from __future__ import annotations

import re

import pytest

# What plugins do that run each test in a forked process, and hear of it by its reports.
FORKING = """
import os
import pickle
import tempfile
import pytest
from _pytest.runner import runtestprotocol

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    hook, config = item.ihook, item.config
    hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    with tempfile.NamedTemporaryFile() as file:
        child = os.fork()
        if not child:
            reports = runtestprotocol(item, log=False)
            file.write(pickle.dumps(
                [hook.pytest_report_to_serializable(config=config, report=one) for one in reports]
            ))
            file.flush()
            os._exit(0)
        os.waitpid(child, 0)
        file.seek(0)
        for one in pickle.load(file):
            report = hook.pytest_report_from_serializable(config=config, data=one)
            hook.pytest_runtest_logreport(report=report)
    hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True
"""
# One of each thing that the lines at the end say.
TESTS = """
import os
import signal
import sqlite3
import pytest
from shop import orders
from shop.db import REAL

def test_1_kept(db_session):
    orders.add_customer("Ada")
    assert False

@pytest.mark.xfail
def test_2_expected():
    orders.names()

def test_3_writes(db_clone):
    with sqlite3.connect(REAL) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS t (i)")
    connection.close()
    assert orders.names() == ["the house"]

def test_4_kept(db_session):
    orders.add_customer("Ada")
    assert False

def test_5_skipped():
    try:
        orders.names()
    except Exception:
        pytest.skip("no database")
"""
CRASH = """
def test_6_crashes(db_clone):
    orders.add_customer("Ada")
    {}

def test_7_goes_on(db_clone):
    orders.add_customer("Ada")
"""
CRASHES = {
    "killed": "os.kill(os.getpid(), signal.SIGKILL)",
    "ended": "os.kill(os.getpid(), signal.SIGTERM)",
    "left": "os._exit(0)",
}
ORDERED = ("-p", "no:randomly", "-W", "ignore")
EARLY = "gw0 ended early: what it did after its last report is not in these lines"


def warnings_of(result):
    begin = "alembic-snapshot: warning: "
    return [line.removeprefix(begin) for line in result.outlines if line.startswith(begin)]


def kept_by(result):
    """The databases that reports say are kept."""
    return re.findall(r"^open it: sqlite3 (\S+)", result.stdout.str(), re.MULTILINE)


def number_line(result):
    (line,) = [line for line in result.outlines if re.match("alembic-snapshot: [0-9a-f]{12}", line)]
    return re.sub(r"[\d.]+ (kB|bytes)|\d\.\d\d s|/.*", "", line.partition(";")[2])


def without_folder(lines, sample):
    return sorted(line.replace(str(sample.root), "") for line in lines)


@pytest.mark.parametrize("guard", ["on", "off"])
@pytest.mark.parametrize("crash", CRASHES)
def test_what_a_worker_saw_before_it_crashed_is_in_the_lines(shop, crash, guard):
    shop.configure(f'guard = "{guard}"')
    plain = shop.run(*ORDERED, test_it=TESTS)
    (shop.root / "real.db").unlink()

    result = shop.run(*ORDERED, "-n1", mode="n2", test_it=TESTS + CRASH.format(CRASHES[crash]))

    result.stdout.fnmatch_lines(["*worker 'gw0' crashed while running*test_6_crashes*"])
    told = warnings_of(result)
    assert EARLY in told
    told.remove(EARLY)
    # Nobody knows when: the worker that goes on finds the file written.
    told = [line.replace(" and test_it.py::test_7_goes_on", "") for line in told]
    assert told == warnings_of(plain)
    assert len(told) == {"on": 3, "off": 2}[guard]
    assert len(kept_by(result)) == 2
    assert number_line(result).endswith("; 2 kept in ")

    # The next run knows of them.
    shop.run("-n1", mode="n2", test_it="def test_it(db_session): db_session.connection()")

    assert shop.kept() == []


QUIET = {
    "all is well": ["-n2"],
    "the first failure ends it": ["-n2", "-x"],
    "no test has a database": ["-n2", "-k", "test_0"],
    "more workers than tests": ["-n2", "-k", "test_1"],
}


@pytest.mark.parametrize("how", QUIET)
def test_workers_that_come_to_their_end_have_no_such_line(shop, how):
    tests = "def test_0_plain(): pass\n" + TESTS

    result = shop.run(*ORDERED, *QUIET[how], mode="n2", test_it=tests)

    assert result.ret in (0, 1, 2)
    result.stdout.no_fnmatch_line("*ended early*")


@pytest.mark.parametrize("mode", ["plain", "n2"])
@pytest.mark.parametrize("clones", ["fresh", "reset"])
@pytest.mark.parametrize("guard", ["on", "off"])
def test_a_run_in_forked_processes_says_what_another_says(shop, guard, clones, mode):
    shop.configure(f'guard = "{guard}"')
    options = (*ORDERED, f"--snapshot-clones={clones}")
    plain = shop.run(*options, test_it=TESTS)
    (shop.root / "real.db").unlink()
    shop.write("conftest.py", FORKING)

    result = shop.run(*options, *(["-n1"] if mode == "n2" else []), mode=mode, test_it=TESTS)

    assert result.parseoutcomes() == plain.parseoutcomes()
    assert without_folder(warnings_of(result), shop) == without_folder(warnings_of(plain), shop)
    if clones == "fresh":
        assert number_line(result) == number_line(plain)
    assert sorted(kept_by(result)) == [str(path) for path in shop.kept() if path.stat().st_size]
    assert len(kept_by(result)) == 2
    assert list(shop.temporary.rglob("databases/*")) == []
