"""A test that is run again, or forgiven its failure: what its first attempt said is not lost."""

from __future__ import annotations

import re

import pytest

# What plugins do that run a failing test again, and a conftest.py that lets some tests fail.
CONFTEST = """
import pytest
from _pytest.runner import runtestprotocol

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    mark = item.get_closest_marker("again")
    if mark is None:
        return None
    (way,) = mark.args
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for left in reversed(range(mark.kwargs.get("times", 2))):
        item._initrequest()
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        is_again = left and any(report.failed for report in reports)
        for report in reports:
            if is_again and report.failed:
                report.outcome = "rerun"
            if not (is_again and way == "unheard"):
                item.ihook.pytest_runtest_logreport(report=report)
            if report.outcome == "rerun":
                break
        if not is_again:
            break
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True

def forgive(item, report):
    # pytest-xdist takes no other ids.
    if "renamed" in item.name and not hasattr(item.config, "workerinput"):
        report.nodeid = report.nodeid.replace("renamed", "shown as another")
    mark = item.get_closest_marker("forgiven")
    if mark is not None and report.failed:
        report.outcome, report.longrepr = mark.args[0], ("", 0, "known to be flaky")
    return report

@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item):
    return forgive(item, (yield))

class Inner:
    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_makereport(self, item):
        report = yield
        return forgive(item, report) if "inner" in item.name else report

def pytest_configure(config):
    config.pluginmanager.register(Inner())
    for mark in ("again(way, times=2)", "forgiven(outcome)"):
        config.addinivalue_line("markers", mark)
"""
MARKED = """
import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from alembic_snapshot import DatabaseNotRequested
from pytest_alembic_snapshot import clone_fixture
from shop.db import engine

seen = set()

def is_first(request):
    first = request.node.nodeid not in seen
    seen.add(request.node.nodeid)
    return first

def connect():
    engine.connect().close()

def other():
    create_engine("sqlite:///dev.db").connect().close()

def swallowed():
    try:
        connect()
    except Exception:
        pass

@pytest.fixture
def before(request):
    if is_first(request):
        connect()

@pytest.fixture
def after(request):
    yield
    if is_first(request):
        connect()

"""
# Without the marks, each of these fails.
REFUSED = """
AGAIN = [
    pytest.mark.again("heard"), pytest.mark.again("unheard"),
    pytest.mark.forgiven("passed"), pytest.mark.forgiven("skipped"),
]
ways = pytest.mark.parametrize("way", [
    pytest.param(number, marks=mark) for number, mark in enumerate(AGAIN)
])

@ways
def test_call(request, way):
    if is_first(request):
        connect()

@ways
def test_inner(request, way):
    if is_first(request):
        connect()

@ways
def test_swallowed(request, way):
    if is_first(request):
        swallowed()

@ways
def test_before(before, way): pass

@ways
def test_after(after, way): pass

@ways
def test_beside(request, db_session, way):
    if is_first(request):
        other()
"""
# No attempt of these was refused what it did not expect, or a report says that it failed.
OTHERS = """
again = pytest.mark.again("heard")

@again
def test_flaky(request, db_session):
    assert not is_first(request)

@again
def test_expecting(request):
    with pytest.raises(DatabaseNotRequested):
        connect()
    assert not is_first(request)

@again
def test_failing():
    connect()

@again
def test_failing_otherwise(request):
    if is_first(request):
        connect()
    assert False

@pytest.fixture
def leaving():
    yield
    connect()

@again
def test_failing_at_its_end(before, leaving): pass

@again
def test_passing(db_session): pass
"""


# The first of these to be kept are of no failed test, and would take the places of those that are.
KEPT = """
from shop import orders

AGAIN = [pytest.mark.again("heard", times=3), pytest.mark.again("unheard", times=3)]
ways = pytest.mark.parametrize("way", [
    pytest.param(number, marks=mark) for number, mark in enumerate(AGAIN)
])

@pytest.fixture
def at_first(request, db_clone):
    orders.add_customer("Ada")
    assert not is_first(request)

@pytest.fixture
def at_last(request, db_clone):
    yield
    assert not is_first(request)

def flaky(request):
    orders.add_customer("Ada")
    assert not is_first(request)

@ways
def test_1_call(request, db_clone, way): flaky(request)

@ways
def test_1_before(at_first, way): pass

@ways
def test_1_after(at_last, way): orders.add_customer("Ada")

@pytest.mark.forgiven("passed")
@pytest.mark.parametrize("number", range(3))
def test_1_forgiven(db_clone, number):
    orders.add_customer("Ada")
    assert False

@pytest.mark.parametrize("number", range(2))
@ways
def test_2_failing(db_clone, way, number):
    orders.add_customer("Ada")
    assert False

@pytest.mark.parametrize("number", range(2))
@ways
def test_2_renamed(db_clone, way, number):
    orders.add_customer("Ada")
    assert False

def test_2_skipped(db_clone):
    orders.add_customer("Ada")
    pytest.skip("not today")

@pytest.mark.xfail
def test_2_expected(db_clone):
    orders.add_customer("Ada")
    assert False

shared = clone_fixture("module")

@pytest.mark.again("heard")
def test_3_flaky_on_a_shared_one(request, shared):
    orders.names()
    assert not is_first(request)

def test_3_failing_on_a_shared_one(shared):
    orders.names()
    assert False

@pytest.mark.again("heard")
def test_3_flaky_once_more(request, shared):
    orders.names()
    assert not is_first(request)
"""


@pytest.fixture
def flaky(shop):
    shop.write("conftest.py", CONFTEST)
    shop.replace("alembic.ini", "sqlite:///real.db", "sqlite:///dev.db")
    return shop


def warnings_of(result):
    begin = "alembic-snapshot: warning: "
    return [line.removeprefix(begin) for line in result.outlines if line.startswith(begin)]


@pytest.mark.parametrize("mode", ["plain", "n2"])
def test_what_an_attempt_was_refused_is_said_at_the_end_if_the_test_does_not_fail(flaky, mode):
    result = flaky.run("-W", "ignore", mode=mode, test_it=MARKED + REFUSED)

    outcomes = result.parseoutcomes()
    assert outcomes.keys() <= {"passed", "skipped", "rerun", "warnings"}
    told = warnings_of(result)
    refused = "and this was refused: (DatabaseNotRequested|EngineError): "
    assert len([line for line in told if re.search(refused, line)]) > 3
    named = r"test_it\.py::(test_\w+\[\d\])(?=,| was skipped| failed|$)"
    names = re.findall(named, "\n".join(told))
    tests = re.findall(r"def (test_\w+)", REFUSED)
    assert sorted(names) == sorted(f"{test}[{way}]" for test in tests for way in range(4))


@pytest.mark.parametrize("mode", ["plain", "n2"])
def test_what_was_expected_or_is_in_a_report_is_not_said(flaky, mode):
    result = flaky.run("-W", "ignore", mode=mode, test_it=MARKED + OTHERS)

    outcomes = result.parseoutcomes()
    assert outcomes["passed"] == 3 + 1
    assert (outcomes["failed"], outcomes["errors"]) == (2, 1)
    assert warnings_of(result) == []


@pytest.mark.parametrize("mode", ["plain", "n2"])
@pytest.mark.parametrize("clones", ["fresh", "reset"])
def test_what_is_kept_is_what_reports_lead_to(flaky, clones, mode):
    options = ["-n1"] if mode == "n2" else []

    result = flaky.run(
        "-p", "no:randomly", f"--snapshot-clones={clones}", *options, mode=mode,
        test_it=MARKED + KEPT,
    )  # fmt: skip

    outcomes = result.parseoutcomes()
    assert (outcomes["failed"], outcomes["skipped"], outcomes["xfailed"]) == (9, 1, 1)
    assert "errors" not in outcomes
    kept = re.findall(r"^open it: sqlite3 (\S+)$", result.stdout.str(), re.MULTILINE)
    assert sorted(kept) == [str(path) for path in flaky.kept()]
    assert len(kept) == 9
    result.stdout.no_fnmatch_line("*not kept:*")
    result.stdout.fnmatch_lines(["alembic-snapshot: *; 9 kept in *"])


def test_all_that_is_to_be_kept_is_kept_of_each_attempt(flaky):
    test = (
        MARKED + "AGAIN = pytest.mark.again('heard')\n@AGAIN\ndef test_it(request, db_session):\n"
    )
    test += "    db_session.connection()\n    assert not is_first(request)\n"

    result = flaky.run("--snapshot-keep=all", test_it=test)

    assert result.parseoutcomes() == {"passed": 1, "rerun": 1}
    assert len(flaky.kept()) == 2


ON_A_SERVER = """
@pytest.mark.again("heard")
def test_flaky(request, db_session):
    db_session.connection()
    assert not is_first(request)

def test_failing(db_session):
    db_session.connection()
    assert False
"""


@pytest.mark.parametrize("clones", ["fresh", "reset"])
def test_on_a_server_the_databases_of_forgotten_attempts_go(on_server, names, clones):
    sample = on_server("shop", "SHOP_URL")
    sample.write("conftest.py", CONFTEST)

    result = sample.run(f"--snapshot-clones={clones}", test_it=MARKED + ON_A_SERVER)

    kept = re.findall(r"^open it: alembic-snapshot psql (\S+)$", result.stdout.str(), re.MULTILINE)
    assert kept == list(names("alembic_kept_"))
    assert len(kept) == 1
    assert names("alembic_clone_") == []
