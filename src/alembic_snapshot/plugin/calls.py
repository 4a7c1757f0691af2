"""Functions that are called where nothing waits for them: plain ones, async ones, generators."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import inspect
import threading
from collections.abc import Callable
from typing import Any

from alembic_snapshot.errors import ConfigError


class Call:
    """A call of a function; what comes after its ``yield`` runs with :meth:`finish`.

    An async function runs in an event loop of its own, which is there until :meth:`finish`: what it
    opened belongs to that loop. Nobody else's loop is touched or set. ``name`` says whose function
    it is, in messages.
    """

    def __init__(self, function: Callable[..., Any], name: str):
        self._function = function
        self._name = name
        self._generator: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self, **arguments: Any) -> Any:
        """What the function returns, or yields first.

        Raises:
            ConfigError: it is a generator, and ends before it yields.
            BaseException: the function's own.
        """
        __tracebackhide__ = True
        made = self._function(**arguments)
        if not (inspect.isgenerator(made) or inspect.isasyncgen(made)):
            return self._run(made) if inspect.iscoroutine(made) else made
        try:
            value = next(made) if inspect.isgenerator(made) else self._run(made.__anext__())
        except (StopIteration, StopAsyncIteration):
            raise ConfigError(
                f"{self._name} ended before it yielded",
                hint="have it yield once, whichever way it takes: None is a value too",
            ) from None
        self._generator = made
        return value

    @property
    def is_waiting(self) -> bool:
        """Whether something comes after a ``yield``."""
        return self._generator is not None

    def finish(self) -> None:
        """Run what comes after the ``yield``, and close the loop.

        Raises:
            BaseException: the function's own.
            ConfigError: the function yields a second time.
        """
        __tracebackhide__ = True
        generator, self._generator = self._generator, None
        frame: Any
        try:
            if inspect.isgenerator(generator):
                next(generator)
                frame = generator.gi_frame
            elif generator is not None:
                self._run(generator.__anext__())
                frame = generator.ag_frame
            else:
                return
            line = frame.f_lineno
        except (StopIteration, StopAsyncIteration):
            return
        finally:
            self._close()
        raise ConfigError(
            f"{self._name} yields more than once",
            hint=f"remove the yield in line {line}: what comes after the first runs once, when the "
            "scope ends",
        )

    def _run(self, awaited: Any) -> Any:
        __tracebackhide__ = True
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        work = _awaiting(awaited)
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return self._loop.run_until_complete(work)
        return _in_a_thread(functools.partial(self._loop.run_until_complete, work))

    def _close(self) -> None:
        if self._loop is not None:
            self._run(_shut_down())
            self._loop.close()
            self._loop = None


def _in_a_thread(function: Callable[[], Any]) -> Any:
    """Some plugins of pytest keep a loop running in the main thread."""
    results: list[Any] = []
    errors: list[BaseException] = []
    context = contextvars.copy_context()

    def run() -> None:
        try:
            results.append(context.run(function))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


async def _awaiting(awaited: Any) -> Any:
    __tracebackhide__ = True
    return await awaited


async def _shut_down() -> None:
    """Cancel the tasks that are left, and close what was begun in the loop."""
    loop = asyncio.get_running_loop()
    tasks = asyncio.all_tasks(loop) - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(*tasks, return_exceptions=True)
    await loop.shutdown_asyncgens()
