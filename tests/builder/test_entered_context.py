"""What ``context`` names is entered, or it is said what is wrong; and who leads to its library."""

from __future__ import annotations

import collections.abc
import contextlib
import contextvars
import functools
import itertools
import sys
import types

import pytest

from alembic_snapshot.builder.app_context import (
    AppContext,
    NoContext,
    lead_to,
    libraries_in_context,
)


class Application:
    """Made once, entered each time."""

    numbers = itertools.count(1)

    def __init__(self, log):
        self.log, self.number = log, next(self.numbers)

    @contextlib.contextmanager
    def app_context(self):
        self.log.append("enter")
        try:
            yield self
        finally:
            self.log.append("leave")

    def broken(self):
        return self.app_contxt

    def needs(self, name):
        raise NotImplementedError


class OnlyEntered:
    def __enter__(self): ...


class OnlyLeft:
    def __exit__(self, *error): ...


@pytest.fixture
def log():
    return []


@pytest.fixture
def blog(monkeypatch, log):
    """A module with an application, as the configuration may name it."""
    module = types.ModuleType("blog")
    module.make_app = functools.partial(Application, log)
    module.make_apps = list
    module.app = Application(log)
    module.surroundings = lambda: module.app.app_context()
    module.only_entered, module.only_left = OnlyEntered(), OnlyLeft()
    module.sums = lambda: 1 + None
    module.nothing = None
    monkeypatch.setitem(sys.modules, "blog", module)
    return module


def entering(text, log):
    @contextlib.contextmanager
    def making():
        log.append("making")
        yield
        log.append("made")

    return AppContext(text, making)


def test_it_is_made_before_what_runs_in_it_and_left_after_that(blog, log):
    context = entering("blog:make_app().app_context()", log)
    assert context.is_made

    for _ in range(2):
        with context.around():
            log.append(("in it", context.is_made))

    once = ["making", "enter", "made", ("in it", True), "leave"]
    assert log == once * 2


def test_it_is_left_when_what_runs_in_it_fails(blog, log):
    with pytest.raises(ZeroDivisionError), entering("blog:app.app_context()", log).around():
        raise ZeroDivisionError

    assert log[-1] == "leave"


@pytest.mark.parametrize("text", [None, ""])
def test_without_one_nothing_is_made(text, log):
    context = entering(text, log)

    with context.around():
        assert context.is_made

    assert log == []
    assert context.reference is None


CALLS = "name what gives a context manager, with its calls: blog:create_app().app_context()"
WRONG = {
    "blog:mak_app()": ("module 'blog' has no attribute 'mak_app'", "did you mean 'make_app'?"),
    "blog:app.app_contex()": (
        "'Application' object has no attribute 'app_contex'", "did you mean 'app_context'?"),
    "blog:xyz": (
        "module 'blog' has no attribute 'xyz'",
        "correct context in [tool.alembic-snapshot]"),
    "blog:loader__": (
        "module 'blog' has no attribute 'loader__'", "correct context in [tool.alembic-snapshot]"),
    "blog:app.needs()": (
        "Application.needs() missing 1 required positional argument: 'name'",
        "calls have no arguments: name a function that needs none"),
    "blog:app": ("it is a Application, no context manager",
                 'write context = "blog:app.app_context()"'),
    "blog:app.app_context": ("it is a function, no context manager",
                             'write context = "blog:app.app_context()" if it gives a context '
                             "manager"),
    "blog:surroundings": ("it is a function, no context manager",
                          'write context = "blog:surroundings()" if it gives a context manager'),
    "blog:only_entered": ("it is a OnlyEntered, no context manager", CALLS),
    "blog:only_left": ("it is a OnlyLeft, no context manager", CALLS),
    "blog:nothing": ("it is a NoneType, no context manager", CALLS),
}  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_with_it_is_said_and_what_would_be_right(blog, log, text):
    context = entering(text, log)

    with pytest.raises(NoContext) as told, context.around():
        raise AssertionError("entered")

    assert (str(told.value), told.value.hint) == WRONG[text]
    assert not context.is_made


@pytest.mark.parametrize(
    ("text", "error"), [("blog:app.broken()", AttributeError), ("blog:sums()", TypeError)]
)
def test_an_error_of_the_applications_own_code_is_its_own(blog, log, text, error):
    with pytest.raises(error), entering(text, log).around():
        raise AssertionError("entered")


VARIABLE = contextvars.ContextVar("variable")


@pytest.mark.parametrize(
    "name",
    ["alembic.op", "alembic_snapshot.x", "builtins", "sqlalchemy.orm", "__main__", "asyncio.tasks"],
)
def test_what_tools_keep_in_a_context_is_no_librarys(name):
    def inside():
        VARIABLE.set(type("Value", (), {"__module__": "flask.ctx"})())
        second = contextvars.ContextVar("second")
        second.set(type("Value", (), {"__module__": name})())
        return libraries_in_context()

    assert contextvars.Context().run(inside) == {"flask"}


class TestWhoLeadsToALibrary:
    @pytest.fixture(autouse=True)
    def packages(self, monkeypatch):
        """Packages that use each other: by a module, a class, a function, and through another."""

        def package(name, **values):
            module = types.ModuleType(name)
            vars(module).update(values)
            monkeypatch.setitem(sys.modules, name, module)
            return module

        def of(kind, module):
            value = type("Value", (), {}) if kind == "class" else (lambda: None)
            value.__module__ = module
            return value

        library = package("the_library")
        inner = package("the_library.inner")
        package("by_module", anything=inner)
        package("by_class", anything=of("class", "the_library.inner"))
        package("by_function.deep.er", anything=of("function", "the_library.inner"))
        package("through", anything=of("class", "by_module"))
        package("around", anything=of("class", "through"))
        package("through", anything=of("class", "by_module"), back=of("class", "around"))
        package("stranger", text="the_library", other=collections.abc)
        # What is part of a value is not gone through.
        package("by_value", anything=[library])
        monkeypatch.setitem(sys.modules, "is_none", None)

    @pytest.mark.parametrize(
        ("name", "leads"),
        [
            ("the_library", True),
            ("by_module", True),
            ("by_class", True),
            ("by_function", True),
            ("through", True),
            ("around", True),
            ("stranger", False),
            ("by_value", False),
            ("nowhere", False),
            ("is_none", False),
            ("sqlalchemy", False),
        ],
    )
    def test_is_told_by_what_its_modules_have(self, name, leads):
        assert lead_to([name], {"the_library"}) is leads
        assert lead_to([name, "nowhere"], {"the_library", "another"}) is leads
        assert not lead_to([name], set())

    def test_is_nobody_where_nothing_was_asked_for(self):
        assert not lead_to([], {"the_library"})
