"""G3: what a hook of ``env.py`` holds beside its code counts, as far as it can be compared."""

from __future__ import annotations

import collections
import enum
import functools
import logging
import operator
import re
import sys
import threading
import types

import pytest

from alembic_snapshot.builder import held
from alembic_snapshot.builder.held import Held
from tests.builder.test_reached_models import claim_not_stale, content, with_env

FOLDER = "/project/migrations"
ENV = f"{FOLDER}/env.py"
APP = """
import functools, threading
def record(v=None, **kw): ...
def make(v, more=None):
    def called(**kw):
        return v, more
    return called
def make_class(v):
    class Local:
        w = v
        def __call__(self, **kw):
            return self.w
        @staticmethod
        def plain(**kw):
            return v
        @property
        def shown(self):
            return v
    return Local
def decorated(function):
    @functools.wraps(function)
    def called(**kw):
        return lock, function(**kw)
    lock = threading.Lock()
    return called
class Recorder:
    def __init__(self, v):
        self.v = v
    def on(self, **kw): ...
    def __call__(self, **kw): ...
class Closed(Recorder):
    def __init__(self, v):
        self.v, self.lock = v, threading.Lock()
class Slotted:
    __slots__ = ("v",)
    def __init__(self, v):
        self.v = v
    def on(self, **kw): ...
class Listed(list):
    def __call__(self, **kw): ...
class Failing:
    def __reduce_ex__(self, version):
        raise RuntimeError
    def __call__(self, **kw): ...
def unbound(v):
    def called(**kw):
        return later, v
    return called
    later = 1
ours = Closed("1")
wrapped = decorated(record)
"""


@pytest.fixture
def written(monkeypatch):
    """A hook of a text of ``env.py``, in which V has a value; the application is in its module."""
    app = types.ModuleType("held_app")
    app.__file__ = "/project/held_app.py"
    exec(compile(APP, app.__file__, "exec"), app.__dict__)
    monkeypatch.setitem(sys.modules, "held_app", app)
    beside = [collections, enum, functools, logging, operator, re, sys, threading]

    def written(code, value="1"):
        scope = {one.__name__: one for one in beside}
        scope |= {"app": app, "V": value, "Recorder": app.Recorder, "__name__": "env"}
        exec(compile(code, ENV, "exec"), scope)
        return Held(scope["hook"], FOLDER, lambda path: path.startswith("/project/"))

    return written


# Hooks that hold V, in a way in which it can be compared.
HOLDING = [
    "hook = app.make(V)",
    "hook = app.make(1, more=V)",
    "hook = app.make({'a': [len, (V, print)]})",
    "hook = app.make(app.make(V))",
    "hook = app.unbound(V)",
    "hook = functools.partial(app.record, V)",
    "hook = functools.partial(app.record, v=V)",
    "hook = functools.partial(app.make(V), more=1)",
    "hook = functools.cache(app.make(V))",
    "hook = functools.wraps(app.record)(lambda: V)",
    "hook = Recorder(V).on",
    "hook = Recorder(V)",
    "hook = Recorder(Recorder(V)).on",
    "hook = Recorder(re.compile(V)).on",
    "hook = Recorder(logging.getLogger(V)).on",
    "hook = Recorder(operator.itemgetter(V)).on",
    "hook = Recorder(collections.OrderedDict(a=app.make(V))).on",
    "hook = Recorder(collections.deque([print, V])).on",
    "hook = Recorder({'a': print}.__class__(b=V, c=print).get).on",
    "hook = app.Slotted(V).on",
    "hook = app.Listed([print, V])",
    "hook = app.make_class(V)()",
    "hook = app.make_class(V)().__call__",
    "hook = app.make_class(V).plain",
    "hook = type('Local', (), {'__call__': lambda self: 1, 'w': V})()",
    "hook = type('Local', (app.make_class(V),), {})()",
    "def hook(v=V): ...",
    "def hook(*, v=V): ...",
    "def hook(): ...\nhook.v = V",
    "def hook(): return V",
    "def hook():\n    def inner(): return [V for _ in 'a']\n    return inner",
    "def helper(): return V\ndef hook(): return helper()",
    "class Own:\n    w = V\n    def __call__(self): ...\nhook = Own()",
    "class Own:\n    def __call__(self): return V\nhook = Own().__call__",
    "one = enum.Enum('One', {'A': V})\nhook = Recorder(one.A).on",
    "hook = app.record\nhook = lambda **kw: app.record(V, **kw)",
]
# Hooks that hold nothing that V decides, or what a module has made.
HONEST = [
    "hook = app.record",
    "hook = app.wrapped",
    "hook = app.ours",
    "hook = app.ours.on",
    "hook = app.Recorder",
    "hook = print",
    "hook = functools.partial(app.record)",
    "hook = lambda **kw: app.record(**kw)",
    "hook = lambda **kw: kw['V'].V",
    "log = logging.getLogger('a')\ndef hook(**kw): log.info('%s', sys.argv)",
    "def hook(**kw): return hook, kw, nowhere",
]
# Hooks of which nobody knows what they hold.
CLOSED = [
    "hook = app.Closed(V).on",
    "hook = app.make(threading.Lock())",
    "hook = app.make(one for one in V)",
    "hook = app.make({print, len})",
    "hook = app.Failing()",
    "hook = app.make([V, print] * 6000)",
    "hook = functools.partial(app.record, open)\nhook = functools.partial(hook, object().__class__)"
    "\nhook = app.make(iter(sys.stdout.__class__.__mro__) and threading.local())",
    "lock = threading.Lock()\ndef hook(**kw): return lock",
]


@pytest.mark.parametrize("code", HOLDING)
def test_a_value_that_a_function_holds_is_told(written, code):
    one, same, other = (written(code, value) for value in ("1", "1", "2"))

    assert one.text == same.text != other.text
    assert None not in (one.text, other.text)


@pytest.mark.parametrize("code", HONEST)
def test_what_a_module_has_made_itself_is_told_by_its_name(written, code):
    one, other = written(code), written(code, "2")

    assert one.text == other.text
    assert one.text is not None


@pytest.mark.parametrize("code", CLOSED)
def test_of_what_can_not_be_compared_nobody_knows(written, code):
    assert written(code).text is None


def test_what_has_more_values_than_the_limit_is_not_told(written, monkeypatch):
    code = "hook = app.make([app.Recorder(str(n)) for n in range(20)])"
    assert written(code).text is not None

    monkeypatch.setattr(held, "LIMIT", 20)

    assert written(code).text is None


def test_the_connection_that_migrates_is_the_same_in_every_run(written):
    connection, scope = threading.Lock(), {}
    exec(compile("def make(c):\n    return lambda: c", ENV, "exec"), scope)
    hook = scope["make"](connection)

    assert Held(hook, FOLDER, bool).text is None
    assert Held(hook, FOLDER, bool, connection).text is not None


def test_the_module_that_made_an_object_counts_and_not_one_that_has_it_from_a_library(
    written, monkeypatch
):
    library = types.ModuleType("held_library")
    library.__file__ = "/usr/lib/held_library.py"
    library.thing = sys.modules["held_app"].thing = types.SimpleNamespace()
    monkeypatch.setitem(sys.modules, "held_library", library)

    assert written("hook = Recorder(app.ours)").files >= {"/project/held_app.py"}
    assert written("thing = app.thing\nhook = lambda: thing").files.isdisjoint(
        {"/project/held_app.py"}
    )
    assert "held_library.thing" in written("thing = app.thing\nhook = lambda: thing").text


AUDIT = """
import functools
import json
import os
import pathlib
import threading
from sqlalchemy import text

def record(v, ctx=None, step=None, **kw):
    ctx.connection.execute(text("insert into told values (:v)"), {"v": v})

def make(v):
    return lambda **kw: record(v, **kw)

class Recorder:
    def __init__(self, v):
        self.v = v
    def on(self, **kw):
        record(self.v, **kw)
    __call__ = on

class Closed(Recorder):
    def __init__(self, v):
        self.v, self.lock = v, threading.Lock()
"""
HOOKS = {
    "a closure": "audit.make(V)",
    "a partial": "functools.partial(audit.record, V)",
    "a method": "audit.Recorder(V).on",
    "one of a list": "[audit.make(V)]",
    "one of an iterator": "map(audit.make, [V])",
    "a default": "lambda v=V, **kw: audit.record(v, **kw)",
    "a name": "lambda **kw: audit.record(V, **kw)",
    "an object that is closed": "audit.Closed(V)",
    "an object of another module": "ours",
}
VAL = "from app import audit\nV = '1'\nours = audit.Closed(V)\n"
USES = "import functools\nfrom app import audit\nfrom app.val import V, ours"


@pytest.fixture
def app(project):
    project.write("app/__init__.py", "")
    project.write("app/audit.py", AUDIT)
    project.write("app/val.py", VAL)
    project.revision("0001", None, "op.execute('create table told (v)')")
    return project


@pytest.mark.parametrize("hook", HOOKS.values(), ids=HOOKS)
def test_another_value_of_a_hook_is_no_hit(app, hook):
    with_env(app, f"on_version_apply={hook},", USES)

    claim_not_stale(app, "app/val.py", "'1'", "'2'")


@pytest.mark.parametrize("hook", ["audit.make(V)", "audit.Closed(V)"])
def test_another_value_that_a_module_reads_is_no_hit(app, hook):
    app.write(
        "app/val.py",
        "import json, pathlib\n"
        "V = json.loads(pathlib.Path(__file__).with_name('v.json').read_text())\nours = None",
    )
    app.write("app/v.json", '"1"')
    with_env(app, f"on_version_apply={hook},", USES)

    claim_not_stale(app, "app/v.json", "1", "2")


def test_another_value_of_a_variable_is_no_hit(app, monkeypatch, rows):
    app.write("app/val.py", "import os\nV = os.environ['TENANT']\nours = None")
    with_env(app, "on_version_apply=audit.make(V),", USES)

    for tenant in ("one", "two"):
        monkeypatch.setenv("TENANT", tenant)
        assert rows(app.ensure().path, "SELECT v FROM told") == [(tenant,)]
        assert not app.ensure().built


@pytest.mark.parametrize(
    "token", ["lambda c, t: V", "make(V)", "functools.partial(named, V)", "Recorder(V).on"]
)
def test_another_value_of_a_naming_convention_is_no_hit(app, token):
    app.append(
        "app/audit.py",
        "\ndef make(v):\n    return lambda c, t: v\ndef named(v, c, t):\n    return v\n"
        "class Recorder:\n    def __init__(self, v):\n        self.v = v\n"
        "    def on(self, c, t):\n        return self.v\n",
    )
    lines = (
        "\nfrom app.audit import *\nimport sqlalchemy\nnames = {'tk': "
        + token
        + (", 'uq': 'uq_%(tk)s'}\nM = sqlalchemy.MetaData(naming_convention=names)")
    )
    with_env(app, lines=USES + lines)
    env = app.root / "migrations/env.py"
    env.write_text(env.read_text().replace("target_metadata = None", "target_metadata = M"))
    app.revision(
        "0002", "0001", "op.create_table('t', sa.Column('x', sa.Integer), sa.UniqueConstraint('x'))"
    )

    claim_not_stale(app, "app/val.py", "'1'", "'2'")


OWN = """
from alembic import op
from alembic.operations import MigrateOperation, Operations

def note(v, *given):
    op.execute(f"insert into told values ('{v}')")

def noting(v):
    return lambda *given: note(v, *given)

class Noter:
    def __init__(self, v):
        self.v = v
    def on(self, *given):
        note(self.v)

@Operations.register_operation("note")
class Note(MigrateOperation):
    @classmethod
    def note(cls, operations):
        return operations.invoke(cls())
"""
GIVEN = {
    "an implementation":
        ("Operations.implementation_for(audit.Note)(audit.noting(V))", "op.note()"),
    "a closure": ("op.say = audit.noting(V)", "op.say()"),
    "a partial": ("op.say = functools.partial(audit.note, V)", "op.say()"),
    "a library's function": ("op.say = functools.partial(str.format, V)", "op.execute("
        "f'insert into told values ({op.say()})')"),
    "a method": ("op.say = audit.Noter(V).on", "op.say()"),
    "a static method": ("Operations.say = staticmethod(audit.noting(V))",
        "op._proxy.say()"),
}  # fmt: skip


@pytest.mark.parametrize(("line", "use"), GIVEN.values(), ids=GIVEN)
def test_another_value_of_what_is_given_to_alembic_is_no_hit(app, line, use):
    app.append("app/audit.py", OWN)
    app.revision("0002", "0001", use)
    with_env(
        app,
        lines=f"from alembic import op\nfrom alembic.operations import Operations\n{USES}\n{line}",
    )

    claim_not_stale(app, "app/val.py", "'1'", "'2'")


def test_hooks_that_hold_nothing_of_a_module_are_built_once(app):
    app.write("app/other.py", "X = 1\n")
    hooks = (
        "audit.record_nothing, lambda **kw: None, lambda **kw: log.info(kw), "
        "lambda **kw: kw['ctx'].connection.execute(sqlalchemy.select(func.now())), "
        "local(connection), audit.ours.on, functools.partial(audit.record, 'a')"
    )
    with_env(
        app,
        f"on_version_apply=[{hooks}],",
        "import functools, logging, sqlalchemy\nfrom sqlalchemy import func\n"
        "from app import audit, other\nlog = logging.getLogger('a')\n"
        "def local(connection):\n"
        "    return lambda **kw: connection.execute(sqlalchemy.text('select 1'))\n"
        "from alembic import op\nop.log, op.Logger = log.info, logging.Logger\n"
        "op.say = audit.note\naudit.Operations.implementation_for(audit.Note)(audit.noting)",
    )
    app.append("app/audit.py", OWN)
    app.append("app/audit.py", "def record_nothing(**kw): ...\nours = Closed('b')\n")
    app.append("app/other.py", "from sqlalchemy import func\n")
    before = content(app.ensure().path)

    app.append("app/other.py", "X = 2\n")

    assert not app.ensure().built
    assert content(app.ensure().path) == before
