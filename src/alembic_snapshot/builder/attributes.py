"""The project's modules that code can take as attributes of the modules which it has imported.

``import shop`` and then ``shop.config.V`` needs nobody who imports ``shop.config`` in that file: it
is there once anybody has. No reading of the imports tells, so the loaded modules are asked.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from types import ModuleType
from typing import Any, NamedTuple


class _Uses(NamedTuple):
    """What a source does with names: which it looks up in an object, and which objects it hands on.

    ``bare`` are names and attributes of which it takes no attribute; ``aliases`` the names that it
    gives to what it imports, by what that is called.
    """

    attributes: frozenset[str]
    bare: frozenset[str]
    aliases: dict[str, set[str]]


class Attributes:
    """Hears of imports, and tells which loaded modules a file can reach by them.

    ``spelled`` gives a file's name, None if it is not the project's; ``path`` the path of a name.
    """

    def __init__(self, spelled: Callable[[Any], str | None], path: Callable[[str], str]):
        self._spelled = spelled
        self._path = path
        # By the importing file: the dotted module and the names taken from it; None for a module
        # that a call returned, with which the file may do anything.
        self._imports: dict[str, set[tuple[str, tuple[str, ...] | None]]] = {}
        self._uses: dict[str, _Uses | None] = {}

    def note(self, importer: Any, dotted: str, taken: Sequence[str] | None) -> None:
        """Keep that a file imported a module, and what it took from it."""
        name = self._spelled(importer)
        if name is not None:
            names = None if taken is None else tuple(map(str, taken))
            self._imports.setdefault(name, set()).add((dotted, names))

    def reached(self, files: Collection[str]) -> set[str]:
        """The modules that these files reach, by imports and as attributes of what they import."""
        found: set[str] = set()
        waiting = list(files)
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting.extend(self._from(name))
        return found.difference(files)

    def _from(self, name: str) -> set[str]:
        found: set[str] = set()
        for dotted, taken in list(self._imports.get(name, ())):
            found |= set(filter(None, map(self._file, _imported(dotted, taken or ()))))
            for bound, module in _bound(dotted, taken):
                self._follow(name, bound, module, is_whole=taken is None, found=found)
        return found

    def _follow(
        self, name: str, bound: str, module: ModuleType, *, is_whole: bool, found: set[str]
    ) -> None:
        """Add the modules that a file reaches in one that is bound to a name there."""
        waiting, seen = [(bound, module, is_whole)], set()
        while waiting:
            bound, module, is_whole = waiting.pop()
            inside = self._inside(module)
            if (bound, id(module)) in seen or not inside:
                continue
            seen.add((bound, id(module)))
            uses = self._uses_of(name)
            is_whole = is_whole or uses is None or self._is_handed_on(bound, uses)
            for attribute, one in inside:
                if is_whole or uses is None or attribute in uses.attributes:
                    found.add(str(self._file(one)))
                    waiting.append((attribute, one, is_whole))

    def _inside(self, module: ModuleType) -> list[tuple[str, ModuleType]]:
        """The project's modules that a module of the project has, by their names in it."""
        spec = getattr(module, "__spec__", None)
        is_namespace = spec is not None and spec.origin is None and hasattr(module, "__path__")
        if not (is_namespace or self._file(module)):
            return []
        values = list(vars(module).items())
        return [(n, v) for n, v in values if isinstance(v, ModuleType) and self._file(v)]

    def _file(self, module: ModuleType) -> str | None:
        file = vars(module).get("__file__")
        return self._spelled(file) if isinstance(file, str) else None

    def _is_handed_on(self, bound: str, uses: _Uses) -> bool:
        return not uses.bare.isdisjoint({bound, *uses.aliases.get(bound, ())})

    def _uses_of(self, name: str) -> _Uses | None:
        """What a source does with names; None if it can't be told."""
        if name not in self._uses:
            try:
                with open(self._path(name), "rb") as file:
                    self._uses[name] = _read(ast.parse(file.read()))
            except (OSError, SyntaxError, ValueError):
                self._uses[name] = None
        return self._uses[name]


def _read(tree: ast.Module) -> _Uses:
    attributes: set[str] = set()
    bare: set[str] = set()
    aliases: dict[str, set[str]] = {}
    bases = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            attributes.add(node.attr)
        elif isinstance(node, ast.alias) and node.asname:
            aliases.setdefault(node.name.rpartition(".")[2], set()).add(node.asname)
        if isinstance(node, ast.Attribute | ast.Name) and id(node) not in bases:
            bare.add(node.attr if isinstance(node, ast.Attribute) else node.id)
    return _Uses(frozenset(attributes), frozenset(bare), aliases)


def _imported(dotted: str, taken: Sequence[str]) -> Iterator[ModuleType]:
    """The loaded modules that an import statement asks for."""
    parts = dotted.split(".")
    packages = [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
    for name in (*packages, *(f"{dotted}.{item}" for item in taken)):
        module = sys.modules.get(name)
        if isinstance(module, ModuleType):
            yield module


def _bound(dotted: str, taken: Sequence[str] | None) -> Iterator[tuple[str, ModuleType]]:
    """The modules that an import may have bound, by the names that they have without ``as``."""
    module = sys.modules.get(dotted)
    if not isinstance(module, ModuleType):
        return
    if not taken:
        first, _, _ = dotted.partition(".")
        top = sys.modules.get(first)
        if isinstance(top, ModuleType) and taken is not None:
            yield first, top
        yield dotted.rpartition(".")[2], module
        return
    names = list(vars(module)) if "*" in taken else taken
    for name in names:
        value = vars(module).get(name)
        if isinstance(value, ModuleType):
            yield name, value
