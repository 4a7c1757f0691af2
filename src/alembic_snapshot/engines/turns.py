"""Whose turn it is, in memory that forked children see: each learns that its own is over."""

from __future__ import annotations

import mmap
import os

_SIZE = 8


class Turns:
    """Counts what engines were pointed at one after another, for this process and its children.

    A child that was forked has the number of its turn from then, and the memory has the one of now.
    To look costs neither a system call nor a lock.
    """

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        # Anonymous memory is shared with whatever is forked from here on.
        self._now = memoryview(mmap.mmap(-1, _SIZE)).cast("Q")
        self._turn = 0
        self._process = os.getpid()

    @property
    def is_over(self) -> bool:
        """Whether this is a forked child, and the turn in which it was forked is over."""
        return self._now[0] != self._turn

    def end(self) -> None:
        """Begin the next turn; a child that does so has turns of its own from then on."""
        if self._process != os.getpid():
            self._begin()
            return
        # The own number first: who is forked in between belongs to the new turn.
        self._turn += 1
        self._now[0] = self._turn
