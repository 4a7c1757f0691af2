"""The origins of a value such as a database's URL: a text, variables, ``-x``, an option."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from alembic_snapshot.discover.names import DEEP, Names, Place, local_values, returned, targets
from alembic_snapshot.discover.sources import Function, Source, Sources

_ASYNC = ("+aiosqlite", "+asyncpg", "+psycopg_async", "+aiopg")
_READS_VARIABLE = ("os.environ.get", "os.getenv", "environ.get", "getenv", "os.environ.setdefault")
# Expressions that are looked at for one value; what is beyond is not known.
_PATIENCE = 5_000
# Libraries in which settings are read as env("NAME"), env.str("NAME"), config("NAME", default=…).
_READERS = ("decouple", "environ", "environs", "prettyconf", "starlette")
# Functions whose last argument is what they give, in another shape.
_SAME = ("str", "make_url", "URL", "cast", "expandvars")


@dataclass(frozen=True)
class Origin:
    """One origin of a value.

    ``kind`` is ``text`` (then ``name`` is it), ``variable``, ``x``, ``option`` or ``unknown``.
    ``form`` says how much of a URL it is: all (``url``), SQLite's file (``path``), or a ``part``.
    It is ``required`` if there is no default. ``type`` is what an annotation says of it.
    """

    kind: str
    name: str
    source: Source
    line: int
    form: str = "url"
    required: bool = False
    is_async: bool | None = None
    type: str = "str"


class Values:
    """Follows values through a project's files."""

    def __init__(self, sources: Sources):
        self._sources = sources
        self._names = Names(sources)
        self._path: list[ast.expr] = []
        self._steps = 0

    def origins(self, node: ast.expr, source: Source) -> list[Origin]:
        """The origins of a value, each once."""
        self._steps = 0
        place = Place(source, source.owners.get(node))
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
                        origins = self._field(node, kind, source, node.target.id)
                        yield from (
                            origin
                            for origin in origins
                            if origin.kind == "variable" and origin.required
                        )

    def required_at_import(self, source: Source) -> Iterator[Origin]:
        """The variables without a default that importing a module asks for."""
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Subscript | ast.Call) and node not in source.owners:
                for origin in self._read(node, Place(source)) or ():
                    if (
                        origin.kind == "variable"
                        and origin.required
                        and isinstance(node, ast.Subscript)
                    ):
                        yield origin

    def _follow(self, node: ast.expr, place: Place, deep: int) -> Iterator[Origin]:
        if node in self._path:
            # It is given again what it had, a little changed.
            return
        self._steps += 1
        if deep <= 0 or self._steps > _PATIENCE:
            yield self._unknown(node, place)
            return
        self._path.append(node)
        try:
            yield from list(self._followed(node, place, deep))
        finally:
            self._path.pop()

    def _followed(self, node: ast.expr, place: Place, deep: int) -> Iterator[Origin]:
        read = self._read(node, place)
        if read is not None:
            for origin in read:
                yield origin
            if isinstance(node, ast.Call):
                for default in self._defaults(node):
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
            case ast.Name():
                yield from self._name(node, place, deep)
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

    def _name(self, node: ast.Name, place: Place, deep: int) -> Iterator[Origin]:
        values = list(local_values(node.id, place.function)) if place.function else []
        if not values:
            values = place.source.assigned.get(node.id, [])
        if values:
            for value in values:
                yield from self._follow(value, place, deep - 1)
            return
        yield from self._imported(node, node.id, place, deep)

    def _imported(self, node: ast.expr, name: str, place: Place, deep: int) -> Iterator[Origin]:
        module, taken = place.source.imports.get(name, ("", None))
        other = self._sources.find(module) if module and taken else None
        if other is not None and taken in other.assigned:
            for value in other.assigned[taken]:
                yield from self._follow(value, Place(other), deep - 1)
            return
        if other is not None and taken in other.imports and deep > 0:
            yield from self._imported(node, taken, Place(other), deep - 1)
            return
        yield self._unknown(node, place)

    def _attribute(self, node: ast.Attribute, place: Place, deep: int) -> Iterator[Origin]:
        if isinstance(node.value, ast.Name) and node.value.id in ("self", "cls") and place.owner:
            yield from self._of_class(node.attr, place.owner, place.source, node, deep)
            return
        module = self._names.module(node.value, place)
        if module is not None and node.attr in module.assigned:
            for value in module.assigned[node.attr]:
                yield from self._follow(value, Place(module), deep - 1)
            return
        owner = self._names.class_of(node.value, place, deep)
        if owner is not None:
            yield from self._of_class(node.attr, *owner, node, deep)
            return
        yield self._unknown(node, place)

    def _of_class(
        self, name: str, kind: ast.ClassDef, source: Source, node: ast.expr, deep: int
    ) -> Iterator[Origin]:
        for child in kind.body:
            if isinstance(child, ast.AnnAssign | ast.Assign) and name in targets(child):
                if isinstance(child, ast.AnnAssign) and self._names.is_settings(kind, source, deep):
                    yield from self._field(child, kind, source, name)
                elif child.value is not None:
                    yield from self._follow(child.value, Place(source, None, kind), deep - 1)
                return
            if isinstance(child, Function) and child.name == name:
                for value in returned(child):
                    yield from self._follow(value, Place(source, child, kind), deep - 1)
                return
            if isinstance(child, Function) and child.name == "__init__":
                for value in _set_on_self(name, child):
                    yield from self._follow(value, Place(source, child, kind), deep - 1)
                    return
        for base in kind.bases:
            above = self._names.class_(base, source)
            if above is not None and deep > 0:
                yield from self._of_class(name, *above, node, deep - 1)
                return
        yield self._unknown(node, Place(source))

    def _call(self, node: ast.Call, place: Place, deep: int) -> Iterator[Origin]:
        name = place.source.dotted(node.func)
        last = name.rpartition(".")[2]
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
        called = self._names.function(node.func, place.source)
        if called is not None:
            function, source = called
            for value in returned(function):
                yield from self._follow(value, Place(source, function), deep - 1)
            return
        if isinstance(node.func, ast.Attribute):
            owner = self._names.class_of(node.func.value, place, deep)
            if owner is not None and any(
                isinstance(child, Function) and child.name == node.func.attr
                for child in owner[0].body
            ):
                yield from self._of_class(node.func.attr, *owner, node, deep)
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

    def _read(self, node: ast.expr, place: Place) -> list[Origin] | None:
        """A variable, ``-x`` argument or option that is read; None if it is something else."""
        source, line = place.source, node.lineno
        if isinstance(node, ast.Subscript):
            key = _text(node.slice)
            if key is None:
                return None
            name = source.dotted(node.value)
            if name in ("os.environ", "environ"):
                return [Origin("variable", key, source, line, required=True)]
            if self._is_x(node.value, place):
                return [Origin("x", key, source, line, required=True)]
            return None
        if not isinstance(node, ast.Call):
            return None
        name, key = source.dotted(node.func), _text(node.args[0]) if node.args else None
        last = name.rpartition(".")[2]
        if last in ("get_main_option", "get_section_option"):
            return [Origin("option", key or "", source, line)]
        if key is None:
            return None
        has_default = bool(self._defaults(node))
        if name in _READS_VARIABLE:
            return [Origin("variable", key, source, line, required=not has_default)]
        reader = name.rpartition(".")[0] or name
        if _is_setting(reader, source) and key.isupper():
            kind = last if last in ("int", "bool", "float") else "str"
            return [Origin("variable", key, source, line, required=not has_default, type=kind)]
        is_get = isinstance(node.func, ast.Attribute) and node.func.attr == "get"
        if is_get and self._is_x(node.func.value, place):  # type: ignore[attr-defined]
            return [Origin("x", key, source, line, required=not has_default)]
        return None

    def _is_x(self, node: ast.expr, place: Place) -> bool:
        """Whether that is the mapping of ``-x`` arguments."""
        if isinstance(node, ast.Call):
            return place.source.dotted(node.func).endswith("get_x_argument")
        if isinstance(node, ast.Name):
            local = list(local_values(node.id, place.function)) if place.function else []
            values = local or place.source.assigned.get(node.id, [])
            return any(isinstance(v, ast.Call) and self._is_x(v, place) for v in values)
        return False

    def _defaults(self, node: ast.Call) -> list[ast.expr]:
        given = [keyword.value for keyword in node.keywords if keyword.arg in ("default", "_")]
        return [*node.args[1:2], *given] if _text(node.args[0]) is not None else given

    def _field(
        self, node: ast.AnnAssign, kind: ast.ClassDef, source: Source, name: str
    ) -> Iterator[Origin]:
        """A field of pydantic's settings, which is a variable."""
        variable = f"{_prefix(kind)}{name}".upper()
        default = node.value
        if isinstance(default, ast.Call):
            for keyword in default.keywords:
                if keyword.arg in ("alias", "validation_alias", "env"):
                    variable = _text(keyword.value) or variable
            values = [k.value for k in default.keywords if k.arg in ("default", "default_factory")]
            default = next(iter([*default.args[:1], *values]), None)
        if isinstance(default, ast.Constant) and default.value is ...:
            default = None
        kind_of = ast.unparse(node.annotation)
        is_optional = "None" in kind_of or "Optional" in kind_of
        yield Origin(
            "variable", variable, source, node.lineno,
            required=default is None and not is_optional, type=kind_of,
        )  # fmt: skip
        if default is not None:
            yield from self._follow(default, Place(source, None, kind), DEEP // 2)

    def _unknown(self, node: ast.expr, place: Place) -> Origin:
        return Origin("unknown", "", place.source, getattr(node, "lineno", 1))


def _text(node: ast.expr) -> str | None:
    is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return node.value if is_text else None  # type: ignore[attr-defined]


def _is_setting(reader: str, source: Source) -> bool:
    """Whether a library for settings reads variables with that."""
    if reader.partition(".")[0] in _READERS:
        return True
    assigned = source.assigned.get(reader, [])
    calls = (value for value in assigned if isinstance(value, ast.Call))
    return any(source.dotted(call.func).partition(".")[0] in _READERS for call in calls)


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


def _prefix(kind: ast.ClassDef) -> str:
    """pydantic's ``env_prefix``, in either of its spellings."""
    for node in ast.walk(kind):
        if isinstance(node, ast.keyword) and node.arg == "env_prefix":
            return _text(node.value) or ""
        if isinstance(node, ast.Assign) and "env_prefix" in targets(node):
            return _text(node.value) or ""
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if key is not None and _text(key) == "env_prefix":
                    return _text(value) or ""
    return ""
