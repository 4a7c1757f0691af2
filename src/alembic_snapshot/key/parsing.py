"""What reading one Python file tells, without running it: imports, file names, a revision's fields.

Imported only when there is a file that no earlier run has parsed.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

_FILE_NAME = re.compile(r"[\w\-. /+@]{1,200}")


def parse(source: bytes) -> list[Any]:
    """What one file's source tells, as :class:`~alembic_snapshot.key.inputs.Facts` takes it."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        return [[], [], None, f"line {line}: {getattr(error, 'msg', error)}"]
    imports: dict[str, set[str]] = {}
    names: set[str] = set()
    for node in ast.walk(tree):
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
    return [listed, sorted(names), _revision_fields(tree), None]


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


_FIELDS = ("revision", "down_revision", "depends_on", "branch_labels")


def _revision_fields(tree: ast.Module) -> dict[str, Any] | None:
    """The literal values that make a file a revision; ``{"dynamic": True}`` if one is computed."""
    found: dict[str, Any] = {}
    for name, value in _bindings(tree):
        try:
            literal = ast.literal_eval(value) if value else None
        except ValueError:
            value = None
        if value is None:
            return {"dynamic": True}
        found[name] = sorted(literal) if isinstance(literal, set) else literal
    return found if "revision" in found else None


def _bindings(tree: ast.Module) -> Iterator[tuple[str, ast.expr | None]]:
    """What a module binds a revision's fields to; None where it is not a plain assignment."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        pairs: list[tuple[ast.AST, ast.expr | None]] = [(node, None)]
        if isinstance(node, ast.Assign):
            pairs = [pair for target in node.targets for pair in _unpacked(target, node.value)]
        elif isinstance(node, ast.AnnAssign):
            pairs = [(node.target, node.value)] if node.value else []
        for target, value in pairs:
            for name in _bound(target):
                yield name, value if isinstance(target, ast.Name) else None


def _unpacked(target: ast.expr, value: ast.expr) -> list[tuple[ast.AST, ast.expr | None]]:
    """``a, b = 1, 2`` as two assignments."""
    sides = (target, value)
    if all(isinstance(side, ast.Tuple | ast.List) for side in sides):
        left, right = (side.elts for side in sides)  # type: ignore[attr-defined]
        if len(left) == len(right) and not any(isinstance(e, ast.Starred) for e in (*left, *right)):
            return [pair for both in zip(left, right, strict=True) for pair in _unpacked(*both)]
    return [(target, value)]


def _bound(node: ast.AST) -> Iterator[str]:
    """The fields of a revision that a statement or a target binds."""
    for part in ast.walk(node):
        name = None
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
            name = part.id
        elif isinstance(part, ast.alias):
            name = part.asname or part.name
        if name in _FIELDS:
            yield name
