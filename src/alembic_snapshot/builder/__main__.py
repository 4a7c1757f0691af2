"""The child's half of a build: its orders, its reports, its end.

Run as ``python -m alembic_snapshot.builder EVENTS_FD CONTROL_FD``. The first line on the control
pipe is the job, as JSON; when the pipe closes, the parent is gone and so is this process. Each
step is reported as a JSON line on the events pipe; standard output and error are the project's.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import threading
import typing
from typing import Any

from alembic_snapshot.builder.failure import failure
from alembic_snapshot.builder.protocol import Job
from alembic_snapshot.builder.upgrade import Builder, Report


def main(events: int, control: int) -> int:
    """Do the job that the control pipe brings; the exit status says whether it was done."""
    # What the project starts must not keep the parent waiting for the end of the pipe.
    os.set_inheritable(events, False)
    os.set_inheritable(control, False)
    os.register_at_fork(after_in_child=lambda: _forget(events, control))
    lines = os.fdopen(events, "w", encoding="utf-8", buffering=1)
    orders = os.fdopen(control, "r", encoding="utf-8")
    builder = Builder(Job.from_line(orders.readline()), _reporter(lines))
    threading.Thread(target=_exit_with_parent, args=(orders,), daemon=True).start()
    try:
        builder.run()
    except (Exception, SystemExit) as error:
        builder.report("failed", **dataclasses.asdict(failure(error, builder)))
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def _forget(*pipes: int) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for pipe in pipes:
        os.dup2(nothing, pipe, inheritable=False)
    os.close(nothing)


def _reporter(lines: typing.TextIO) -> Report:
    lock = threading.Lock()

    def report(event: str, **facts: Any) -> None:
        with lock:
            lines.write(json.dumps({"event": event, **facts}) + "\n")
            lines.flush()

    return report


def _exit_with_parent(orders: typing.TextIO) -> None:
    orders.read()
    os._exit(3)


if __name__ == "__main__":
    status = main(int(sys.argv[1]), int(sys.argv[2]))
    # Threads and pools that the project left must not keep the builder alive.
    os._exit(status)
