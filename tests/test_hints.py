"""Every error says what to do next."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import alembic_snapshot.errors as errors

SOURCE = Path(__file__).parents[1] / "src"
# Inside the builder they only stop the project's code; what is told of them is the parent's error.
STOPS = {"GuardError": "builder/guard.py"}


def errors_made():
    """Where the library makes an error of its own."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                if name in errors.SnapshotError.kinds:
                    yield pytest.param(path, name, node, id=f"{path.name}:{node.lineno}")


@pytest.mark.parametrize(("path", "name", "node"), list(errors_made()))
def test_an_error_has_a_hint(path, name, node):
    if not path.as_posix().endswith(STOPS.get(name, "nowhere")):
        assert "hint" in {keyword.arg for keyword in node.keywords}
