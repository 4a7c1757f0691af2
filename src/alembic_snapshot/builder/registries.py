"""Modules into which others have put something since they were imported: a registry, a setting.

Who imports such a module finds what the application's other modules left there, and nobody hears of
that. So the data of each module of the project are noted when its own code has run, and compared
when migrations begin.
"""

from __future__ import annotations

import contextlib
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Collection, Mapping
from enum import EnumMeta
from importlib.machinery import SourceFileLoader
from types import FunctionType, MappingProxyType, ModuleType
from typing import Any

from alembic_snapshot.builder.record import attribute

_PLAIN = (str, bytes, int, float, complex, bool, type(None))
_MAPPINGS = (dict, defaultdict, OrderedDict, Counter, MappingProxyType)
_SETS = (set, frozenset)
_SEQUENCES = (list, tuple, deque, *_SETS)
# How many values of a module are compared. Of one with more, nobody knows.
_LIMIT = 200_000
# What values are read as, beside plain ones. Objects of other libraries may be made at any time.
_FOREIGN, _AGAIN = ("foreign",), ("again",)
_NAMES, _ITEMS, _PARTS, _DEFINED = object(), object(), object(), object()


class Registries:
    """Hears of the project's modules; ``spelled`` gives a file's name, None if it is another's."""

    def __init__(self, spelled: Callable[[Any], str | None]):
        self._spelled = spelled
        self._names: set[str] = set()
        self._imported: dict[str, tuple[ModuleType, Any]] = {}

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
        return {
            name
            for name, (module, before) in list(self._imported.items())
            if before is None or _differs(before, self._data(module))
        }

    def _data(self, module: ModuleType) -> Any:
        """The data of a module, None if they are too many."""
        with contextlib.suppress(_TooMany):
            return _Reader(module.__name__, self._names).named(vars(module))
        return None


class _TooMany(Exception):
    """A module has more values than can be compared."""


class _Reader:
    """Reads the values of one module, of those called ``own``, so that they can be compared."""

    def __init__(self, module: str, own: Collection[str]):
        self._module = module
        self._own = own
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
        return self._named_by(kind, _attributes(value)) if is_own else _FOREIGN

    def _named_by(self, definition: Any, values: Mapping[str, Any]) -> Any:
        """What an object has by name; what a library keeps in a subclass of its own is left out."""
        bases = definition.__mro__ if isinstance(definition, type) else ()
        if any(base.__module__ not in (*self._own, "builtins", "abc", "typing") for base in bases):
            values = {name: value for name, value in values.items() if not name.startswith("_")}
        return self.named(values)


def _attributes(value: Any) -> dict[str, Any]:
    slots = [getattr(kind, "__slots__", ()) for kind in type(value).__mro__]
    names = [name for one in slots for name in ([one] if isinstance(one, str) else one)]
    return {
        **getattr(value, "__dict__", {}),
        **{name: getattr(value, name) for name in names if hasattr(value, name)},
    }


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
