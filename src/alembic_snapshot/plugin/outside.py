"""What comes from outside while a report is made: a time limit, a handler of a signal that raises.

It ends what is done at the moment, and not the run; what it ended says so.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable

import pytest

# What the user or a test wants: they end the run wherever they are raised.
ENDS_THE_RUN: tuple[type[BaseException], ...] = (KeyboardInterrupt, pytest.exit.Exception)


def attempt(step: Callable[[], object]) -> str | None:
    """Do something; why it was not done, if that raises anything.

    Raises:
        BaseException: what ends the run.
    """
    try:
        step()
    except ENDS_THE_RUN:
        raise
    except BaseException as error:
        return "\n".join(filter(None, (reason(error), details(error))))
    return None


def details(error: BaseException) -> str:
    """The traceback of an error, which may be one of this library; a limit's says nothing."""
    return "".join(traceback.format_exception(error)) if isinstance(error, Exception) else ""


def reason(error: BaseException) -> str:
    """What ended something, in one line."""
    first = str(error).partition("\n")[0]
    return f"interrupted by {type(error).__name__}" + (f": {first}" if first else "")
