"""G3: what revisions and seeds can reach through models, hooks and values of ``env.py`` counts.

What is built after a change on the old store equals what is built on an empty one.
"""

from __future__ import annotations

import shutil
import sqlite3

import pytest

BASE = """
from sqlalchemy.orm import DeclarativeBase

class Base(DeclarativeBase):
    pass
"""
MODELS = """
import sqlalchemy as sa
from app.base import Base
from sqlalchemy.orm import Mapped, mapped_column

class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    a: Mapped[str] = mapped_column(default="one")
"""
IMPORTS = (
    "import sqlalchemy as sa\nfrom app.base import Base\nfrom sqlalchemy.schema import CreateTable"
)
USERS = "Base.metadata.tables['users']"
# What a revision, or a seed, does with the tables that it finds in the metadata.
REACHED = {
    "create": f"{USERS}.create(op.get_bind())",
    "a statement": f"op.execute(CreateTable({USERS}))",
    "subclasses": "Base.__subclasses__()[0].__table__.create(op.get_bind())",
    "copies": f"op.create_table('users', *[c._copy() for c in {USERS}.c])",
}
CONFIG = "config = context.config"


@pytest.fixture
def app(project):
    project.write("app/__init__.py", "")
    project.write("app/base.py", BASE)
    project.write("app/models.py", MODELS)
    env = project.root / "migrations/env.py"
    text = env.read_text().replace("target_metadata = None", "target_metadata = Base.metadata")
    env.write_text("import app.models\nfrom app.base import Base\n" + text)
    return project


def with_env(project, options="", lines="", run=""):
    """Have ``env.py`` give options to ``configure()``, do something before, and give arguments."""
    env = project.root / "migrations/env.py"
    text = env.read_text().replace(CONFIG, f"{CONFIG}\n{lines}", 1)
    text = text.replace("connection=connection,", f"connection=connection, {options}")
    env.write_text(text.replace("run_migrations()", f"run_migrations({run})"))


def content(path):
    connection = sqlite3.connect(path)
    try:
        return sorted(connection.iterdump())
    finally:
        connection.close()


def claim_not_stale(project, name, before, after):
    """A change shows on the old store as it does on an empty one."""
    first = content(project.ensure().path)
    file = project.root / name
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after))

    found = content(project.ensure().path)
    shutil.rmtree(project.root / ".alembic-snapshot")

    assert found == content(project.ensure().path)
    assert found != first


@pytest.mark.parametrize("does", REACHED.values(), ids=REACHED)
def test_models_that_a_revision_finds_in_the_metadata(app, does):
    app.revision("0001", None, does, header=IMPORTS)
    app.revision("0002", "0001")

    claim_not_stale(app, "app/models.py", "a: Mapped", "b: Mapped")


@pytest.mark.parametrize("does", REACHED.values(), ids=REACHED)
def test_models_that_a_revision_finds_where_only_a_run_tells_the_revisions(app, does):
    app.revision("0001", None, does, header=IMPORTS)
    app.write("migrations/versions/b.py", "revision = '0002'\ndown_revision = str('0001')\n"
              "def upgrade(): ...\n")  # fmt: skip
    assert app.chain().opaque

    claim_not_stale(app, "app/models.py", "a: Mapped", "b: Mapped")


def test_models_that_a_seed_finds_in_the_metadata(app):
    app.revision("0001", None, "op.execute('create table users (id integer primary key, a text)')")
    app.write(
        "seeds.py",
        "from app.base import Base\n"
        f"def seed(connection):\n    connection.execute({USERS}.insert().values(id=1))\n",
    )
    app.configure('seeds = ["seeds:seed"]')

    claim_not_stale(app, "app/models.py", '"one"', '"two"')


def test_models_that_nothing_of_a_revision_leads_to_do_not_count(app):
    app.write("app/other.py", "X = 1\n")
    app.revision("0001", header="from app.other import X")
    app.ensure()

    app.append("app/models.py", "# changed\n")

    assert app.build()[1] == []


AUDIT = """
import functools
from app.how import wrapped

def audit(name, **kw):
    kw["ctx"].connection.exec_driver_sql(f"insert into told values ('a' || '{name}')")

class Audit:
    def __call__(self, **kw):
        audit("object", **kw)

    def method(self, **kw):
        audit("method", **kw)

decorated = wrapped(functools.partial(audit, "decorated"))
"""
HOW = """
import functools

def wrapped(function):
    def called(**kw):
        return function(**kw) if function else bound_later
    return called
    bound_later = None
"""
HOOKS = {
    "a partial": "functools.partial(audit.audit, 'partial')",
    "a lambda": "lambda **kw: audit.audit('lambda', **kw)",
    "a default": "lambda *, told=audit.audit, **kw: told('default', **kw)",
    "a decorated function": "audit.decorated",
    "an object": "audit.Audit()",
    "a method": "audit.Audit().method",
    "one of a list": "[lambda **kw: None, audit.Audit()]",
}


@pytest.mark.parametrize("hook", HOOKS.values(), ids=HOOKS)
def test_what_is_called_when_a_version_is_applied(project, hook):
    project.write("app/__init__.py", "")
    project.write("app/audit.py", AUDIT)
    project.write("app/how.py", HOW)
    with_env(project, f"on_version_apply={hook},", "import functools\nfrom app import audit")
    project.revision("0001", None, "op.execute('create table told (v)')")

    claim_not_stale(project, "app/audit.py", "('a'", "('b'")


def test_a_function_of_env_py_alone_does_not_make_its_modules_inputs(project):
    project.write("app/__init__.py", "")
    project.write("app/other.py", "X = 1\n")
    lines = "from app import other\ndef note(**kw):\n    return [kw]"
    with_env(project, "on_version_apply=note,", lines)
    project.revision("0001")
    before = project.ensure().path

    project.write("app/other.py", "X = 2\n")

    assert not project.ensure().built
    assert project.ensure().path == before


def test_a_function_in_a_naming_convention(project):
    project.write("app/__init__.py", "")
    project.write("app/names.py", "def short(constraint, table):\n    return 'a_' + table.name\n")
    with_env(project, lines="import sqlalchemy\nfrom app.names import short\n"
             "names = {'short': short, 'uq': '%(short)s'}\n"
             "M = sqlalchemy.MetaData(naming_convention=names)")  # fmt: skip
    env = project.root / "migrations/env.py"
    env.write_text(env.read_text().replace("target_metadata = None", "target_metadata = M"))
    project.revision(
        "0001", None, "op.create_table('t', sa.Column('x', sa.Integer), sa.UniqueConstraint('x'))"
    )

    claim_not_stale(project, "app/names.py", "'a_'", "'b_'")


def test_what_is_given_to_run_migrations(project):
    project.write("app/__init__.py", "")
    project.write("app/c.py", "TENANT = 'a'\n")
    with_env(project, lines="from app.c import TENANT", run="tenant=TENANT")
    path = project.revision(
        "0001", None, "op.execute(f\"create table t as select '{tenant}' as v\")"
    )
    path.write_text(path.read_text().replace("def upgrade():", "def upgrade(tenant=None):"))

    claim_not_stale(project, "app/c.py", "'a'", "'b'")


VALUES = {
    "an enumeration": (
        "class V(enum.Enum):\n    X = 1\n    def v(self):\n        return 'a'\nV = V.X",
        "v.v()",
    ),
    "a named tuple": (
        "class V(NamedTuple):\n    x: int = 1\n    def v(self):\n        return 'a'\nV = V()",
        "v.v()",
    ),
    "a mapping": ("class V(dict):\n    v = 'a'\nV = V()", "v.v"),
    "a date": ("class V(datetime.date):\n    v = 'a'\nV = V(2026, 1, 1)", "v.v"),
    "a text that hides": (
        "class V(str):\n    def __repr__(self):\n        return '***'\nV = V('a')",
        "str(v)",
    ),
}


@pytest.mark.parametrize(("code", "use"), VALUES.values(), ids=VALUES)
@pytest.mark.parametrize("way", ["attribute", "option"])
def test_a_value_that_has_more_than_it_shows(project, code, use, way):
    project.write("app/__init__.py", "")
    project.write("app/c.py", f"import datetime, enum\nfrom typing import NamedTuple\n{code}\n")
    if way == "attribute":
        with_env(project, lines="from app.c import V\nconfig.attributes['v'] = V")
        given = "context.config.attributes['v']"
    else:
        with_env(project, "own=V,", "from app.c import V")
        given = "op.get_context().opts['own']"
    told = f"op.execute(f\"create table t as select '{{{use}}}' as v\")"
    project.revision("0001", None, f"v = {given}\n{told}", header="from alembic import context")

    claim_not_stale(project, "app/c.py", "'a'", "'b'")


def test_an_enumeration_without_a_text_of_its_own_is_the_same_in_every_run(project):
    project.write("app/__init__.py", "")
    project.write("app/c.py", "import enum\nclass P:\n    pass\nclass V(enum.Enum):\n    X = P()\n")
    with_env(project, "own=V.X,", "from app.c import V")
    project.revision("0001")
    before = project.ensure().path
    project.append("app/c.py", "# changed\n")

    _, ran = project.build()

    assert ran == []
    assert project.ensure().path == before


DRIFTING = """
import sqlalchemy as sa
M = sa.MetaData()
for name in ("t", "t_0001"):
    sa.Table(name, M, sa.Column("id", sa.Integer, primary_key=True))
"""
FILE = "open('skip' + '.txt').read().split()"
# What env.py itself asks while it compares, and how another answer is given.
ASKED_WHILE_COMPARING = {
    "a file, by include_object": ("include_object=lambda o, n, *_: n not in " + FILE, None),
    "a variable, by include_object": (
        "include_object=lambda o, n, *_: n not in os.environ.get('SKIP', '')", "SKIP"),
    "a variable, by a hook": (
        "process_revision_directives=lambda c, r, d: d.clear() if os.environ.get('SKIP') else None",
        "SKIP"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("option", "variable"), ASKED_WHILE_COMPARING.values(), ids=ASKED_WHILE_COMPARING
)
def test_what_env_py_itself_reads_while_it_compares(project, monkeypatch, option, variable):
    project.write("models.py", DRIFTING)
    project.write("skip.txt", "t")
    monkeypatch.setenv("SKIP", "t")
    with_env(project, f"{option},", "import os\nfrom models import M")
    env = project.root / "migrations/env.py"
    env.write_text(env.read_text().replace("target_metadata = None", "target_metadata = M"))
    project.revision("0001")
    assert not project.ensure().manifest.checks["drift"]

    if variable:
        monkeypatch.delenv(variable)
    else:
        project.write("skip.txt", "")

    assert project.ensure().manifest.checks["drift"]
