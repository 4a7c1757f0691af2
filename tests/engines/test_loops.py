"""What is done in an event loop that is somebody else's, and before one is closed."""

from __future__ import annotations

import asyncio

import pytest

from alembic_snapshot.engines.loops import Loop, before_close, run_in


class Owner:
    """Who has something to do before a loop is closed."""


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("times", [1, 2])
def test_each_owner_is_asked_once_before_its_loop_is_closed(count, times):
    owners, done = [Owner() for _ in range(count)], []

    async def connect():
        for _ in range(times):
            for number, owner in enumerate(owners):
                before_close(asyncio.get_running_loop(), lambda n=number: done.append(n), owner)
        assert done == []

    for _ in range(2):
        asyncio.run(connect())
        assert sorted(done) == [*range(count)]
        done.clear()


def fail():
    raise ZeroDivisionError("it fails")


def in_ours():
    loop = Loop()
    try:
        loop.run(fail)
    finally:
        loop.close()


def in_anothers():
    loop = asyncio.new_event_loop()
    try:
        run_in(loop, fail)
    finally:
        loop.close()


@pytest.mark.parametrize("run", [in_ours, in_anothers])
@pytest.mark.parametrize("is_running", [True, False])
def test_what_fails_in_a_loop_is_raised_here(run, is_running):
    async def running():
        run()

    with pytest.raises(ZeroDivisionError, match="it fails"):
        asyncio.run(running()) if is_running else run()
