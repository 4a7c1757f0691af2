"""Failures of what many tests need: told whole once, and in one line from then on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest


class Failures:
    """Errors of fixtures' functions that pytest raises again for each test that needs them."""

    def __init__(self) -> None:
        self._known: list[tuple[BaseException, str, str]] = []

    @contextlib.contextmanager
    def noting(self, what: str, test: str) -> Iterator[None]:
        """Note an error that is raised meanwhile, while a test is set up."""
        __tracebackhide__ = True
        try:
            yield
        except (Exception, pytest.fail.Exception) as error:
            self._known.append((error, what, test))
            raise

    def again(self, error: BaseException, test: str) -> str | None:
        """What a further test's report says of an error; None if it is not one of these."""
        for known, what, first in self._known:
            if known is error and first != test:
                lines = str(error).splitlines() or [""]
                kind = "" if isinstance(error, pytest.fail.Exception) else type(error).__name__
                told = ": ".join(part for part in (kind, lines[0]) if part)
                return (
                    f"the checkpoint {what} failed: {told}\nthe report of {first} has the details"
                )
        return None
