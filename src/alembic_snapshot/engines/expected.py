"""Whether code of a test that caught an error of ours expected one, by its source.

``pytest.raises`` expects, and so does whatever names a class of ours; ``except Exception`` does
not.
"""

from __future__ import annotations

import ast
import functools
import linecache
from collections.abc import Iterator, Sequence
from contextlib import suppress
from types import FrameType
from typing import Any

from alembic_snapshot.errors import SnapshotError

_TESTING = ("_pytest", "pytest", "unittest")
_Function = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def is_expected(frame: FrameType, line: int, error: BaseException) -> bool:
    """Whether what catches an error that came to a line of a frame is there to expect it.

    Where nothing is found that does catch it, nothing expects it.
    """
    for statement in _around(frame.f_code.co_filename, line):
        found = (
            _of_context_managers(statement, frame, error)
            if isinstance(statement, ast.With | ast.AsyncWith)
            else _of_handlers(statement, frame, error)
        )
        if found is not None:
            return found
    return False


def _of_handlers(statement: Any, frame: FrameType, error: BaseException) -> bool | None:
    """Whether a ``try`` names a class of ours; None if it lets the error through."""
    for handler in statement.handlers:
        if handler.type is None:
            return False
        caught = _classes(_value(handler.type, frame))
        if any(isinstance(error, one) for one in caught):
            return _names_ours(caught, error)
    return None


def _of_context_managers(statement: Any, frame: FrameType, error: BaseException) -> bool | None:
    """Whether a ``with`` expects the error; None if it lets it through, or nobody knows."""
    for item in reversed(statement.items):
        expression = item.context_expr
        call = expression if isinstance(expression, ast.Call) else None
        value = _value(call.func if call else expression, frame)
        if _module(value).partition(".")[0] in _TESTING:
            return True
        if value is suppress and call is not None:
            caught = [one for each in call.args for one in _classes(_value(each, frame))]
            if any(isinstance(error, one) for one in caught):
                return _names_ours(caught, error)
    return None


def _names_ours(caught: Sequence[type], error: BaseException) -> bool:
    return any(issubclass(one, SnapshotError) and isinstance(error, one) for one in caught)


def _module(value: Any) -> str:
    """The module of a function or a class, or of a value's class."""
    module = getattr(value, "__module__", None)
    return module if isinstance(module, str) else type(value).__module__


def _classes(value: Any) -> list[type]:
    """The classes in a value, which may be a tuple of tuples."""
    if isinstance(value, tuple):
        return [one for each in value for one in _classes(each)]
    return [value] if isinstance(value, type) else []


def _value(node: ast.AST, frame: FrameType) -> Any:
    """What a name, or a tuple of names, stands for in a frame; None if that is not known."""
    if isinstance(node, ast.Tuple):
        return tuple(_value(one, frame) for one in node.elts)
    if isinstance(node, ast.Attribute):
        return getattr(_value(node.value, frame), node.attr, None)
    if isinstance(node, ast.Name):
        for names in (frame.f_locals, frame.f_globals, frame.f_builtins):
            if node.id in names:
                return names[node.id]
    return None


def _around(file: str, line: int) -> Iterator[Any]:
    """The ``try`` and ``with`` statements of a line's own function around it, innermost first."""
    within: list[ast.AST] = []
    nodes: list[ast.AST] = [_tree(file)]
    while nodes:
        node = nodes.pop()
        for child in ast.iter_child_nodes(node):
            first, last = getattr(child, "lineno", None), getattr(child, "end_lineno", None)
            if first is None:
                nodes.append(child)
            elif first <= line <= (last or first):
                within.append(child)
                nodes.append(child)
    for node in reversed(within):
        if isinstance(node, _Function):
            return
        body = getattr(node, "body", None)
        is_one = isinstance(node, ast.Try | ast.TryStar | ast.With | ast.AsyncWith)
        if is_one and body and body[0].lineno <= line <= (body[-1].end_lineno or line):
            yield node


@functools.lru_cache(maxsize=16)
def _tree(file: str) -> ast.AST:
    with suppress(SyntaxError, ValueError):
        return ast.parse("".join(linecache.getlines(file)))
    return ast.Module([], [])
