"""Times each whole test, set-up and tear-down included; loaded into every measured pytest run."""

import json
import os
import time
from pathlib import Path

import pytest

_seconds: dict[str, list[float]] = {}


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item):
    """Take the time of one test, its reporting included."""
    started = time.perf_counter()
    result = yield
    _seconds.setdefault(item.originalname, []).append(time.perf_counter() - started)
    return result


def pytest_sessionfinish(session, exitstatus):
    """Write what was taken, for the process that started the run."""
    record = {"exitstatus": int(exitstatus), "seconds": _seconds}
    Path(os.environ["BENCH_RESULT"]).write_text(json.dumps(record))
