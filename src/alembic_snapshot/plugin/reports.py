"""The reports of tests, as whoever makes the summary hears them: which tests failed in the end."""

from __future__ import annotations

import pytest


class Reports:
    """A plugin that hears each report. ``failed`` has the tests that one says failed.

    What runs a test again, or forgives it a failure, reports the attempt as something else, or
    not at all.
    """

    def __init__(self) -> None:
        self.failed: set[str] = set()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note that a test failed."""
        if report.failed:
            self.failed.add(report.nodeid)
