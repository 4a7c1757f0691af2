"""Times each whole test, set-up and tear-down included; loaded into every measured pytest run."""

import json
import os
import time
from pathlib import Path

import pytest

_seconds: dict[str, list[float]] = {}
# From the start of the first test to the end of the last, on the clock that all processes share.
_span: list[float] = []


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item):
    """Take the time of one test, its reporting included."""
    started = time.perf_counter()
    result = yield
    ended = time.perf_counter()
    _seconds.setdefault(item.originalname, []).append(ended - started)
    _span[:] = [*_span[:1], ended] if _span else [started, ended]
    return result


def pytest_sessionfinish(session, exitstatus):
    """Write what was taken, for the process that started the run; each worker writes its own."""
    record = {"exitstatus": int(exitstatus), "seconds": _seconds, "span": _span}
    worker = getattr(session.config, "workerinput", {}).get("workerid", "")
    Path(os.environ["BENCH_RESULT"] + worker).write_text(json.dumps(record))
