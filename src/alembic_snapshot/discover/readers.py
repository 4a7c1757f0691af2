"""How a project reads a variable, an argument of ``-x`` or an option of Alembic's configuration."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from alembic_snapshot.discover.names import DEEP, Names, Owner, Place
from alembic_snapshot.discover.sources import Source

_ENVIRON = ("os.environ", "environ", "starlette.config.environ")
_GETENV = ("os.getenv", "getenv")
_READING = ("get", "pop", "setdefault")
_COPYING = ("dict", "copy", "ChainMap")
# Libraries in which settings are read as env("NAME"), env.str("NAME"), config("NAME", default=…),
# the objects that do it ready-made, and the keyword in which the others are told a prefix.
_LIBRARIES = ("decouple", "environ", "environs", "prettyconf", "starlette.config")
_READY = ("decouple.config", "environs.env", "prettyconf.config")
_PREFIXES = ("prefix", "env_prefix")
_NOT_READING = ("prefixed", "read_env", "add_parser", "with_prefix")
_DYNACONF = ("dynaconf.Dynaconf", "dynaconf.LazySettings", "dynaconf.FlaskDynaconf")
_VARIABLE = re.compile(r"[A-Za-z_]\w*")
_KEYS = ("key", "name", "var", "varname", "option")


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


class Readers:
    """Tells an expression that reads a setting from others."""

    def __init__(self, names: Names):
        self._names = names

    def read(self, node: ast.expr, place: Place) -> list[Origin] | None:
        """A variable, ``-x`` argument or option that is read; None if it is something else."""
        if isinstance(node, ast.Subscript):
            return self._subscript(node, place) or self._of_dynaconf(node, place)
        if isinstance(node, ast.Attribute):
            return self._of_dynaconf(node, place)
        if not isinstance(node, ast.Call):
            return None
        name = place.source.dotted(node.func)
        if name.rpartition(".")[2] in ("get_main_option", "get_section_option"):
            key = node.args[0] if node.args else None
            text = key.value if isinstance(key, ast.Constant) else ""
            return [Origin("option", str(text), place.source, node.lineno)]
        return self._call(node, place)

    def defaults(self, node: ast.Call) -> list[ast.expr]:
        """What a call that reads a setting falls back to."""
        given = [word.value for word in node.keywords if word.arg in ("default", "_")]
        has_key = any(word.arg in _KEYS for word in node.keywords)
        return [*node.args[0 if has_key else 1 :][:1], *given]

    def field(self, node: ast.AnnAssign, owner: Owner, name: str) -> tuple[Origin, ast.expr | None]:
        """A field of pydantic's settings, which is a variable, and its default."""
        kind, source = owner.kind, owner.source
        within = owner.within
        if within is None:
            within = self._names.configured(kind, source, "env_prefix")
        variable = f"{within}{name}"
        if not self._is_case_sensitive(kind):
            variable = variable.upper()
        default = node.value
        described = [default] if isinstance(default, ast.Call) else []
        described += [part for part in ast.walk(node.annotation) if isinstance(part, ast.Call)]
        for call in described:
            variable = _alias(call) or variable
        inside = [call for call in described if _last(call.func) == "Field"]
        if default is None and inside:
            # Annotated[bool, Field(default=…)]
            default = inside[0]
        if isinstance(default, ast.Call) and _last(default.func) == "Field":
            words = [w.value for w in default.keywords if w.arg in ("default", "default_factory")]
            default = next(iter([*default.args[:1], *words]), None)
        if isinstance(default, ast.Constant) and default.value is ...:
            default = None
        kind_of = ast.unparse(node.annotation)
        is_optional = "None" in kind_of or "Optional" in kind_of
        is_required = default is None and not is_optional
        origin = Origin(
            "variable", variable, source, node.lineno, required=is_required, type=kind_of
        )
        return origin, default

    def _subscript(self, node: ast.Subscript, place: Place) -> list[Origin] | None:
        if self.is_environ(node.value, place):
            return self._variables(node.slice, node, place, required=True)
        if self._is_x(node.value, place) and _text(node.slice) is not None:
            line = node.lineno
            return [Origin("x", _text(node.slice) or "", place.source, line, required=True)]
        return None

    def _call(self, node: ast.Call, place: Place) -> list[Origin] | None:
        words = [word.value for word in node.keywords if word.arg in _KEYS]
        key = next(iter([*words, *node.args]), None)
        if key is None:
            return None
        required = not self.defaults(node)
        functions = [node.func]
        if isinstance(node.func, ast.Name):
            functions += [value for value, _ in self._names.meanings(node.func, place)]
        for function in functions:
            if place.source.dotted(function) in _GETENV:
                return self._variables(key, node, place, required=required)
            if isinstance(function, ast.Attribute) and function.attr in _READING:
                if self.is_environ(function.value, place):
                    return self._variables(key, node, place, required=required)
                if self._is_x(function.value, place) and _text(key) is not None:
                    name = _text(key) or ""
                    return [Origin("x", name, place.source, node.lineno, required=required)]
        return self._of_library(node, key, place, required=required)

    def _of_library(
        self, node: ast.Call, key: ast.expr, place: Place, *, required: bool
    ) -> list[Origin] | None:
        last = _last(node.func)
        reader = node.func
        if isinstance(reader, ast.Attribute) and place.source.dotted(reader) not in _READY:
            reader = reader.value
        prefix = self._prefix(reader, place) if last not in _NOT_READING else None
        if prefix is None:
            return None
        before = prefix + "".join(self._around(node, place))
        kind = last if last in ("int", "bool", "float") else "str"
        found = self._variables(key, node, place, required=required, before=before, type_=kind)
        return found if all(_VARIABLE.fullmatch(origin.name) for origin in found) else None

    def _prefix(self, reader: ast.expr, place: Place) -> str | None:
        """What the names of a library's variables begin with; None if it is no such library's."""
        if place.source.dotted(reader) in _READY:
            return ""
        for value, where in (*self._names.meanings(reader, place), (reader, place)):
            if where.source.dotted(value) in _READY:
                return ""
            if isinstance(value, ast.Call):
                name = where.source.dotted(value.func)
                if name.startswith(tuple(f"{library}." for library in _LIBRARIES)):
                    words = [word.value for word in value.keywords if word.arg in _PREFIXES]
                    texts = self._names.texts(words[0], where) if words else []
                    return texts[0] if texts else ""
        return None

    def _around(self, node: ast.expr, place: Place) -> Iterator[str]:
        """The prefixes of ``with env.prefixed("SHOP_"):`` around an expression."""
        for outer in ast.walk(place.source.tree):
            if isinstance(outer, ast.With) and any(inner is node for inner in ast.walk(outer)):
                for item in outer.items:
                    call = item.context_expr
                    if isinstance(call, ast.Call) and _last(call.func) == "prefixed":
                        yield from self._names.texts(call.args[0], place)[:1] if call.args else ()

    def _of_dynaconf(
        self, node: ast.Attribute | ast.Subscript, place: Place
    ) -> list[Origin] | None:
        """A setting of dynaconf's object, which a variable with its prefix sets."""
        name = node.attr if isinstance(node, ast.Attribute) else _text(node.slice)
        if name is None:
            return None
        for value, where in self._names.meanings(node.value, place):
            if isinstance(value, ast.Call) and where.source.dotted(value.func) in _DYNACONF:
                words = [word.value for word in value.keywords if word.arg == "envvar_prefix"]
                before = "".join(self._names.texts(words[0], where)[:1]) if words else "DYNACONF"
                variable = f"{before}_{name}" if before else name
                return [Origin("variable", variable.upper(), place.source, node.lineno)]
        return None

    def _variables(
        self,
        key: ast.expr,
        node: ast.expr,
        place: Place,
        *,
        required: bool,
        before: str = "",
        type_: str = "str",
    ) -> list[Origin]:
        """The variables that a key names; several where it is taken from a list of them."""
        names = self._names.texts(key, place)
        return [
            Origin("variable", before + name, place.source, node.lineno,
                   required=required and len(names) == 1, type=type_)
            for name in names
        ]  # fmt: skip

    def is_environ(self, node: ast.expr, place: Place, deep: int = DEEP) -> bool:
        """Whether that is the mapping of variables, or a copy of it."""
        if place.source.dotted(node) in _ENVIRON:
            return True
        if deep <= 0:
            return False
        inner: list[ast.expr] = []
        if isinstance(node, ast.Call) and _last(node.func) in _COPYING:
            inner = [*node.args, *(word.value for word in node.keywords if word.arg is None)]
            inner += [node.func.value] if isinstance(node.func, ast.Attribute) else []
        elif isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            inner = [value for key, value in pairs if key is None]
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            inner = [node.left, node.right]
        if any(self.is_environ(value, place, deep - 1) for value in inner):
            return True
        meanings = self._names.meanings(node, place, deep)
        return any(self.is_environ(value, where, deep - 1) for value, where in meanings)

    def _is_x(self, node: ast.expr, place: Place) -> bool:
        """Whether that is the mapping of ``-x`` arguments."""
        if isinstance(node, ast.Call):
            return place.source.dotted(node.func).endswith("get_x_argument")
        values = self._names.meanings(node, place) if isinstance(node, ast.Name) else ()
        return any(isinstance(v, ast.Call) and self._is_x(v, where) for v, where in values)

    def _is_case_sensitive(self, kind: ast.ClassDef) -> bool:
        for node in ast.walk(kind):
            if isinstance(node, ast.keyword) and node.arg == "case_sensitive":
                return isinstance(node.value, ast.Constant) and node.value.value is True
            if isinstance(node, ast.Dict):
                for key, value in zip(node.keys, node.values, strict=True):
                    if key is not None and _text(key) == "case_sensitive":
                        return isinstance(value, ast.Constant) and value.value is True
        return False


def _alias(call: ast.Call) -> str | None:
    """The variable that pydantic's ``Field`` names; of several choices the first."""
    for word in call.keywords:
        if word.arg in ("alias", "validation_alias", "env"):
            if isinstance(word.value, ast.Call) and word.value.args:
                return _text(word.value.args[0])
            return _text(word.value)
    return None


def _last(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _text(node: ast.expr) -> str | None:
    is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return node.value if is_text else None  # type: ignore[attr-defined]
