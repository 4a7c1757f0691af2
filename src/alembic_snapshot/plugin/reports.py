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

# What a report carries. Plugins send reports with whatever attributes they have.
_ATTRIBUTE = "alembic_snapshot"


class Reports:
    """A plugin that hears each report. ``failed`` has the tests that one says failed.

    What runs a test again, or forgives it a failure, reports the attempt as something else, or
    not at all. ``news`` gives what tells what goes home with a test's report; None if this is home.
    ``told`` is given the files that a test is said to have written.
    """

    def __init__(
        self,
        news: Callable[[], Callable[[], dict[str, Any]] | None],
        told: Callable[[Iterable[str]], None],
    ):
        self.failed: set[str] = set()
        self._news, self._told = news, told
        self._others: Tally | None = None
        self._awaited: dict[str, None] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note whether a test failed, and take in what comes with its report, or send it on."""
        carried = vars(report).get(_ATTRIBUTE, {})
        if report.failed:
            self.failed.add(carried.get("test", report.nodeid))
        for record in carried.get("records", ()):
            self._told(record.get("written", ()))
        news = self._news()
        if news is None:
            for record in vars(report).pop(_ATTRIBUTE, {}).get("records", ()):
                self.take_in(record)
        elif report.when == "teardown":
            send(report, news())

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
        if self._awaited:
            total.warn(
                f"{', '.join(self._awaited)} ended early: what was done there after the last "
                "report is not in these lines"
            )
        return total


def name(report: pytest.TestReport, test: str) -> None:
    """Have a report say whose it is: some projects give reports other ids, to show them."""
    vars(report).setdefault(_ATTRIBUTE, {})["test"] = test


def send(report: pytest.TestReport, record: dict[str, Any]) -> None:
    """Have a report bring home what is new in this process."""
    if record:
        vars(report).setdefault(_ATTRIBUTE, {}).setdefault("records", []).append(record)
