"""What a module of the project has in it, read so that it can be compared with what it has later.

What can't be compared never counts as the same. Objects of libraries are the exception: they make
theirs when they are asked, and what one holds is nobody's to see. Values of theirs that can't
change, and their subclasses of what Python has, are compared all the same.
"""

from __future__ import annotations

import contextlib
import contextvars
import copyreg
import enum
import gc
import itertools
import logging
import random
import sys
import threading
import warnings
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from types import FunctionType, MappingProxyType, ModuleType
from typing import Any

from alembic_snapshot.builder.options import PLAIN

_EXACT = (*PLAIN, complex, type(None))
_VALUES = (*PLAIN, complex)
_MAPPINGS = (OrderedDict, dict, MappingProxyType)
_SETS = (set, frozenset)
_SEQUENCES = (list, tuple, deque)
# What others may put something into.
_CONTAINERS = (*_MAPPINGS, defaultdict, Counter, set, list, deque)
_CACHE, _LINK = type(lru_cache(id)), "_lru_list_elem"
# How many values of a module are compared. Of one with more, nobody knows.
LIMIT = 200_000
# What values are read as, beside plain ones.
_NAMES, _ITEMS, _PARTS, _DEFINED, _CACHED, _SUBCLASSES, _FOREIGN, _AGAIN, _UNKNOWN = (
    "names", "items", "parts", "defined", "cached", "subclasses", "foreign", "again", "unknown",
)  # fmt: skip
# How objects are taken apart whose kind does not say so itself.
_TABLE: Mapping[type[Any], Callable[[Any], Any]] = copyreg.dispatch_table
_NOTHING = (type(None), None)
# No two objects of which nobody can tell what they hold are the same.
_unknown = itertools.count()

# Where bases of a project's classes are that keep nothing there.
_PYTHONS = frozenset({"builtins", "abc", "typing"})
# How many objects of libraries' are looked into for a generator of random numbers.
_OBJECTS = 2_000
_WITHOUT_RANDOM = ("sqlalchemy", "alembic", "logging", "threading", "asyncio", "greenlet")


class TooMany(Exception):
    """A module has more values than can be compared."""


class Reader:
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
        self._foreign: dict[int, Any] = {}

    def named(self, values: Mapping[str, Any]) -> Any:
        """What a namespace has, but for modules, and for what Python and libraries keep there.

        Raises:
            TooMany: there are more values than :data:`LIMIT`.
        """
        return _NAMES, {
            name: self._of(value)
            for name, value in list(values.items())
            if not (name.startswith("__") or issubclass(type(value), ModuleType))
        }

    def _of(self, value: Any) -> Any:
        self._count += 1
        if self._count > LIMIT:
            raise TooMany
        # Not its __class__, which may be code: that of what stands for another object.
        kind = type(value)
        if kind in _EXACT:
            return kind, value
        if id(value) in self._foreign:
            return self._foreign[id(value)]
        if id(value) in self._seen:
            return _AGAIN, id(value)
        self._seen[id(value)] = value
        try:
            found = self._of_parts(value, kind)
        except TooMany:
            raise
        except Exception:
            # It does not work at the moment.
            return self._nobody_knows()
        if found[0] is _FOREIGN:
            self._foreign[id(value)] = found
        return found

    def _of_parts(self, value: Any, kind: type[Any]) -> Any:
        if issubclass(kind, FunctionType):
            return self._of_function(value)
        if issubclass(kind, type):
            return self._of_class(value)
        if issubclass(kind, enum.Enum):
            named = {n: v for n, v in attributes(value).items() if not n.endswith("_")}
            is_own = kind.__module__ in self._own
            inside = self.named(named if is_own else {})
            return _DEFINED, f"{_name(kind)}.{value._name_}", inside
        content = self._content(value, kind)
        if kind.__module__ in self._own:
            named = self._named_by(kind, attributes(value))
            return _DEFINED, _name(kind), (_PARTS, [content or _NOTHING, named])
        if content is not None:
            return _DEFINED, _name(kind), content
        if kind.__module__.partition(".")[0] in sys.stdlib_module_names:
            return _DEFINED, _name(kind), self._of_pythons(value, kind)
        numbers = _random_in(value) if self._deep else []
        if numbers:
            return _DEFINED, _name(kind), (int, numbers)
        return (kind, _Immutable(value)) if _is_immutable(value) else (_FOREIGN, _name(kind))

    def _content(self, value: Any, kind: type[Any]) -> Any:
        """What an object has as one of Python's containers or values, None if it is none."""
        base: Any
        for plain in _VALUES:
            if issubclass(kind, plain):
                return plain, vars(plain)["__repr__"](value)
        for base in _MAPPINGS:
            if issubclass(kind, base):
                return self._items(base.items(value))
        for base in _SETS:
            if issubclass(kind, base):
                return base, sorted(map(self._key, list(base.__iter__(value))))
        for base in _SEQUENCES:
            if issubclass(kind, base):
                return _PARTS, [self._of(part) for part in list(base.__iter__(value))]
        return None

    def _items(self, items: Iterable[tuple[Any, Any]]) -> Any:
        found = {self._key(key): self._of(item) for key, item in list(items)}
        return _ITEMS, found, list(found)

    def _key(self, value: Any) -> str:
        """A value as a key: of those that can't be told apart in another way, by which it is."""
        found = self._of(value)
        return repr((*found, id(value)) if found[0] is _FOREIGN else found)

    def _of_function(self, value: FunctionType) -> Any:
        if value.__module__ != self._module:
            return _DEFINED, _name(value), (_NAMES, {})
        defaults = {"()": value.__defaults__, "(*)": value.__kwdefaults__}
        return _DEFINED, _name(value), self.named({**vars(value), **defaults})

    def _of_class(self, value: type[Any]) -> Any:
        if value.__module__ != self._module:
            return _DEFINED, _name(value), (_NAMES, {})
        named = dict(vars(value))
        if issubclass(type(value), enum.EnumMeta):
            # Of flags, some members are made when they are asked for.
            kept = {name: one for name, one in named.items() if not name.startswith("_")}
            named = {**kept, **value._member_map_}
        below = _SUBCLASSES, [_name(one) for one in type.__subclasses__(value)]
        return _DEFINED, _name(value), (_PARTS, [self._named_by(value, named), below])

    def _of_pythons(self, value: Any, kind: Any) -> Any:
        """What an object of Python's own library holds, as far as anybody can tell."""
        if kind in (staticmethod, classmethod):
            return self._of(vars(kind)["__func__"].__get__(value))
        if kind is _CACHE:
            return self._of_cache(value)
        if issubclass(kind, threading.local):
            return self._items(vars(value).items())
        if issubclass(kind, contextvars.ContextVar):
            return self._of(value.get(None))
        if issubclass(kind, logging.Filterer):
            return kind, [getattr(value, name, None) for name in ("name", "level")]
        is_shown = kind.__repr__ is not object.__repr__
        if kind.__module__ == "itertools" and is_shown:
            return str, repr(value)
        if kind.__module__ in ("typing", "annotationlib"):
            # What an annotation stands for is looked up when somebody asks.
            return _FOREIGN, _name(kind)
        try:
            with _unwarned(kind):
                made = reduced(value)
        except Exception:
            return self._of_closed(value, kind)
        if isinstance(made, str):
            return str, made
        _, made_with, state, parts, items = (*made, *(None,) * 3)[:5]
        found = [self._of(made_with), self._of(state), self._of(list(parts or ()))]
        return _PARTS, [*found, self._items(items or ())]

    def _of_closed(self, value: Any, kind: type[Any]) -> Any:
        """What one that can't be read is: of what goes on, or is open, nobody knows where it is."""
        is_stream = value in (sys.stdin, sys.stdout, sys.stderr)
        if not is_stream and (hasattr(kind, "__next__") or hasattr(kind, "close")):
            return self._nobody_knows()
        return kind, id(value)

    def _of_cache(self, value: Any) -> Any:
        """What a function with a cache has returned, and what others may have put into that."""
        if value.__module__ != self._module:
            return _NAMES, {}
        aside = (id(value.__wrapped__), id(vars(value)))
        held = [one for one in gc.get_referents(value) if id(one) not in aside]
        found = [one for one in held if not isinstance(one, type) and not _is_index(one)]
        if value.cache_parameters()["maxsize"] is None:
            found = [part for one in found if type(one) is dict for part in one.items()]
        returned = [part for one in found for part in (one if type(one) is tuple else (one,))]
        filled = [one for one in returned if type(one) in _CONTAINERS and one]
        return _CACHED, sorted(map(self._key, found)), sorted(map(self._key, filled))

    def _named_by(self, definition: type[Any], values: Mapping[str, Any]) -> Any:
        """What an object has by name; what a library keeps in a subclass of its own is left out."""
        modules = {base.__module__ for base in definition.__mro__} - _PYTHONS
        if any(module not in self._own for module in modules):
            values = {name: value for name, value in values.items() if not name.startswith("_")}
        return self.named(values)

    def _nobody_knows(self) -> Any:
        return _UNKNOWN, next(_unknown)


class Differences:
    """Compares what a module has with what it had.

    ``is_left`` asks what revisions have left in it, not what others have filled it with: what is in
    a cache of functions is then theirs. ``has_subclasses`` says that a class's subclasses count.
    """

    def __init__(self, *, is_left: bool, has_subclasses: bool):
        self._is_left = is_left
        self._has_subclasses = has_subclasses

    def between(self, before: Any, now: Any) -> bool:
        """Whether there are any, other than in what an object of a library's holds."""
        if now[0] is _FOREIGN:
            # Libraries' objects are often made when they are first asked for.
            return before not in (now, _NOTHING)
        if before == now:
            return False
        if before[0] is not now[0]:
            return True
        if now[0] is _SUBCLASSES:
            return self._has_subclasses
        if now[0] is _CACHED:
            return self._is_left or before[2] != now[2]
        if now[0] is _DEFINED:
            return bool(before[1] != now[1]) or self.between(before[2], now[2])
        if now[0] is _PARTS:
            old, new = before[1], now[1]
            return len(old) != len(new) or any(map(self.between, old, new))
        return now[0] not in (_NAMES, _ITEMS) or self._by_name(before, now)

    def _by_name(self, before: Any, now: Any) -> bool:
        old, new = before[1], now[1]
        if now[0] is _ITEMS:
            is_same = before[2] == now[2]
        else:
            added = {name for name in new if name not in old and new[name][0] is not _FOREIGN}
            is_same = not added and old.keys() <= new.keys()
        return not is_same or any(self.between(old[name], new[name]) for name in old)


class _Immutable:
    """A library's value that stays what it is."""

    def __init__(self, value: Any):
        self._value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Immutable) and bool(self._value == other._value)

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return str(hash(self))


def _is_immutable(value: Any) -> bool:
    """Whether a library's object is compared, and found, by its value."""
    kind: Any = type(value)
    if kind.__eq__ is object.__eq__ or kind.__hash__ in (None, object.__hash__):
        return False
    # To others it is an expression.
    return (value == value) is True and isinstance(hash(value), int)


def _name(definition: Any) -> str:
    return f"{definition.__module__}.{definition.__qualname__}"


def _is_index(value: Any) -> bool:
    """Whether it is where a cache of functions finds its entries."""
    return type(value) is dict and any(type(one).__name__ == _LINK for one in value.values())


def reduced(value: Any) -> Any:
    """An object taken apart, as ``pickle`` does it: a name, or what makes it, with its state."""
    kind: Any = type(value)
    take_apart = _TABLE.get(kind)
    return take_apart(value) if take_apart else kind.__reduce_ex__(value, 4)


@contextlib.contextmanager
def _unwarned(kind: type[Any]) -> Iterator[None]:
    """Without Python's warning that iterators will not be copied any more."""
    if kind.__module__ != "itertools":
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def attributes(value: Any) -> dict[str, Any]:
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
        elif issubclass(kind, _MAPPINGS):
            parts = list(one.values())
        elif kind in (list, tuple, deque):
            parts = list(one)
        elif kind.__module__.partition(".")[0] not in _WITHOUT_RANDOM:
            parts = list(attributes(one).values())
        for part in parts:
            if type(part) not in _EXACT and id(part) not in seen:
                seen[id(part)] = part
                waiting.append(part)
    return found
