"""The reports of tests: which failed in the end, and what other processes have to tell with them.

A worker of pytest-xdist may crash, and a process that was forked for one test ends without a word.
So what is new goes home with the report of each test, and not at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from alembic_snapshot.plugin.summary import Tally

# Plugins send reports with whatever attributes they have.
_ATTRIBUTE = "alembic_snapshot"


class Reports:
    """A plugin that hears each report. ``failed`` has the tests that one says failed.

    What runs a test again, or forgives it a failure, reports the attempt as something else, or
    not at all. ``news`` tells what goes home with the report of a test; None if this is home.
    ``told`` is given the files that a test is said to have written.
    """

    def __init__(
        self, news: Callable[[], dict[str, Any] | None], told: Callable[[Iterable[str]], None]
    ):
        self.failed: set[str] = set()
        self._news, self._told = news, told
        self._others: Tally | None = None
        self._awaited: dict[str, None] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note whether a test failed, and take in what comes with its report, or send it on."""
        if report.failed:
            self.failed.add(report.nodeid)
        if report.when != "teardown":
            return
        for record in vars(report).get(_ATTRIBUTE, ()):
            self._told(record.get("written", ()))
        news = self._news()
        if news is not None:
            send(report, news)
        else:
            for record in vars(report).pop(_ATTRIBUTE, ()):
                self.take_in(record)

    def take_in(self, record: dict[str, Any]) -> None:
        """Add what another process did."""
        if self._others is None:
            from alembic_snapshot.plugin.summary import Tally

            self._others = Tally()
        self._others.add(record)

    def await_worker(self, worker: str) -> None:
        """Expect the last numbers of a worker, which it sends when it ends."""
        self._awaited[worker] = None

    def hear(self, worker: str, record: dict[str, Any]) -> None:
        """Take in the last numbers of a worker."""
        self._awaited.pop(worker, None)
        self.take_in(record)

    def total(self, own: dict[str, Any] | None) -> Tally | None:
        """The sum of what every process did; None if none did anything."""
        records = [] if self._others is None else [self._others.to_record()]
        records += [] if own is None else [own]
        if not (records or self._awaited):
            return None
        from alembic_snapshot.plugin.summary import Tally

        total = Tally.of(records)
        for worker in self._awaited:
            total.warn(
                f"{worker} ended early: what it did after its last report is not in these lines"
            )
        return total


def send(report: pytest.TestReport, record: dict[str, Any]) -> None:
    """Have a report bring home what is new in this process."""
    if record:
        vars(report).setdefault(_ATTRIBUTE, []).append(record)
