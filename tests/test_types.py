"""The types that users see: complete, and those that the documentation shows."""

from __future__ import annotations

import ast
import contextlib
import json
import re
import subprocess
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
    "scope": 'clone_fixture("suite")',
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


def blocks():
    """Every example in Python of the documentation, by its page and its number there."""
    for page in (*sorted(DOCS.glob("*.md")), DOCS.parent / "README.md"):
        text = page.read_text(encoding="utf-8")
        for number, block in enumerate(re.findall(r"```python\n(.*?)```", text, re.DOTALL)):
            # One shows a decorator alone.
            with contextlib.suppress(SyntaxError):
                ast.parse(block)
                yield f"{page.stem.replace('-', '_')}_{number}.py", block


def pyright(folder, mode, **rules):
    """What pyright says of the files in a folder, a line for each error."""
    settings = {"typeCheckingMode": mode, "reportMissingModuleSource": "none", **rules}
    folder.joinpath("pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "basedpyright", "--outputjson"]
    command += ["--pythonpath", sys.executable, "--project", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)
    assert found["summary"]["filesAnalyzed"], done.stdout
    return [
        f"{Path(one['file']).name} line {one['range']['start']['line'] + 1}: {one['message']}"
        for one in found["generalDiagnostics"]
        if one["severity"] == "error"
    ]


def test_the_typed_examples_are_typed_for_pyright_too_and_a_mistake_is_found(tmp_path):
    (tmp_path / "user.py").write_text("\n".join(TYPED))
    head = (
        "from pytest_alembic_snapshot import Clones, clone_fixture\n"
        "def test_it(db_clones: Clones) -> None:\n"
    )
    lines = "".join(f"    {line}\n" for line in WRONG.values())
    (tmp_path / "wrong.py").write_text(head + lines)

    told = pyright(tmp_path, "strict", reportUnusedExpression="none")

    assert [line for line in told if line.startswith("user.py")] == []
    found = {int(line) for line in re.findall(r"^wrong\.py line (\d+):", "\n".join(told), re.M)}
    assert found == set(range(3, 3 + len(WRONG))), told


def test_every_example_fits_what_it_calls(tmp_path):
    """Parts of files: names from above them and the reader's modules are not there."""
    examples = dict(blocks())
    assert len(examples) > 30
    for name, block in examples.items():
        (tmp_path / name).write_text(block)
    (tmp_path / "wrong.py").write_text("from sqlalchemy import create_engine\ncreate_engine(1)\n")

    told = pyright(
        tmp_path, "standard", reportMissingImports="none", reportUndefinedVariable="none"
    )

    assert [line for line in told if not line.startswith("wrong.py")] == []
    assert len(told) == 1


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
