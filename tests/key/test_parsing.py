"""What is read of one Python file: what it imports, which texts may name a file, what is wrong."""

from __future__ import annotations

import pytest

from alembic_snapshot.key.parsing import parse

IMPORTS = {
    "import a.b, c\nimport a.b": [("a.b", []), ("c", [])],
    "from a import z, y\nfrom a import x": [("a", ["x", "y", "z"])],
    "from . import a": [(".", ["a"])],
    "from ..a.b import c": [("..a.b", ["c"])],
    "import a\nfrom a import b": [("a", ["b"])],
    "importlib.import_module('a.b')": [("a.b", [])],
    "import_module('a')\nimport_module('b', package='c')": [("a", []), ("b", [])],
    "import_module('a', 'b')": [("a", [])],
    "__import__('a')": [("a", [])],
    "builtins.__import__('a')": [("a", [])],
    "import_module('.a', 'b')": [],
    "import_module(name)": [],
    "import_module()": [],
    "import_module(name='a')": [],
    "import_module(7)": [],
    "import_module(b'a')": [],
    "other('a')": [],
    "calls()('a')": [],
    "other.module('a')": [],
}
NAMES = {
    "rows.csv": True,
    "data/rows": True,
    "a b/c@d+e-f.txt": True,
    "../rows.csv": True,
    ".env": True,
    "a/.env": True,
    "ä.csv": True,
    "rows": False,
    "A sentence.": False,
    "folder/": False,
    "/": False,
    ".": False,
    "..": False,
    "...": False,
    "a/...": True,
    "": False,
    "a:b.csv": False,
    "a.b\n": False,
    "%s.csv": False,
    f"{'a' * 196}.csv": True,
    f"{'a' * 197}.csv": False,
}


@pytest.mark.parametrize("source", IMPORTS)
def test_imports_are_told_with_what_is_taken(source):
    imports, names, revision, error = parse(source.encode())

    assert imports == IMPORTS[source]
    assert set(names) <= {"a.b", ".a"}
    assert revision is error is None


@pytest.mark.parametrize("name", NAMES)
def test_texts_that_may_name_a_file_are_told(name):
    _, names, _, _ = parse(f"X = {name!r}\nY = b'rows.csv'\nZ = {name!r}".encode())

    assert names == ([name] if NAMES[name] else [])


def test_texts_are_told_in_one_order_wherever_they_stand():
    source = "def f(x='c.csv'):\n    'a.csv'\n    return [f'{x}', 'b.csv']\n"

    assert parse(source.encode()) == [[], ["a.csv", "b.csv", "c.csv"], None, None]


@pytest.mark.parametrize(
    ("source", "error"),
    [
        (b"x = 1\ny = (\n", "line 2: '(' was never closed"),
        (b"# coding: nowhere\n", "line 0: unknown encoding: nowhere"),
        (b"\0", "line None: source code string cannot contain null bytes"),
        (b"-" * 100_000 + b"1", None),
    ],
)
def test_what_does_not_parse_is_told_with_its_line(source, error):
    imports, names, revision, told = parse(source)

    assert (imports, names, revision) == ([], [], None)
    assert told.startswith("line ")
    assert error is None or told == error or told.partition(": ")[2] == error.partition(": ")[2]


def test_the_fields_of_a_revision_are_told():
    (_, _, revision, _) = parse(b"revision = 'a'\ndown_revision = None\n")

    assert revision == {"revision": "a", "down_revision": None, "computed": []}
