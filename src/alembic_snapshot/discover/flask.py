"""Which application a project has for Flask's ``current_app``, and how it is named."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from alembic_snapshot.discover.names import DEEP, Names, local_values, returned
from alembic_snapshot.discover.sources import Function, Source, Sources

# As the command `flask` looks for them, in its order.
_FACTORIES = ("create_app", "make_app")
_OBJECTS = ("app", "application")
_MODULE = re.compile(r"^\s*(?:export\s+)?FLASK_APP\s*=\s*[\"']?([^\"'\s#:]+)", re.MULTILINE)


@dataclass(frozen=True)
class Application:
    """An application, or a function that makes one. ``why_not`` says why it can't be called."""

    source: Source
    line: int
    name: str
    is_function: bool
    why_not: str = ""

    @property
    def context(self) -> str:
        """The reference of its context."""
        call = "()" * self.is_function
        return f"{self.source.module}:{self.name}{call}.app_context()"

    @property
    def _rank(self) -> int:
        known = _FACTORIES if self.is_function else _OBJECTS
        rank = known.index(self.name) if self.name in known else len(known)
        # An application that is there need not be the one that a function makes.
        return rank + (not self.is_function) * (len(_FACTORIES) + 1)


def find_applications(sources: Sources, root: Path) -> list[Application]:
    """The applications that are as likely as each other, the likeliest of all that there are."""
    found = list(_found(sources))
    named = _named_by_flask(root)
    kept = [one for one in found if one.source.module == named] or found
    kept = [one for one in kept if not one.why_not] or kept
    best = min((one._rank for one in kept), default=0)
    return [one for one in kept if one._rank == best]


def _found(sources: Sources) -> Iterator[Application]:
    names = Names(sources)
    for source in sources.of_the_application(b"Flask", b"create_app", b"make_app"):
        for name, values in source.assigned.items():
            calls = (value for value in values if isinstance(value, ast.Call))
            made = next((one for one in calls if _makes(one, source, names, DEEP)), None)
            if made is not None:
                yield Application(source, made.lineno, name, is_function=False)
        for name, function in source.functions.items():
            if _gives(function, source, names, DEEP):
                why = f"{name}() needs arguments" * _needs_arguments(function)
                yield Application(source, function.lineno, name, is_function=True, why_not=why)


def _gives(function: Function, source: Source, names: Names, deep: int) -> bool:
    """Whether a function returns an application."""
    if deep <= 0 or isinstance(function, ast.AsyncFunctionDef):
        return False
    if function.returns is not None and source.dotted(function.returns) == "flask.Flask":
        return True
    for value in returned(function):
        local = list(local_values(value.id, function)) if isinstance(value, ast.Name) else [value]
        if any(_makes(one, source, names, deep - 1) for one in local):
            return True
    return False


def _makes(value: ast.expr, source: Source, names: Names, deep: int) -> bool:
    """Whether an expression is a call that gives an application."""
    if not isinstance(value, ast.Call) or deep <= 0:
        return False
    if source.dotted(value.func) in ("flask.Flask", "flask.app.Flask"):
        return True
    kind = names.class_(value.func, source)
    if kind is not None:
        return any(kind[1].dotted(base) == "flask.Flask" for base in kind[0].bases)
    function = names.function(value.func, source)
    return function is not None and _gives(*function, names, deep - 1)


def _needs_arguments(function: Function) -> bool:
    given = function.args
    positional = [*given.posonlyargs, *given.args]
    return len(positional) > len(given.defaults) or None in given.kw_defaults


def _named_by_flask(root: Path) -> str | None:
    """The module that ``FLASK_APP`` names, where the command `flask` looks for it."""
    told = os.environ.get("FLASK_APP", "").partition(":")[0]
    for file in (".env", ".flaskenv"):
        try:
            found = _MODULE.findall((root / file).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        told = told or (found[-1] if found else "")
    module = told.removesuffix(".py").replace("/", ".").removeprefix("src.")
    return module or None
