"""The types that users see: complete, and those that the documentation shows."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from mypy import api

import alembic_snapshot

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "fixtures.md").read_text(encoding="utf-8")
TYPED = re.findall(r"```python\n# typed\n(.*?)```", PAGE, re.DOTALL)
REVEALED = """
from pytest_alembic_snapshot import Clones, clone_fixture

shared = clone_fixture("module", layer="demo")
reveal_type(shared)

def test_it(db_clones: Clones) -> None:
    reveal_type(db_clones["events"])
    reveal_type(db_clones["events"].path)
"""
WRONG = {
    "scope": 'clone_fixture("function")',
    "argument": 'clone_fixture("class", layr="demo")',
    "value": 'clone_fixture("class", empty="no")',
    "name": "db_clones[3]",
    "attribute": 'db_clones["events"].pth',
}


def check(folder, text):
    """What mypy says, as strict as it is, without a configuration."""
    folder.joinpath("user.py").write_text(text)
    options = ["--strict", "--config-file=", f"--python-executable={sys.executable}"]
    cache = f"--cache-dir={folder.parent / 'mypy'}"
    out, errors, status = api.run([*options, cache, str(folder / "user.py")])
    assert not errors
    return out, status


def test_every_public_name_is_listed():
    assert set(alembic_snapshot.__all__) <= set(dir(alembic_snapshot))


def test_the_examples_are_typed(tmp_path):
    assert TYPED

    out, status = check(tmp_path, "\n".join(TYPED))

    assert status == 0, out


def test_what_is_public_has_types(tmp_path):
    out, status = check(tmp_path, REVEALED)

    assert status == 0, out
    told = re.findall(r'Revealed type is "(.*)"', out)
    assert [re.sub(r"[\w.]+\.(?=\w)", "", one) for one in told] == [
        "def (*Any, **Any) -> Iterator[Clone]",
        "Clone",
        "Path",
    ]


def test_a_mistake_is_found(tmp_path):
    head = (
        "from pytest_alembic_snapshot import Clones, clone_fixture\n"
        "def test_it(db_clones: Clones) -> None:\n"
    )

    out, status = check(tmp_path, head + "".join(f"    {line}\n" for line in WRONG.values()))

    assert status == 1
    lines = {int(line) for line in re.findall(r"user\.py:(\d+): error", out)}
    assert lines == set(range(3, 3 + len(WRONG))), out


@pytest.mark.parametrize("name", ["alembic_snapshot", "pytest_alembic_snapshot"])
def test_both_packages_say_that_they_are_typed(name):
    package = Path(sys.modules[name].__file__ or "").parent if name in sys.modules else None
    assert package is not None
    assert (package / "py.typed").is_file()
