"""The library's rooms: data goes one way, and only some rooms know some things."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
MODULES = sorted(SOURCE.rglob("*.py"))
# From the bottom up: a module imports only from the rows above its own.
ROWS = [
    ["errors"],
    ["settings", "inputs", "sqlite", "callsite", "places", "checks"],
    ["config", "observed"],
    ["history", "guard", "_watch"],
    ["layers"],
    ["store"],
    ["diff", "snapshot", "status", "schema"],
    ["child", "_stairs"],
    ["construct", "_builder"],
    ["build", "progress"],
    ["stairway"],
]


def imported(path):
    """What a module imports when it is imported itself: not in functions, not for types only."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def name_of(path):
    return path.relative_to(SOURCE).with_suffix("").as_posix().replace("/", ".")


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_the_builder_imports_alembic_and_nothing_warm_imports_sqlalchemy(path):
    heads = {name.partition(".")[0] for name in imported(path)}

    assert path.name in ("_builder.py", "_stairs.py") or not heads & {"alembic", "sqlalchemy"}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_the_library_never_imports_the_application(path):
    heads = {name.partition(".")[0] for name in imported(path)}

    assert not heads & {"core", "saas", "ecommerce"}


def test_data_goes_one_way():
    rows = {name: number for number, names in enumerate(ROWS) for name in names}
    for path in MODULES:
        own = rows.get(path.stem)
        if own is None:
            continue
        for name in imported(path):
            other = rows.get(name.removeprefix("alembic_snapshot."))
            if name.startswith("alembic_snapshot.") and name.count(".") == 1:
                assert other is not None, f"{path.stem} imports {name}, which is above it"
                assert other < own or path.stem == name, f"{path.stem} imports {name}"


def test_the_scripts_folder_is_no_package():
    assert not (ROOT / "alembic/__init__.py").exists()


def test_the_version_is_the_same_everywhere():
    import alembic_snapshot

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert alembic_snapshot.__version__ == project["version"]


def test_the_public_names_are_there():
    import alembic_snapshot

    assert sorted(alembic_snapshot.__all__) == alembic_snapshot.__all__
    for name in alembic_snapshot.__all__:
        assert getattr(alembic_snapshot, name).__doc__
