"""The code that a function can reach which ``env.py`` gives away."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from alembic_snapshot.project.spelling import beginning


def code_reached(function: Any, folder: str) -> set[str]:
    """The files of a function's code, and of the functions that it can call.

    Code in ``folder``, where Alembic's scripts are, is followed by the names that it uses. Code
    elsewhere is in a module with imports of its own: only the values that it holds are followed.
    """
    files: set[str] = set()
    waiting, seen = [function], set()
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        file = _file(value)
        if file is not None:
            files.add(file)
        waiting.extend(_made_with(value))
        if isinstance(value, FunctionType) and value.__code__.co_filename.startswith(
            beginning(folder)
        ):
            waiting.extend(_named(set(_names(value.__code__)), value.__globals__))
    return files


def _named(names: AbstractSet[str], values: Mapping[str, Any]) -> Iterator[Any]:
    """The values that have these names, and the modules that those which are modules have so."""
    waiting, seen = [values], set()
    while waiting:
        inside = waiting.pop()
        for name in names & inside.keys():
            value = inside[name]
            if inside is values or isinstance(value, ModuleType):
                yield value
            if isinstance(value, ModuleType) and id(value) not in seen:
                seen.add(id(value))
                waiting.append(vars(value))


def _file(value: Any) -> str | None:
    if isinstance(value, FunctionType):
        return value.__code__.co_filename
    if isinstance(value, ModuleType):
        return getattr(value, "__file__", None)
    if isinstance(value, type):
        return getattr(sys.modules.get(value.__module__), "__file__", None)
    return None


def _made_with(value: Any) -> Iterator[Any]:
    """The values that a function, or an object that is called, was made with."""
    if isinstance(value, functools.partial):
        yield from (value.func, *value.args, *value.keywords.values())
    elif isinstance(value, MethodType):
        yield from (value.__func__, value.__self__)
    elif isinstance(value, FunctionType):
        for cell in value.__closure__ or ():
            try:
                yield cell.cell_contents
            except ValueError:
                continue  # Not bound yet.
        yield from (*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values())
        yield getattr(value, "__wrapped__", None)
    else:
        # An object that is called, or a function of another kind, is its class's.
        yield getattr(value, "__wrapped__", None)
        yield type(value)


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
