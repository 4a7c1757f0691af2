"""Failures of what many tests need: told whole once, and in one line from then on.

What a test does wrong before the function runs is that test's failure, and not the function's.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import pytest


class Failures:
    """Errors of fixtures' functions that pytest raises again for each test that needs them."""

    def __init__(self) -> None:
        self._known: list[tuple[BaseException, str, str]] = []
        self._forgetting: list[Callable[[], None]] = []

    @contextlib.contextmanager
    def noting(self, what: str, test: str) -> Iterator[None]:
        """Note an error that is raised meanwhile, while a test is set up."""
        __tracebackhide__ = True
        try:
            yield
        except (Exception, pytest.fail.Exception) as error:
            self._known.append((error, what, test))
            raise

    @contextlib.contextmanager
    def of_one_test(self, request: Any) -> Iterator[None]:
        """Have an error that is raised meanwhile be that of the test, and not of the fixture.

        ``request`` is the fixture's. pytest keeps the error for the fixture's scope, and only after
        it has left the fixture's function: :meth:`forget` comes later.
        """
        __tracebackhide__ = True
        try:
            yield
        except (Exception, pytest.fail.Exception):
            # Not public; without it the fixture fails for its whole scope, as any other does.
            definition = getattr(request, "_fixturedef", None)
            if definition is not None:
                self._forgetting.append(functools.partial(definition.finish, request))
            raise

    def forget(self) -> None:
        """Before a test: have pytest try again what only the tests before did wrong."""
        while self._forgetting:
            self._forgetting.pop()()

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
