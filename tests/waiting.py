"""Waiting for something that other processes do, and no longer than it may take."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 60.0


def until(condition: Callable[[], object], what: str) -> None:
    """Wait until a condition holds.

    Raises:
        AssertionError: it does not within a minute.
    """
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"still waiting: {what}"
        time.sleep(0.01)
