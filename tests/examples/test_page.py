"""docs/frameworks.md quotes what the examples have, and what their tests try."""

from __future__ import annotations

import re

import pytest

from . import test_examples
from .conftest import PAGE, ROOT

TEXT = PAGE.read_text(encoding="utf-8")
QUOTED = re.findall(r"```python\n# (examples/\S+)\n(.*?)```", TEXT, re.DOTALL)
TABLES = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize(("name", "text"), QUOTED, ids=[name for name, _ in QUOTED])
def test_what_it_quotes_is_in_the_example(name, text):
    assert text.strip() in (ROOT / name).read_text(encoding="utf-8")


def test_the_tables_of_several_databases_are_those_that_are_tried():
    assert test_examples.TABLE_BOTH.strip() in "".join(TABLES)
    assert test_examples.TABLE_BINDS.strip() in "".join(TABLES)


def test_every_example_and_every_table_that_init_writes_is_on_it():
    names = {path.name for path in (ROOT / "examples").iterdir() if path.is_dir()}

    assert names == {one.folder for one in test_examples.CASES}
    assert all(f"| {one.situation} |" in TEXT for one in test_examples.CASES)
