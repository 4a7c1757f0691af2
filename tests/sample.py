"""A project to build: made of small files, changed by the tests."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from alembic_snapshot import Snapshot, ensure, load_project
from alembic_snapshot.build.lookup import Status, look_up
from alembic_snapshot.key.layers import Chain

from .starts.owned import NOT_BY_HAND

STOCK_ENV = """
    from logging.config import fileConfig
    from alembic import context
    from sqlalchemy import engine_from_config, pool

    config = context.config
    target_metadata = None

    engine = engine_from_config(
        config.get_section(config.config_ini_section, {}), prefix="sqlalchemy.",
        poolclass=pool.NullPool,
    )
    with engine.connect() as connection:
        context.configure(connection=connection, target_metadata=target_metadata)
        with context.begin_transaction():
            context.run_migrations()
"""


class SampleProject:
    """A folder with an alembic.ini, an env.py and revisions that each make one table."""

    def __init__(self, root: Path):
        self.root = root
        self.versions = root / "migrations" / "versions"
        self.write("alembic.ini", "[alembic]\nscript_location = %(here)s/migrations\n")
        self.write("migrations/env.py", STOCK_ENV)
        self.configure()

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
        return path

    def append(self, name: str, text: str) -> None:
        path = self.root / name
        path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")

    def configure(self, table: str = "") -> None:
        self.write("pyproject.toml", "[tool.alembic-snapshot]\n" + textwrap.dedent(table))

    def revision(
        self,
        name: str,
        down: Any = None,
        upgrade: str = "",
        *,
        header: str = "",
        folder: Path | None = None,
        **fields: Any,
    ) -> Path:
        """Write a revision; without a body of its own it creates table ``t_NAME``."""
        column = "sa.Column('id', sa.Integer, primary_key=True)"
        body = upgrade or f"op.create_table('t_{name}', {column})"
        extra = "".join(f"{field} = {value!r}\n" for field, value in fields.items())
        text = (
            f"import sqlalchemy as sa\nfrom alembic import op\n{textwrap.dedent(header)}\n"
            f"revision = {name!r}\ndown_revision = {down!r}\n{extra}\n"
            f"def upgrade():\n{textwrap.indent(textwrap.dedent(body).strip(), '    ')}\n\n"
            f"def downgrade():\n    op.drop_table('t_{name}')\n"
        )
        path = (folder or self.versions) / f"{name}_made.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def history(self, count: int) -> None:
        """``count`` linear revisions: 0001, 0002, …"""
        for number in range(1, count + 1):
            self.revision(f"{number:04}", f"{number - 1:04}" if number > 1 else None)

    def load(self, **options: Any) -> Any:
        return load_project(self.root, **options)

    def look_up(self, **options: Any) -> Status:
        return look_up(self.load(), **options)

    def chain(self, **options: Any) -> Chain:
        return self.look_up(**options).chain

    def key(self) -> str:
        return self.chain().key

    def ensure(self, **options: Any) -> Snapshot:
        return ensure(self.load(), **options)

    def build(self, **options: Any) -> tuple[Snapshot, list[str]]:
        """The snapshot, and the names of the revisions and seeds that ran for it."""
        ran: list[str] = []

        def listen(event: Any) -> None:
            if event["event"] in ("revision", "seed"):
                ran.append(event[event["event"]])

        return self.ensure(listener=listen, **options), ran

    def command(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run the command line in the project's folder."""
        return self._run("alembic_snapshot", *arguments, **options)

    def pytest(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run pytest in the project's folder."""
        return self._run("pytest", *arguments, **options)

    def _run(
        self, module: str, *arguments: str, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        options.setdefault("env", {**os.environ, **options.pop("variables", {})})
        options.setdefault("cwd", self.root)
        return subprocess.run(
            [sys.executable, "-m", module, *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            **options,
        )


def _tables(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT name FROM sqlite_master WHERE type='table' ORDER BY 1")
        return [row[0] for row in rows]


def _rows(path: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


@pytest.fixture(autouse=True)
def as_if_run_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NOT_BY_HAND:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def project(tmp_path: Path) -> SampleProject:
    """An empty project; the test writes its revisions."""
    return SampleProject(tmp_path / "project")


@pytest.fixture
def new_project(tmp_path: Path) -> Callable[[str], SampleProject]:
    """Makes projects in folders of the given names."""
    return lambda name: SampleProject(tmp_path / name)


@pytest.fixture
def tables() -> Callable[[Path], list[str]]:
    """The names of a database's tables."""
    return _tables


@pytest.fixture
def rows() -> Callable[[Path, str], list[Any]]:
    """The rows that a query finds in a database."""
    return _rows
