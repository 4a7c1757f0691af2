"""Standard output and error of the commands: what can't be written is an error, and not silence."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from alembic_snapshot.errors import CommandError, SnapshotError, printable, spelled_out
from alembic_snapshot.lossy import Lossy, drop_all

_COLOURS = {"+": 32, "-": 31, "~": 33, "✓": 32, "!": 33, "✗": 31}
_SIGN = re.compile(r"^( *)([+~✓!✗-])(?= )", re.MULTILINE)
_YELLOW, _RED = 33, 31
_ERROR = 2


@contextlib.contextmanager
def unfailing_error() -> Iterator[None]:
    """Have a standard error, whose reader may go away: an exit status says what is to be known.

    With none, a file that is opened later would be taken for it by the processes that we start.
    """
    before = sys.stderr
    if before is None:
        sys.stderr = open(_free_error(), "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    lossy: Any = Lossy(sys.stderr)
    sys.stderr = lossy
    try:
        yield
    finally:
        sys.stderr.flush()
        sys.stderr = before


def _free_error() -> int:
    """A descriptor that leads nowhere: that of standard error, if nothing else has it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.fstat(_ERROR)
    except OSError:
        os.dup2(nowhere, _ERROR)
        return _ERROR
    return nowhere


def prepare() -> None:
    """See that there is a standard output, which takes every character in one way or another.

    Raises:
        CommandError: it is closed.
    """
    if sys.stdout is None:
        raise CommandError("standard output is closed", hint="let it lead somewhere")
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def finish() -> None:
    """Have what was printed written.

    Raises:
        CommandError: it could not be.
    """
    try:
        sys.stdout.flush()
    except (OSError, ValueError) as error:
        raise broken(error) from error


def broken(error: OSError | ValueError) -> CommandError:
    """The error of a standard output that takes no more; nothing is written to it any more."""
    drop_all(sys.__stdout__ or sys.stdout)
    return CommandError(
        f"can't write to standard output: {getattr(error, 'strerror', None) or error}",
        hint="see that whatever reads it stays to the end, and has room",
    )


def show(text: str, *, is_url: bool = False) -> None:
    """Print a result for a reader; the signs of what was added, removed and changed in colour.

    One that is the URL of a database has its password, without which it leads nowhere.
    """
    shown = spelled_out(text) if is_url else printable(text)
    if _has_colours(sys.stdout):
        shown = _SIGN.sub(lambda m: m[1] + _coloured(m[2], _COLOURS[m[2]]), shown)
    print(shown)


def note(line: str) -> None:
    """Print to standard error what is neither a result nor a warning."""
    print(printable(line), file=sys.stderr)


def warn(lines: Iterable[str]) -> None:
    """Print warnings to standard error."""
    for line in lines:
        print(f"{_on_error('warning:', _YELLOW)} {printable(line)}", file=sys.stderr)


def report(error: SnapshotError, *, traceback: bool = False) -> None:
    """Print an error to standard error, with its details if they are wanted."""
    print(f"{_on_error('error:', _RED)} {error}", file=sys.stderr)
    if error.details and traceback:
        print(error.details, file=sys.stderr)


def _on_error(word: str, colour: int) -> str:
    return _coloured(word, colour) if _has_colours(sys.stderr) else word


def _coloured(text: str, colour: int) -> str:
    return f"\x1b[{colour}m{text}\x1b[0m"


def _has_colours(stream: object) -> bool:
    """Whether a stream is a terminal that shows colours (no-color.org)."""
    isatty = getattr(stream, "isatty", None)
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or isatty is None:
        return False
    return bool(isatty())
