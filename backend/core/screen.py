"""Text for a terminal: what others wrote is shown there, and never obeyed by it."""

import errno
import logging
import os
import unicodedata
from io import TextIOWrapper
from typing import TextIO

# Controls, formats that move text about or hide it, halves of surrogate pairs, other line ends.
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# Joiners are part of how words and emoji are written.
_SAFE = frozenset("\n\t\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}")


def visible(text: str) -> str:
    """The text with an escape for each character that a terminal would obey or hide."""
    return "".join(
        each if each in _SAFE or unicodedata.category(each) not in _UNSAFE else _escape(each)
        for each in text
    )


def one_line(text: str) -> str:
    """The visible text with its line ends as escapes, too."""
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")


def block(text: str, indent: str) -> str:
    """The visible text, in which no line but the first can be taken for one of ours."""
    return visible(text).replace("\n", f"\n{indent}  | ")


class Screen:
    """A standard stream that takes any text, and that may go away without harm."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self.error: OSError | None = None
        if isinstance(stream, TextIOWrapper):
            # What an ASCII terminal has no letter for is an escape there.
            stream.reconfigure(errors="backslashreplace")

    @property
    def lost(self) -> bool:
        """Whether nobody sees what is shown."""
        return self._stream is None or self.error is not None

    def show(self, text: str, end: str = "\n") -> None:
        """Show a text; if its reader is gone, nothing happens but that `error` is set."""
        if self.error is not None:
            return
        if self._stream is None:
            self.error = OSError(errno.EBADF, "there is nowhere to write to")
            return
        try:
            self._stream.write(visible(text) + end)
            self._stream.flush()
        except OSError as error:
            self.error = error
            # Python flushes again at its end, and would complain of the same.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


class ScreenHandler(logging.Handler):
    """Shows what is logged, tracebacks with what a tool said in them included."""

    def __init__(self, screen: Screen) -> None:
        super().__init__(logging.ERROR)
        self._screen = screen

    def emit(self, record: logging.LogRecord) -> None:
        self._screen.show(self.format(record))


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
