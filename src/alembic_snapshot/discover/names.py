"""The meaning of a name, or an expression, in a project's files: a module, class or function."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from alembic_snapshot.discover.sources import Function, Source, Sources

# As far as names are followed, which may go round in circles.
DEEP = 12


@dataclass(frozen=True)
class Place:
    """The place of an expression: its names have the meaning that they have there."""

    source: Source
    function: Function | None = None
    owner: ast.ClassDef | None = None


class Names:
    """Follows names through a project's files, and through what a module passes on."""

    def __init__(self, sources: Sources):
        self._sources = sources

    def module(self, node: ast.expr, place: Place) -> Source | None:
        """The project's module that an expression names."""
        name = place.source.dotted(node)
        return self._sources.find(name) if name else None

    def class_(
        self, node: ast.expr, source: Source, deep: int = DEEP
    ) -> tuple[ast.ClassDef, Source] | None:
        """The project's class that an expression names, and its file."""
        name = source.dotted(node)
        if name in source.classes:
            return source.classes[name], source
        module, _, last = name.rpartition(".")
        other = self._sources.find(module) if module else None
        if other is None:
            return None
        if last in other.classes:
            return other.classes[last], other
        if last in other.imports and deep > 0:
            return self.class_(ast.Name(last), other, deep - 1)
        return None

    def class_of(
        self, node: ast.expr, place: Place, deep: int
    ) -> tuple[ast.ClassDef, Source] | None:
        """The project's class of a value, or the class that the value itself is."""
        if deep <= 0:
            return None
        if isinstance(node, ast.Call):
            owner = self.class_(node.func, place.source)
            if owner is not None:
                return owner
            called = self.function(node.func, place.source)
            for value in returned(called[0]) if called else ():
                owner = self.class_of(value, Place(called[1], called[0]), deep - 1)  # type: ignore[index]
                if owner is not None:
                    return owner
            return None
        if isinstance(node, ast.Name):
            local = list(local_values(node.id, place.function)) if place.function else []
            for value in local or place.source.assigned.get(node.id, []):
                owner = self.class_of(value, place, deep - 1)
                if owner is not None:
                    return owner
        name = place.source.dotted(node)
        module, _, last = name.rpartition(".")
        other = self._sources.find(module) if module else None
        if other is not None:
            for value in other.assigned.get(last, []):
                owner = self.class_of(value, Place(other), deep - 1)
                if owner is not None:
                    return owner
            if last in other.imports:
                return self.class_of(ast.Name(last), Place(other), deep - 1)
        return self.class_(node, place.source)

    def function(
        self, node: ast.expr, source: Source, deep: int = DEEP
    ) -> tuple[Function, Source] | None:
        """The project's function that an expression names, and its file."""
        name = source.dotted(node)
        if name in source.functions:
            return source.functions[name], source
        module, _, last = name.rpartition(".")
        other = self._sources.find(module) if module else None
        if other is not None and last in other.functions:
            return other.functions[last], other
        if other is not None and last in other.imports and deep > 0:
            return self.function(ast.Name(last), other, deep - 1)
        return None

    def is_settings(self, kind: ast.ClassDef, source: Source, deep: int) -> bool:
        """Whether a class is one of pydantic's settings, each of whose fields is a variable."""
        for base in kind.bases:
            if source.dotted(base).rpartition(".")[2] == "BaseSettings":
                return True
            above = self.class_(base, source)
            if above is not None and deep > 0 and self.is_settings(*above, deep - 1):
                return True
        return False


def targets(node: ast.AnnAssign | ast.Assign) -> list[str]:
    targets = [node.target] if isinstance(node, ast.AnnAssign) else node.targets
    return [target.id for target in targets if isinstance(target, ast.Name)]


def local_values(name: str, function: Function) -> Iterator[ast.expr]:
    """The values that a name is given in a function, its parameter's default included."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assign | ast.AnnAssign) and name in targets(node):
            if node.value is not None:
                yield node.value
        elif isinstance(node, ast.NamedExpr) and node.target.id == name:
            yield node.value
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = dict(zip(reversed(positional), reversed(arguments.defaults), strict=False))
    defaults |= {
        argument: value
        for argument, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        if value is not None
    }
    yield from (value for argument, value in defaults.items() if argument.arg == name)


def returned(function: Function) -> Iterator[ast.expr]:
    """The values that a function returns, without those of functions inside it."""
    inner = {
        child
        for node in ast.walk(function)
        if isinstance(node, Function | ast.Lambda) and node is not function
        for child in ast.walk(node)
    }
    for node in ast.walk(function):
        if isinstance(node, ast.Return) and node.value is not None and node not in inner:
            yield node.value
