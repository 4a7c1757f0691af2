"""The progress of a build: a bar on a terminal, plain lines elsewhere, nothing when quiet."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self, TextIO

from alembic_snapshot.checks import number
from alembic_snapshot.errors import printable
from alembic_snapshot.lossy import Lossy

_SLOWEST = 3
_WORTH_NAMING = 0.05  # seconds


class Progress:
    """A listener for :func:`~alembic_snapshot.build.ensure.ensure`; writes to standard error."""

    def __init__(
        self, *, quiet: bool = False, stream: TextIO | None = None, what: str = "the snapshot"
    ):
        self.quiet = quiet
        self.what = what
        self.stream: Any = Lossy(stream or sys.stderr)
        self._bar: Any = None
        self._task: Any = None
        self._timings: dict[str, float] = {}
        self._started = 0.0
        self._planned = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        if self._started and error is None and not self.quiet:
            self._summarise()

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Show one step of a build; what it warns of, or waits for, even when it is quiet."""
        for line in event["lines"] if event["event"] == "warnings" else ():
            self._line(f"warning: {line}")
        if event["event"] == "waiting":
            self._line(f"waiting for another process, which is at work on {self.what}")
        if self.quiet:
            return
        kind = event["event"]
        if kind == "build":
            self._started = time.perf_counter()
            self._begin(event["reasons"])
        elif kind == "plan":
            self._plan(len(event["revisions"]))
        elif kind in ("revision", "seed"):
            self._step(kind, event[kind])
        elif kind == "applied":
            self._timings[event["revision"]] = event["seconds"]
            if self._bar is not None:
                self._bar.advance(self._task)

    def _begin(self, reasons: tuple[str, ...]) -> None:
        shown = ", ".join(reasons[:3]) + (f" and {len(reasons) - 3} more" if reasons[3:] else "")
        self._line(f"building {self.what}: {shown or 'it was asked for'}")
        if self.stream.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Bar

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
            console = Console(file=self.stream)
            self._bar = Bar(*columns, TimeElapsedColumn(), console=console, transient=True)
            self._task = self._bar.add_task("revisions", total=None)
            self._bar.start()

    def _plan(self, count: int) -> None:
        self._planned += count
        if self._bar is not None:
            self._bar.update(self._task, total=self._planned)
        elif count:
            self._line(f"{number(count, 'revision')} to run")

    def _step(self, kind: str, name: str) -> None:
        if self._bar is not None:
            self._bar.update(self._task, description=printable(f"{kind} {name}"))

    def _summarise(self) -> None:
        seconds = time.perf_counter() - self._started
        slowest = sorted(self._timings.items(), key=lambda item: item[1], reverse=True)[:_SLOWEST]
        slow_steps = ", ".join(f"{n} {s:.2f} s" for n, s in slowest if s >= _WORTH_NAMING)
        steps = number(len(self._timings), "step")
        self._line(
            f"built in {seconds:.1f} s, {steps}"
            + (f"; slowest: {slow_steps}" if slow_steps else "")
        )

    def _line(self, text: str) -> None:
        print(printable(text), file=self.stream, flush=True)
