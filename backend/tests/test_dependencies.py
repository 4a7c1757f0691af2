"""Who imports whom, read from the source."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

BACKEND = Path(__file__).parents[1]
REVISIONS = BACKEND.parent / "alembic" / "versions"

COMPOSITION_ROOT = BACKEND / "core" / "composition.py"


def sources(package: str) -> list[Path]:
    return sorted((BACKEND / package).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def names(path: Path) -> Iterator[str]:
    """Every string in a file that is the dotted name of a module of ours."""
    for node in ast.walk(ast.parse(path.read_text())):
        text = node.value if isinstance(node, ast.Constant) else None
        if isinstance(text, str) and text.startswith(("saas.", "ecommerce.")):
            yield text


def top_levels(path: Path) -> set[str]:
    return {module.partition(".")[0] for module in imports(path)}


def test_there_is_something_to_read() -> None:
    assert len(sources("core")) > 20
    assert top_levels(BACKEND / "core" / "database.py") >= {"core", "sqlalchemy"}


def test_core_meets_saas_and_ecommerce_in_the_composition_root_alone() -> None:
    meeting = {path for path in sources("core") if top_levels(path) & {"saas", "ecommerce"}}

    assert meeting == {COMPOSITION_ROOT}


def test_core_names_them_nowhere_as_text() -> None:
    assert {path.name: [*names(path)] for path in sources("core") if any(names(path))} == {}


def test_the_composition_root_imports_nothing_of_ours_when_it_is_imported() -> None:
    body = ast.parse(COMPOSITION_ROOT.read_text()).body
    at_the_top = {node.module for node in body if isinstance(node, ast.ImportFrom)}

    assert at_the_top == {"collections.abc", "typing"}
    assert not [node for node in body if isinstance(node, ast.Import)]


def test_the_database_and_the_mappers_do_not_import_each_other() -> None:
    assert "core.mappers" not in set(imports(BACKEND / "core" / "database.py"))
    assert "core.database" not in set(imports(BACKEND / "core" / "mappers.py"))


def test_make_lint_types_the_application_strictly() -> None:
    settings = tomllib.loads((BACKEND.parent / "pyproject.toml").read_text())["tool"]["mypy"]
    lint = (BACKEND.parent / "Makefile").read_text().partition("\nlint:")[2].partition("\n\n")[0]

    assert settings["strict"]
    assert "backend" in settings["files"]
    assert "mypy" in lint


@pytest.mark.parametrize("package", ["core", "saas", "ecommerce"])
def test_the_application_does_not_know_how_it_is_tested(package: str) -> None:
    for path in sources(package):
        assert not top_levels(path) & {"pytest", "unittest", "alembic_snapshot"}, path


def test_revisions_do_not_depend_on_the_application() -> None:
    revisions = sorted(REVISIONS.glob("*.py"))

    assert len(revisions) >= 12
    for path in revisions:
        assert top_levels(path) <= {"alembic", "sqlalchemy"}, path


def test_the_migrations_do_not_shadow_the_library() -> None:
    assert not (REVISIONS.parent / "__init__.py").exists()
