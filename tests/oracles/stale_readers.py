"""Who reads a value, and how it reaches the database from there.

A reader puts the code of a source into one of the project's files, and a row with what it found
into the database. Slots are the parts of the project's files, ``"FILE part"``; a slot without a
part is a whole file.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass

EARLY, LATE = "migrations/versions/0001_early.py", "migrations/versions/0003_late.py"
_ENV = "migrations/env.py"
_INSERT = "insert('p$n', {})"
_FROM = {
    "attributes": ('config.attributes["p$n"] = {}', 'context.config.attributes.get("p$n")'),
    "options": ("options['p$n'] = {}", "op.get_context().opts.get('p$n')"),
    "main options": (
        'config.set_main_option("own_p$n", {})',
        'context.config.get_main_option("own_p$n")',
    ),
    "environment": ("os.environ['OUT$n'] = {}", "os.environ.get('OUT$n')"),
}


@dataclass(frozen=True)
class Reader:
    """``file`` is where the source's code stands, ``slots`` what stands there and elsewhere.

    ``{code}`` in a slot is a function ``probe_$n`` that returns the value. ``layer`` is the named
    layer that the row is in; ``alembic`` says that Alembic's context is there to be asked;
    ``migrate`` that the project needs a function of that kind.
    """

    name: str
    file: str
    slots: Mapping[str, str]
    layer: str | None = None
    alembic: bool = True
    migrate: bool = False

    @property
    def is_imported_by_env_py(self) -> bool:
        """Whether it runs when ``env.py`` imports it, and never while a revision runs."""
        return self.name.startswith(("a module of", "a module that"))


def _revision(file: str, slots: Mapping[str, str] | None = None) -> dict[str, str]:
    return {f"{file} top": "{code}", f"{file} body": _INSERT.format("probe_$n()"), **(slots or {})}


def _through(way: str, file: str, top: str, value: str, env: str = "") -> Reader:
    """A value that ``env.py`` hands on to the first revision."""
    given, taken = _FROM[way]
    slots = {f"{EARLY} body": _INSERT.format(taken), f"{_ENV} body": given.format(value)}
    if file == _ENV:
        return Reader(f"env.py, {way}", file, {**slots, f"{_ENV} top": top})
    name = f"a module of env.py, {way}"
    return Reader(name, file, {**slots, f"{_ENV} top": env, file: top})


_MODULE = "import os\nimport sys\n{code}\nvalue_$n = probe_$n()\n"
_HOOK = """
def heard_$n(ctx, step, **facts):
    if step.up_revision_id == "0001":
        statement = sa.text("insert into facts values ('p$n', :value)")
        ctx.connection.execute(statement, {"value": probe_$n()})
"""
_OPERATION = """
from alembic.operations import MigrateOperation, Operations

@Operations.register_operation("own_$n")
class Own(MigrateOperation):
    @classmethod
    def own_$n(cls, operations):
        return operations.invoke(cls())

@Operations.implementation_for(Own)
def own(operations, operation):
    statement = sa.text("insert into facts values ('p$n', :value)")
    operations.get_bind().execute(statement, {"value": probe_$n()})
"""
READERS = [
    Reader("an early revision", EARLY, _revision(EARLY)),
    Reader("a late revision", LATE, _revision(LATE)),
    Reader(
        "an early revision's module",
        EARLY,
        {
            f"{EARLY} top": "{code}\nvalue_$n = probe_$n()",
            f"{EARLY} body": _INSERT.format("value_$n"),
        },
        alembic=False,
    ),
    Reader(
        "a function beside an early revision",
        "beside$n.py",
        {
            "beside$n.py": "import os\n{code}",
            f"{EARLY} top": "from beside$n import probe_$n",
            f"{EARLY} body": _INSERT.format("probe_$n()"),
        },
    ),
    Reader(
        "a module beside an early revision",
        "beside$n.py",
        {
            "beside$n.py": _MODULE,
            f"{EARLY} body": "import beside$n\n" + _INSERT.format("beside$n.value_$n"),
        },
    ),
    *(_through(way, _ENV, "{code}", "probe_$n()") for way in _FROM),
    *(_through(way, "own$n.py", _MODULE, "own$n.value_$n", "import own$n") for way in _FROM),
    Reader(
        "a module of env.py, of itself",
        "own$n.py",
        {
            "own$n.py": _MODULE + "os.environ['OUT$n'] = value_$n\n",
            f"{_ENV} top": "import own$n",
            f"{EARLY} body": _INSERT.format("os.environ.get('OUT$n')"),
        },
    ),
    Reader(
        "a module that env.py finds",
        "found$n.py",
        {
            "found$n.py": _MODULE + "os.environ['OUT$n'] = value_$n\n",
            f"{_ENV} top": "__import__('importlib').import_module('fou' + 'nd$n')",
            f"{EARLY} body": _INSERT.format("os.environ.get('OUT$n')"),
        },
    ),
    Reader(
        "a hook of env.py",
        "own$n.py",
        {
            "own$n.py": "import os\nimport sqlalchemy as sa\n{code}" + _HOOK,
            f"{_ENV} top": "import own$n",
            f"{_ENV} body": "options.setdefault('on_version_apply', []).append(own$n.heard_$n)",
        },
    ),
    Reader(
        "an operation of env.py",
        "own$n.py",
        {
            "own$n.py": "import os\nimport sqlalchemy as sa\n{code}" + _OPERATION,
            f"{_ENV} top": "import own$n",
            f"{EARLY} body": "op.own_$n()",
        },
    ),
    Reader(
        "a seed",
        "seeds.py",
        {"seeds.py top": "{code}", "seeds.py body": _INSERT.format("probe_$n()")},
        alembic=False,
    ),
    Reader(
        "a seed's module",
        "seeds.py",
        {
            "seeds.py top": "{code}\nvalue_$n = probe_$n()",
            "seeds.py body": _INSERT.format("value_$n"),
        },
        alembic=False,
    ),
    Reader(
        "a named layer's seed",
        "demo.py",
        {"demo.py top": "{code}", "demo.py body": _INSERT.format("probe_$n()")},
        layer="demo",
        alembic=False,
    ),
    Reader(
        "migrate",
        "setup_db.py",
        {"setup_db.py top": "{code}", "setup_db.py body": _INSERT.format("probe_$n()")},
        alembic=False,
        migrate=True,
    ),
]
# Where a later part of the project names literally what an earlier one reads.
LATER = {
    "a late revision": f"{LATE} top",
    "env.py": f"{_ENV} top",
    "a seed": "seeds.py top",
    "a named layer's seed": "demo.py top",
}
_SCRIPT = """
import os
import sys
import sqlalchemy as sa
from alembic import context, op

revision = {name!r}
down_revision = {down!r}

def insert(name, value):
    statement = sa.text("insert into facts values (:name, :value)")
    op.get_bind().execute(statement, {{"name": name, "value": value}})

{top}

def upgrade():
    pass
{body}

def downgrade():
    pass
"""
_ENV_PY = """
import os
import sys
from logging.config import fileConfig
from alembic import context
from sqlalchemy import engine_from_config, pool
from app.models import Base
{top}

config = context.config
fileConfig(config.config_file_name, disable_existing_loggers=False)
options = {{}}
{body}
engine = engine_from_config(
    config.get_section(config.config_ini_section, {{}}), prefix="sqlalchemy.",
    poolclass=pool.NullPool,
)
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=Base.metadata, **options)
    with context.begin_transaction():
        context.run_migrations()
"""
_SEED = """
import os
import sys
import sqlalchemy as sa
{top}

def fill(connection):
    def insert(name, value):
        statement = sa.text("insert into facts values (:name, :value)")
        connection.execute(statement, {{"name": name, "value": value}})
    insert("seeded by {name}", "yes")
{body}
"""
_MIGRATE = """
import os
import sys
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
{top}

def create(url):
    config = Config("alembic.ini")
    config.set_main_option("sqlalchemy.url", url)
    command.upgrade(config, "head")
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        def insert(name, value):
            statement = sa.text("insert into facts values (:name, :value)")
            connection.execute(statement, {{"name": name, "value": value}})
        pass
{body}
    engine.dispose()
"""
_FIRST = "op.create_table('facts', sa.Column('name', sa.Text), sa.Column('value', sa.Text))"
SCRIPTS = ("0001", "0002", "0003")


def assembled(slots: Mapping[str, list[str]], on_top: int = 0) -> dict[str, str]:
    """The project's Python files, with what is in their slots; more revisions ``on_top``."""

    def part(name: str, indent: int = 0) -> str:
        return textwrap.indent("\n".join(slots.get(name, ())), " " * indent)

    files = {name: "\n".join(texts) for name, texts in slots.items() if " " not in name}
    names = [*SCRIPTS, *(f"9{number:03}" for number in range(on_top))]
    for down, name in zip([None, *names], names, strict=False):
        kind = {"0001": "early", "0003": "late"}.get(name, "plain")
        path = f"migrations/versions/{name}_{kind}.py"
        body = part(f"{path} body", 4)
        first = textwrap.indent(_FIRST, "    ") + "\n" if name == "0001" else ""
        own = f"    insert('revision', '{name}')\n"
        files[path] = _SCRIPT.format(
            name=name, down=down, top=part(f"{path} top"), body=first + own + body
        )
    files[_ENV] = _ENV_PY.format(top=part(f"{_ENV} top"), body=part(f"{_ENV} body"))
    for name in ("seeds", "demo"):
        top, body = part(f"{name}.py top"), part(f"{name}.py body", 4)
        files[f"{name}.py"] = _SEED.format(name=name, top=top, body=body)
    top, body = part("setup_db.py top"), part("setup_db.py body", 8)
    files["setup_db.py"] = _MIGRATE.format(top=top, body=body)
    return files
