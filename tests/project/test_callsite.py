"""Whose line is running: the project's, and never the library's, wherever that lies."""

from __future__ import annotations

import asyncio
import os
import textwrap
from pathlib import Path

import pytest

import alembic_snapshot
from alembic_snapshot.project.callsite import Callsites
from alembic_snapshot.project.spelling import Spelling

SOURCE = Path(alembic_snapshot.__file__).parents[1]
# Whose names are those of folders that are left out, or contain them.
ODD_ROOTS = (
    "/srv/site-packages",
    "/srv/site-packages-mirror",
    "/srv/dist-packages/shop",
    "/srv/__pycache__/shop",
    "/srv/shop.git/.git/worktree",
)
MODULES = sorted(SOURCE.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_no_module_of_the_library_is_a_projects_that_it_lies_in(path):
    assert not Callsites(SOURCE).is_ours(str(path))


@pytest.mark.parametrize(
    ("name", "is_ours"),
    [
        ("shop.py", True),
        ("shop/orders.py", True),
        ("alembic_snapshot_of_mine.py", True),
        (".venv/lib/python3/site-packages/shop.py", False),
        ("<string>", False),
    ],
)
def test_a_file_below_the_root_is_the_projects(tmp_path, name, is_ours):
    path = name if name.startswith("<") else str(tmp_path / name)

    assert Callsites(tmp_path).is_ours(path) is is_ours


STDLIB = os.path.dirname(os.__file__)


@pytest.mark.parametrize(
    ("root", "name", "is_ours"),
    [
        ("/", "/shop.py", True),
        ("/", "/shop/orders.py", True),
        ("/", f"{STDLIB}/json/__init__.py", False),
        ("/", "/usr/lib/python3/dist-packages/shop.py", False),
        ("/", str(SOURCE / "alembic_snapshot" / "errors.py"), False),
        *((root, f"{root}/shop.py", True) for root in ODD_ROOTS),
        *((root, f"{root}/lib/site-packages/shop.py", False) for root in ODD_ROOTS),
        *((root, f"{root}-2/shop.py", False) for root in ODD_ROOTS),
        ("/srv", "/srv/site-packages-list/shop.py", True),
        ("/srv", "/srv/my-dist-packages/shop.py", True),
    ],
)
def test_whatever_leads_to_the_root_may_be_called_anything(root, name, is_ours):
    assert Callsites(Path(root)).is_ours(name) is is_ours


@pytest.mark.parametrize(
    ("root", "path", "name"),
    [
        ("/", "/shop.py", "shop.py"),
        ("/", "/app/<shop>.py", "app/<shop>.py"),
        ("/srv", "/srv/shop.py", "shop.py"),
        ("/srv", "/data/shop.py", "<data>/shop.py"),
        ("/srv", "/srv2/shop.py", "../srv2/shop.py"),
    ],
)
def test_a_path_is_spelled_from_the_root_and_back(root, path, name):
    spelling = Spelling(root, ["/data"])

    assert spelling.name(path) == name
    assert spelling.path(name) == path


def test_a_file_elsewhere_is_not(tmp_path):
    assert not Callsites(tmp_path / "root").is_ours(str(tmp_path / "shop.py"))


PROGRAM = """
    import asyncio
    import contextlib

    def ask(ask_here):
        return ask_here()

    async def own(ask_here):
        return ask(ask_here)

    async def in_a_task(ask_here):
        return await asyncio.create_task(own(ask_here))

    async def of_another(library, ask_here):
        return await asyncio.create_task(library(ask_here))

    async def in_a_callback(ask_here):
        loop = asyncio.get_running_loop()
        answer = loop.create_future()
        loop.call_soon(lambda_of(answer, ask_here))
        return await answer

    def lambda_of(answer, ask_here):
        return lambda: answer.set_result(ask_here())

    async def of_a_callback(library, ask_here):
        answer = asyncio.get_running_loop().create_future()
        library(answer, ask_here)
        return await answer

    async def of_a_thread(ask_here):
        return await asyncio.to_thread(ask_here)

    async def of_a_generator(ask_here):
        async with opened(ask_here) as answer:
            return answer

    @contextlib.asynccontextmanager
    async def opened(ask_here):
        yield ask_here()
"""


async def task_of_a_library(ask_here):
    return ask_here()


def callback_of_a_library(answer, ask_here):
    asyncio.get_running_loop().call_soon(lambda: answer.set_result(ask_here()))


class TestWriterInALoop:
    """Who runs the loop only waits: it has started every task, and wrote nothing."""

    @pytest.fixture
    def run(self, tmp_path):
        """Run a function of a project in a loop that the project runs, too."""
        path = tmp_path / "shop.py"
        text = textwrap.dedent(PROGRAM) + "\n\ndef run(work):\n    return asyncio.run(work)\n"
        names = {}
        exec(compile(text, str(path), "exec"), names)

        def run(name, *arguments):
            answer = names["run"](names[name](*arguments, Callsites(tmp_path).writer))
            return answer[2] if answer is not None else None

        return run

    @pytest.mark.parametrize(
        ("name", "arguments", "told"),
        [
            ("own", (), "ask"),
            ("in_a_task", (), "ask"),
            ("in_a_callback", (), "lambda_of.<locals>.<lambda>"),
            ("of_a_generator", (), "opened"),
            ("of_another", (task_of_a_library,), None),
            ("of_a_callback", (callback_of_a_library,), None),
            ("of_a_thread", (), None),
        ],
    )
    def test_it_is_the_task_that_is_looked_at(self, run, name, arguments, told):
        assert run(name, *arguments) == told
