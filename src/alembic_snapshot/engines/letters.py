"""What forked children have to say, in memory that their parent reads, and waits for none."""

from __future__ import annotations

import mmap
import os

# The places for letters, and the bytes of each: its length, then the text.
_PLACES = 64
_SIZE = 1024
_LENGTH = 2


class Letters:
    """Letters of forked children to the process that made this, by the child's number.

    A newer letter of a child takes the place of one that was not read, and so may one of another.
    There is no descriptor, which a daemon would close, and no lock, which a dead child would hold.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _PLACES * _SIZE)
        self._process = os.getpid()

    def write(self, text: str) -> None:
        """Leave a text, if this is a child; what is too long for a place is cut off."""
        if os.getpid() == self._process:
            return
        start = os.getpid() % _PLACES * _SIZE
        content = text.encode(errors="replace")[: _SIZE - _LENGTH]
        begin = start + _LENGTH
        self._memory[begin : begin + len(content)] = content
        # Last, so that the text is whole when it is seen.
        self._memory[start:begin] = len(content).to_bytes(_LENGTH, "little")

    def read(self) -> list[str]:
        """The letters since the last time; in a child there are none."""
        if os.getpid() != self._process:
            return []
        starts = range(0, _PLACES * _SIZE, _SIZE)
        return [text for text in map(self._take, starts) if text]

    def _take(self, start: int) -> str:
        begin = start + _LENGTH
        length = int.from_bytes(self._memory[start:begin], "little")
        if not length:
            return ""
        text = self._memory[begin : begin + length].decode(errors="ignore")
        self._memory[start:begin] = bytes(_LENGTH)
        return text
