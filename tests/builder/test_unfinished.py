"""A seed, or a function that makes the database, of which nothing ran is an error."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import textwrap

import pytest

from alembic_snapshot import MigrationError
from alembic_snapshot.builder.unfinished import refuse_unfinished, run_to_its_end


async def asynchronous(_given):
    pass


async def asynchronous_generator(_given):
    yield


def generator(_given):
    yield


@contextlib.contextmanager
def managed(_given):
    yield


@contextlib.asynccontextmanager
async def managed_asynchronously(_given):
    yield


class Called:
    def __init__(self, given): ...
    def __call__(self): ...


class Awaited:
    def __init__(self, given): ...
    def __await__(self):
        yield from ()


class Callable:
    async def __call__(self, given): ...
    async def method(self, given): ...
    @classmethod
    def made(cls, given):
        yield


def decorated(function):
    @functools.wraps(function)
    def wrapper(*given):
        return function(*given)

    return wrapper


def plain(_given):
    return [1]


UNFINISHED = [
    asynchronous,
    asynchronous_generator,
    generator,
    managed,
    managed_asynchronously,
    Called,
    Awaited,
    Callable(),
    Callable().method,
    Callable.made,
    decorated(asynchronous),
    decorated(decorated(generator)),
    functools.partial(asynchronous),
    functools.partial(functools.partial(generator)),
    lambda given: plain,
    lambda given: functools.partial(plain, given),
    lambda given: map(plain, [given]),
    lambda given: filter(plain, [given]),
    lambda given: (plain(item) for item in [given]),
    lambda given: given.append,
]


@pytest.mark.parametrize("function", UNFINISHED)
def test_what_has_not_run_is_refused_however_it_is_wrapped(function):
    with pytest.raises(TypeError, match=r"nothing of|was not called"):
        refuse_unfinished(function, function([]))


@pytest.mark.parametrize("function", [plain, list, lambda given: given, lambda given: None])
def test_what_has_run_may_return_anything(function):
    refuse_unfinished(function, function([1]))


def test_what_makes_the_database_may_be_asynchronous_and_is_run():
    ran = []

    async def create(url):
        await asyncio.sleep(0)
        ran.append(url)

    run_to_its_end(create, create("url"))

    assert ran == ["url"]


@pytest.mark.parametrize("function", [generator, managed, lambda given: plain])
def test_what_makes_the_database_and_has_not_run_is_refused(function):
    with pytest.raises(TypeError):
        run_to_its_end(function, function("url"))


def test_a_generator_that_takes_a_session_is_an_error_of_the_build(project):
    project.history(1)
    project.write(
        "seed.py",
        textwrap.dedent("""
            from sqlalchemy.orm import Session

            def add(session: Session):
                yield session
        """),
    )
    project.configure('seeds = ["seed:add"]')

    with pytest.raises(MigrationError, match="nothing of an asynchronous function or a gen"):
        project.ensure()
