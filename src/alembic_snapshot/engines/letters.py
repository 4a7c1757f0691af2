"""What forked children have to say, in memory that their parent reads, and waits for none."""

from __future__ import annotations

import mmap
import os

# The places for letters, and the bytes of each: its length, then the text. Before them all is one
# byte, which says that there are some: each test looks.
_PLACES = 64
_SIZE = 1024
_LENGTH = 2
_HEAD = 1


class Letters:
    """Letters of forked children to the process that made this, by the child's number.

    A newer letter of a child takes the place of one that was not read, and so may one of another.
    There is no descriptor, which a daemon would close, and no lock, which a dead child would hold.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _HEAD + _PLACES * _SIZE)
        self._process = self._running = os.getpid()

    def begin(self) -> None:
        """A test begins in this process, whose report tells what is refused here."""
        self._running = os.getpid()

    def write(self, text: str) -> None:
        """Leave a text, if no report tells it; what is too long for a place is cut off."""
        if os.getpid() in (self._process, self._running):
            return
        start = _HEAD + os.getpid() % _PLACES * _SIZE
        content = text.encode(errors="replace")[: _SIZE - _LENGTH]
        begin = start + _LENGTH
        self._memory[begin : begin + len(content)] = content
        # After the text, which is whole when it is seen.
        self._memory[start:begin] = len(content).to_bytes(_LENGTH, "little")
        self._memory[0] = 1

    def read(self) -> list[str]:
        """The letters since the last time; in a child there are none."""
        if not self._memory[0] or os.getpid() != self._process:
            return []
        # Before them: what is written meanwhile is there the next time.
        self._memory[0] = 0
        starts = range(_HEAD, _HEAD + _PLACES * _SIZE, _SIZE)
        return [text for text in map(self._take, starts) if text]

    def _take(self, start: int) -> str:
        begin = start + _LENGTH
        length = int.from_bytes(self._memory[start:begin], "little")
        if not length:
            return ""
        text = self._memory[begin : begin + length].decode(errors="ignore")
        self._memory[start:begin] = bytes(_LENGTH)
        return text
