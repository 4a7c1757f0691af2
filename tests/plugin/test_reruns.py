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
