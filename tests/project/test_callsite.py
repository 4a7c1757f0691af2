"""Whose line is running: the project's, and never the library's, wherever that lies."""

from __future__ import annotations

from pathlib import Path

import pytest

import alembic_snapshot
from alembic_snapshot.project.callsite import Callsites

SOURCE = Path(alembic_snapshot.__file__).parents[1]
MODULES = sorted(SOURCE.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_no_module_of_the_library_is_a_projects_that_it_lies_in(path):
    assert not Callsites(SOURCE).is_ours(str(path))


@pytest.mark.parametrize(
    ("name", "is_ours"),
    [
        ("shop.py", True),
        ("shop/orders.py", True),
        ("alembic_snapshot_of_mine.py", True),
        (".venv/lib/python3/site-packages/shop.py", False),
        ("<string>", False),
    ],
)
def test_a_file_below_the_root_is_the_projects(tmp_path, name, is_ours):
    path = name if name.startswith("<") else str(tmp_path / name)

    assert Callsites(tmp_path).is_ours(path) is is_ours


def test_a_file_elsewhere_is_not(tmp_path):
    assert not Callsites(tmp_path / "root").is_ours(str(tmp_path / "shop.py"))
