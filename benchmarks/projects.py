"""The projects that are measured: the application's schema, and generated ones of any size.

Each is a folder with ``alembic.ini``, ``pyproject.toml``, ``bench_tests.py`` and a module
``bench_app``, which has the same names in all of them: ``engine``, ``make_engine(url)``,
``SessionLocal``, ``metadata`` and ``write(session)``.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = "template.db"


@dataclass(frozen=True)
class ProjectFolder:
    """A project to measure: its name in the table, its folder, and what its runs are told.

    ``variables`` are environment variables of every measured run.
    """

    name: str
    folder: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def template(self) -> Path:
        """The database as `alembic upgrade head` leaves it: what a copying conftest copies."""
        return self.folder / TEMPLATE


def application(folder: Path) -> ProjectFolder:
    """The application of this repository, in a copy that nobody edits meanwhile."""
    project = folder / "atom"
    ignored = shutil.ignore_patterns("__pycache__", "tests")
    shutil.copytree(ROOT / "backend", project / "backend", ignore=ignored)
    shutil.copytree(ROOT / "alembic", project / "alembic", ignore=ignored)
    shutil.copy(ROOT / "alembic.ini", project)
    (project / "bench_app.py").write_text(_APPLICATION)
    _finish(project, "core.database", '["backend"]')
    return ProjectFolder("application", project)


def generated(
    folder: Path, tables: int, revisions: int = 1, rows: int = 0, *, is_async: bool = False
) -> ProjectFolder:
    """A project of ``tables`` tables (12 columns, 4 indexes each), made by so many revisions.

    The last revision puts ``rows`` rows of a kilobyte into the last table. The engine of an
    ``is_async`` one is aiosqlite's.
    """
    project = folder / f"tables-{tables}-revisions-{revisions}-rows-{rows}{'-async' * is_async}"
    (project / "alembic" / "versions").mkdir(parents=True)
    (project / "alembic.ini").write_text(_INI)
    (project / "alembic" / "env.py").write_text(_ENV)
    (project / "alembic" / "script.py.mako").write_text("")
    code = _GENERATED.format(tables=tables) + (_ASYNC if is_async else "")
    (project / "bench_app.py").write_text(code)
    share, rest = divmod(tables, revisions)
    start = 0
    for number in range(revisions):
        stop = start + share + (number < rest)
        add_revision(project, number + 1, range(start, stop), rows * (number == revisions - 1))
        start = stop
    _finish(project, "bench_app", "[]")
    if is_async:
        (project / "bench_tests.py").write_text(_ASYNC_TESTS)
    return ProjectFolder(f"{tables} tables{', async' * is_async}", project)


def add_revision(project: Path, number: int, tables: range, rows: int = 0) -> None:
    """Write the revision ``number``, which makes these tables."""
    script = _REVISION.format(
        revision=f"{number:04}",
        down=repr(f"{number - 1:04}" if number > 1 else None),
        tables=f"range({tables.start}, {tables.stop})",
        rows=rows,
    )
    (project / "alembic" / "versions" / f"{number:04}_tables.py").write_text(script)


def migrate(project: ProjectFolder, target: Path | None = None) -> Path:
    """Run `alembic upgrade head` as a process, by default into the template."""
    target = target or project.template
    command = [sys.executable, "-m", "alembic", "-x", f"url=sqlite:///{target}", "upgrade", "head"]
    environment = {"DATABASE_URL": f"sqlite:///{target}", "PATH": "/usr/bin:/bin"}
    subprocess.run(command, cwd=project.folder, env=environment, check=True, capture_output=True)
    return target


def _finish(project: Path, module: str, pythonpath: str) -> None:
    (project / "pyproject.toml").write_text(_TOML.format(module=module, pythonpath=pythonpath))
    (project / "bench_tests.py").write_text(_TESTS)
    shutil.copy(Path(__file__).with_name("bench_timer.py"), project)


_TOML = """\
[tool.alembic-snapshot]
config = "alembic.ini"
engine = "{module}:engine"
sessionmaker = "{module}:SessionLocal"
pythonpath = {pythonpath}
drift = "ignore"

[tool.pytest.ini_options]
pythonpath = [".", "backend"]
"""

_TESTS = """\
import os

import bench_app
import pytest

NUMBERS = range(int(os.environ["BENCH_TESTS"]))


@pytest.mark.parametrize("number", NUMBERS)
def test_write(db_session, number):
    bench_app.write(db_session)
"""

_APPLICATION = """\
from datetime import UTC, datetime
from decimal import Decimal

from core.database import Base, SessionLocal, engine, make_engine
from core.mappers import load_all
from core.models import Workspace
from ecommerce.models import Subscription
from saas.models import SaaSTier
from saas.rates import OverageRates
from sqlalchemy import select

load_all()
metadata = Base.metadata
START, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)


def write(session):
    workspace = Workspace(id="default", name="Default")
    tier = SaaSTier(name="pro", base_price=Decimal(100), overage_rates=OverageRates.of((None, 0)))
    period = {"current_period_start": START, "current_period_end": END}
    session.add(Subscription(workspace=workspace, tier=tier, **period))
    session.commit()
    assert session.scalars(select(Workspace).where(Workspace.name == "Default")).one()
"""

_GENERATED = """\
import os

from sqlalchemy import (
    Boolean, Column, DateTime, Index, Integer, Numeric, String, create_engine, event, func, select,
)
from sqlalchemy.orm import DeclarativeBase, sessionmaker

TABLES = {tables}


class Base(DeclarativeBase):
    pass


def columns():
    return [
        Column("id", Integer, primary_key=True),
        Column("name", String(80), nullable=False),
        Column("status", String(20), nullable=False, server_default="open"),
        Column("kind", String(20)),
        Column("owner", String(36)),
        Column("amount", Numeric(12, 2)),
        Column("position", Integer),
        Column("active", Boolean),
        Column("note", String(2000)),
        Column("payload", String),
        Column("created_at", DateTime, server_default=func.now()),
        Column("updated_at", DateTime),
    ]


def indexes(number):
    return [
        Index(f"ix_things_{{number}}_{{name}}", name)
        for name in ("name", "status", "owner", "created_at")
    ]


MODELS = [
    type(
        f"Thing{{number}}",
        (Base,),
        {{
            "__tablename__": f"things_{{number}}",
            "__table_args__": tuple(indexes(number)),
            **{{column.name: column for column in columns()}},
        }},
    )
    for number in range(TABLES)
]
metadata = Base.metadata


def make_engine(url):
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", enforce_foreign_keys)
    return engine


def enforce_foreign_keys(connection, _record):
    connection.execute("PRAGMA foreign_keys=ON")


engine = make_engine(os.environ.get("DATABASE_URL", "sqlite:///app.db"))
SessionLocal = sessionmaker(engine)
Thing = MODELS[0]


def write(session):
    session.add_all([Thing(name=f"thing {{n}}", owner="me", position=n) for n in range(3)])
    session.commit()
    assert len(session.scalars(select(Thing).where(Thing.owner == "me")).all()) == 3
"""

_ASYNC = """

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine


def make_async_engine(url):
    engine = create_async_engine(url)
    event.listen(engine.sync_engine, "connect", async_enforce_foreign_keys)
    return engine


def async_enforce_foreign_keys(connection, _record):
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


engine = make_async_engine("sqlite+aiosqlite:///app.db")
SessionLocal = async_sessionmaker(engine, expire_on_commit=False)


async def write(session):
    session.add_all([Thing(name=f"thing {n}", owner="me", position=n) for n in range(3)])
    await session.commit()
    assert len((await session.scalars(select(Thing).where(Thing.owner == "me"))).all()) == 3
"""

_ASYNC_TESTS = """\
import os

import bench_app
import pytest

NUMBERS = range(int(os.environ["BENCH_TESTS"]))


@pytest.mark.asyncio
@pytest.mark.parametrize("number", NUMBERS)
async def test_write(async_db_session, number):
    await bench_app.write(async_db_session)
"""

_INI = """\
[alembic]
script_location = %(here)s/alembic
prepend_sys_path = %(here)s
path_separator = os
"""

_ENV = """\
from alembic import context
from sqlalchemy import Connection, create_engine, pool

arguments = context.get_x_argument(as_dictionary=True)
url = context.config.get_main_option("sqlalchemy.url") or arguments.get("url")


def run(connection):
    context.configure(connection=connection, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if isinstance(given, Connection):
    run(given)
else:
    with (given or create_engine(url, poolclass=pool.NullPool)).connect() as connection:
        run(connection)
"""

_REVISION = """\
import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = {down}
TABLES = {tables}
ROWS = {rows}


def upgrade():
    for number in TABLES:
        op.create_table(
            f"things_{{number}}",
            sa.Column("id", sa.Integer, primary_key=True),
            sa.Column("name", sa.String(80), nullable=False),
            sa.Column("status", sa.String(20), nullable=False, server_default="open"),
            sa.Column("kind", sa.String(20)),
            sa.Column("owner", sa.String(36)),
            sa.Column("amount", sa.Numeric(12, 2)),
            sa.Column("position", sa.Integer),
            sa.Column("active", sa.Boolean),
            sa.Column("note", sa.String(2000)),
            sa.Column("payload", sa.String),
            sa.Column("created_at", sa.DateTime, server_default=sa.func.now()),
            sa.Column("updated_at", sa.DateTime),
        )
        for name in ("name", "status", "owner", "created_at"):
            op.create_index(f"ix_things_{{number}}_{{name}}", f"things_{{number}}", [name])
    if ROWS:
        op.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < "
            f"{{ROWS}}) INSERT INTO things_{{TABLES[-1]}} (name, status, payload) "
            "SELECT 'row ' || i, 'open', hex(randomblob(480)) FROM n"
        )


def downgrade():
    for number in TABLES:
        op.drop_table(f"things_{{number}}")
"""
