"""The origins of a value such as a database's URL: a text, variables, ``-x``, an option."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from alembic_snapshot.discover.fallbacks import Fallbacks
from alembic_snapshot.discover.names import (
    DEEP,
    Names,
    Owner,
    Place,
    bound,
    items,
    returned,
    targets,
)
from alembic_snapshot.discover.readers import Origin, Readers
from alembic_snapshot.discover.sources import Function, Source, Sources

_ASYNC = ("+aiosqlite", "+asyncpg", "+psycopg_async", "+aiopg")
# Expressions that are looked at for one value; what is beyond is not known.
_PATIENCE = 5_000
# Functions whose last argument is what they give, in another shape.
_SAME = ("str", "make_url", "URL", "cast", "Path", "SecretStr", "abspath", "realpath", "fspath")
_EXPANDED = re.compile(r"\$\{?(\w+)\}?")


class Values:
    """Follows values through a project's files."""

    def __init__(self, sources: Sources):
        self._sources = sources
        self._names = Names(sources)
        self._readers = Readers(self._names)
        self._path: list[tuple[ast.expr, int]] = []
        self._steps = 0

    def origins(self, node: ast.expr, source: Source) -> list[Origin]:
        """The origins of a value, each once."""
        self._steps = 0
        function = source.owners.get(node)
        kind = source.methods.get(function) if function is not None else None
        place = Place(source, function, Owner(kind, source) if kind is not None else None)
        origins = self._follow(node, place, DEEP)
        return list(
            {(origin.kind, origin.name, origin.form): origin for origin in origins}.values()
        )

    def settings(self, source: Source) -> Iterator[Origin]:
        """The variables without a default that a module's settings classes ask for."""
        called = {
            source.dotted(node.func).rpartition(".")[2]
            for node in ast.walk(source.tree)
            if isinstance(node, ast.Call)
        }
        for name, kind in source.classes.items():
            if name in called and self._names.is_settings(kind, source, DEEP):
                for node in kind.body:
                    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                        origin, _ = self._readers.field(node, Owner(kind, source), node.target.id)
                        if origin.required:
                            yield origin

    def required_at_import(self, source: Source) -> Iterator[Origin]:
        """The variables without a default that importing a module asks for."""
        fallbacks = Fallbacks(source, self._names, self._readers)
        for node in ast.walk(source.tree):
            is_read = isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load)
            if isinstance(node, ast.Subscript) and is_read and node not in source.owners:
                for origin in self._readers.read(node, Place(source)) or ():
                    is_needed = origin.kind == "variable" and origin.required
                    if is_needed and not fallbacks.covers(node, origin.name):
                        yield origin

    def _follow(self, node: ast.expr, place: Place, deep: int) -> Iterator[Origin]:
        step = (node, id(place.given) if place.given else 0)
        if step in self._path:
            # It is given again what it had, a little changed.
            return
        self._steps += 1
        if deep <= 0 or self._steps > _PATIENCE:
            yield self._unknown(node, place)
            return
        self._path.append(step)
        try:
            yield from list(self._followed(node, place, deep))
        finally:
            self._path.pop()

    def _followed(self, node: ast.expr, place: Place, deep: int) -> Iterator[Origin]:
        read = self._readers.read(node, place)
        if read is not None:
            for origin in read:
                yield origin
            if isinstance(node, ast.Call):
                for default in self._readers.defaults(node):
                    yield from self._follow(default, place, deep - 1)
            return
        match node:
            case ast.Constant(value=str(text)):
                yield Origin("text", text, place.source, node.lineno)
            case ast.Constant():
                return
            case ast.JoinedStr():
                yield from self._joined(node, place, deep)
            case ast.BinOp(left=ast.Constant(value=str(text)), op=ast.Add(), right=right):
                for origin in self._follow(right, place, deep - 1):
                    yield self._within(origin, text)
            case ast.BinOp(left=ast.Constant(value=str(text)), op=ast.Mod(), right=right):
                holes = [right] if not isinstance(right, ast.Tuple) else right.elts
                yield from self._filled(text, ("%s",), holes, node, place, deep)
            case ast.BinOp():
                for side in (node.left, node.right):
                    for origin in self._follow(side, place, deep - 1):
                        yield replace(origin, form="part")
            case ast.BoolOp():
                for value in node.values:
                    yield from self._follow(value, place, deep - 1)
            case ast.IfExp():
                yield from self._follow(node.body, place, deep - 1)
                yield from self._follow(node.orelse, place, deep - 1)
            case ast.NamedExpr() | ast.Await():
                yield from self._follow(node.value, place, deep - 1)
            case ast.Lambda():
                yield from self._follow(node.body, place, deep - 1)
            case ast.GeneratorExp() | ast.ListComp():
                yield from self._comprehended(node, place, deep)
            case ast.Name() | ast.Subscript():
                yield from self._meant(node, place, deep)
            case ast.Attribute():
                yield from self._attribute(node, place, deep)
            case ast.Call():
                yield from self._call(node, place, deep)
            case _:
                yield self._unknown(node, place)

    def _joined(self, node: ast.JoinedStr, place: Place, deep: int) -> Iterator[Origin]:
        texts = [part.value for part in node.values if isinstance(part, ast.Constant)]
        holes = [part for part in node.values if isinstance(part, ast.FormattedValue)]
        origins = [origin for part in holes for origin in self._follow(part.value, place, deep - 1)]
        if len(holes) == 1 and isinstance(node.values[-1], ast.FormattedValue):
            yield from (self._within(origin, "".join(map(str, texts))) for origin in origins)
            return
        # What it begins with tells the kind of database, whatever else is in it.
        if texts and "://" in str(texts[0]) and node.values[0] in node.values[:1]:
            yield Origin("text", str(texts[0]), place.source, node.lineno, form="part")
        yield from (replace(origin, form="part") for origin in origins)

    def _within(self, origin: Origin, before: str) -> Origin:
        """An origin that follows a text, such as the file in ``sqlite:///FILE``."""
        if not before:
            return origin
        if origin.kind == "text":
            return replace(origin, name=before + origin.name)
        is_file = before.startswith("sqlite") and before.endswith(":///")
        return replace(origin, form="path" if is_file and origin.form == "url" else "part")

    def _filled(
        self,
        text: str,
        marks: Sequence[str],
        holes: Sequence[ast.expr],
        node: ast.expr,
        place: Place,
        deep: int,
    ) -> Iterator[Origin]:
        """The origins of a text with holes, as of an f-string with the same."""
        mark = next((mark for mark in marks if text.endswith(mark)), None)
        origins = [origin for hole in holes for origin in self._follow(hole, place, deep - 1)]
        if len(holes) == 1 and mark is not None:
            yield from (self._within(origin, text.removesuffix(mark)) for origin in origins)
            return
        if "://" in text:
            yield Origin("text", text, place.source, node.lineno, form="part")
        yield from (replace(origin, form="part") for origin in origins)

    def _comprehended(
        self, node: ast.GeneratorExp | ast.ListComp, place: Place, deep: int
    ) -> Iterator[Origin]:
        first = node.generators[0]
        values = items(first.iter) if isinstance(first.target, ast.Name) else []
        for value in values:
            given = {**place.given, first.target.id: (value, place)}  # type: ignore[attr-defined]
            yield from self._follow(node.elt, replace(place, given=given), deep - 1)
        if not values:
            yield self._unknown(node, place)

    def _meant(self, node: ast.expr, place: Place, deep: int) -> Iterator[Origin]:
        """The origins of whatever a name or an entry of a dict was given."""
        found = list(self._names.meanings(node, place, deep))
        for value, where in found:
            yield from self._follow(value, where, deep - 1)
        if not found:
            yield self._unknown(node, place)

    def _attribute(self, node: ast.Attribute, place: Place, deep: int) -> Iterator[Origin]:
        if self._names.module(node.value, place) is None:
            owner = self._names.class_of(node.value, place, deep)
            if owner is not None:
                yield from self._of_class(node.attr, owner, node, deep)
                return
        yield from self._meant(node, place, deep)

    def _of_class(self, name: str, owner: Owner, node: ast.expr, deep: int) -> Iterator[Origin]:
        """The origins of a field, a property or what ``__init__`` sets."""
        if owner.method("__init__") is None and name in owner.given:
            yield from self._follow(*owner.given[name], deep - 1)
            return
        for child in owner.kind.body:
            if isinstance(child, ast.AnnAssign | ast.Assign) and name in targets(child):
                yield from self._of_field(child, owner, name, deep)
                return
            if isinstance(child, Function) and child.name == name:
                for value in returned(child):
                    yield from self._follow(value, Place(owner.source, child, owner), deep - 1)
                return
            if isinstance(child, Function) and child.name == "__init__":
                inner = Place(owner.source, child, owner, owner.given)
                for value in _set_on_self(name, child):
                    yield from self._follow(value, inner, deep - 1)
                    return
        for base in owner.kind.bases:
            above = self._names.class_(base, owner.source)
            if above is not None and deep > 0:
                inherited = replace(owner, kind=above[0], source=above[1])
                yield from self._of_class(name, inherited, node, deep - 1)
                return
        yield self._unknown(node, Place(owner.source))

    def _of_field(
        self, child: ast.AnnAssign | ast.Assign, owner: Owner, name: str, deep: int
    ) -> Iterator[Origin]:
        place = Place(owner.source, None, owner)
        is_settings = self._names.is_settings(owner.kind, owner.source, deep)
        if isinstance(child, ast.AnnAssign) and (is_settings or owner.within is not None):
            origin, default = self._readers.field(child, owner, name)
            yield origin
        else:
            default = child.value
        if isinstance(default, ast.Call) and default.keywords:
            # A dataclass's field(default_factory=…) gives what that function does.
            words = [w.value for w in default.keywords if w.arg in ("default", "default_factory")]
            default = next(iter(words), default)
        if default is not None:
            yield from self._follow(default, place, min(deep - 1, DEEP // 2))
        elif not is_settings:
            # A dataclass's field is what its constructor is given.
            for given in self._names.made(owner):
                if name in given:
                    yield from self._follow(*given[name], min(deep - 1, DEEP // 2))

    def _call(self, node: ast.Call, place: Place, deep: int) -> Iterator[Origin]:
        name = place.source.dotted(node.func)
        last = name.rpartition(".")[2]
        if last == "expandvars" and node.args:
            yield from self._expanded(node.args[0], place, deep)
            return
        if last in _SAME and node.args:
            yield from self._follow(node.args[-1], place, deep - 1)
            return
        if name.endswith("URL.create") or re.search(r"Dsn\.build$|Url\.build$", name):
            for value in [*node.args, *(keyword.value for keyword in node.keywords)]:
                for origin in self._follow(value, place, deep - 1):
                    # Of a URL in parts, the text that could be its beginning tells the kind.
                    text = f"{origin.name}://" if origin.kind == "text" else origin.name
                    yield replace(origin, form="part", name=text)
            return
        if last == "next" and node.args:
            for value in node.args[:2]:
                yield from self._follow(value, place, deep - 1)
            return
        called = self._names.function(node.func, place.source)
        if called is not None:
            function, source = called
            given = bound(function, node, place)
            for value in returned(function):
                yield from self._follow(value, Place(source, function, None, given), deep - 1)
            return
        found = list(self._names.meanings(node, place, deep))
        if found:
            # An entry of a dict, SETTINGS.get("url").
            for value, where in found:
                yield from self._follow(value, where, deep - 1)
            return
        if isinstance(node.func, ast.Attribute):
            owner = self._names.class_of(node.func.value, place, deep)
            if owner is not None and owner.method(node.func.attr) is not None:
                yield from self._of_class(node.func.attr, owner, node, deep)
                return
            if node.func.attr == "format" and isinstance(node.func.value, ast.Constant):
                holes = [*node.args, *(word.value for word in node.keywords)]
                text = str(node.func.value.value)
                marks = ("{}", "{0}", *(f"{{{word.arg}}}" for word in node.keywords))
                yield from self._filled(text, marks, holes, node, place, deep)
                return
            # A method of a text or of a URL: replace(), strip(), render_as_string().
            texts = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
            for origin in self._follow(node.func.value, place, deep - 1):
                yield (
                    replace(origin, is_async=_turned(texts))
                    if _turned(texts) is not None
                    else origin
                )
            return
        yield self._unknown(node, place)

    def _expanded(self, node: ast.expr, place: Place, deep: int) -> Iterator[Origin]:
        """The origins of a text whose ``$NAME`` are variables."""
        for origin in self._follow(node, place, deep - 1):
            names = _EXPANDED.findall(origin.name) if origin.kind == "text" else []
            before = _EXPANDED.split(origin.name)[0] if names else ""
            is_end = len(names) == 1 and origin.name.endswith((names[0], f"{names[0]}}}"))
            for name in names:
                variable = replace(origin, kind="variable", name=name)
                yield self._within(variable, before) if is_end else replace(variable, form="part")
            if not names:
                yield origin

    def _unknown(self, node: ast.expr, place: Place) -> Origin:
        return Origin("unknown", "", place.source, getattr(node, "lineno", 1))


def _turned(texts: Sequence[object]) -> bool | None:
    """Whether the value was async before ``replace(A, B)``; None if that is not about drivers."""
    if len(texts) != 2:
        return None
    before, after = (any(driver in str(text) for driver in _ASYNC) for text in texts)
    return before if before != after else None


def _set_on_self(name: str, function: Function) -> Iterator[ast.expr]:
    for node in ast.walk(function):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Attribute) and target.attr == name:
                    yield node.value
