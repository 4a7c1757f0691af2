"""Runs functions that need an event loop: closing an async driver's connections, for one.

A connection over the network belongs to the loop that it was opened in, and has to be closed
there: before that loop is closed, or while it is idle.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
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
        return _in_a_thread(lambda: Loop().run_once(function))

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


def run_in(loop: asyncio.AbstractEventLoop, function: Callable[[], T]) -> T | None:
    """Run a synchronous function in a loop of somebody else's; None if that is closed.

    A loop that is running at the moment runs the function in the loop's own thread.
    """
    if loop.is_closed():
        return None
    if loop.is_running():
        return asyncio.run_coroutine_threadsafe(waiting(function), loop).result()
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return loop.run_until_complete(waiting(function))
    return _in_a_thread(lambda: loop.run_until_complete(waiting(function)))


def _in_a_thread(function: Callable[[], T]) -> T:
    """What a function gives, or raises, in a thread in which no loop is running."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(function).result()


def before_close(
    loop: asyncio.AbstractEventLoop, function: Callable[[], object], owner: object
) -> None:
    """Have a synchronous function run in the running loop before that is closed.

    It is once for a loop and each owner. A loop that is shut down closes the asynchronous
    generators that began in it (PEP 525); every runner sees to that. So one that ends with the
    function is begun here.
    """
    endings = _endings.setdefault(loop, weakref.WeakKeyDictionary())
    if owner in endings:
        return
    generator = _ending(function)
    # The first step says to the loop that there is this generator. It waits for nothing.
    with contextlib.suppress(StopIteration):
        generator.__anext__().__await__().send(None)
    endings[owner] = generator


async def _ending(function: Callable[[], object]) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await waiting(function)


_endings: weakref.WeakKeyDictionary[
    asyncio.AbstractEventLoop, weakref.WeakKeyDictionary[object, AsyncIterator[None]]
] = weakref.WeakKeyDictionary()


async def waiting(function: Callable[[], T]) -> T:
    """Run a synchronous function in which SQLAlchemy may wait for an async driver, in this loop."""
    from sqlalchemy.ext.asyncio import AsyncSession

    return await AsyncSession().run_sync(lambda _: function())
