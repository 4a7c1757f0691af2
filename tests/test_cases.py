"""``--cases N`` leaves out all but some cases of each test's, the same ones in each process."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TESTS = """
    import pytest

    @pytest.mark.parametrize("one", range(20))
    def test_many(one): ...

    @pytest.mark.parametrize("one", range(2))
    def test_few(one): ...

    def test_one(): ...

    class TestThese:
        @pytest.mark.parametrize("one", range(20))
        def test_many(self, one): ...
"""


@pytest.fixture
def run(pytester, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    pytester.makepyfile(TESTS)

    def run(*options):
        return pytester.runpytest_subprocess("-p", "tests.cases", "-v", *options)

    return run


def names(result):
    return set(re.findall(r"test_\w+\.py::\S+", "\n".join(result.outlines)))


@pytest.mark.parametrize("more", [(), ("-n", "2")], ids=["one process", "two"])
def test_so_many_of_each_are_left(run, more):
    result = run("--cases", "3", *more)

    result.assert_outcomes(passed=3 + 2 + 1 + 3, deselected=0 if more else 34)


def test_all_are_run_without_it(run):
    run().assert_outcomes(passed=43)


def test_a_seed_gives_the_same_ones_and_another_gives_others(run):
    one, same, other = (names(run("--cases", "3", "--randomly-seed", seed)) for seed in "112")

    assert one == same
    assert one != other
    assert len(one) == len(other)
