"""Mistakes that cosmic-ray does not make: something is left out, or a condition is not asked.

Each is an edit of the source at the place of a node.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from typing import NamedTuple

NOTHING = '__import__("contextlib").nullcontext()'
# Code that runs for types only, or never.
_TYPING = ("TYPE_CHECKING", "Protocol", "overload")


class Edit(NamedTuple):
    """Bytes of a source, from and to, and what stands there instead."""

    kind: str
    line: int
    start: int
    end: int
    text: str


class Source:
    """One module: where its nodes are in its bytes, and which lines do nothing when it runs."""

    def __init__(self, text: str):
        self.data = text.encode()
        self.tree = ast.parse(text)
        self._lines = [0]
        for line in self.data.splitlines(keepends=True):
            self._lines.append(self._lines[-1] + len(line))
        self._idle = list(_idle(self.tree))

    def edit(self, kind: str, node: ast.AST, text: str, until: ast.AST | None = None) -> Edit:
        """``text`` instead of a node, or of all from a node until the end of another."""
        last = until or node
        start = self._lines[node.lineno - 1] + node.col_offset
        return Edit(kind, node.lineno, start, self.at_end(last), text)

    def at_start(self, node: ast.AST) -> int:
        return self._lines[node.lineno - 1] + node.col_offset

    def at_end(self, node: ast.AST) -> int:
        return self._lines[node.end_lineno - 1] + node.end_col_offset

    def code(self, node: ast.AST) -> str:
        return self.data[self.at_start(node) : self.at_end(node)].decode()

    def is_idle(self, start: tuple[int, int], end: tuple[int, int]) -> bool:
        """Whether a place, as lines and columns, is an annotation or code for types only."""
        return any(first <= start and end <= last for first, last in self._idle)

    def apply(self, edit: Edit) -> str:
        return (self.data[: edit.start] + edit.text.encode() + self.data[edit.end :]).decode()


def edits(source: Source) -> Iterator[Edit]:
    """Every edit that this module makes; of some the result is not Python."""
    for node in ast.walk(source.tree):
        if not hasattr(node, "lineno") or source.is_idle(*_place(node)):
            continue
        yield from _edits_of(source, node)


def _edits_of(source: Source, node: ast.AST) -> Iterable[Edit]:
    match node:
        case ast.Expr(value=ast.Call() | ast.Await() | ast.Yield() | ast.YieldFrom()):
            # A generator without its yield is something else altogether.
            if not isinstance(node.value, ast.Yield | ast.YieldFrom):
                yield source.edit("statement", node, "pass")
        case ast.AugAssign() | ast.Raise() | ast.Delete():
            yield source.edit("statement", node, "pass")
        case ast.If() | ast.IfExp() | ast.While():
            for value in ("True", "False"):
                if not (isinstance(node, ast.While) and value == "True"):
                    yield source.edit("condition", node.test, value)
        case ast.With() | ast.AsyncWith():
            yield from _without_context(source, node)
        case ast.ExceptHandler(type=ast.Attribute() as caught):
            # Others are cosmic-ray's, or elements of a tuple.
            yield source.edit("exception", caught, "()")
        case ast.BoolOp():
            for value in node.values:
                yield from _without(source, "operand", node, node.values, value)
        case ast.List() | ast.Tuple() | ast.Set() if len(node.elts) > 1:
            if isinstance(getattr(node, "ctx", ast.Load()), ast.Load):
                for value in node.elts:
                    yield from _without(source, "element", node, node.elts, value)
        case ast.Call():
            for keyword in node.keywords:
                # That zip is strict is an assertion: nothing that is right can tell.
                if keyword.arg != "strict":
                    yield from _without(source, "argument", node, _given(node), keyword)
            if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Call):
                yield source.edit("call", node, source.code(node.func.value))


def _given(node: ast.Call) -> list[ast.AST]:
    return sorted([*node.args, *node.keywords], key=lambda each: (each.lineno, each.col_offset))


def _without(
    source: Source, kind: str, node: ast.AST, values: list[ast.AST], value: ast.AST
) -> Iterator[Edit]:
    """One of several that are separated by something, left out with what separates it."""
    at = values.index(value)
    if at + 1 < len(values):
        end, start = source.at_start(values[at + 1]), source.at_start(value)
    elif at:
        start, end = source.at_end(values[at - 1]), source.at_end(value)
        if isinstance(node, ast.Tuple) and len(values) == 2:
            yield Edit(kind, value.lineno, start, end, ",")
            return
    else:
        start, end = source.at_start(value), source.at_end(value)
    yield Edit(kind, value.lineno, start, end, "")


def _without_context(source: Source, node: ast.With | ast.AsyncWith) -> Iterator[Edit]:
    for item in node.items:
        if item.optional_vars is None:
            yield source.edit("context", item.context_expr, NOTHING)


def _place(node: ast.AST) -> tuple[tuple[int, int], tuple[int, int]]:
    return (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)


def _idle(tree: ast.AST) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    for node in ast.walk(tree):
        for name in ("annotation", "returns"):
            if isinstance(annotation := getattr(node, name, None), ast.AST):
                yield _place(annotation)
        # What pytest shows of a traceback.
        if isinstance(node, ast.Assign) and "__tracebackhide__" in ast.dump(node.targets[0]):
            yield _place(node)
        for decorator in getattr(node, "decorator_list", ()):
            # It is asked when somebody makes a class that lacks the method.
            if "abstractmethod" in ast.dump(decorator):
                yield (decorator.lineno, 0), (decorator.end_lineno + 1, 0)
        typed = [*getattr(node, "decorator_list", ()), *getattr(node, "bases", ())]
        if isinstance(node, ast.If):
            typed.append(node.test)
        if any(word in ast.dump(each) for each in typed for word in _TYPING):
            yield _place(node)
