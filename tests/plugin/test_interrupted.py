"""A limit of time, or another signal, ends a test anywhere: the next one has its own clone."""

from __future__ import annotations

import pytest

# Raises at the line of ours with that number, from when a clone is lent or taken back.
CONFTEST = """
import sys
from pathlib import Path

import pytest
import alembic_snapshot
from alembic_snapshot.plugin import fixtures

OURS = str(Path(alembic_snapshot.__file__).parent)
LENDING = fixtures._lend.__code__
left = 0


def is_lending(frame):
    while frame is not None:
        if frame.f_code is LENDING:
            return True
        frame = frame.f_back
    return False


def trace(frame, event, argument):
    if frame.f_code.co_filename.startswith(OURS) and is_lending(frame):
        return count


def count(frame, event, argument):
    global left
    if event == "line":
        left -= 1
        if left == 0:
            sys.settrace(None)
            where = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
            pytest.fail(f"a limit of time, at {where}")
    return count


@pytest.hookimpl(wrapper=True)
def pytest_runtest_PHASE(item):
    global left
    left = getattr(item.cls, "number", 0)
    if left:
        sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(None)
"""
TESTS = """
from pytest_alembic_snapshot import clone_fixture
from shop import orders

shared = clone_fixture("class")


def own(self, db_clone):
    orders.add_customer("Ada")


def of_several(self, shared):
    orders.add_customer("Ada")


def then(self, db_clone):
    assert orders.names() == ["the house"]


for number in range(1, 300, STEP):
    globals()[f"Test{number}"] = type("Test", (), {"number": number, "test_it": FIRST})
    globals()[f"TestThen{number}"] = type("Test", (), {"test_then": then})
"""


@pytest.mark.parametrize("clones", ["fresh", "reset"])
@pytest.mark.parametrize("first", ["own", "of_several"])
@pytest.mark.parametrize(
    ("where", "phase", "step"),
    [("file", "setup", 5), ("file", "teardown", 2), ("server", "teardown", 19)],
    ids=["file-before", "file-after", "server-after"],
)
def test_an_error_at_any_line_of_ours_leaves_no_clone_to_the_next_test(
    request, where, phase, step, first, clones
):
    if where == "file":
        sample = request.getfixturevalue("shop")
    else:
        sample = request.getfixturevalue("on_server")("shop", "SHOP_URL")
    sample.write("conftest.py", CONFTEST.replace("PHASE", phase))
    text = TESTS.replace("STEP", str(step)).replace("FIRST", first)

    result = sample.run(
        "-p", "no:randomly", "--tb=line", f"--snapshot-clones={clones}", "-o",
        "addopts=", "--snapshot-keep=none", "-rfE", test_it=text,
    )  # fmt: skip

    assert "INTERNALERROR" not in str(result.stdout) + str(result.stderr)
    wrong = [line for line in result.outlines if line.startswith(("FAILED", "ERROR"))]
    assert [line for line in wrong if "test_then" in line] == []
    assert len(wrong) > 3
