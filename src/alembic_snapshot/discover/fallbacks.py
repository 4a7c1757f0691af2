"""Whether a module does without a variable that it reads: by a condition on it, or an error."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator

from alembic_snapshot.discover.names import Names, Place
from alembic_snapshot.discover.readers import Readers
from alembic_snapshot.discover.sources import Source

# What is caught where a variable is missing, and what ends the process instead.
_CAUGHT = {"KeyError", "LookupError", "Exception", "BaseException"}
_EXITS = {"exit", "quit", "_exit", "abort"}


class Fallbacks:
    """What one module does where a variable is missing."""

    def __init__(self, source: Source, names: Names, readers: Readers):
        self._place = Place(source)
        self._names = names
        self._readers = readers

    def covers(self, node: ast.expr, variable: str) -> bool:
        """Whether an expression that reads a variable is reached only if it is there, or caught."""
        pairs = self._upwards(node)
        if any(self._guards(above, below, variable) for above, below in pairs):
            return True
        return any(line < node.lineno for line in self._lines_setting(variable))

    @functools.cached_property
    def _parents(self) -> dict[ast.AST, ast.AST]:
        nodes = ast.walk(self._place.source.tree)
        return {child: node for node in nodes for child in ast.iter_child_nodes(node)}

    def _upwards(self, node: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
        """Each node around one, and the child of it that leads there."""
        while node in self._parents:
            yield self._parents[node], node
            node = self._parents[node]

    def _guards(self, above: ast.AST, below: ast.AST, variable: str) -> bool:
        match above:
            case ast.IfExp():
                return below is not above.test and self._asks(above.test, variable)
            case ast.If():
                others = above.orelse if below in above.body else above.body
                is_inside = below is not above.test and self._asks(above.test, variable)
                return is_inside and not _ends(others)
            case ast.BoolOp():
                before = above.values[: above.values.index(below)]  # type: ignore[arg-type]
                return any(self._asks(value, variable) for value in before)
            case ast.Try():
                return below in above.body and any(map(_goes_on, above.handlers))
            case ast.With():
                return any(_suppresses(item.context_expr) for item in above.items)
        return False

    def _asks(self, test: ast.expr, variable: str) -> bool:
        """Whether a condition is about the variable, by itself or by a name that is."""
        values = [test]
        for node in ast.walk(test):
            if isinstance(node, ast.Name):
                values += [value for value, _ in self._names.meanings(node, self._place)]
        return any(
            isinstance(node, ast.expr) and self._is_about(node, variable)
            for value in values
            for node in ast.walk(value)
        )

    def _is_about(self, node: ast.expr, variable: str) -> bool:
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In | ast.NotIn):
            inside = node.comparators[0]
            if isinstance(inside, ast.Call) and isinstance(inside.func, ast.Attribute):
                # Its keys().
                inside = inside.func.value
            is_named = variable in self._names.texts(node.left, self._place)
            return is_named and self._readers.is_environ(inside, self._place)
        origins = self._readers.read(node, self._place) or ()
        return any((one.kind, one.name) == ("variable", variable) for one in origins)

    def _lines_setting(self, variable: str) -> Iterator[int]:
        """The lines in which the module sets the variable, always or if it is missing."""
        for node in ast.walk(self._place.source.tree):
            sets = isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                sets = node.func.attr == "setdefault"
            if (
                sets
                and isinstance(node, ast.expr)
                and node not in self._place.source.owners
                and self._is_about(node, variable)
            ):
                yield node.lineno


def _goes_on(handler: ast.ExceptHandler) -> bool:
    """Whether a handler takes a missing variable for no error."""
    is_all = handler.type is None
    return (is_all or _names_of(handler.type) & _CAUGHT != set()) and not _ends(handler.body)


def _suppresses(call: ast.expr) -> bool:
    is_suppress = isinstance(call, ast.Call) and "suppress" in _names_of(call.func)
    return is_suppress and _names_of(call) & _CAUGHT != set()


def _ends(body: list[ast.stmt]) -> bool:
    """Whether statements raise an error or end the process."""
    nodes = [node for statement in body for node in ast.walk(statement)]
    calls = [node.func for node in nodes if isinstance(node, ast.Call)]
    return any(isinstance(node, ast.Raise) for node in nodes) or any(
        _names_of(function) & _EXITS for function in calls
    )


def _names_of(node: ast.AST | None) -> set[str]:
    nodes = list(ast.walk(node)) if node is not None else []
    names = {one.id for one in nodes if isinstance(one, ast.Name)}
    return names | {one.attr for one in nodes if isinstance(one, ast.Attribute)}
