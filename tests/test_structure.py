"""The library's rooms: data goes one way, and only some rooms know some things."""

from __future__ import annotations

import ast
import graphlib
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
MODULES = sorted(SOURCE.rglob("*.py"))
# The rooms from the bottom up, and the rows of modules in each. A module imports only from rooms
# below its own, and in its room from rows that stand before its own, inside functions too. A room
# without a name in it is one module.
ROOMS = {
    "masking": [[""]],
    "lossy": [[""]],
    "errors": [[""]],
    "checks": [[""]],
    "tokens": [["changeset", "parts", "safe_sql"], ["token"]],
    "postgres.private": [
        ["binaries"],
        ["account", "folder"],
        ["acquire", "processes"],
        ["cluster"],
        ["supervisor"],
    ],
    "project": [
        ["variables"],
        [
            "env_files",
            "frames",
            "placeholders",
            "references",
            "remote",
            "sizes",
            "spelling",
            "toml_file",
            "unsupported",
        ],
        ["alembic_settings", "callsite", "places", "table"],
        ["config"],
        ["commands", "owner"],
    ],
    "key": [
        ["fields"],
        ["libraries", "parsing"],
        ["inputs"],
        ["history", "observed"],
        ["named", "private"],
        ["layers"],
    ],
    "database": [
        ["diff", "identity", "recording", "statements", "target", "unsent"],
        ["schema", "writers"],
        ["clone"],
        ["lasting"],
    ],
    "store": [["manifest"], ["archives", "code", "opened", "states"], ["store"]],
    "sqlite": [
        ["attaching", "clauses", "files", "sql", "stand_ins"],
        ["catalog"],
        ["diff", "schema"],
        ["database", "reset.connections"],
        ["replay"],
        ["clone", "received", "reset.interface", "store"],
        ["changeset"],
        ["reset.clones", "reset.rewind", "reset.rewrite"],
        ["backend"],
    ],
    "postgres": [
        [
            "connection",
            "particulars",
            "placeholder",
            "reset.changes",
            "reset.connections",
            "reset.keeping",
            "schema",
            "statements",
        ],
        ["catalog", "definitions", "server"],
        [
            "databases",
            "diff",
            "extensions",
            "memory",
            "pg_dump",
            "psql",
            "reset.log",
            "uncarried",
        ],
        ["database", "reset.pristine"],
        [
            "archive",
            "changeset",
            "frozen",
            "replay",
            "reset.database",
            "restorer",
            "room",
            "surroundings",
        ],
        ["pool", "restore", "store"],
        ["clone"],
        ["clones"],
        ["reset.clones"],
        ["backend"],
    ],
    "backend": [[""]],
    "remote": [
        ["packing", "signature"],
        ["record", "settings"],
        ["process", "transport"],
        ["exchange", "shared"],
        ["asked", "lease"],
        ["__main__"],
    ],
    "builder": [
        [
            "alembics",
            "app_context",
            "attributes",
            "frames",
            "lineage",
            "options",
            "patches",
            "pools",
            "protocol",
            "ran",
            "reach",
            "reads",
        ],
        [
            "alembic_config",
            "branches",
            "env_sql",
            "file_target",
            "own_sql",
            "record",
            "redirected",
            "server_guard",
            "values",
        ],
        ["held", "losses", "server_target", "sources", "unfinished"],
        ["registries"],
        ["target"],
        ["carried", "drift", "guard", "seeds", "stairway", "watch"],
        ["left"],
        ["env_runner"],
        ["upgrade"],
        ["failure"],
        ["__main__"],
    ],
    "build": [
        ["hints", "lookup", "progress", "stairway_cache", "waiting"],
        ["process"],
        ["sharing"],
        ["ancestors", "archiving", "handovers", "heads"],
        ["plan", "upgrade"],
        ["steps"],
        ["snapshot"],
        ["ensure"],
        ["stairway"],
    ],
    "discover": [
        ["layout", "sources"],
        ["names"],
        ["readers"],
        ["fallbacks"],
        ["values"],
        ["env_py", "flask", "makers"],
        ["lines"],
        ["choice"],
        ["proposal"],
    ],
    "cli": [
        [
            "console",
            "finding",
            "importable",
            "inside_pytest",
            "job_summary",
            "pyproject",
            "records",
        ],
        ["checking", "init", "options", "remote"],
        ["doctor", "opening", "snapshots", "stored"],
        ["commands"],
    ],
    "__main__": [[""]],
    "engines": [
        [
            "expected",
            "importing",
            "letters",
            "loops",
            "lost",
            "named",
            "nowhere",
            "threads",
            "turns",
            "untouched",
        ],
        ["factories", "held", "known", "notices", "uncommitted"],
        ["children", "strangers"],
        ["configured"],
        ["application", "child"],
        ["added", "redirect"],
        ["recorder"],
        ["events"],
    ],
    "plugin": [
        ["outside", "summary"],
        [
            "calls",
            "failures",
            "fakes",
            "marker",
            "reports",
            "returned",
            "table",
            "tokens",
            "traces",
            "written",
        ],
        ["clones", "declared", "kept"],
        ["endings", "reset"],
        ["database"],
        ["current"],
        ["session"],
        ["fixtures", "items", "probe"],
        ["async_fixtures", "checkpoints"],
    ],
}
ROWS = [
    [f"{room}.{name}".removesuffix(".") for name in row]
    for room, rows in ROOMS.items()
    for row in rows
]
# The builder's own half, which runs in a process that has Alembic and SQLAlchemy.
CHILD = tuple(
    f"alembic_snapshot.builder.{name}"
    for name in (
        "__main__",
        "alembic_config",
        "branches",
        "carried",
        "drift",
        "env_runner",
        "env_sql",
        "failure",
        "file_target",
        "lineage",
        "losses",
        "own_sql",
        "pools",
        "seeds",
        "server_target",
        "stairway",
        "target",
        "upgrade",
    )
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
    name = path.relative_to(SOURCE).with_suffix("").as_posix().replace("/", ".")
    # The one package with something in it.
    return name.removesuffix(".__init__") if name.startswith("pytest_") else name


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


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_the_plugin_knows_pytest(path):
    heads = {name.partition(".")[0] for name in imported(path)}

    is_plugin = ".plugin." in name_of(path) or name_of(path) == "pytest_alembic_snapshot"
    assert is_plugin or not heads & {"pytest", "_pytest"}


def test_the_private_server_could_be_a_package_of_its_own():
    known = {
        other
        for name, others in arrows().items()
        if ".postgres.private." in name
        for other in others
        if ".postgres.private." not in other
    }

    assert known == {"alembic_snapshot.errors"}


def test_the_general_room_names_no_kind_of_database():
    for path in (SOURCE / "alembic_snapshot/database").glob("*.py"):
        assert not any("sqlite" in name or "postgres" in name for name in imported(path))


def test_kinds_of_databases_have_files_of_the_same_names():
    kinds = (SOURCE / "alembic_snapshot" / kind for kind in ("sqlite", "postgres"))
    here, there = ({path.name for path in kind.glob("*.py")} for kind in kinds)

    names = (
        "backend",
        "catalog",
        "changeset",
        "clone",
        "database",
        "diff",
        "replay",
        "schema",
        "store",
    )
    same = {f"{name}.py" for name in names}
    assert here & there == same | {"__init__.py"}


def test_one_function_says_how_what_is_below_a_folder_begins():
    written = re.compile(r"\+ os\.sep|\{os\.sep\}")
    found = [path for path in MODULES if written.search(path.read_text())]

    assert found == []


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
