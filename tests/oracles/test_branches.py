"""A history with branches makes one database, whichever state its build began from.

Its revisions all touch one table: the order of the columns and the numbers of the rows tell in
which order they ran. The history grows, and its store is kept. A store that is empty, and Alembic
itself on an empty database, must come to the same each time.

``ORACLE_CASES`` says how many histories are tried, from the seed ``ORACLE_SEED`` on.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from contextlib import closing

import pytest
from alembic import command
from alembic.config import Config

from ..sample import SampleProject

CASES = int(os.environ.get("ORACLE_CASES", "4"))
SEED = int(os.environ.get("ORACLE_SEED", "0"))
pytestmark = pytest.mark.campaign

FIRST = """
op.create_table("t", sa.Column("id", sa.Integer, primary_key=True), sa.Column("who", sa.Text))
"""
TOUCHING = """
op.add_column("t", sa.Column("c_{name}", sa.Text))
op.execute("INSERT INTO t (who) VALUES ('{name}')")
"""


class History:
    """Revisions of a random shape: lines, branches, merges, dependencies, several heads."""

    def __init__(self, project: SampleProject, seed: int):
        self.project, self._random = project, random.Random(seed)
        self._numbers = list(range(100, 999))
        self._random.shuffle(self._numbers)
        self._heads: set[str] = set()
        self._names: list[str] = []
        project.configure('heads = "many"')
        self._add(None, FIRST)

    def grow(self) -> None:
        """Add a revision on a head, on an earlier revision, or on several heads."""
        choose, heads = self._random, sorted(self._heads)
        kind = choose.choice(["head", "head", "any", "merge", "depends"])
        depends: str | None = None
        if kind == "merge" and len(heads) > 1:
            down = tuple(choose.sample(heads, 2))
        elif kind == "any":
            down = (choose.choice(self._names),)
        else:
            down = (choose.choice(heads),)
            others = [head for head in heads if head not in down]
            depends = choose.choice(others) if kind == "depends" and others else None
        self._add(down if len(down) > 1 else down[0], TOUCHING, depends, down)

    def _add(self, down, body, depends=None, parents=()):
        name = f"r{self._numbers.pop()}"
        fields = {"depends_on": depends} if depends else {}
        self.project.revision(name, down, body.format(name=name), **fields)
        self._heads = (self._heads - {*parents}) | {name}
        self._names.append(name)


def contents(path):
    """The columns in their order, and the rows with their numbers."""
    with closing(sqlite3.connect(path)) as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(t)")]
        return columns, connection.execute("SELECT id, who FROM t ORDER BY id").fetchall()


def upgraded(project, path):
    """What `alembic upgrade heads` makes of nothing."""
    config = Config(project.root / "alembic.ini")
    config.set_main_option("sqlalchemy.url", f"sqlite:///{path}")
    command.upgrade(config, "heads")
    return contents(path)


@pytest.mark.parametrize("seed", range(SEED, SEED + CASES))
def test_a_kept_store_an_empty_one_and_alembic_agree(seed, tmp_path):
    kept = SampleProject(tmp_path / "kept")
    history = History(kept, seed)
    for number in range(8):
        history.grow()
        empty = tmp_path / f"empty{number}"
        shutil.copytree(kept.root, empty, ignore=shutil.ignore_patterns(".alembic-snapshot"))

        found = contents(kept.ensure().path)

        assert found == upgraded(kept, tmp_path / f"{number}.db"), f"seed {seed}, step {number}"
        again = SampleProject.__new__(SampleProject)
        again.root = empty
        assert found == contents(again.ensure().path), f"seed {seed}, step {number}"
        again.versions = empty / "migrations" / "versions"
