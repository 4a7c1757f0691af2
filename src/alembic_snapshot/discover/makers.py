"""A project's engines and session factories: where they are made, and which names they have."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from alembic_snapshot.discover.names import local_values, returned
from alembic_snapshot.discover.readers import Origin
from alembic_snapshot.discover.sources import Function, Source, Sources, is_of_tests
from alembic_snapshot.discover.values import Values

_ENGINES = {
    "create_engine": False,
    "engine_from_config": False,
    "create_async_engine": True,
    "async_engine_from_config": True,
}
_FACTORIES = ("sessionmaker", "async_sessionmaker", "scoped_session", "async_scoped_session")
_LIBRARIES = ("sqlalchemy", "sqlmodel")
# What advanced-alchemy calls a configuration, which gives an engine and a session factory.
_CONFIGURATIONS = {"SQLAlchemySyncConfig": False, "SQLAlchemyAsyncConfig": True}
_CONFIGURED = ("advanced_alchemy", "litestar")
_WORDS = tuple(
    word.encode() for word in (*_ENGINES, *_FACTORIES, "SQLAlchemy", "SQLALCHEMY_DATABASE_URI")
)
_FLASK_URL = "SQLALCHEMY_DATABASE_URI"
_DEEP = 6


@dataclass(frozen=True)
class Made:
    """An engine or a session factory. ``reference`` names it, if anything can.

    ``why_not`` says why it can't be named. ``url`` are the origins of the engine's URL; ``bound``
    is the name of the engine that a factory is given. Two with the same ``call`` are one engine.
    """

    source: Source
    line: int
    reference: str | None
    is_async: bool = False
    url: tuple[Origin, ...] = ()
    bound: str | None = None
    why_not: str = ""
    call: ast.Call | None = None

    @property
    def is_call(self) -> bool:
        """Whether the reference calls a function."""
        return (self.reference or "").endswith("()")


@dataclass(frozen=True)
class Model:
    """A mapped class and its table's name."""

    source: Source
    name: str
    table: str


@dataclass
class Makers:
    """A project's engines and factories. ``flask`` are Flask-SQLAlchemy's objects.

    ``inside`` are the factories that functions make, without a name.
    """

    engines: list[Made] = field(default_factory=list)
    factories: list[Made] = field(default_factory=list)
    flask: list[Made] = field(default_factory=list)
    inside: list[Made] = field(default_factory=list)


def find_makers(sources: Sources, values: Values) -> Makers:
    """Every engine and session factory of the application's own files."""
    makers = Makers()
    flask_urls: list[Origin] = []
    for source in sources.of_the_application(*_WORDS):
        reader = _Reader(source, sources, values)
        makers.engines += reader.engines()
        makers.factories += reader.factories()
        makers.inside += reader.inside()
        makers.flask += reader.flask()
        flask_urls += reader.flask_urls()
    makers.flask = [replace(maker, url=tuple(flask_urls)) for maker in makers.flask]
    return makers


def find_models(sources: Sources) -> Iterator[Model]:
    """The mapped classes that say their table's name, in the order of files."""
    for source in sources.of_the_application(b"__tablename__", b"table=True", b"table = True"):
        for name, kind in source.classes.items():
            table = _table(kind)
            if table and not name.startswith("_"):
                yield Model(source, name, table)


def _table(kind: ast.ClassDef) -> str | None:
    for node in kind.body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            is_name = any(isinstance(t, ast.Name) and t.id == "__tablename__" for t in targets)
            if is_name and isinstance(node.value, ast.Constant):
                return str(node.value.value)
    is_table = any(
        word.arg == "table" and isinstance(word.value, ast.Constant) and word.value.value is True
        for word in kind.keywords
    )
    return kind.name.lower() if is_table else None


class _Reader:
    """One file's engines and factories."""

    def __init__(self, source: Source, sources: Sources, values: Values):
        self.source = source
        self._sources = sources
        self._values = values

    def engines(self) -> Iterator[Made]:
        claimed: set[ast.Call] = set()
        for name, call in self._configurations():
            given = [word.value for word in call.keywords if word.arg == "connection_string"]
            origins = [one for node in given for one in self._values.origins(node, self.source)]
            yield Made(
                self.source, call.lineno, f"{self.source.module}:{name}.get_engine()",
                is_async=self._configures(call) or False, url=tuple(origins), call=call,
            )  # fmt: skip
        for name, call, owner in self._names():
            engine = self._engine_call(call, self.source, _DEEP)
            if (engine or owner) and self._is_late(call, self.source):
                continue
            if engine is not None:
                claimed |= {call, engine[0]}
                yield self._made(f"{name}", call, engine)
            elif owner is not None:
                yield from self._in_instance(name, call, claimed)
        for name, function in self.source.functions.items():
            if not is_of_tests(name):
                yield from self._function(name, function, claimed)
        for node in self.source.of_the_application():
            if isinstance(node, ast.Call) and node not in claimed and self._is_made(node):
                owner_of = self.source.owners.get(node)
                if owner_of is not None and not any(node is other for other in claimed):
                    why = f"it is made in {owner_of.name}(), and no name leads to it"
                    yield self._made(None, node, (node, self.source), why)

    def factories(self) -> Iterator[Made]:
        for name, call in self._configurations():
            reference = f"{self.source.module}:{name}"
            yield Made(
                self.source, call.lineno, f"{reference}.create_session_maker()",
                is_async=self._configures(call) or False, bound=f"{reference}.get_engine()",
            )  # fmt: skip
        for name, call, _ in self._names():
            dotted = self.source.dotted(call.func)
            last = dotted.rpartition(".")[2]
            is_factory = last in _FACTORIES and self._is_library(dotted)
            if is_factory and not self._is_late(call, self.source):
                yield Made(
                    self.source, call.lineno, f"{self.source.module}:{name}",
                    is_async="async" in last or "AsyncSession" in ast.unparse(call),
                    bound=self._bound(call),
                )  # fmt: skip

    def inside(self) -> Iterator[Made]:
        """The factories that functions make."""
        for node in self.source.of_the_application():
            if isinstance(node, ast.Call) and node in self.source.owners:
                dotted = self.source.dotted(node.func)
                if dotted.rpartition(".")[2] in _FACTORIES and self._is_library(dotted):
                    yield Made(self.source, node.lineno, None)

    def flask(self) -> Iterator[Made]:
        for name, call, _ in self._names():
            if self.source.dotted(call.func) == "flask_sqlalchemy.SQLAlchemy":
                yield Made(self.source, call.lineno, f"{self.source.module}:{name}")

    def flask_urls(self) -> Iterator[Origin]:
        """The values of Flask-SQLAlchemy's setting, in any file."""
        for node in ast.walk(self.source.tree):
            for key, value in _settings(node):
                if key == _FLASK_URL:
                    yield from self._values.origins(value, self.source)

    def _configurations(self) -> Iterator[tuple[str, ast.Call]]:
        """The module's names of configurations that give an engine."""
        for name, call, _ in self._names():
            if self._configures(call) is not None:
                yield name, call

    def _configures(self, call: ast.Call) -> bool | None:
        """Whether a configuration gives an async engine; None if it is none."""
        name = self.source.dotted(call.func)
        if name.partition(".")[0] not in _CONFIGURED:
            return None
        return _CONFIGURATIONS.get(name.rpartition(".")[2])

    def _names(self) -> Iterator[tuple[str, ast.Call, Any]]:
        """The module's names that a call's result is assigned to, and the class if it is one."""
        for name, values in self.source.assigned.items():
            for value in values:
                if isinstance(value, ast.Call) and not is_of_tests(name):
                    yield name, value, self._class(value)

    def _class(self, call: ast.Call) -> tuple[ast.ClassDef, Source] | None:
        name = self.source.dotted(call.func)
        if name in self.source.classes:
            return self.source.classes[name], self.source
        module, _, last = name.rpartition(".")
        other = self._sources.find(module) if module else None
        return (other.classes[last], other) if other and last in other.classes else None

    def _in_instance(self, name: str, call: ast.Call, claimed: set[ast.Call]) -> Iterator[Made]:
        """The engines in attributes of an object of the project's own class."""
        owner = self._class(call)
        if owner is None:
            return
        kind, source = owner
        reader = self if source is self.source else _Reader(source, self._sources, self._values)
        for node in ast.walk(kind):
            if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call):
                continue
            engine = reader._engine_call(node.value, source, _DEEP)
            for target in node.targets:
                on_self = isinstance(target, ast.Attribute) and ast.unparse(target.value) == "self"
                if engine is not None and on_self:
                    attribute = ast.unparse(target)
                    maker = source.owners.get(node)
                    way: str | None = attribute.removeprefix("self.")
                    if maker is not None and not self._is_called(maker, source, {"__init__"}):
                        way = _getter(kind, attribute, maker)
                    if way:
                        claimed |= {node.value, engine[0]}
                        yield self._made(f"{name}.{way}", call, engine)

    def _is_late(self, value: ast.expr, source: Source) -> bool:
        """Whether a name has a value only when somebody has called the function that makes it."""
        maker = source.owners.get(value)
        return maker is not None and not self._is_called(maker, source)

    def _is_called(
        self, function: Function, source: Source, known: Collection[str] = (), deep: int = _DEEP
    ) -> bool:
        """Whether a function is called when modules are imported, as far as its name tells.

        Those of the ``known`` names are.
        """
        if function.name in known:
            return True
        places = self._sources.mentioning(function.name.encode()) if deep > 0 else ()
        callers = {place.owners.get(call) for place in places for call in _calls(place, function)}
        return any(
            caller is None or self._is_called(caller, source, known, deep - 1)
            for caller in callers - {function}
        )

    def _function(self, name: str, function: Function, claimed: set[ast.Call]) -> Iterator[Made]:
        for engine in self._engines_returned(function, self.source, _DEEP):
            claimed.add(engine[0])
            why = ""
            if isinstance(function, ast.AsyncFunctionDef):
                why = f"{name}() is async, and can't be called here"
            elif _needs_arguments(function):
                why = f"{name}() needs arguments"
            maker = self._made(None if why else f"{name}()", function, engine, why)
            yield maker
            return

    def _engines_returned(
        self, function: Function, source: Source, deep: int
    ) -> Iterator[tuple[ast.Call, Source]]:
        for value in returned(function):
            candidates = [value]
            if isinstance(value, ast.Name):
                candidates = list(local_values(value.id, function))
                candidates = candidates or [
                    given
                    for given in source.assigned.get(value.id, [])
                    if not self._is_late(given, source) or _makes(function, source.owners[given])
                ]
            for candidate in candidates:
                engine = self._engine_call(candidate, source, deep - 1)
                if engine is not None:
                    yield engine

    def _engine_call(
        self, value: ast.expr, source: Source, deep: int
    ) -> tuple[ast.Call, Source] | None:
        """The call that makes an engine, if the value is one, through the project's functions."""
        if not isinstance(value, ast.Call) or deep <= 0:
            return None
        if _Reader(source, self._sources, self._values)._is_made(value):
            return value, source
        name = source.dotted(value.func)
        module, _, last = name.rpartition(".")
        other = self._sources.find(module) if module else source
        function = other.functions.get(last) if other else None
        if function is None or other is None:
            return None
        return next(self._engines_returned(function, other, deep - 1), None)

    def _is_made(self, call: ast.Call) -> bool:
        name = self.source.dotted(call.func)
        return name.rpartition(".")[2] in _ENGINES and self._is_library(name)

    def _is_library(self, name: str) -> bool:
        """Whether a dotted name is SQLAlchemy's; it may have been imported with a star."""
        return name.partition(".")[0] in _LIBRARIES or (
            "." not in name and name not in self.source.functions
        )

    def _made(
        self, name: str | None, node: ast.AST, engine: tuple[ast.Call, Source], why: str = ""
    ) -> Made:
        call, source = engine
        last = source.dotted(call.func).rpartition(".")[2]
        url = [word.value for word in call.keywords if word.arg == "url"]
        given = url[0] if url else call.args[0] if call.args else None
        origins = self._values.origins(given, source) if given is not None else []
        reference = f"{self.source.module}:{name}" if name else None
        line = getattr(node, "lineno", call.lineno)
        return Made(
            self.source,
            line,
            reference,
            is_async=_ENGINES[last],
            url=tuple(origins),
            why_not=why,
            call=call,
        )

    def _bound(self, call: ast.Call, deep: int = _DEEP) -> str | None:
        """The name of the engine that a factory is given, also through a scoped factory."""
        given = [word.value for word in call.keywords if word.arg in ("bind", "session_factory")]
        for value in [*given, *call.args[:1]]:
            if isinstance(value, ast.Call):
                is_one = self._is_factory(value) and deep > 0
                return self._bound(value, deep - 1) if is_one else self._spelled(value)
            if isinstance(value, ast.Name):
                # A name may be given first one factory, then another that is on it.
                inner = [
                    candidate
                    for candidate in self.source.assigned.get(value.id, [])
                    if candidate is not call
                ]
                factory = next(
                    (candidate for candidate in inner if self._is_factory(candidate)), None
                )
                if isinstance(factory, ast.Call) and deep:
                    return self._bound(factory, deep - 1)
            return self._spelled(value)
        return None

    def _is_factory(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Call) and self.source.dotted(node.func).endswith(_FACTORIES)

    def _spelled(self, node: ast.expr) -> str | None:
        name = ast.unparse(node)
        if isinstance(node, ast.Name) and node.id in self.source.imports:
            module, taken = self.source.imports[node.id]
            return f"{module}:{taken}"
        return f"{self.source.module}:{name}"


def _calls(source: Source, function: Function) -> Iterator[ast.Call]:
    """The calls of whatever has a function's name, in a file that is imported and not run."""
    waiting: list[ast.AST] = [source.tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "__name__" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Call) and _called(node) == function.name:
            yield node
        waiting.extend(ast.iter_child_nodes(node))


def _called(node: ast.Call) -> str:
    match node.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _makes(function: Function, maker: Function) -> bool:
    """Whether a function is the one that makes a value, or calls it."""
    calls = (node for node in ast.walk(function) if isinstance(node, ast.Call))
    return function is maker or maker.name in map(_called, calls)


def _getter(kind: ast.ClassDef, attribute: str, maker: Function) -> str | None:
    """The property or method of a class that makes an attribute and gives it, if it has one."""
    for child in kind.body:
        if not isinstance(child, ast.FunctionDef) or not _makes(child, maker):
            continue
        if attribute in map(ast.unparse, returned(child)) and not _needs_arguments(child, 1):
            decorators = {ast.unparse(one).rpartition(".")[2] for one in child.decorator_list}
            is_property = decorators & {"property", "cached_property"}
            return child.name if is_property else f"{child.name}()"
    return None


def _needs_arguments(function: Function, given_already: int = 0) -> bool:
    given = function.args
    positional = [*given.posonlyargs, *given.args][given_already:]
    return len(positional) > len(given.defaults) or None in given.kw_defaults


def _settings(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """The pairs of a setting and its value that one node of a file has."""
    if isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Name):
                yield target.id, node.value
            elif isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
                yield str(target.slice.value), node.value
    elif isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant):
                yield str(key.value), value
    elif isinstance(node, ast.keyword) and node.arg:
        yield node.arg, node.value
