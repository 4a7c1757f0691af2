"""The library's rooms: data goes one way, and only some rooms know some things."""

from __future__ import annotations

import ast
import graphlib
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
MODULES = sorted(SOURCE.rglob("*.py"))
# From the bottom up: a module imports only from the rows above its own.
ROWS = [
    ["errors", "callsite", "places", "spelling", "key.fields", "builder.patches"],
    ["databases", "references", "sqlite.attaching"],
    ["builder.options", "builder.redirected", "builder.sources", "builder.frames"],
    ["builder.alembic_config"],
    ["settings", "key.inputs", "target", "checks", "builder.schema", "postgres.binaries"],
    ["config", "diff", "sqlite.files", "postgres.account", "postgres.server"],
    ["builder.ran", "builder.unfinished", "key.parsing"],
    ["builder.seeds", "key.observed", "sqlite.diff"],
    ["postgres.database", "postgres.memory", "postgres.schema"],
    ["key.history", "builder.guard", "builder.server_guard", "builder.reads", "postgres.pool"],
    ["key.layers", "postgres.diff", "builder.record"],
    ["manifest", "builder.pools", "builder.watch"],
    ["store", "builder.left"],
    ["sqlite.store", "postgres.store"],
    ["stores"],
    ["snapshot", "status"],
    ["builder.child", "builder.drift"],
    ["builder.ways", "builder.stairs", "builder.heads"],
    ["builder.construct", "builder.upgrade"],
    ["builder.__main__"],
    ["build", "climbs", "progress"],
    ["stairway"],
]
CHILD = tuple(
    f"alembic_snapshot.builder.{name}"
    for name in ("__main__", "upgrade", "stairs", "drift", "pools", "seeds", "alembic_config")
)


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

    assert name_of(path) in CHILD or not heads & {"alembic", "sqlalchemy"}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_the_library_never_imports_the_application(path):
    heads = {name.partition(".")[0] for name in imported(path)}

    assert not heads & {"core", "saas", "ecommerce"}


def test_data_goes_one_way():
    rows = {f"alembic_snapshot.{name}": row for row, names in enumerate(ROWS) for name in names}
    everything = {name_of(path) for path in MODULES}
    for path in MODULES:
        own = rows.get(name_of(path))
        for name in imported(path) & everything if own is not None else ():
            assert name in rows, f"{name_of(path)} imports {name}, which is above it"
            assert rows[name] < own, f"{name_of(path)} imports {name}"


def test_no_two_modules_import_each_other_and_none_imports_the_plugin():
    everything = {name_of(path) for path in MODULES}
    graph = {name_of(path): imported(path) & everything - {name_of(path)} for path in MODULES}

    tuple(graphlib.TopologicalSorter(graph).static_order())
    assert not any("pytest_alembic_snapshot" in names for names in graph.values())


def test_the_library_below_the_plugin_does_not_know_its_rooms():
    below = [path for path in MODULES if "pytest" not in name_of(path)]
    for path in below:
        if ".plugin." not in name_of(path):
            assert "alembic_snapshot.plugin" not in path.read_text()


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
