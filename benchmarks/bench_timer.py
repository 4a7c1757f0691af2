"""Times each whole test, set-up and tear-down included; loaded into every measured pytest run."""

import json
import os
import time
from collections.abc import Generator
from pathlib import Path

import pytest

_seconds: dict[str, list[float]] = {}
# From the start of the first test to the end of the last, on the clock that all processes share.
_span: list[float] = []
# The processor's seconds when all is warm, and at the end.
_processor: list[float] = []


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Function) -> Generator[None, object, object]:
    """Take the time of one test, its reporting included."""
    if sum(map(len, _seconds.values())) == int(os.environ["BENCH_WARM_UP"]):
        _processor.append(_processor_seconds())
    started = time.perf_counter()
    result = yield
    ended = time.perf_counter()
    _seconds.setdefault(item.originalname, []).append(ended - started)
    _span[:] = [*_span[:1], ended] if _span else [started, ended]
    return result


def pytest_sessionfinish(exitstatus: int) -> None:
    """Write what was taken, for the process that started the run."""
    _processor.append(_processor_seconds())
    record = {
        "exitstatus": int(exitstatus),
        "seconds": _seconds,
        "span": _span,
        "processor": _processor[-1] - _processor[0],
    }
    Path(os.environ["BENCH_RESULT"]).write_text(json.dumps(record))


def _processor_seconds() -> float:
    """What this process has used, and the server whose process BENCH_SERVER_PROCESS names."""
    server = os.environ.get("BENCH_SERVER_PROCESS")
    return time.process_time() + (_of_server(int(server)) if server else 0)


def _of_server(root: int) -> float:
    """The server's own seconds, its living children's, and those of its children that are gone."""
    ticks = os.sysconf("SC_CLK_TCK")
    used = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name may hold spaces and brackets: what follows the last one is fields.
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        pid, parent = int(stat.parent.name), int(fields[1])
        if pid == root:
            used += sum(map(int, fields[11:15]))
        elif parent == root:
            used += sum(map(int, fields[11:13]))
    return used / ticks
