"""The ways to hand the target to ``env.py``: which are tried, and whose error is told."""

from __future__ import annotations

import re
from collections.abc import Iterator

from alembic_snapshot.build.process import HANDOVERS, AttemptFailed
from alembic_snapshot.errors import BuildError

# An object's address in a message is another in every process.
_ADDRESS = re.compile(r"0x[0-9a-f]+")


class Handovers:
    """The ways that are left to try, ``first`` first, and the errors of those that failed.

    The error that is told is the first one's, unless a later way is plainly the right one: it got
    as far as the migrations, or the first said that it needs an async driver.
    """

    def __init__(self, first: str | None):
        self._left = sorted(HANDOVERS, key=lambda handover: handover != first)
        self._failed: dict[str, AttemptFailed] = {}

    def __iter__(self) -> Iterator[str]:
        while self._left:
            yield self._left.pop(0)

    def failed(self, handover: str, failure: AttemptFailed) -> None:
        """Note that a way failed, and leave out the ways that can't work either."""
        if handover == "async" and failure.async_lacks and self._left:
            # It worked once, and its driver is gone: the others tell what is missing.
            return
        is_again = any(_said(failure) == _said(before) for before in self._failed.values())
        self._failed[handover] = failure
        if failure.final:
            self._left = []
        elif is_again:
            self._left = [way for way in self._left if way in ("async", "api")]
        if "api" in self._left and not failure.asks_command_line:
            # With or without a command line is the same to it.
            self._left.remove("api")
        if "async" in self._left:
            self._consider_async(failure)

    def error(self) -> BuildError:
        """The error to tell; its details have what was tried."""
        told = self._told().error
        if len(self._failed) > 1:
            tried = [f"  offered as {way}: {f.error.message}" for way, f in self._failed.items()]
            told.details = "\n".join([told.details or "", "What was tried:", *tried])
        return told

    def _told(self) -> AttemptFailed:
        failures = list(self._failed.values())
        first = failures[0]
        if further := [failure for failure in failures if failure.ran]:
            return further[0]
        if first.wants_async:
            return self._failed.get("async", first)
        return first

    def _consider_async(self, failure: AttemptFailed) -> None:
        """Try the async way next if the error asks for it.

        Leave it out where no driver is installed, or ``env.py`` has nothing to do with async.
        """
        if failure.async_lacks or not failure.speaks_async:
            self._left.remove("async")
        elif failure.wants_async:
            self._left.sort(key=lambda way: way != "async")


def _said(failure: AttemptFailed) -> str:
    return _ADDRESS.sub("0x", failure.error.message)
