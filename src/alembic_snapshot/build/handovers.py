"""How ``env.py`` is handed the target: which ways are tried, and whose error is told."""

from __future__ import annotations

import re
from collections.abc import Iterator

from alembic_snapshot.build.process import HANDOVERS, AttemptFailed
from alembic_snapshot.errors import BuildError

# An object's address in a message is another in every process.
_ADDRESS = re.compile(r"0x[0-9a-f]+")


class Handovers:
    """What is left to try, ``first`` first, and what came of the others.

    The error that is told is the first one's, unless a later way is plainly the right one: it got
    as far as the migrations, or the first said that it needs an async driver.
    """

    def __init__(self, first: str | None):
        self._left = sorted(
            HANDOVERS, key=lambda handover: (handover != first, HANDOVERS.index(handover))
        )
        self._failed: dict[str, AttemptFailed] = {}

    def __iter__(self) -> Iterator[str]:
        while self._left:
            yield self._left.pop(0)

    def failed(self, handover: str, failure: AttemptFailed) -> None:
        """Note that a way failed, and leave out those that it says can't mend it."""
        if handover == "async" and failure.async_lacks and self._left:
            # It worked once, and its driver is gone: the others tell what is missing.
            return
        is_again = any(_said(failure) == _said(before) for before in self._failed.values())
        self._failed[handover] = failure
        if failure.final:
            self._left = []
        elif is_again:
            self._left = [way for way in self._left if way == "async"]
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
        """Try it next if it is what is missing; not at all without a driver, or a word of it."""
        if failure.async_lacks or not failure.speaks_async:
            self._left.remove("async")
        elif failure.wants_async:
            self._left.sort(key=lambda way: way != "async")


def _said(failure: AttemptFailed) -> str:
    return _ADDRESS.sub("0x", failure.error.message)
