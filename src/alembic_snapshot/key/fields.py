"""The fields of a revision script, as its module would leave them, read without running it.

Statements are followed from the first to the last. A name has a known value while it is bound to a
literal, or to a name that was; whatever else may bind it makes it *computed*, from that line on.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

FIELDS = ("revision", "down_revision", "depends_on", "branch_labels")
# What reaches a module's names past its own statements.
_NAMESPACES = {"locals", "vars", "exec", "eval", "setattr", "delattr"}
_NAMESPACE_ATTRIBUTES = {"modules", "__dict__", "_getframe"}
# Where a node that binds a name has it, beside names themselves and imports.
_BINDING: Mapping[type[ast.AST], str] = {
    ast.FunctionDef: "name", ast.AsyncFunctionDef: "name", ast.ClassDef: "name",
    ast.ExceptHandler: "name", ast.MatchAs: "name", ast.MatchStar: "name", ast.MatchMapping: "rest",
}  # fmt: skip
# Their names are none of a revision's fields.
_LIBRARIES = ("alembic", "sqlalchemy")
_COMPUTED = object()


class _Bound(NamedTuple):
    """The value of a name, or ``_COMPUTED``, and the line that bound it."""

    value: Any
    line: int


def revision_fields(tree: ast.Module, nodes: Sequence[ast.AST]) -> dict[str, Any] | None:
    """The values of a revision's fields, as JSON; None if the module does not bind ``revision``.

    ``nodes`` are all that the tree has. ``computed`` has a pair of field and line for each whose
    value only a run can tell; ``wrong`` a field, line and value for each that Alembic can't take.
    """
    module = _Module(tree, nodes)
    bound = {name: module.names[name] for name in FIELDS if name in module.names}
    if "revision" not in bound:
        return None
    known = {name: it.value for name, it in bound.items() if _is_valid(name, it.value)}
    computed = [[name, it.line] for name, it in bound.items() if name not in known]
    plain = {n: sorted(v) if isinstance(v, set) else v for n, v in known.items()}
    wrong = [
        [name, it.line, repr(it.value)]
        for name, it in bound.items()
        if name not in known and it.value is not _COMPUTED
    ]
    return {**plain, "computed": computed} | ({"wrong": wrong} if wrong else {})


def _is_valid(field: str, value: Any) -> bool:
    if isinstance(value, str) or field == "revision":
        return isinstance(value, str)
    if isinstance(value, tuple | list | set):
        return all(isinstance(item, str) for item in value)
    return value is None


class _Module:
    """The names of a module, after its statements, and what each stands for."""

    def __init__(self, tree: ast.Module, nodes: Sequence[ast.AST]):
        self.names: dict[str, _Bound] = {}
        self._lazy: int | None = None
        # Functions that are called may bind these at any time.
        declared = (node for node in nodes if isinstance(node, ast.Global))
        self._declared = {name: node.lineno for node in declared for name in node.names}
        for node in tree.body:
            self._run(node)
        if self._lazy is not None:
            for name in FIELDS:
                self.names.setdefault(name, _Bound(_COMPUTED, self._lazy))
        self._look_inside(nodes)

    def _run(self, node: ast.stmt) -> None:
        """Take in one statement of the module."""
        pairs: list[tuple[ast.expr, ast.expr]] = []
        if isinstance(node, ast.Assign):
            pairs = [pair for target in node.targets for pair in _unpacked(target, node.value)]
        elif isinstance(node, ast.AnnAssign) and node.value:
            pairs = [(node.target, node.value)]
        is_shared = isinstance(node, ast.Assign) and len(node.targets) > 1
        values = [self._evaluated(value, is_shared=is_shared) for _, value in pairs]
        scope = list(_own_scope(node))
        if not isinstance(node, ast.AnnAssign) or node.value:
            self._forget(_bound_by(scope, node.lineno))
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            self._star(node)
        if _reaches_namespace(scope):
            self._anything(node.lineno)
        for (target, _), value in zip(pairs, values, strict=True):
            if isinstance(target, ast.Name):
                self.names[target.id] = _Bound(value, target.lineno)

    def _evaluated(self, node: ast.expr, *, is_shared: bool) -> Any:
        """The value of a literal, or of what names that are known make up."""
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name):
            known = self.names.get(node.id)
            if known is None or isinstance(known.value, list | set) or node.id in self._declared:
                return _COMPUTED
            return known.value
        if isinstance(node, ast.Tuple) or (isinstance(node, ast.List | ast.Set) and not is_shared):
            items = [self._evaluated(item, is_shared=True) for item in node.elts]
            if any(item is _COMPUTED for item in items):
                return _COMPUTED
            kind: Any = {ast.Tuple: tuple, ast.List: list, ast.Set: set}[type(node)]
            return kind(items)
        return _COMPUTED

    def _forget(self, bound: Iterable[tuple[str, int]]) -> None:
        for name, line in bound:
            self.names[name] = _Bound(_COMPUTED, line)
            if name == "__getattr__":
                self._lazy = line

    def _star(self, node: ast.ImportFrom) -> None:
        if node.level or str(node.module).partition(".")[0] not in _LIBRARIES:
            self._anything(node.lineno)
        else:
            constants = [name for name in self.names if name not in FIELDS]
            self._forget((name, node.lineno) for name in constants)

    def _anything(self, line: int) -> None:
        """Any name may be bound to anything in this line."""
        self._forget((name, line) for name in {*FIELDS, *self.names})

    def _look_inside(self, nodes: Iterable[ast.AST]) -> None:
        """Forget what functions may bind, or change in place, whenever they are called."""
        self._forget(self._declared.items())
        changeable = {n for n, it in self.names.items() if isinstance(it.value, list | set)}
        # Alembic's scripts for several databases look for their functions so.
        looked_up = {node.value.func for node in nodes if _looks_up(node)}  # type: ignore[attr-defined]
        for node in nodes:
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                if node.id in changeable:
                    self._forget([(node.id, node.lineno)])
                elif node in looked_up:
                    self._forget((name, node.lineno) for name in changeable)
                elif node.id == "globals":
                    self._anything(node.lineno)


def _looks_up(node: ast.AST) -> bool:
    """Whether it is ``globals()[…]``, which is read and not bound."""
    if not (isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load)):
        return False
    call = node.value
    return (
        isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "globals"
    )


def _unpacked(target: ast.expr, value: ast.expr) -> list[tuple[ast.expr, ast.expr]]:
    """``a, b = 1, 2`` as two assignments."""
    if isinstance(target, ast.Tuple | ast.List) and isinstance(value, ast.Tuple | ast.List):
        left, right = target.elts, value.elts
        if len(left) == len(right) and not any(isinstance(e, ast.Starred) for e in (*left, *right)):
            return [pair for both in zip(left, right, strict=True) for pair in _unpacked(*both)]
    return [(target, value)]


def _bound_by(scope: Iterable[ast.AST], line: int) -> Iterator[tuple[str, int]]:
    """The names that a statement, which begins in this line, binds or deletes, and where."""
    for node in scope:
        name = None
        if isinstance(node, ast.Name):
            name = None if isinstance(node.ctx, ast.Load) else node.id
        elif isinstance(node, ast.alias):
            name = node.asname or node.name.partition(".")[0]
        elif type(node) in _BINDING:
            name = getattr(node, _BINDING[type(node)])
        if name:
            yield name, getattr(node, "lineno", line)


def _own_scope(statement: ast.stmt) -> Iterator[ast.AST]:
    """The parts of a statement that run in its own scope, when it does."""
    waiting: list[ast.AST] = [statement]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.ClassDef):
            waiting += [*node.decorator_list, *node.bases, *node.keywords]
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            waiting += [*node.decorator_list, node.args]
        elif isinstance(node, ast.Lambda):
            waiting.append(node.args)
        elif isinstance(node, ast.comprehension):
            waiting += [node.iter, *node.ifs]
        else:
            waiting.extend(ast.iter_child_nodes(node))


def _reaches_namespace(scope: Iterable[ast.AST]) -> bool:
    """Whether something that runs with a statement may reach the module's names past it."""
    for node in scope:
        if isinstance(node, ast.Name) and node.id in _NAMESPACES:
            return True
        if isinstance(node, ast.Attribute) and node.attr in _NAMESPACE_ATTRIBUTES:
            return True
        if isinstance(node, ast.ClassDef) and any(
            _reaches_namespace(_own_scope(inner)) for inner in node.body
        ):
            return True
    return False
