"""What modules of the project have in them: what others put there, and what migrations leave there.

Who imports a module finds what the application's other modules have put into it (a registry, a
setting), and what revisions before have left (a counter, a generator's next number). Nobody hears
of that. So the data of each module are noted when its own code has run, and compared when
migrations begin, and where a state of the database is kept.
"""

from __future__ import annotations

import contextlib
import os
import random
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Collection, Mapping
from enum import EnumMeta
from importlib.machinery import SourceFileLoader
from types import FunctionType, MappingProxyType, ModuleType
from typing import Any

from alembic_snapshot.builder.protocol import PROCESS
from alembic_snapshot.builder.record import attribute

_PLAIN = (str, bytes, int, float, complex, bool, type(None))
_MAPPINGS = (dict, defaultdict, OrderedDict, Counter, MappingProxyType)
_SETS = (set, frozenset)
_SEQUENCES = (list, tuple, deque, *_SETS)
# How many values of a module are compared. Of one with more, nobody knows.
_LIMIT = 200_000
# What values are read as, beside plain ones. Objects of other libraries may be made at any time.
_FOREIGN, _AGAIN = ("foreign",), ("again",)
_NAMES, _ITEMS, _PARTS, _DEFINED, _RANDOM = object(), object(), object(), object(), object()


# Where bases of a project's classes are that keep nothing there.
_PYTHONS = frozenset({"builtins", "abc", "typing"})
# How many objects of libraries' are looked into for a generator of random numbers.
_OBJECTS = 2_000
_WITHOUT_RANDOM = ("sqlalchemy", "alembic", "logging", "threading", "asyncio", "greenlet")


class Registries:
    """Hears of the project's modules; ``spelled`` gives a file's name, None if it is another's.

    ``inputs`` are the files that revisions and seeds import, as far as that is known.
    """

    def __init__(self, spelled: Callable[[Any], str | None], inputs: Collection[str] = ()):
        self._spelled = spelled
        self._inputs = frozenset(inputs)
        self._names: set[str] = set()
        self._imported: dict[str, tuple[ModuleType, Any]] = {}
        self._begun: dict[str, Any] | None = None

    def listen(self) -> None:
        """Listen from now on; it can't be undone."""
        original = SourceFileLoader.exec_module

        def exec_module(loader: SourceFileLoader, module: ModuleType) -> None:
            name = self._spelled(attribute(module, "__file__"))
            if name is not None:
                self._names.add(module.__name__)
            original(loader, module)
            if name is not None:
                self._imported[name] = (module, self._data(module))

        SourceFileLoader.exec_module = exec_module  # type: ignore[assignment,method-assign]

    def filled(self) -> set[str]:
        """The files of the modules whose data are others than those that their own code left."""
        imported = {name: data for name, (_, data) in self._imported.items()}
        return self._other_than(imported)

    def begin(self) -> None:
        """Note what all have before the first revision or seed runs; later calls note nothing."""
        if self._begun is None:
            self._begun = {name: self._data(module) for name, (module, _) in self._there()}
            self._begun[PROCESS] = _of_process()

    def left(self) -> set[str]:
        """The files of the modules whose data are others than when revisions began, or than when
        these were imported by one; ``PROCESS`` for what the process has beside.
        """
        imported = {name: data for name, (_, data) in self._imported.items()}
        found = self._other_than({**imported, **(self._begun or {})})
        is_same = (self._begun or {}).get(PROCESS) in (None, _of_process())
        return found if is_same else {*found, PROCESS}

    def _other_than(self, before: Mapping[str, Any]) -> set[str]:
        return {
            name
            for name, (module, _) in self._there()
            if before[name] is None or _differs(before[name], self._data(module))
        }

    def _there(self) -> list[tuple[str, tuple[ModuleType, Any]]]:
        """The modules that others can import: no script, which Alembic loads by itself."""
        modules = list(self._imported.items())
        return [one for one in modules if sys.modules.get(one[1][0].__name__) is one[1][0]]

    def _data(self, module: ModuleType) -> Any:
        """The data of a module, None if they are too many."""
        name = self._spelled(attribute(module, "__file__"))
        with contextlib.suppress(_TooMany):
            return _Reader(module.__name__, self._names, name in self._inputs).named(vars(module))
        return None


class _TooMany(Exception):
    """A module has more values than can be compared."""


class _Reader:
    """Reads the values of one module, of those called ``own``, so that they can be compared.

    If ``deep``, generators of random numbers are looked for in objects of libraries.
    """

    def __init__(self, module: str, own: Collection[str], deep: bool):
        self._module = module
        self._own = own
        self._deep = deep
        self._count = 0
        # Kept, so that no other object has its number meanwhile.
        self._seen: dict[int, Any] = {}

    def named(self, values: Mapping[str, Any]) -> Any:
        """What a namespace has, but for modules, and for what Python and libraries keep there."""
        return _NAMES, {
            name: self._of(value)
            for name, value in list(values.items())
            if not (name.startswith("__") or issubclass(type(value), ModuleType))
        }

    def _of(self, value: Any) -> Any:
        self._count += 1
        if self._count > _LIMIT:
            raise _TooMany
        # Not its __class__, which may be code: that of what stands for another object.
        kind = type(value)
        if kind in _PLAIN:
            return kind, value
        if id(value) in self._seen:
            return _AGAIN
        self._seen[id(value)] = value
        try:
            return self._of_parts(value, kind)
        except _TooMany:
            raise
        except Exception:
            # It does not work at the moment.
            return _FOREIGN

    def _of_parts(self, value: Any, kind: type[Any]) -> Any:
        is_own = kind.__module__ in self._own
        if kind in _MAPPINGS or (is_own and issubclass(kind, dict)):
            items = value.items() if kind is MappingProxyType else dict.items(value)
            return _ITEMS, {repr(self._of(key)): self._of(item) for key, item in list(items)}
        if kind in _SETS or (is_own and issubclass(kind, _SETS)):
            return kind, sorted(repr(self._of(part)) for part in list(value))
        if kind in _SEQUENCES or (is_own and issubclass(kind, _SEQUENCES)):
            return _PARTS, [self._of(part) for part in list(value)]
        if issubclass(kind, (type, FunctionType)):
            is_here = value.__module__ == self._module and not issubclass(kind, EnumMeta)
            inside = self._named_by(value, vars(value)) if is_here else (_NAMES, {})
            return _DEFINED, f"{value.__module__}.{value.__qualname__}", inside
        if is_own:
            return self._named_by(kind, _attributes(value))
        numbers = _random_in(value) if self._deep else []
        return (_RANDOM, numbers) if numbers else _FOREIGN

    def _named_by(self, definition: Any, values: Mapping[str, Any]) -> Any:
        """What an object has by name; what a library keeps in a subclass of its own is left out."""
        bases = definition.__mro__ if isinstance(definition, type) else ()
        modules = {base.__module__ for base in bases} - _PYTHONS
        if any(module not in self._own for module in modules):
            values = {name: value for name, value in values.items() if not name.startswith("_")}
        return self.named(values)


def _attributes(value: Any) -> dict[str, Any]:
    """What an object has by name, without running its code."""
    slots = [kind.__dict__.get("__slots__", ()) for kind in type(value).__mro__]
    names = [name for one in slots for name in ([one] if isinstance(one, str) else one)]
    found: dict[str, Any] = {}
    for name in ("__dict__", *names):
        with contextlib.suppress(AttributeError):
            one = object.__getattribute__(value, name)
            found.update(one if name == "__dict__" else {name: one})
    return found


def _random_in(value: Any) -> list[int]:
    """The next numbers of the generators that an object of a library's has in it, as digests."""
    waiting, seen, found = deque([value]), {id(value): value}, []
    while waiting and len(seen) < _OBJECTS:
        one = waiting.popleft()
        kind = type(one)
        parts: Any = ()
        if issubclass(kind, random.Random):
            found.append(hash(random.Random.getstate(one)))
        elif kind in _MAPPINGS:
            parts = list(one.values())
        elif kind in (list, tuple, deque):
            parts = list(one)
        elif kind.__module__.partition(".")[0] not in _WITHOUT_RANDOM:
            parts = list(_attributes(one).values())
        for part in parts:
            if type(part) not in _PLAIN and id(part) not in seen:
                seen[id(part)] = part
                waiting.append(part)
    return found


def _of_process() -> Any:
    return dict(os.environ._data), os.getcwd(), random.getstate()  # type: ignore[attr-defined]


def _differs(before: Any, now: Any) -> bool:
    """Whether data have changed, other than by an object of another library."""
    if now is _FOREIGN or before == now:
        return False
    if before[0] is not now[0] or before[0] not in (_NAMES, _ITEMS, _PARTS, _DEFINED):
        return True
    if before[0] is _DEFINED:
        return before[1] != now[1] or _differs(before[2], now[2])
    old, new = before[1], now[1]
    if before[0] is _PARTS:
        return len(old) != len(new) or any(map(_differs, old, new))
    added = [key for key in new if key not in old]
    if before[0] is _NAMES:
        added = [name for name in added if new[name] is not _FOREIGN]
    gone = old.keys() - new.keys()
    return bool(added or gone) or any(_differs(old[key], new[key]) for key in old)
