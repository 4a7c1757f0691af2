"""A function that is called where nothing waits for it: what it returns, and how it ends."""

from __future__ import annotations

import asyncio
import contextvars
import threading

import pytest

from alembic_snapshot.errors import ConfigError
from alembic_snapshot.plugin.calls import Call

SEEN = contextvars.ContextVar("SEEN", default="before")


def generator(**arguments):
    arguments["notes"].append("begun")
    yield 1
    arguments["notes"].append("ended")


async def async_generator(**arguments):
    arguments["notes"].append("begun")
    yield 1
    await asyncio.sleep(0)
    arguments["notes"].append("ended")


@pytest.mark.parametrize("function", [generator, async_generator])
def test_a_generator_ends_once(function):
    notes = []
    call = Call(function, "ada")

    assert call.start(notes=notes) == 1
    assert (call.is_waiting, notes) == (True, ["begun"])
    call.finish()
    assert (call.is_waiting, notes) == (False, ["begun", "ended"])
    call.finish()
    assert notes == ["begun", "ended"]


def test_a_plain_function_returns():
    call = Call(lambda **arguments: arguments, "ada")

    assert call.start(a=1) == {"a": 1}
    assert not call.is_waiting
    call.finish()


@pytest.mark.parametrize("in_a_loop", [False, True])
def test_an_async_function_has_a_loop_until_it_is_finished(in_a_loop):
    loops, ended = [], []

    async def function():
        loops.append(asyncio.get_running_loop())

        async def waits():
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(True)

        loops.append(asyncio.ensure_future(waits()))
        await asyncio.sleep(0)
        return SEEN.get(), threading.current_thread() is threading.main_thread()

    def act():
        SEEN.set("within")
        call = Call(function, "ada")
        found = call.start()
        assert not loops[0].is_closed()
        assert not ended
        call.finish()
        return found

    async def outer():
        return act()

    context = contextvars.copy_context()
    found = context.run(lambda: asyncio.run(outer()) if in_a_loop else act())

    assert found == ("within", not in_a_loop)
    assert loops[0].is_closed()
    assert loops[1].cancelled()
    assert ended == [True]


def test_async_generators_that_are_left_are_closed():
    closed = []

    async def numbers():
        try:
            yield 1
            yield 2
        finally:
            closed.append(True)

    left = []

    async def function():
        left.append(numbers())
        await left[0].__anext__()

    call = Call(function, "ada")
    call.start()
    assert not closed
    call.finish()

    assert closed == [True]


def ends_early():
    if not SEEN:
        yield


async def ends_early_too():
    if not SEEN:
        yield


@pytest.mark.parametrize("function", [ends_early, ends_early_too])
def test_one_that_does_not_yield_is_told(function):
    call = Call(function, "the checkpoint ada")
    with pytest.raises(ConfigError) as caught:
        call.start()
    call.finish()

    assert (caught.value.message, caught.value.hint) == (
        "the checkpoint ada ended before it yielded",
        "have it yield once, whichever way it takes: None is a value too",
    )
    assert not call.is_waiting
    assert caught.value.__suppress_context__


def yields_twice():
    yield 1
    yield 2


async def yields_twice_too():
    yield 1
    yield 2


@pytest.mark.parametrize("function", [yields_twice, yields_twice_too])
def test_one_that_yields_twice_is_told_with_its_line(function):
    call = Call(function, "the checkpoint ada")
    assert call.start() == 1
    with pytest.raises(ConfigError) as caught:
        call.finish()

    line = function.__code__.co_firstlineno + 2
    assert (caught.value.message, caught.value.hint) == (
        "the checkpoint ada yields more than once",
        f"remove the yield in line {line}: what comes after the first runs once, when the scope "
        "ends",
    )
    call.finish()


@pytest.mark.parametrize("in_a_loop", [False, True])
def test_what_it_raises_is_its_own(in_a_loop):
    async def function():
        raise KeyError("x")

    async def outer():
        call.start()

    call = Call(function, "ada")
    with pytest.raises(KeyError, match="x"):
        asyncio.run(outer()) if in_a_loop else call.start()
    call.finish()
