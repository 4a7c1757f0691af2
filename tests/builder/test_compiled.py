"""G3: a compiled module of the project counts like any other, though nobody hears it being read."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import textwrap
import types
from pathlib import Path

import pytest

from alembic_snapshot.builder.record import Record
from alembic_snapshot.key.observed import Reading

STDLIB = os.path.dirname(os.__file__)
# Compiled libraries that are known to read no files by themselves, by what they are for.
KNOWN = {
    "databases": "sqlalchemy greenlet psycopg_binary psycopg_c psycopg2 asyncpg",
    "models": "pydantic pydantic_core regex rpds zope wrapt",
    "the web": "markupsafe multidict yarl frozenlist propcache aiohttp httptools uvloop websockets",
    "formats": "orjson msgpack ujson simplejson yaml _yaml charset_normalizer",
    "secrets": "cryptography bcrypt argon2 _argon2_cffi_bindings _cffi_backend",
    "tools": "coverage psutil",
}


@pytest.fixture
def blind(project, monkeypatch):
    """Whether a module of that name, in that file, may read what nobody hears."""
    reading = Reading(project.load().spelling, (), "")

    def blind(name, file):
        module = types.ModuleType(name)
        module.__file__ = file
        monkeypatch.setitem(sys.modules, name, module)
        found = Record(reading, lambda path: None).seen(None, set())["blind"]
        return name.partition(".")[0] in found

    return blind


@pytest.mark.parametrize("name", " ".join(KNOWN.values()).split())
def test_a_library_that_reads_no_files_is_not_blind(blind, name):
    assert not blind(f"{name}.compiled", f"/site-packages/{name}/compiled.so")


@pytest.mark.parametrize("ending", ["so", "dylib", "pyd"])
def test_any_other_compiled_library_is_blind(blind, ending):
    assert blind("any_other.one", f"/site-packages/any_other/one.cpython.{ending}")
    # Where the environment is below Python's own library.
    assert blind("another", f"{STDLIB}/site-packages/another.{ending}")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("plain", "/site-packages/plain.py"),
        ("pythons_own", f"{STDLIB}/lib-dynload/pythons_own.so"),
        ("0123abcd__mypyc", "/site-packages/0123abcd__mypyc.so"),
        ("no_file", None),
    ],
)
def test_what_is_heard_is_not_blind(blind, name, file):
    assert not blind(name, file)


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
