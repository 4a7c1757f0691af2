"""Some cases of each test's, other ones in each run: ``--cases 4``.

A test with a hundred cases is one of a class: all of them run by default, and in ``make test-all``.
Where time is short, a few of each tell most, and the next run tells of others.
"""

from __future__ import annotations

import random
from collections import defaultdict

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cases", type=int, metavar="N", help="at most N cases of each test's")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    most = config.getoption("--cases")
    if most is None:
        return
    tests: defaultdict[str, list[str]] = defaultdict(list)
    for item in items:
        tests[item.nodeid.partition("[")[0]].append(item.nodeid)
    # Each process of a run leaves out the same ones.
    seed = config.getoption("randomly_seed", 0)
    kept = {
        name
        for test, names in tests.items()
        for name in random.Random(f"{seed} {test}").sample(sorted(names), min(most, len(names)))
    }
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in kept])
    items[:] = [item for item in items if item.nodeid in kept]
