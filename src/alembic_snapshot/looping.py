"""To run what needs an event loop where none is running: closing an async driver's connections."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Loop:
    """An event loop of our own, made when first needed; nobody else's loop is touched or set."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self, function: Callable[[], T]) -> T:
        """Run a synchronous function in which SQLAlchemy may wait for an async driver."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return self._run_here(function)
        found: list[T] = []
        thread = threading.Thread(target=lambda: found.append(Loop().run_once(function)))
        thread.start()
        thread.join()
        return found[0]

    def run_once(self, function: Callable[[], T]) -> T:
        """The same in a loop that is closed afterwards."""
        try:
            return self._run_here(function)
        finally:
            self.close()

    def close(self) -> None:
        """Close the loop."""
        if self._loop is not None:
            self._loop.close()
            self._loop = None

    def _run_here(self, function: Callable[[], T]) -> T:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        return self._loop.run_until_complete(waiting(function))


async def waiting(function: Callable[[], T]) -> T:
    """Run a synchronous function in which SQLAlchemy may wait for an async driver, in this loop."""
    from sqlalchemy.ext.asyncio import AsyncSession

    return await AsyncSession().run_sync(lambda _: function())
