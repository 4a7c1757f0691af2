"""The builder process as its parent sees it: started, listened to, and told to go."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Listener = Callable[[Mapping[str, Any]], None]


class Child:
    """One run of the builder; it ends when this process does.

    ``states`` has what was reported of each state that was reached; ``done`` or ``failed`` how it
    ended, if it said so; ``output`` the end of what the project printed.
    """

    def __init__(self, listener: Listener, timings: dict[str, float]):
        self.listener = listener
        self.timings = timings
        self.states: dict[int, Mapping[str, Any]] = {}
        self.done: dict[str, Any] = {}
        self.failed: dict[str, Any] = {}
        self.status: int | None = None
        self.output = ""

    def run(self, job: Mapping[str, Any], environment: Mapping[str, str], cwd: Path) -> None:
        """Start the builder and hear it out."""
        events_in, events_out = os.pipe()
        control_in, control_out = os.pipe()
        log = Path(job["target"]).with_name("output.txt")
        command = [sys.executable, "-P", "-m", "alembic_snapshot._builder"]
        with (
            open(log, "wb") as output,
            os.fdopen(control_out, "w", encoding="utf-8") as orders,
            os.fdopen(events_in, "r", encoding="utf-8") as lines,
        ):
            try:
                process = subprocess.Popen(
                    [*command, str(events_out), str(control_in)],
                    pass_fds=(events_out, control_in),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env={**environment, "PYTHONIOENCODING": "utf-8"},
                    cwd=cwd,
                )
            finally:
                os.close(events_out)
                os.close(control_in)
            try:
                with contextlib.suppress(BrokenPipeError):
                    orders.write(json.dumps(job) + "\n")
                    orders.flush()
                for line in lines:
                    self._hear(json.loads(line))
                self.status = process.wait()
            except BaseException:
                process.kill()
                process.wait()
                raise
        self.output = log.read_text(encoding="utf-8", errors="replace")[-20_000:]

    def _hear(self, event: dict[str, Any]) -> None:
        kind = event.pop("event")
        if kind == "state":
            self.states[event["index"]] = event
        elif kind == "done":
            self.done = event
        elif kind == "failed":
            self.failed = event
        else:
            if kind == "applied":
                self.timings[event["revision"]] = event["seconds"]
            self.listener({"event": kind, **event})
