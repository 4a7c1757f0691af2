"""G3: of every way to import a module and to name a file, the key has what the code really uses."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from alembic_snapshot import ScriptError
from alembic_snapshot.key.inputs import content_digest

# How a module of the project may import another one, and one of a package its neighbours.
IMPORTS = [
    "import top",
    "import top as other",
    "import pkg",
    "import pkg.data",
    "import pkg.data as d",
    "import pkg.sub.leaf",
    "import top, pkg.data",
    "from top import X",
    "from pkg import data",
    "from pkg import data as d",
    "from pkg import X, data",
    "from pkg import (\n    sub,\n    data,\n)",
    "from pkg.data import X",
    "from pkg.sub import leaf",
    "from pkg.sub.leaf import X",
    "import bare.mod",
    "from bare import mod",
    "from bare.deep import leaf",
    "from bare.deep.leaf import X",
    "if True:\n    from pkg import data",
    "try:\n    import nowhere\nexcept ImportError:\n    from pkg import data",
    "def f():\n    from pkg.sub import leaf\nf()",
    "class A:\n    from pkg import data",
    "import importlib\nimportlib.import_module('pkg.data')",
    "from importlib import import_module\nimport_module('pkg.sub.leaf')",
    "__import__('pkg.data')",
]
INSIDE = [
    "from . import data",
    "from . import data as d",
    "from . import X, data",
    "from .data import X",
    "from . import sub",
    "from .sub import leaf",
    "from .sub.leaf import X",
    "import pkg.data",
    "from pkg import data",
]
DEEPER = [
    "from .. import data",
    "from ..data import X",
    "from . import leaf",
    "from .leaf import X",
]
FILES = (
    "lib/top.py",
    # The module comes before a folder of its name.
    "lib/top/leaf.py",
    "lib/pkg/__init__.py",
    "lib/pkg/data.py",
    "lib/pkg/sub/__init__.py",
    "lib/pkg/sub/leaf.py",
    "lib/bare/mod.py",
    "lib/bare/deep/leaf.py",
)
# Where the import stands, the module that has it, and how the seed's module comes by that.
PLACES = [
    *(("lib/way.py", "", statement) for statement in IMPORTS),
    *(("lib/pkg/way.py", "import pkg.way", statement) for statement in INSIDE),
    *(("lib/pkg/sub/way.py", "import pkg.sub.way", statement) for statement in DEEPER),
]
IMPORTED = """
import json, sys
sys.path.insert(0, "lib")
import way
print(json.dumps([m.__file__ for m in list(sys.modules.values()) if getattr(m, "__file__", 0)]))
"""
WHOM = {
    "a revision": ("", "import way"),
    "a seed": ('seeds = ["way:make"]', ""),
    "migrate": ('migrate = "way:make"', ""),
}


def lay(project, path="lib/way.py", through="", statement=""):
    """The modules, one of which has the statement; ``way`` imports it all."""
    for name in FILES:
        project.write(name, "X = 1\n")
    project.write("lib/way.py", f"{through}\ndef make(anything): ...\n")
    if path == "lib/way.py":
        project.append(path, statement + "\n")
    else:
        project.write(path, statement + "\n")


def counting(project):
    """The files whose change is another key."""
    before, found = project.key(), []
    for name in FILES:
        text = (project.root / name).read_text()
        project.append(name, "# changed\n")
        if project.key() != before:
            found.append(name)
        (project.root / name).write_text(text)
    return found


@pytest.mark.parametrize(("path", "through", "statement"), PLACES)
def test_what_is_imported_counts_and_nothing_else(project, path, through, statement):
    lay(project, path, through, statement)
    command = [sys.executable, "-c", IMPORTED]
    told = subprocess.run(command, cwd=project.root, capture_output=True, text=True, check=True)
    used = {name for name in FILES if str(project.root / name) in json.loads(told.stdout)}

    for table, header in WHOM.values():
        project.configure(f'pythonpath = ["lib"]\n{table}')
        project.revision("0001", header=header)

        assert set(counting(project)) == used


@pytest.mark.parametrize("setting", ['seeds = ["{}"]', 'migrate = "{}"'])
@pytest.mark.parametrize(
    ("module", "used"),
    [
        ("pkg.sub.leaf", {"lib/pkg/__init__.py", "lib/pkg/sub/__init__.py", "lib/pkg/sub/leaf.py"}),
        ("pkg.sub", {"lib/pkg/__init__.py", "lib/pkg/sub/__init__.py"}),
        ("pkg", {"lib/pkg/__init__.py"}),
        ("bare.deep.leaf", {"lib/bare/deep/leaf.py"}),
    ],
)
def test_a_reference_counts_with_the_packages_around_it(project, setting, module, used):
    lay(project)
    project.revision("0001")
    project.configure('pythonpath = ["lib"]\n' + setting.format(f"{module}:make"))

    assert set(counting(project)) == used


def test_what_a_package_around_a_reference_imports_counts(project):
    lay(project)
    project.append("lib/pkg/__init__.py", "import top\n")
    project.revision("0001")
    project.configure('pythonpath = ["lib"]\nseeds = ["pkg.data:make"]')

    assert set(counting(project)) == {"lib/pkg/__init__.py", "lib/pkg/data.py", "lib/top.py"}


@pytest.mark.parametrize(
    ("spelled", "file"),
    [
        ("rates.csv", "lib/rates.csv"),
        ("./rates.csv", "lib/rates.csv"),
        ("data/rates.csv", "lib/data/rates.csv"),
        ("data/../rates.csv", "lib/rates.csv"),
        ("../rates.csv", "rates.csv"),
        ("../data/rates.csv", "data/rates.csv"),
        ("data/rates", "lib/data/rates"),
        (".rates", "lib/.rates"),
        ("a b.csv", "lib/a b.csv"),
        ("rates.csv", "rates.csv"),
        ("./rates.csv", "rates.csv"),
        ("data/rates.csv", "data/rates.csv"),
        ("lib/data/rates.csv", "lib/data/rates.csv"),
    ],
)
@pytest.mark.parametrize("whom", WHOM)
def test_a_file_that_a_constant_names_counts(project, whom, spelled, file):
    table, header = WHOM[whom]
    lay(project, statement=f"NAME = {spelled!r}")
    project.configure(f'pythonpath = ["lib"]\n{table}')
    project.revision("0001", header=header)
    for name in ("lib/data/other.csv", "data/other.csv", "other.csv", file):
        project.write(name, "1\n")
    before = project.key()

    project.write("other.csv", "2\n")
    other = project.key()
    project.write(file, "2\n")

    assert other == before != project.key()


@pytest.mark.parametrize("name", ["dev.db", "app.log", "data/x.sqlite3", "top.py", "data/"])
@pytest.mark.parametrize("whom", WHOM)
def test_what_no_code_reads_does_not_count_although_a_constant_names_it(project, whom, name):
    table, header = WHOM[whom]
    lay(project, statement=f"NAME = {name!r}")
    project.configure(f'pythonpath = ["lib"]\n{table}')
    project.revision("0001", header=header)
    without = project.key()
    path = project.write(f"lib/{name}x" if name.endswith("/") else f"lib/{name}", "X = 1\n")
    before = project.key()

    path.write_text("X = 2\n")

    assert project.key() == before == without


@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
def test_line_endings_of_text_do_not_count_and_bytes_of_anything_else_do(ending):
    assert content_digest(b"a" + ending + b"b" + ending) == content_digest(b"a\nb\n")
    assert content_digest(b"a\rb") != content_digest(b"a\nb")
    assert content_digest(b"\0a\r\n") != content_digest(b"\0a\n")


@pytest.mark.parametrize("field", ["down", "depends_on"])
@pytest.mark.parametrize("names", ["the beginnings of ids", "a label"])
def test_a_parent_that_may_be_either_of_two_revisions_is_an_error(project, field, names):
    labels = ("billing",) if names == "a label" else ()
    project.revision("abc1", branch_labels=labels)
    project.revision("abc2", branch_labels=labels)
    parent = "billing" if labels else "abc"
    project.revision("b", **{field: parent})

    with pytest.raises(ScriptError, match=f"revision '{parent}', which abc1 and abc2 match"):
        project.key()


@pytest.mark.parametrize("order", ["versions:linked", "linked:versions"])
@pytest.mark.parametrize("recursive", ["true", "false"])
def test_a_version_location_that_is_there_by_a_link_too_is_one(project, tables, order, recursive):
    project.history(2)
    (project.root / "migrations/linked").symlink_to(project.versions)
    places = ":".join(f"%(here)s/migrations/{name}" for name in order.split(":"))
    project.write(
        "alembic.ini",
        f"[alembic]\nscript_location = %(here)s/migrations\npath_separator = os\n"
        f"recursive_version_locations = {recursive}\nversion_locations = {places}\n",
    )

    assert project.chain().heads == ("0002",)
    assert {"t_0001", "t_0002"} <= set(tables(project.ensure().path))


def test_a_file_that_is_named_is_not_read_as_a_module_of_the_project(project):
    lay(project)
    project.configure('pythonpath = ["lib"]')
    project.write("migrations/versions/rows.txt", "import top\n")
    script = project.revision("0001", header="NAME, FOLDER = 'rows.txt', 'lib/pkg'")
    before = project.key()

    layer = project.chain().revisions["0001"]
    assert {project.root / name for name in layer.inputs} == {script}
    assert {project.root / name for name in layer.named_files} == {script.with_name("rows.txt")}
    assert counting(project) == []
    project.append("migrations/versions/rows.txt", "import pkg\n")
    assert project.key() != before
