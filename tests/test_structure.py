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
# From the bottom up: a module imports only from the rows above its own, inside functions too.
ROWS = [
    ["errors", "callsite", "places", "spelling", "databases", "references", "target", "checks"],
    ["diff", "schema", "progress", "settings", "clone", "job_summary"],
    ["config"],
    ["key.fields"],
    ["key.parsing"],
    ["key.inputs"],
    ["key.history", "key.observed"],
    ["key.layers"],
    ["manifest"],
    ["store"],
    ["climbs"],
    ["sqlite.attaching", "sqlite.diff"],
    ["sqlite.live", "sqlite.files"],
    ["sqlite.lasting"],
    ["sqlite.clone", "sqlite.reusable", "sqlite.rewindable", "sqlite.store"],
    ["sqlite.backend"],
    ["postgres.binaries", "postgres.schema"],
    ["postgres.account", "postgres.folder"],
    ["postgres.private", "postgres.processes", "postgres.stand_in", "postgres.diff"],
    ["postgres.cluster", "postgres.server"],
    ["postgres.supervisor", "postgres.client", "postgres.database", "postgres.memory"],
    ["postgres.pool", "postgres.store"],
    ["postgres.clone"],
    ["postgres.clones"],
    ["postgres.backend"],
    ["backend"],
    ["builder.alembic_config", "builder.options", "builder.patches", "builder.pools"],
    ["builder.ran", "builder.reach", "builder.sources", "builder.unfinished", "builder.drift"],
    ["builder.frames", "builder.redirected", "builder.seeds", "builder.reads", "builder.record"],
    ["builder.stairs", "builder.watch", "builder.server_guard"],
    ["builder.left", "builder.guard"],
    ["builder.upgrade"],
    ["builder.__main__"],
    ["builder.child", "status"],
    ["builder.heads", "builder.ways"],
    ["builder.construct", "upgrade"],
    ["snapshot"],
    ["build"],
    ["stairway"],
    ["cli"],
    ["__main__"],
    ["plugin.importing", "plugin.looping", "plugin.threads", "plugin.named", "plugin.notices"],
    ["plugin.clones", "plugin.summary", "plugin.kept", "plugin.factories", "plugin.known"],
    ["plugin.configured", "plugin.strangers"],
    ["plugin.engines"],
    ["plugin.redirect"],
    ["plugin.events", "plugin.reset"],
    ["plugin.lending"],
    ["plugin.runtime"],
    ["plugin.run"],
    ["plugin.items", "plugin.fixtures"],
    ["plugin.async_fixtures"],
]
# The builder's own half, which runs in a process that has Alembic and SQLAlchemy.
CHILD = tuple(
    f"alembic_snapshot.builder.{name}"
    for name in ("__main__", "upgrade", "stairs", "drift", "pools", "seeds", "alembic_config")
)


def imported(path, *, inside=True):
    """What a module imports, not for types only; without ``inside``, when it is imported itself."""
    return set(_imported(ast.parse(path.read_text()).body, inside=inside))


def _imported(nodes, *, inside):
    for node in nodes:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            yield from _imported(node.orelse, inside=inside)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif inside or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _imported(ast.iter_child_nodes(node), inside=inside)


def arrows():
    """Each module's imports of others, packages aside, which are empty."""
    everything = {name_of(path): path for path in MODULES}
    packages = {name.removesuffix(".__init__") for name in everything if name.endswith("__init__")}
    return {
        name: imported(path) & everything.keys() - packages - {name}
        for name, path in everything.items()
    }


def name_of(path):
    return path.relative_to(SOURCE).with_suffix("").as_posix().replace("/", ".")


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_the_builder_imports_alembic_and_nothing_warm_imports_sqlalchemy(path):
    heads = {name.partition(".")[0] for name in imported(path, inside=False)}
    anywhere = {name.partition(".")[0] for name in imported(path)}

    assert name_of(path) in CHILD or not heads & {"alembic", "sqlalchemy"}
    assert ".builder." in name_of(path) or "alembic" not in anywhere


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_the_library_never_imports_the_application(path):
    heads = {name.partition(".")[0] for name in imported(path)}

    assert not heads & {"core", "saas", "ecommerce"}


def test_every_module_has_its_row():
    listed = [f"alembic_snapshot.{name}" for names in ROWS for name in names]
    there = [name_of(path) for path in MODULES if path.name != "__init__.py"]

    assert sorted(listed) == sorted(set(there) - {"pytest_alembic_snapshot"})


def test_data_goes_one_way():
    rows = {f"alembic_snapshot.{name}": row for row, names in enumerate(ROWS) for name in names}
    up = [
        f"{name} imports {other}"
        for name, others in arrows().items()
        for other in others
        if name in rows and rows.get(other, len(ROWS)) >= rows[name]
    ]

    assert not up


def test_no_two_modules_import_each_other_and_none_imports_the_plugin():
    graph = arrows()

    tuple(graphlib.TopologicalSorter(graph).static_order())
    assert not any("pytest_alembic_snapshot" in names for names in graph.values())


def test_only_the_seam_asks_which_kind_of_database_a_project_has():
    asking = [
        f"{name_of(path)} line {node.lineno}"
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Compare)
        and any(isinstance(e, ast.Attribute) and e.attr == "backend" for e in _sides(node))
        and any(isinstance(e, ast.Constant | ast.Tuple) for e in _sides(node))
    ]

    assert [line.partition(" ")[0] for line in asking] == ["alembic_snapshot.backend"]


def _sides(node):
    return [node.left, *node.comparators]


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
