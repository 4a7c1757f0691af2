"""The needs of a project's ``env.py`` before it connects: variables, ``-x``, an application."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from alembic_snapshot.discover.readers import Origin
from alembic_snapshot.discover.sources import Source, Sources
from alembic_snapshot.discover.values import Values
from alembic_snapshot.project import env_files

OTHER_URL = "sqlite:///test.db"
_URL = "sqlalchemy.url"
_ASYNC = ("create_async_engine", "async_engine_from_config", "AsyncEngine")
_FROM_CONFIGURATION = ("engine_from_config", "async_engine_from_config")
_MAKERS = ("create_engine", "create_async_engine", *_FROM_CONFIGURATION)
# Values of the types that settings have, by how the types are called.
_OF_TYPES = (
    (r"(Strict)?[Bb]ool", "true"),
    (r"(con)?(int|float|decimal)|\w*(Int|Float|Decimal)|timedelta", "1"),
    ("EmailStr|NameEmail", "test@example.com"),
    (r"(Any|Http|AnyHttp|File|Ftp)Url", "http://localhost"),
    (r"UUID\d?", "00000000-0000-4000-8000-000000000000"),
    (r"IP(v4|v6|vAny)Address", "127.0.0.1"),
    ("[Ll]ist|[Ss]et|[Tt]uple|[Ff]rozen[Ss]et|Sequence", "[]"),
    ("[Dd]ict|Mapping|Json", "{}"),
    ("date", "2000-01-01"),
    ("datetime", "2000-01-01T00:00:00"),
)
_URL_NAME = re.compile(r"(^|_|database|db)(url|uri|dsn)(_|$)", re.IGNORECASE)
# What is in the names of variables with a URL, and a value that libraries take. A URL of which
# nothing is known may well be the database's.
_ADDRESSES = (
    ("redis|valkey", "redis://localhost"),
    ("amqp|rabbit|broker|celery", "amqp://localhost"),
    ("mongo", "mongodb://localhost"),
    ("sentry", "https://key@localhost/1"),
    ("(^|_)(database|db|sql[a-z]*|postgres[a-z]*|pg)(url|uri|dsn)?_", "{url}"),
    ("http|(^|_)(api|app|base|web|site|public|frontend|server|callback|hook|auth)_",
     "http://localhost"),
    ("", OTHER_URL),
)  # fmt: skip


@dataclass
class EnvPy:
    """The needs of ``env.py``. ``environment`` maps a variable to its value and the line it is for.

    ``x`` maps an argument of ``-x`` to the line that reads it. ``flask`` is the line that asks for
    Flask's application, ``parts`` are variables that are only a part of the URL.
    """

    source: Source | None = None
    reached: list[Source] = field(default_factory=list)
    is_async: bool = False
    environment: dict[str, tuple[str, Origin]] = field(default_factory=dict)
    x: dict[str, Origin] = field(default_factory=dict)
    parts: list[Origin] = field(default_factory=list)
    url: list[Origin] = field(default_factory=list)
    flask: int | None = None


def read_env_py(path: Path, sources: Sources, values: Values, root: Path) -> EnvPy:
    """Read ``env.py``, and what it imports of the project."""
    source = sources.read(path)
    if source is None:
        return EnvPy()
    env = EnvPy(source, sources.reached_from(source))
    env.is_async = any(name in ast.dump(source.tree) for name in _ASYNC)
    env.flask = next(
        (
            node.lineno
            for node in ast.walk(source.tree)
            if isinstance(node, ast.Name) and source.dotted(node) == "flask.current_app"
        ),
        None,
    )
    env.url = [origin for node, _ in _given(source) for origin in values.origins(node, source)]
    if not env.url and not _from_configuration(source):
        # It migrates with the application's engine.
        env.url = [
            origin if origin.is_async is not None else replace(origin, is_async=is_async)
            for other in env.reached[1:]
            for node, is_async in _made(other)
            for origin in values.origins(node, other)
        ]
    _sort(env)
    for name, (value, origin) in required(env.reached, values, root).items():
        value = "{async_url}" if value == "{url}" and env.is_async else value
        env.environment.setdefault(name, (value, origin))
    return env


def required(
    sources: Sequence[Source], values: Values, root: Path
) -> dict[str, tuple[str, Origin]]:
    """The variables without which modules can't be imported, and a value for each."""
    known = _dotenv(root, sources)
    variables: dict[str, tuple[str, Origin]] = {}
    for source in sources:
        for origin in (*values.required_at_import(source), *values.settings(source)):
            if origin.name not in known:
                variables.setdefault(origin.name, (_placeholder(origin), origin))
    return variables


def _placeholder(origin: Origin) -> str:
    """A value that a variable may have: of its type, or of what its name says."""
    is_url = _URL_NAME.search(origin.name) or "Dsn" in origin.type
    if is_url and not _value_of(origin.type, but_urls=True):
        about = f"{origin.name}_{origin.type}".lower()
        return next(value for pattern, value in _ADDRESSES if re.search(pattern, about))
    return _value_of(origin.type) or "test"


def _value_of(annotation: str, *, but_urls: bool = False) -> str | None:
    """A value of a type, as an annotation spells it; None if any text may be one."""
    inner = re.sub(r"^(typing\.)?(Annotated|Optional|Final)\[(.*)\]$", r"\3", annotation)
    literal = re.match(r"(?:typing\.)?Literal\[['\"]?([^'\",\]]*)", inner)
    if literal:
        return literal[1]
    name = re.split(r"[\[,|(]", inner)[0].strip().rpartition(".")[2]
    found = [value for pattern, value in _OF_TYPES if re.fullmatch(pattern, name)]
    return next((one for one in found if not (but_urls and "://" in one)), None)


def _sort(env: EnvPy) -> None:
    """Sort the origins of the URL into variables, parts of it and arguments of ``-x``."""
    has_option = any(origin.kind == "option" for origin in env.url)
    for origin in env.url:
        if origin.kind == "variable" and origin.form != "part":
            is_async = env.is_async if origin.is_async is None else origin.is_async
            whole = "{async_url}" if is_async else "{url}"
            value = "{path}" if origin.form == "path" else whole
            env.environment.setdefault(origin.name, (value, origin))
        elif origin.kind == "variable":
            env.parts.append(origin)
    if not has_option and not env.environment:
        env.x = {origin.name: origin for origin in env.url if origin.kind == "x"}


def _given(source: Source) -> Iterator[tuple[ast.expr, bool]]:
    """The values given to an engine, or to ``sqlalchemy.url``, in ``env.py`` itself."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call):
            name = source.dotted(node.func).rpartition(".")[2] or getattr(node.func, "attr", "")
            texts = [getattr(arg, "value", None) for arg in node.args]
            if name in ("set_main_option", "set_section_option") and _URL in texts[:-1]:
                yield node.args[-1], False
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Subscript) and _is_url(target.slice):
                    yield node.value, False
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if key is not None and _is_url(key):
                    yield value, False
    yield from _made(source)


def _made(source: Source) -> Iterator[tuple[ast.expr, bool]]:
    """The URLs of the engines that a file makes, and whether they are async."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call):
            name = source.dotted(node.func).rpartition(".")[2]
            if name in _MAKERS:
                given = [word.value for word in node.keywords if word.arg == "url"]
                given += [] if name in _FROM_CONFIGURATION else node.args[:1]
                yield from ((one, "async" in name) for one in given)


def _from_configuration(source: Source) -> bool:
    """Whether an engine is made from Alembic's configuration."""
    names = {
        source.dotted(node.func).rpartition(".")[2]
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call)
    }
    return bool(names & set(_FROM_CONFIGURATION))


def _is_url(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value == _URL


def _dotenv(root: Path, sources: Sequence[Source]) -> set[str]:
    """The variables that files of the project set. Libraries for settings read them too."""
    paths = env_paths(root, sources)
    return {name for path in paths for name in env_files.assigned(path, os.environ)}


def env_paths(root: Path, sources: Sequence[Source]) -> list[Path]:
    """The ``.env`` files of a project, and those that its settings name (``env_file``)."""
    named = [
        root / str(text.value)
        for source in sources
        for node in ast.walk(source.tree)
        for key, value in _pairs(node)
        if key == "env_file"
        for text in ast.walk(value)
        if isinstance(text, ast.Constant) and isinstance(text.value, str)
    ]
    return list(dict.fromkeys([*(one / ".env" for one in env_files.folders(root)), *named]))


def _pairs(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """What one node of a file gives to names."""
    if isinstance(node, ast.keyword) and node.arg:
        yield node.arg, node.value
    elif isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        yield from ((str(k.value), v) for k, v in pairs if isinstance(k, ast.Constant))
    elif isinstance(node, ast.Assign):
        yield from ((t.id, node.value) for t in node.targets if isinstance(t, ast.Name))
