"""What people type: lines of the standard input, waited for while other things happen."""

import asyncio
import os
import sys


class Answers:
    """Reads lines from the process's standard input, which may be a terminal, a pipe or a file."""

    def __init__(self) -> None:
        # A process may be started without a standard input.
        self._file: int | None = sys.stdin.fileno() if sys.stdin else None
        self._read = b""

    def forget(self) -> None:
        """Throw away what was typed before it was asked for; a pipe's lines are kept."""
        if self._file is not None and os.isatty(self._file):
            import termios

            self._read = b""
            termios.tcflush(self._file, termios.TCIFLUSH)

    async def line(self) -> str:
        """The next line, with its end; without one, or empty, at the end of the input."""
        while b"\n" not in self._read and self._file is not None:
            await _readable(self._file)
            try:
                read = os.read(self._file, 4096)
            except OSError:
                read = b""
            self._read += read
            if not read:
                self._file = None
        line, end, self._read = self._read.partition(b"\n")
        return (line + end).decode("utf-8", "replace")


async def _readable(file: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    try:
        loop.add_reader(file, _set, ready)
    except PermissionError:
        # A file on a disk can always be read, and can't be watched.
        return
    try:
        await ready
    finally:
        loop.remove_reader(file)


def _set(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)
