"""The recipe of docs/your-env-py.md for revisions that are whole, to the letter."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCUMENT = (Path(__file__).parents[2] / "docs" / "your-env-py.md").read_text(encoding="utf-8")
RECIPE, AROUND = re.findall(
    r"```python\n(.*?)```", DOCUMENT.partition("## Revisions that")[2], re.S
)
PLAIN = """
with context.begin_transaction():
    context.run_migrations()
"""

OWN = """
engine = create_engine(config.get_main_option("sqlalchemy.url"))
with engine.connect() as connection:
    migrate(connection)
"""
GIVEN = """
connection = config.attributes["connection"]
migrate(connection)
"""
ASYNC = """
async def run():
    engine = create_async_engine(config.get_main_option("sqlalchemy.url"))
    async with engine.connect() as connection:
        await connection.run_sync(migrate)
    await engine.dispose()

asyncio.run(run())
"""


def env(around: str, connects: str) -> str:
    body = around.replace("\n", "\n    ").rstrip()
    return f"""
import asyncio
from alembic import context
from sqlalchemy import Column, ForeignKey, Integer, MetaData, String, Table, create_engine
from sqlalchemy.ext.asyncio import create_async_engine
{RECIPE}
config, target_metadata = context.config, MetaData()
Table(
    "parents",
    target_metadata,
    Column("id", Integer, primary_key=True),
    Column("title", String(9)),
    Column("name", String(9)),
)
Table(
    "children",
    target_metadata,
    Column("id", Integer, primary_key=True),
    Column("parent", Integer, ForeignKey("parents.id")),
)

def migrate(connection):
    {body}
{connects}
"""


WITHOUT = "context.configure(connection=connection)\n" + PLAIN

TABLES = """
op.create_table("parents", sa.Column("id", sa.Integer, primary_key=True))
op.create_table(
    "children",
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("parent", sa.Integer, sa.ForeignKey("parents.id")),
)
op.execute("INSERT INTO parents VALUES (1)")
op.execute("INSERT INTO children VALUES (1, 1)")
"""
REPLACED = """
with op.batch_alter_table("parents", recreate="always") as batch:
    batch.add_column(sa.Column("name", sa.String(9)))
"""
BROKEN = (
    REPLACED
    + """
op.create_table("half", sa.Column("id", sa.Integer))
op.execute("SELECT nonsense")
"""
)


def history(project, third: str) -> None:
    project.revision("1", upgrade=TABLES)
    project.revision("2", "1", upgrade=REPLACED.replace("name", "title"))
    project.revision("3", "2", upgrade=third)


def alembic(project, driver: str = "sqlite") -> subprocess.CompletedProcess[str]:
    settings = (
        f"[alembic]\nscript_location = %(here)s/migrations\nsqlalchemy.url = {driver}:///it.db\n"
    )
    project.write("alembic.ini", settings)
    return subprocess.run(
        [sys.executable, "-m", "alembic", "upgrade", "head"],
        cwd=project.root,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("driver", "connects"), [("sqlite", OWN), ("sqlite+aiosqlite", ASYNC)], ids=["sync", "async"]
)
def test_a_revision_that_fails_leaves_nothing_of_itself(project, tables, rows, driver, connects):
    project.write("migrations/env.py", env(AROUND, connects))
    history(project, BROKEN)
    broken = alembic(project, driver)
    left = tables(project.root / "it.db")
    history(project, REPLACED)

    mended = alembic(project, driver)

    assert broken.returncode != 0
    assert "nonsense" in broken.stderr
    assert left == ["alembic_version", "children", "parents"]
    assert mended.returncode == 0, mended.stderr
    assert rows(project.root / "it.db", "SELECT id, title, name FROM parents") == [(1, None, None)]
    assert rows(project.root / "it.db", "SELECT * FROM children") == [(1, 1)]


def test_without_it_half_a_revision_stays(project, tables):
    project.write("migrations/env.py", env(WITHOUT, OWN))
    history(project, BROKEN)

    alembic(project)

    assert "_alembic_tmp_parents" in tables(project.root / "it.db")


def test_an_autocommit_block_does_not_put_the_drivers_own_way_back(project, tables):
    project.write("migrations/env.py", env(AROUND, OWN))
    history(project, "with op.get_context().autocommit_block():\n    op.execute('VACUUM')\n")
    project.revision("4", "3", upgrade=BROKEN)

    alembic(project)

    assert tables(project.root / "it.db") == ["alembic_version", "children", "parents"]


@pytest.mark.parametrize("connects", [OWN, GIVEN, ASYNC], ids=["own", "given", "async"])
def test_a_snapshot_is_the_same_with_it(project, tables, rows, connects):
    history(project, REPLACED)
    project.write("migrations/env.py", env(WITHOUT, connects))
    without = project.ensure()
    schema = sorted(rows(without.path, "SELECT name, sql FROM sqlite_master"))
    project.write("migrations/env.py", env(AROUND, connects))

    snapshot = project.ensure()

    assert snapshot.built
    assert sorted(rows(snapshot.path, "SELECT name, sql FROM sqlite_master")) == schema
    assert rows(snapshot.path, "SELECT * FROM children") == [(1, 1)]


def test_the_stairway_climbs_with_it(project):
    history(project, REPLACED)
    for name, table in (("1", "children"), ("2", "parents"), ("3", "parents")):
        path = project.versions / f"{name}_made.py"
        down = (
            'op.drop_table("children")\n    op.drop_table("parents")'
            if name == "1"
            else f'op.drop_column("{table}", "{"title" if name == "2" else "name"}")'
        )
        path.write_text(path.read_text().replace(f"op.drop_table('t_{name}')", down))
    project.write("migrations/env.py", env(AROUND, OWN))

    checked = project.command("check")

    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "3 revisions, each up, down and up again: 0 findings" in checked.stdout
