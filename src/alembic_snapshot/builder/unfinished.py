"""Coroutines, generators and the like, which a seed or ``migrate`` returned and did not run."""

from __future__ import annotations

import contextlib
import functools
import inspect
import itertools
from collections.abc import Callable
from typing import Any

_LAZY = (map, filter, itertools.chain, itertools.starmap)


def run_to_its_end(function: Callable[..., Any], result: Any) -> None:
    """Run what an asynchronous function returned.

    Raises:
        TypeError: it is something else of which nothing has run.
    """
    if inspect.isawaitable(result):
        import asyncio

        result = asyncio.run(_awaited(result))
    refuse_unfinished(function, result)


def refuse_unfinished(function: Callable[..., Any], result: Any) -> None:
    """Refuse a result that a function returned instead of doing its work, in any wrapping.

    Raises:
        TypeError: nothing of it has run.
    """
    if inspect.isawaitable(result) or inspect.isgenerator(result) or inspect.isasyncgen(result):
        with contextlib.suppress(Exception):
            result.close()  # type: ignore[union-attr]
        raise TypeError("nothing of an asynchronous function or a generator ran: make it plain")
    generator = getattr(result, "gen", None)
    if inspect.isgenerator(generator) or inspect.isasyncgen(generator):
        raise TypeError("nothing of a context manager ran: make it a plain function")
    if isinstance(result, _LAZY):
        raise TypeError(f"nothing of a {type(result).__name__}() ran: loop over it")
    is_instance = inspect.isclass(function) and callable(result)
    if is_instance or inspect.isroutine(result) or isinstance(result, functools.partial):
        name = getattr(result, "__qualname__", None) or f"a {type(result).__qualname__}"
        raise TypeError(f"it returned {name}, which was not called: name a function that does it")


async def _awaited(result: Any) -> Any:
    return await result
