"""Ending a run from outside: Ctrl-C, SIGTERM, and a terminal that is closed."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from types import FrameType
from typing import Any, NoReturn, TypeVar

from core.tools import Tool, ToolRegistry

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

T = TypeVar("T")
Handler = Callable[[int, FrameType | None], None]


def run(work: Callable[[], Awaitable[T]]) -> T:
    """Run asynchronous work, which the first of the signals that end it cancels.

    A second one breaks it off wherever it is.

    Raises:
        KeyboardInterrupt: it was ended before it was done.
    """
    done: list[T] = []

    async def until_cancelled() -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def cancel(_number: int, _frame: FrameType | None) -> None:
            with_force = task.cancelling()
            task.cancel()
            # The loop may be asleep, and would not look before something else wakes it.
            loop.call_soon_threadsafe(lambda: None)
            if with_force:
                raise KeyboardInterrupt

        with _handled_by(cancel):
            done.append(await work())

    try:
        asyncio.run(until_cancelled())
    except asyncio.CancelledError:
        if not done:
            raise KeyboardInterrupt from None
    return done[0]


def interruptible(tools: ToolRegistry) -> ToolRegistry:
    """The same tools, which a signal ends while they work, and not only when they are done."""
    return ToolRegistry(_interruptible(each) for each in tools)


def _interruptible(tool: Tool) -> Tool:
    @wraps(tool.function)
    def use(*arguments: Any, **named: Any) -> Any:
        with _handled_by(_raise):
            return tool.function(*arguments, **named)

    return replace(tool, function=use)


def _raise(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


@contextmanager
def _handled_by(handler: Handler) -> Iterator[None]:
    # What is ignored stays so: nohup, and a shell for what it starts in the background, say so.
    heard = [each for each in ENDING if signal.getsignal(each) != signal.SIG_IGN]
    before = {each: signal.signal(each, handler) for each in heard}
    try:
        yield
    finally:
        for each, handled in before.items():
            signal.signal(each, handled)
