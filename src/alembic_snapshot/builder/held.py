"""What a function that ``env.py`` gives away holds beside its code, in words.

The words are the same in every run that holds the same. What a module of the project has made
itself is told by its name: the module is an input, with what it imports and reads.
"""

from __future__ import annotations

import dis
import functools
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from alembic_snapshot.builder.options import is_comparable, spelled
from alembic_snapshot.builder.values import reduced
from alembic_snapshot.project.spelling import beginning

# How many values are told. Of a function that holds more, nobody knows.
LIMIT = 10_000


class Held:
    """What a function holds: in its closure, in defaults, in its object, and what made it.

    ``text`` tells it, None where nobody can; ``files`` are those of modules that have made some of
    it. Of code in ``folder``, where Alembic's scripts are, it is also what names there stand for.
    Files of the project are what ``is_project`` says. A ``connection`` is the same in every run.
    """

    def __init__(
        self, function: Any, folder: str, is_project: Callable[[str], bool], connection: Any = None
    ):
        self.files: set[str] = set()
        self._folder = beginning(folder)
        self._is_project = is_project
        # Kept, so that no other object has its number meanwhile.
        self._seen: dict[int, tuple[int, Any]] = {id(connection): (0, connection)}
        self._count = 0
        try:
            self.text: str | None = self._tell(function)
        except Exception:
            # It is closed to others, or code of its own does not work at the moment.
            self.text = None

    def _tell(self, value: Any) -> str:
        self._count += 1
        if self._count > LIMIT:
            raise ValueError("too many values")
        if is_comparable(value):
            return spelled(value)
        if id(value) in self._seen:
            return f"<{self._seen[id(value)][0]}>"
        self._seen[id(value)] = len(self._seen), value
        kind = type(value)
        is_definition = issubclass(kind, FunctionType | type)
        name = self._home_of(value) if is_definition else None
        name = name or self._modules_name(value)
        if name is not None:
            return name
        name = spelled(value if is_definition else kind)
        return f"{name}({', '.join(map(self._tell, self._parts(value)))})"

    def _home_of(self, value: Any) -> str | None:
        """The name of a function or a class that its module has by that name."""
        module = sys.modules.get(value.__module__)
        found: Any = module
        for name in value.__qualname__.split("."):
            found = vars(found).get(name) if hasattr(found, "__dict__") else None
        file = _file(module)
        if found is not value or file.startswith(self._folder):
            return None
        self.files.add(file)
        return spelled(value)

    def _modules_name(self, value: Any) -> str | None:
        """The name of a module, or of an object that a module has by that name."""
        if issubclass(type(value), ModuleType):
            self.files.add(_file(value))
            return str(value.__name__)
        module, name = self._objects.get(id(value), (None, ""))
        if module is None:
            return None
        if self._is_projects(module):
            self.files.add(_file(module))
        elif self._count == 1:
            # What is given away may have been put there by whoever gave it.
            return None
        return f"{module.__name__}.{name}"

    @functools.cached_property
    def _objects(self) -> dict[int, tuple[ModuleType, str]]:
        """The modules that have objects, and the names: a library's, or the first of the project's.

        What the project has from a library is the library's.
        """
        found: dict[int, tuple[ModuleType, str]] = {}
        for module in list(sys.modules.values()):
            if not issubclass(type(module), ModuleType) or _file(module).startswith(self._folder):
                continue
            is_projects = self._is_projects(module)
            for name, value in list(vars(module).items()):
                known = found.get(id(value))
                if known is None or (not is_projects and self._is_projects(known[0])):
                    found[id(value)] = module, name
        return found

    def _is_projects(self, module: ModuleType) -> bool:
        return self._is_project(_file(module))

    def _parts(self, value: Any) -> Iterable[Any]:
        """The values of which one is made, in an order that is the same in every run."""
        kind = type(value)
        if issubclass(kind, FunctionType):
            return self._parts_of_function(value)
        if issubclass(kind, type):
            own = {n: v for n, v in vars(value).items() if callable(v) or not n.startswith("__")}
            return [*value.__bases__, *itertools.chain.from_iterable(sorted(own.items()))]
        if kind is MethodType:
            return value.__func__, value.__self__
        if kind in (staticmethod, classmethod):
            return (value.__func__,)
        if kind is property:
            return value.fget, value.fset, value.fdel
        if kind is dict:
            return itertools.chain.from_iterable(value.items())
        if kind in (list, tuple):
            return tuple(value)
        if kind in (set, frozenset):
            raise ValueError("the order of its elements is another one in each run")
        made = reduced(value)
        if isinstance(made, str):
            return made, getattr(value, "__wrapped__", None)
        function, arguments, state, items, pairs = (*made, *(None,) * 3)[:5]
        return function, *arguments, state, list(items or ()), list(pairs or ())

    def _parts_of_function(self, function: FunctionType) -> Iterator[Any]:
        for name, cell in zip(
            function.__code__.co_freevars, function.__closure__ or (), strict=True
        ):
            yield name
            try:
                yield cell.cell_contents
            except ValueError:
                continue  # Not bound yet.
        yield from (function.__defaults__, function.__kwdefaults__, vars(function))
        if function.__code__.co_filename.startswith(self._folder):
            for name in sorted(set(_globals(function.__code__)) & function.__globals__.keys()):
                yield from (name, function.__globals__[name])


def _file(module: Any) -> str:
    return str(getattr(module, "__file__", None) or "")


def _globals(code: CodeType) -> Iterator[str]:
    """The names that code looks up in its module."""
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _globals(constant)
