"""G3: a compiled module of the project counts like any other, though nobody hears it being read."""

from __future__ import annotations

import importlib.util
import shutil
import textwrap
from pathlib import Path

import pytest

# Modules of Python's own that need no others.
NAMES = ("_bisect", "_heapq", "_random", "_struct")


# As loaders of plugins do it, without an import that could be heard.
BY_PATH = """import os, sys
from importlib.util import module_from_spec, spec_from_file_location
spec = spec_from_file_location("{name}", os.path.join(os.getcwd(), "nat" + "ive", "_" + "{file}"))
sys.modules[spec.name] = module_from_spec(spec)
spec.loader.exec_module(sys.modules[spec.name])
"""


@pytest.fixture
def compiled(project):
    """A compiled module in a package of the project: its path, and what imports it."""
    specs = (importlib.util.find_spec(name) for name in NAMES)
    found = [spec for spec in specs if spec and spec.origin and spec.origin.endswith(".so")]
    if not found:
        pytest.skip("this Python has its compiled modules built in")
    path = project.write("native/__init__.py", "").with_name(Path(found[0].origin).name)
    shutil.copy(found[0].origin, path)
    path.chmod(0o644)
    by_path = BY_PATH.format(name=f"elsewhere.{found[0].name}", file=path.name[1:])
    return path, {"a statement": f"import native.{found[0].name}", "its path": by_path}


@pytest.mark.parametrize("way", ["a statement", "its path"])
@pytest.mark.parametrize("whom", ["a revision", "a revision's function", "a seed"])
def test_a_compiled_module_is_compared(project, compiled, whom, way):
    path, ways = compiled
    statement = ways[way]
    project.revision(
        "0001",
        header=statement if whom == "a revision" else "",
        upgrade=statement + "\nop.execute('select 1')" if whom.endswith("function") else "",
    )
    if whom == "a seed":
        body = textwrap.indent(statement, "    ")
        project.write("seeds.py", f"def seed(connection):\n{body}\n")
        project.configure('seeds = ["seeds:seed"]')
    project.ensure()
    assert not project.ensure().built

    with path.open("ab") as file:
        file.write(b"\0")

    name = path.relative_to(project.root)
    assert project.look_up().reasons == (f"{name} changed (read while it ran)",)
