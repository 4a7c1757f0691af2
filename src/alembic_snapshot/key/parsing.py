"""Reads one Python file without running it: imports, file names, a revision's fields.

Imported only when there is a file that no earlier run has parsed.
"""

from __future__ import annotations

import ast
import re
from typing import Any

from alembic_snapshot.key.fields import revision_fields

_FILE_NAME = re.compile(r"[\w\-. /+@]{1,200}")


def parse(source: bytes) -> list[Any]:
    """The arguments of :class:`~alembic_snapshot.key.inputs.Facts`, from one file's source."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None)
        return [[], [], None, f"line {line}: {getattr(error, 'msg', error)}"]
    imports: dict[str, set[str]] = {}
    names: set[str] = set()
    nodes = list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                imports.setdefault(alias.name, set())
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            imports.setdefault(module, set()).update(alias.name for alias in node.names)
        elif isinstance(node, ast.Call):
            dynamic = _dynamic_import(node)
            if dynamic:
                imports.setdefault(dynamic, set())
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.update([node.value] if _may_be_a_file(node.value) else [])
    listed = [(module, sorted(taken)) for module, taken in sorted(imports.items())]
    return [listed, sorted(names), revision_fields(tree, nodes), None]


def _may_be_a_file(text: str) -> bool:
    if not _FILE_NAME.fullmatch(text):
        return False
    last = text.rpartition("/")[2]
    # A dot at the end is a sentence's; one at the beginning is that of a name such as .env.
    return ("." in last[:-1] and bool(last.strip("."))) or "/" in text.strip("/")


def _dynamic_import(node: ast.Call) -> str | None:
    """The module in ``import_module("a.b")`` or ``__import__("a.b")``."""
    function = node.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if name in ("import_module", "__import__") and node.args:
        first = node.args[0]
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            return first.value if not first.value.startswith(".") else None
    return None
