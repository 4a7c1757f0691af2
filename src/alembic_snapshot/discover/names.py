"""The meaning of a name, or an expression, in a project's files: a value, class or function."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product

from alembic_snapshot.discover.sources import Function, Source, Sources

# As far as names are followed, which may go round in circles.
DEEP = 12
_TEXTS = 8


@dataclass(frozen=True, eq=False)
class Place:
    """The place of an expression: its names have the meaning that they have there.

    ``given`` are the arguments of the call that is looked at, each with its own place.
    """

    source: Source
    function: Function | None = None
    owner: Owner | None = None
    given: Mapping[str, tuple[ast.expr, Place]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Owner:
    """A class of the project, or an object of it that was made with what is ``given``.

    ``within`` is what the names of a nested object's variables begin with, if its settings say.
    """

    kind: ast.ClassDef
    source: Source
    given: Mapping[str, tuple[ast.expr, Place]] = field(default_factory=dict)
    within: str | None = None

    def method(self, name: str) -> Function | None:
        """A method that the class itself defines."""
        for child in self.kind.body:
            if isinstance(child, Function) and child.name == name:
                return child
        return None


class Names:
    """Follows names through a project's files, and through what a module passes on."""

    def __init__(self, sources: Sources):
        self._sources = sources
        self._classes: dict[tuple[ast.expr, Function | None, int], Owner | None] = {}

    def module(self, node: ast.expr, place: Place) -> Source | None:
        """The project's module that an expression names."""
        name = place.source.dotted(node)
        return self._sources.find(name) if name else None

    def meanings(
        self, node: ast.expr, place: Place, deep: int = DEEP
    ) -> Iterator[tuple[ast.expr, Place]]:
        """The expressions that a name was given, or an entry of a dict, each with its place."""
        if deep <= 0:
            return
        match node:
            case ast.Name(id=name):
                yield from self._of_name(name, place, deep)
            case ast.Attribute(value=value, attr=name):
                module = self.module(value, place)
                if module is not None:
                    yield from self._of_module(name, module, deep)
                else:
                    yield from self._entry(value, name, place, deep)
            case ast.Subscript(value=value, slice=ast.Constant(value=str(name))):
                yield from self._entry(value, name, place, deep)
            case ast.Call(
                func=ast.Attribute(value=value, attr="get"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield from self._entry(value, name, place, deep)

    def texts(self, node: ast.expr, place: Place, deep: int = DEEP) -> list[str]:
        """The texts that an expression may be, as far as that can be read; a few at most."""
        match node:
            case ast.Constant(value=str(text)):
                return [text]
            case ast.JoinedStr(values=parts):
                return self._joined([self.texts(part, place, deep) for part in parts])
            case ast.FormattedValue(value=value):
                return self.texts(value, place, deep)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return self._joined([self.texts(side, place, deep) for side in (left, right)])
        if deep <= 0:
            return []
        found = self.meanings(node, place, deep)
        texts = [text for value, where in found for text in self.texts(value, where, deep - 1)]
        return list(dict.fromkeys(texts))[:_TEXTS]

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

    def class_of(self, node: ast.expr, place: Place, deep: int) -> Owner | None:
        """The project's class of a value, or the class that the value itself is."""
        if deep <= 0:
            return None
        if place.owner is not None or place.given:
            return self._class_of(node, place, deep)
        # A name that is given itself, a little changed, is asked for again and again.
        asked = node, place.function, deep
        if asked not in self._classes:
            self._classes[asked] = self._class_of(node, place, deep)
        return self._classes[asked]

    def _class_of(self, node: ast.expr, place: Place, deep: int) -> Owner | None:
        if isinstance(node, ast.Name) and node.id in ("self", "cls") and place.owner:
            return place.owner
        if isinstance(node, ast.Call):
            return self._class_of_call(node, place, deep)
        if isinstance(node, ast.BoolOp | ast.IfExp | ast.NamedExpr | ast.Await):
            inner = (child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr))
            owners = (self.class_of(child, place, deep - 1) for child in inner)
            return next((owner for owner in owners if owner is not None), None)
        for value, where in self.meanings(node, place, deep):
            owner = self.class_of(value, where, deep - 1)
            if owner is not None:
                return owner
        if isinstance(node, ast.Attribute):
            above = self.class_of(node.value, place, deep - 1)
            if above is not None:
                return self._class_of_field(node.attr, above, deep)
        found = self.class_(node, place.source)
        return Owner(*found) if found else None

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

    def configured(self, kind: ast.ClassDef, source: Source, key: str, deep: int = DEEP) -> str:
        """What pydantic's settings say of a key such as ``env_prefix``, in any of its spellings.

        A class without it has its base's.
        """
        for node in ast.walk(kind):
            if (isinstance(node, ast.keyword) and node.arg == key) or (
                isinstance(node, ast.Assign) and key in targets(node)
            ):
                found = self.texts(node.value, Place(source))
            elif isinstance(node, ast.Dict):
                pairs = zip(node.keys, node.values, strict=True)
                values = [v for k, v in pairs if isinstance(k, ast.Constant) and k.value == key]
                found = self.texts(values[0], Place(source)) if values else []
            else:
                continue
            if found:
                return found[0]
        for base in kind.bases:
            above = self.class_(base, source) if deep > 0 else None
            if above is not None:
                return self.configured(*above, key, deep - 1)
        return ""

    def _of_name(self, name: str, place: Place, deep: int) -> Iterator[tuple[ast.expr, Place]]:
        if name in place.given:
            yield place.given[name]
            return
        function = place.function
        local = list(local_values(name, function)) if function else []
        found = [(value, place) for value in local]
        if function is not None and name in _parameters(function):
            found += self._arguments(name, function, place.source)
        yield from found or self._of_module(name, place.source, deep)

    def _of_module(self, name: str, source: Source, deep: int) -> Iterator[tuple[ast.expr, Place]]:
        for value in source.assigned.get(name, []):
            yield value, Place(source, source.owners.get(value))
        if name not in source.assigned and deep > 0:
            module, taken = source.imports.get(name, ("", None))
            other = self._sources.find(module) if module and taken else None
            if other is not None and taken is not None:
                yield from self._of_module(taken, other, deep - 1)

    def _entry(
        self, node: ast.expr, key: str, place: Place, deep: int
    ) -> Iterator[tuple[ast.expr, Place]]:
        """The value of a key: in a dict that is written out, or as the keyword of a call."""
        is_written = isinstance(node, ast.Dict | ast.Call)
        found = [(node, place)] if is_written else list(self.meanings(node, place, deep - 1))
        for value, where in found:
            if isinstance(value, ast.Dict):
                for name, item in zip(value.keys, value.values, strict=True):
                    if isinstance(name, ast.Constant) and name.value == key:
                        yield item, where
            elif isinstance(value, ast.Call):
                yield from ((word.value, where) for word in value.keywords if word.arg == key)

    def _arguments(
        self, name: str, function: Function, source: Source
    ) -> Iterator[tuple[ast.expr, Place]]:
        """What the callers of a function give for a parameter, those of its own file first."""
        kind = source.methods.get(function)
        if kind is not None:
            yield from self._arguments_of_method(name, function, Owner(kind, source))
            return
        for call, place in self._callers(function.name, source):
            given = bound(function, call, place)
            if name in given:
                yield given[name]

    def _arguments_of_method(
        self, name: str, function: Function, owner: Owner
    ) -> Iterator[tuple[ast.expr, Place]]:
        """What a constructor, or a method of the class or its objects, is given for a parameter."""
        if function.name == "__init__":
            givens = [given for given in self.made(owner) if name in given]
            yield from (given[name] for given in givens)
            return
        kinds = {getattr(one, "id", "") for one in function.decorator_list}
        for other in (owner.source, *self._sources.mentioning(function.name.encode())):
            for node in ast.walk(other.tree):
                is_method = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
                if is_method and node.func.attr == function.name:  # type: ignore[attr-defined]
                    place = Place(other, other.owners.get(node))
                    above = self.class_of(node.func.value, place, DEEP // 2)  # type: ignore[attr-defined]
                    if above is not None and above.kind is owner.kind:
                        is_bound = "staticmethod" not in kinds
                        given = bound(function, node, place, is_method=is_bound)  # type: ignore[arg-type]
                        if name in given:
                            yield given[name]

    def made(self, owner: Owner) -> Iterator[dict[str, tuple[ast.expr, Place]]]:
        """What the objects of a class are made with."""
        for call, place in self._callers(owner.kind.name, owner.source):
            yield _made_with(owner, call, place)

    def _callers(self, name: str, source: Source) -> list[tuple[ast.Call, Place]]:
        """The calls of a module's function or class, those of its own file first."""
        calls = list(_calls(source, name))
        if not calls and (name in source.functions or name in source.classes):
            for other in self._sources.mentioning(name.encode()):
                calls += _calls(other, f"{source.module}.{name}")
        return calls

    def _class_of_call(self, node: ast.Call, place: Place, deep: int) -> Owner | None:
        owner = self.class_of(node.func, place, deep - 1)
        if owner is not None and not isinstance(node.func, ast.Attribute):
            return replace(owner, given=_made_with(owner, node, place))
        found = self.class_(node.func, place.source)
        if found is not None:
            return replace(Owner(*found), given=_made_with(Owner(*found), node, place))
        called = self.function(node.func, place.source)
        inner = Place(called[1], called[0]) if called else None
        if inner is None and isinstance(node.func, ast.Attribute):
            above = self.class_of(node.func.value, place, deep - 1)
            method = above.method(node.func.attr) if above else None
            inner = Place(above.source, method, above) if above and method else None
        for value in returned(inner.function) if inner and inner.function else ():
            owner = self.class_of(value, inner, deep - 1)  # type: ignore[arg-type]
            if owner is not None:
                return owner
        return None

    def _class_of_field(self, name: str, above: Owner, deep: int) -> Owner | None:
        """The class of an object's field, by its annotation or its value."""
        for child in above.kind.body:
            if isinstance(child, ast.AnnAssign) and name in targets(child):
                found = self.class_(child.annotation, above.source)
                if found is None:
                    return None
                return Owner(*found, within=self._within(name, above))
            if isinstance(child, ast.Assign) and name in targets(child):
                return self.class_of(child.value, Place(above.source, None, above), deep - 1)
        return None

    def _within(self, name: str, above: Owner) -> str | None:
        before, owner = above.within, (above.kind, above.source)
        if before is None and self.is_settings(*owner, DEEP):
            before = self.configured(*owner, "env_prefix")
            delimiter = self.configured(*owner, "env_nested_delimiter")
            return f"{before}{name}{delimiter}" if delimiter else None
        return None

    @staticmethod
    def _joined(parts: list[list[str]]) -> list[str]:
        return ["".join(texts) for texts in product(*parts)][:_TEXTS]


def bound(
    function: Function, call: ast.Call, place: Place, *, is_method: bool = False
) -> dict[str, tuple[ast.expr, Place]]:
    """The arguments of a call by the names of the function's parameters."""
    names = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
    positional = dict(zip(names[is_method:], call.args, strict=False))
    words = {word.arg: word.value for word in call.keywords if word.arg}
    return {name: (value, place) for name, value in {**positional, **words}.items()}


def _made_with(owner: Owner, call: ast.Call, place: Place) -> dict[str, tuple[ast.expr, Place]]:
    """The arguments of a constructor, by the names of its parameters or of the class's fields."""
    init = owner.method("__init__")
    if init is not None:
        return bound(init, call, place, is_method=True)
    fields = [
        child.target.id
        for child in owner.kind.body
        if isinstance(child, ast.AnnAssign) and isinstance(child.target, ast.Name)
    ]
    words = {word.arg: word.value for word in call.keywords if word.arg}
    given = {**dict(zip(fields, call.args, strict=False)), **words}
    return {name: (value, place) for name, value in given.items()}


def _calls(source: Source, name: str) -> Iterator[tuple[ast.Call, Place]]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and source.dotted(node.func) == name:
            yield node, Place(source, source.owners.get(node))


def _parameters(function: Function) -> list[str]:
    arguments = function.args
    listed = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    return [argument.arg for argument in listed]


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
        elif isinstance(node, ast.For) and getattr(node.target, "id", None) == name:
            yield from items(node.iter)
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = dict(zip(reversed(positional), reversed(arguments.defaults), strict=False))
    defaults |= {
        argument: value
        for argument, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        if value is not None
    }
    yield from (value for argument, value in defaults.items() if argument.arg == name)


def items(node: ast.expr) -> list[ast.expr]:
    """The items of a sequence that is written out."""
    return node.elts if isinstance(node, ast.Tuple | ast.List | ast.Set) else []


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
