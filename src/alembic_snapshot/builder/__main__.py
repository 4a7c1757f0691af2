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
import traceback
import typing
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from alembic_snapshot.builder.app_context import NoContext
from alembic_snapshot.builder.protocol import Failure, Job
from alembic_snapshot.builder.upgrade import Builder, Report
from alembic_snapshot.errors import GuardError, SnapshotError


def failure(error: BaseException, builder: Builder) -> Failure:
    """The report of an error: its place, its text, the SQL, the traceback."""
    innermost = None
    for frame in traceback.extract_tb(error.__traceback__):
        if builder.sites.is_ours(frame.filename):
            innermost = builder.sites.text((frame.filename, frame.lineno or 0))
    return Failure(
        current=builder.current,
        where=innermost,
        type=type(error).__name__,
        text=_text(error),
        sql=getattr(error, "statement", None),
        is_import=isinstance(error, ImportError | SyntaxError),
        wants_async=_wants_async(error),
        speaks_async=_speaks_async(Path(builder.job.scripts, "env.py")),
        variable=_variable(error),
        traceback="".join(traceback.format_exception(error)),
        is_context=not builder.app_context.is_made,
        hint=error.hint if isinstance(error, NoContext | GuardError) else None,
        facts=builder.facts(),
    )


def _text(error: BaseException) -> str:
    if isinstance(error, SnapshotError):
        return error.message
    return str(getattr(error, "orig", None) or error).strip()


def _wants_async(error: BaseException) -> bool:
    """Whether SQLAlchemy says that the driver should be an async one, or greenlet be there."""
    if isinstance(error, sa.exc.MissingGreenlet):
        return True
    if isinstance(error, sa.exc.InvalidRequestError):
        return "async" in str(error)
    return isinstance(error, ImportError | ValueError) and "greenlet" in str(error)


def _speaks_async(env: Path) -> bool:
    """Whether ``env.py``, or what it imported, has to do with async engines."""
    if "sqlalchemy.ext.asyncio" in sys.modules:
        return True
    try:
        return b"async" in env.read_bytes()
    except OSError:
        return True


def _variable(error: BaseException) -> str | None:
    """The name of an environment variable that was asked for and is not set."""
    if not isinstance(error, KeyError) or not error.args:
        return None
    raised_in = traceback.extract_tb(error.__traceback__)[-1].filename
    name = str(error.args[0])
    return name if raised_in in (os.__file__, "<frozen os>") or name.isupper() else None


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
