"""Whose end is running, or has failed: a fixture's or a checkpoint's, by the frames of pytest."""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

from alembic_snapshot.engines.notices import Ending
from alembic_snapshot.plugin.declared import ATTRIBUTE
from alembic_snapshot.project.callsite import waiting
from alembic_snapshot.project.frames import variable

_AT_ITS_END = "when it ends", "in its function"
_GONE = "what tests write goes with their clones"
# What pytest makes fixtures of, by the beginning of their names.
_XUNIT = re.compile(r"_xunit_setup_(module|function|class|method)_fixture_|_unittest_setUpClass_")


def ending_now() -> Ending | None:
    """The fixture whose end is running, in this thread or in the main one; None if none is."""
    for innermost in (sys._getframe(1), *waiting()):
        frame = innermost
        while frame is not None:
            if frame.f_globals.get("__name__") == "_pytest.fixtures":
                # Not public; without them a test is named, and not the fixture.
                if frame.f_code.co_name == "finish":
                    return _ending_of(variable(frame, "self"))
                if frame.f_code.co_name == "execute":
                    return None
            frame = frame.f_back
    return None


def is_of_several_tests(error: BaseException) -> bool:
    """Whether all of an error comes from the ends of fixtures that several tests share."""
    if isinstance(error, BaseExceptionGroup):
        return all(is_of_several_tests(one) for one in error.exceptions)
    ended = [
        getattr(frame.f_locals.get("self"), "scope", "function")
        for frame in _frames(error)
        if frame.f_globals.get("__name__") == "_pytest.fixtures"
        and frame.f_code.co_name == "finish"
    ]
    return bool(ended) and ended[-1] != "function"


def _frames(error: BaseException) -> Iterator[FrameType]:
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame
        trace = trace.tb_next


def _ending_of(definition: Any) -> Ending:
    function: Any = getattr(definition, "func", None)
    scope = getattr(definition, "scope", "function")
    declared = getattr(function, ATTRIBUTE, None)
    if declared is not None:
        original = inspect.unwrap(function)
        yields = inspect.isgeneratorfunction(original) or inspect.isasyncgenfunction(original)
        when, instead = ("after its yield", "before the yield") if yields else _AT_ITS_END
        return Ending(
            f"the checkpoint {declared} uses the database {when}, and has none then",
            f"do it {instead}, or leave it out: {_GONE}",
        )
    name = str(getattr(definition, "argname", ""))
    xunit = _XUNIT.match(name)
    who = f"the fixture {name}{_place(function)}"
    if xunit is not None:
        who = f"teardown_{xunit[1]}" if xunit[1] else "tearDownClass"
    hint = _hint(name, scope, is_xunit=xunit is not None)
    return Ending(
        f"{who} uses the database when it ends, and has no clone then",
        f"{hint}, or leave it out: {_GONE}",
    )


def _hint(name: str, scope: str, *, is_xunit: bool) -> str:
    if is_xunit:
        if scope == "function":
            return "mark the test with @pytest.mark.db_clone"
        if scope == "class":
            return 'write shared = clone_fixture("class", autouse=True) in the module'
        return f'make it a fixture of the scope "{scope}" that takes a clone_fixture("{scope}")'
    if scope == "function":
        return f"have {name} take db_clone"
    return f'have {name} take a clone_fixture("{scope}")'


def _place(function: Any) -> str:
    code = getattr(inspect.unwrap(function), "__code__", None) if callable(function) else None
    return f" ({os.path.relpath(code.co_filename)} line {code.co_firstlineno})" if code else ""
