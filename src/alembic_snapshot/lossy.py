"""A text stream for what may be lost, such as notes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any, TextIO


class Lossy:
    """A stream that drops what can't be written to the one that it is given.

    A reader that is gone or a full disk must not end a build, nor change an exit status.
    """

    def __init__(self, stream: TextIO):
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write it, or drop it and all that follows."""
        with self._losing():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Have what was written on its way, or drop it and all that follows."""
        with self._losing():
            self._stream.flush()

    @contextlib.contextmanager
    def _losing(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError):
            drop_all(self._stream)


def drop_all(stream: TextIO) -> None:
    """Have what a stream still holds, and is given later, written to where everything is lost."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
