"""What a project's ``env.py`` reads before it connects: variables, ``-x``, an application."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from alembic_snapshot.discover.sources import Source, Sources
from alembic_snapshot.discover.values import Origin, Values

_URL = "sqlalchemy.url"
_ASYNC = ("create_async_engine", "async_engine_from_config", "AsyncEngine")
_PLACEHOLDERS = {"int": "1", "float": "1", "bool": "true"}
_ASSIGNMENT = re.compile(r"^\s*(?:export\s+)?(\w+)\s*=", re.MULTILINE)


@dataclass
class EnvPy:
    """What ``env.py`` needs. ``environment`` maps a variable to its value and the line it is for.

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
    found = EnvPy(source, sources.reached_from(source))
    found.is_async = any(name in ast.dump(source.tree) for name in _ASYNC)
    found.flask = next(
        (
            node.lineno
            for node in ast.walk(source.tree)
            if isinstance(node, ast.Name) and source.dotted(node) == "flask.current_app"
        ),
        None,
    )
    found.url = [one for node in _given(source) for one in values.origins(node, source)]
    if not found.url and not _from_configuration(source):
        # It migrates with the application's engine.
        found.url = [
            one
            for other in found.reached[1:]
            for node in _made(other)
            for one in values.origins(node, other)
        ]
    _sort(found)
    for name, given in required(found.reached, values, root).items():
        found.environment.setdefault(name, given)
    return found


def required(
    sources: Sequence[Source], values: Values, root: Path
) -> dict[str, tuple[str, Origin]]:
    """The variables without which modules can't be imported, and a value for each."""
    known = _dotenv(root)
    found: dict[str, tuple[str, Origin]] = {}
    for source in sources:
        for one in (*values.required_at_import(source), *values.settings(source)):
            if one.name not in known:
                found.setdefault(one.name, (_PLACEHOLDERS.get(one.type, "test"), one))
    return found


def _sort(found: EnvPy) -> None:
    """Put what the URL comes from where it belongs."""
    has_option = any(one.kind == "option" for one in found.url)
    for one in found.url:
        if one.kind == "variable" and one.form != "part":
            is_async = found.is_async if one.is_async is None else one.is_async
            whole = "{async_url}" if is_async else "{url}"
            value = "{path}" if one.form == "path" else whole
            found.environment.setdefault(one.name, (value, one))
        elif one.kind == "variable":
            found.parts.append(one)
    if not has_option and not found.environment:
        found.x = {one.name: one for one in found.url if one.kind == "x"}


def _given(source: Source) -> Iterator[ast.expr]:
    """What is given to an engine, or to ``sqlalchemy.url``, in ``env.py`` itself."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call):
            name = source.dotted(node.func).rpartition(".")[2] or getattr(node.func, "attr", "")
            texts = [getattr(arg, "value", None) for arg in node.args]
            if name in ("set_main_option", "set_section_option") and _URL in texts[:-1]:
                yield node.args[-1]
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Subscript) and _is_url(target.slice):
                    yield node.value
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if key is not None and _is_url(key):
                    yield value
    yield from _made(source)


def _made(source: Source) -> Iterator[ast.expr]:
    """The URLs of the engines that a file makes."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call):
            name = source.dotted(node.func).rpartition(".")[2]
            if name in ("create_engine", "create_async_engine"):
                yield from node.args[:1]
                yield from (word.value for word in node.keywords if word.arg == "url")


def _from_configuration(source: Source) -> bool:
    """Whether an engine is made from Alembic's configuration."""
    names = {
        source.dotted(node.func).rpartition(".")[2]
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call)
    }
    return bool(names & {"engine_from_config", "async_engine_from_config"})


def _is_url(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value == _URL


def _dotenv(root: Path) -> set[str]:
    """The variables that the project's .env file sets, which whoever reads settings finds."""
    try:
        return set(_ASSIGNMENT.findall((root / ".env").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return set()
