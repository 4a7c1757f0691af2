"""The code that a function of ``env.py`` can reach: by names among the scripts, else by values."""

from __future__ import annotations

import functools
import sys
import types

import pytest

from alembic_snapshot.builder.reach import code_reached

FOLDER = "/project/migrations"
ENV, BESIDE = f"{FOLDER}/env.py", "/project/migrations_of_others/env.py"
APP = """
import functools
def one(): ...
def two(): ...
def wrapping(function):
    @functools.wraps(function)
    def called(): ...
    return called
def closing(value):
    def called():
        return value
    return called
def unbound(value):
    def called():
        return later, value
    return called
    later = 1
class Hook:
    def __call__(self): ...
    def method(self): ...
"""


@pytest.fixture
def modules(monkeypatch):
    """Modules of an application, by their names; each is at a path of its own."""

    def made(name):
        module = types.ModuleType(name)
        module.__file__ = f"/project/{name}.py"
        exec(compile(APP, module.__file__, "exec"), module.__dict__)
        monkeypatch.setitem(sys.modules, name, module)
        return module

    return {name: made(name) for name in ("hooks", "other")}


def written(path, code, modules):
    scope = {"functools": functools, "__name__": "env", **modules}
    exec(compile(code, path, "exec"), scope)
    return scope["hook"]


# What a script has as a hook, and the files that it leads to.
VALUES = {
    "hook = hooks.one": {"hooks"},
    "hook = functools.partial(hooks.one)": {"hooks"},
    "hook = functools.partial(print, other.one)": {"other"},
    "hook = functools.partial(hooks.one, to=other.one)": {"hooks", "other"},
    "hook = hooks.Hook()": {"hooks"},
    "hook = hooks.Hook": {"hooks"},
    "hook = hooks.Hook().method": {"hooks"},
    "hook = hooks": {"hooks"},
    "hook = hooks.closing(other.one)": {"hooks", "other"},
    "hook = hooks.closing(functools.partial(other.one))": {"hooks", "other"},
    "hook = hooks.unbound(other.one)": {"hooks", "other"},
    "hook = hooks.wrapping(other.one)": {"hooks", "other"},
    "hook = functools.cache(other.one)": {"functools", "other"},
    "hook = print": set(),
    "def hook(a, to=other.one): ...": {"env", "other"},
    "def hook(*, to=other.one): ...": {"env", "other"},
    "def hook(a, b=hooks.one, *, to=other.one): ...": {"env", "hooks", "other"},
}
# What a function uses by names.
USED = {
    "def hook(): hooks.one()": {"hooks"},
    "def hook():\n    def inner():\n        return [other.one for _ in 'a']\n    return inner":
        {"other"},
    "def helper(): other.one()\ndef hook(): helper()": {"other"},
    "def hook(): hook()": set(),
    "def hook(): nowhere.one()": set(),
}  # fmt: skip


def named(paths):
    return {path.rpartition("/")[2].removesuffix(".py") for path in paths}


@pytest.mark.parametrize("code", VALUES)
@pytest.mark.parametrize("path", [ENV, BESIDE])
def test_values_are_followed_wherever_they_are(modules, path, code):
    hook = written(path, code, modules)

    assert named(code_reached(hook, FOLDER)) == VALUES[code]


@pytest.mark.parametrize("code", USED)
def test_names_are_followed_among_the_scripts_and_not_elsewhere(modules, code):
    inside, outside = (written(path, code, modules) for path in (ENV, BESIDE))

    assert named(code_reached(inside, FOLDER)) == {"env", *USED[code]}
    assert named(code_reached(outside, FOLDER)) == {"env"}


def test_a_method_brings_what_its_object_is_as_well_as_its_function(modules):
    bound = types.MethodType(modules["other"].one, modules["hooks"].Hook())

    assert named(code_reached(bound, FOLDER)) == {"hooks", "other"}


def test_code_without_a_file_is_in_none(modules):
    del modules["hooks"].__file__

    assert code_reached(modules["hooks"], FOLDER) == set()
    assert code_reached(modules["hooks"].Hook, FOLDER) == set()
