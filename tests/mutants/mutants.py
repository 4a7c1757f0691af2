"""All mutants of a module: cosmic-ray's operators, and what is left out."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cosmic_ray.plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code

from .left_out import Edit, Source, edits

# Of each operator's replacements the one that is hardest to notice.
OPERATORS = (
    "BinaryOperator_Add_Sub",
    "BinaryOperator_Sub_Add",
    "BinaryOperator_Mul_Div",
    "BinaryOperator_Div_Mul",
    "BinaryOperator_FloorDiv_Mul",
    "BinaryOperator_Mod_Mul",
    "BinaryOperator_BitOr_BitAnd",
    "BinaryOperator_BitAnd_BitOr",
    "ComparisonOperator_Eq_NotEq",
    "ComparisonOperator_NotEq_Eq",
    "ComparisonOperator_Lt_LtE",
    "ComparisonOperator_LtE_Lt",
    "ComparisonOperator_Gt_GtE",
    "ComparisonOperator_GtE_Gt",
    "ComparisonOperator_Is_IsNot",
    "ComparisonOperator_IsNot_Is",
    "UnaryOperator_Delete_Not",
    "UnaryOperator_Delete_USub",
)
CORE = (
    *(f"core/Replace{name}" for name in OPERATORS),
    "core/ReplaceTrueWithFalse",
    "core/ReplaceFalseWithTrue",
    "core/ReplaceAndWithOr",
    "core/ReplaceOrWithAnd",
    "core/ReplaceBreakWithContinue",
    "core/ReplaceContinueWithBreak",
    "core/ExceptionReplacer",
    "core/NumberReplacer",
    "core/RemoveDecorator",
    "core/ZeroIterationForLoop",
)


@dataclass(frozen=True)
class Mutant:
    """One mistake in one module; ``occurrence`` is the operator's, or an edit."""

    path: str
    kind: str
    line: int
    last: int
    occurrence: int | Edit

    def code(self, text: str) -> str:
        """The module with the mistake in it."""
        if isinstance(self.occurrence, Edit):
            return Source(text).apply(self.occurrence)
        mutated = mutate_code(text, _operator(self.kind), self.occurrence)
        assert mutated is not None
        return mutated

    def is_python(self, text: str) -> bool:
        """Whether the mistake leaves a module that can be compiled."""
        try:
            compile(self.code(text), self.path, "exec")
        except (SyntaxError, AttributeError):
            # Of exceptions with a dot in their names, cosmic-ray takes the dot for the name.
            return False
        return True

    def lines(self, text: str) -> tuple[str, str]:
        """The lines that differ, before and after, without their indentation."""
        diff = list(difflib.ndiff(text.splitlines(), self.code(text).splitlines()))
        before, after = ([line[2:].strip() for line in diff if line[:2] == sign] for sign in _SIGNS)
        return "\n".join(before), "\n".join(after)


_SIGNS = ("- ", "+ ")


def mutants(root: Path, path: str) -> Iterator[Mutant]:
    """Every mutant of the module at ``path`` below ``root``."""
    text = (root / path).read_text(encoding="utf-8")
    source = Source(text)
    nodes = list(ast_nodes(get_ast(text)))
    for name in CORE:
        operator = _operator(name)
        places = ((node, p) for node in nodes for p in operator.mutation_positions(node))
        for occurrence, (node, (start, end)) in enumerate(places):
            # The star before parameters that are given by name is no product.
            is_star = node.parent is not None and node.parent.type in ("parameters", "lambdef")
            if not is_star and not source.is_idle(start, end):
                yield Mutant(path, name, start[0], end[0], occurrence)
    for edit in edits(source):
        last = edit.line + source.data[edit.start : edit.end].count(b"\n")
        yield Mutant(path, edit.kind, edit.line, last, edit)


def _operator(name: str):
    operator = cosmic_ray.plugins.get_operator(name)
    assert not inspect.isabstract(operator)
    return operator()
