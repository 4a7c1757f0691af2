"""G3: what other modules put into one that a revision imports counts."""

from __future__ import annotations

import builtins
import decimal
import importlib
import logging
import random
import sqlite3
import sys
from importlib.machinery import SourceFileLoader

import pytest
from alembic.operations import Operations

from alembic_snapshot.builder import values
from alembic_snapshot.builder.protocol import PROCESS
from alembic_snapshot.builder.registries import Registries

from .test_reached_models import claim_not_stale

# What a module has, how another one changes it, and what a revision inserts of it.
FILLED = {
    "a dictionary": ("R = {}", "R['one'] = 1", "R"),
    "an ordered dictionary": (
        "from collections import OrderedDict\nR = OrderedDict()", "R['one'] = 1", "R",
    ),
    "a list": ("R = []", "R.append('one')", "R"),
    "a set": ("R = set()", "R.add('one')", "R"),
    "a deque": ("from collections import deque\nR = deque()", "R.append('one')", "R"),
    "a list in a dictionary": ("R = {'a': []}", "R['a'].append('one')", "R['a']"),
    "an item": ("R = {'a': 'none'}", "R['a'] = 'one'", "R.values()"),
    "an item of a list": ("R = ['none']", "R[0] = 'one'", "R"),
    "fewer": ("R = ['one', 'two', 'another']", "R.remove('one')", "R"),
    "a key less": ("R = {'one': 1, 'two': 2, 'another': 3}", "R.pop('one')", "R"),
    "a setting": ("R = ()", "import app.registry\napp.registry.R = ('one',)", "registry.R"),
    "a new name": ("", "import app.registry\napp.registry.R = ('one',)", "registry.R"),
    "a name that is deleted": (
        "R = 'one'\nS = 'none'", "import app.registry\ndel app.registry.S",
        "[vars(registry).get('S', 'gone')]",
    ),
    "a function's attribute": ("def R(): ...", "R.names = ['one']", "R.names"),
    "single dispatch": (
        "import functools\n@functools.singledispatch\ndef R(x): ...",
        "@R.register\ndef one(x: int): ...", "[f.__name__ for f in R.registry.values()]",
    ),
    "a class that knows its subclasses": (
        "class R:\n    known = {}\n    def __init_subclass__(cls):\n"
        "        R.known[cls.__name__] = cls",
        "class one(R): ...", "R.known",
    ),
    "a class's attribute": ("class R:\n    name = 'none'", "R.name = 'one'", "[R.name]"),
    "an object": (
        "class Kept:\n    def __init__(self): self.names = []\nR = Kept()",
        "R.names.append('one')", "R.names",
    ),
    "an object of slots": (
        "class Kept:\n    __slots__ = ('names',)\n    def __init__(self): self.names = []\n"
        "R = Kept()",
        "R.names.append('one')", "R.names",
    ),
    "a dictionary of a class of its own": (
        "class Kept(dict): ...\nR = Kept()", "R['one'] = 1", "R",
    ),
    "a set of a class of its own": ("class Kept(set): ...\nR = Kept()", "R.add('one')", "R"),
    "an object of another module's class": (
        "from app.kinds import Kept\nR = Kept()", "R.names.append('one')", "R.names",
    ),
    "another order": ("R = {'a': 1, 'b': 2}", "R['a'] = R.pop('a')", "[*R][:1]"),
    "another of its own": (
        "A, B = ['none'], ['other']\nR = A", "import app.registry as r\nr.R = r.B", "registry.R",
    ),
    "an object of another class": (
        "class A: a = 'none'\nclass B: a = 'other'\nR = A()",
        "import app.registry as r\nr.R = r.B()", "[registry.R.a]",
    ),
    "another member": (
        "import enum\nclass E(enum.Enum):\n    A = 'none'\n    B = 'other'\nR = E.A",
        "import app.registry as r\nr.R = r.E.B", "[registry.R.value]",
    ),
    "a member's attribute": (
        "import enum\nclass R(enum.Enum):\n    A = 1\nR.A.told = ''", "R.A.told = 'one'",
        "[R.A.told]",
    ),
    "a number of a class of its own": (
        "class N(int): ...\nR = N(1)", "import app.registry as r\nr.R = r.N(2)", "[registry.R]",
    ),
    "a library's number": (
        "from packaging.version import Version\nR = Version('1')",
        "import app.registry as r\nr.R = r.Version('2')", "[registry.R]",
    ),
    "a default argument": ("def R(a=[]): return a", "R().append('one')", "R()"),
    "one that has a name": ("def R(*, a=[]): return a", "R().append('one')", "R()"),
    "one of a static method": (
        "class R:\n    @staticmethod\n    def f(a=[]): return a", "R.f().append('one')", "R.f()",
    ),
    "what a function has cached": (
        "import functools\n@functools.cache\ndef R(): return []", "R().append('one')", "R()",
    ),
    "the last that a function has cached": (
        "import functools\n@functools.lru_cache(3)\ndef R(a=1): return {}", "R()['one'] = 1", "R()",
    ),
    **{
        f"a {name}": (f"import {name.partition('.')[0]}\nR = {has}", f"R{does}", tells)
        for name, has, does, tells in (
            ("types.SimpleNamespace", "types.SimpleNamespace(a='')", ".a = 'one'", "[R.a]"),
            ("threading.local", "threading.local()", ".a = 'one'", "vars(R).values()"),
            ("collections.UserDict", "collections.UserDict()", "['one'] = 1", "R"),
            ("collections.ChainMap", "collections.ChainMap({})", "['one'] = 1", "R"),
            ("weakref.WeakSet", "weakref.WeakSet()", ".add(type(R))", "[c.__name__ for c in R]"),
            ("array", "array.array('i')", ".append(1)", "R"),
            ("io.StringIO", "io.StringIO()", ".write('one')", "[R.getvalue()]"),
            ("configparser", "configparser.ConfigParser()", ".add_section('one')", "R"),
            ("itertools.count", "itertools.count()", ".__next__()", "[R]"),
            ("contextvars", "contextvars.ContextVar('R', default='')", ".set('one')", "[R.get()]"),
            ("queue", "queue.Queue()", ".put('one')", "R.queue"),
            ("string", "bytearray(b'none')", "[:] = b'two'", "R"),
                    )
    },
    **{
        f"a {kind}": (
            f"import datetime, decimal, pathlib, uuid, fractions\nR = {kind}({old})",
            f"import app.registry as r\nr.R = r.{kind}({new.replace('date', 'r.date')})",
            "[registry.R]",
        )
        for kind, old, new in (
            ("datetime.date", "2020, 1, 1", "2021, 1, 1"),
            ("datetime.timedelta", "1", "2"),
            ("decimal.Decimal", "1", "2"),
            ("fractions.Fraction", "1", "2"),
            ("uuid.UUID", "int=1", "int=2"),
            ("pathlib.Path", "'a'", "'b'"),
        )
    },
}  # fmt: skip
KINDS = "class Kept:\n    def __init__(self): self.names = []\n"
# What is no other after the same code.
KEPT = {
    "constants": ("R = {'a': [1, 2.5, None, b'x', {'c'}, (1j,)]}", "R['a'][0]"),
    "an engine that is made when it is asked for": (
        "E = None\ndef engine():\n    global E\n    import sqlalchemy\n"
        "    E = E or sqlalchemy.create_engine('sqlite://')",
        "from app.registry import engine\nengine()",
    ),
    "an object of a library": ("import sqlalchemy as sa\nR = sa.MetaData()", "R.info['x'] = 1"),
    "what a function has cached that has nothing in it": (
        "import functools\nclass S: ...\n@functools.cache\ndef R(): return S()", "x = R()",
    ),
    "a lock": ("import threading\nR = [threading.Lock(), threading.RLock()]", "x = R"),
    "a stream": ("import sys\nR = sys.stderr", "x = R"),
    "a logger": ("import logging\nR = logging.getLogger('app')", "R.isEnabledFor(10)"),
    "a pattern": ("import re\nR = re.compile('a+')", "R.match('aa')"),
    "a column": ("import sqlalchemy as sa\nR = sa.Column('a', sa.Integer)", "x = R == 1"),
    "subclasses that nobody asks for": ("class R: ...", "class S(R): ..."),
    "annotations": (
        "import dataclasses, typing\n@dataclasses.dataclass\nclass R:\n"
        "    a: 'typing.Optional[R]' = None\nA = typing.Optional['R']",
        "import typing, app.registry as r\ntyping.get_type_hints(r.R)",
    ),
    "a class of a library's, what it keeps there": (
        "import sqlalchemy as sa\nclass R(sa.types.TypeDecorator):\n    impl = sa.String\n"
        "    cache_ok = True",
        "R._kept_by_library = {'a': 1}",
    ),
    "a submodule": ("", "import app.another"),
    "an enumeration": (
        "import enum\nclass R(enum.Flag):\n    A = 1\n    B = 2", "x = R.A | R.B",
    ),
    "an object that does not work": (
        "class R:\n    def __getattribute__(self, name): raise RuntimeError\nR = R()", "x = 1",
    ),
    "itself": ("R = []\nR.append(R)", "x = R"),
}  # fmt: skip

# What a revision may leave in its process.
IN_THE_PROCESS = {
    "a variable": lambda patch, _: patch.setenv("LEFT_BY_A_REVISION", "1"),
    "its folder": lambda patch, folder: patch.chdir(folder),
    "random numbers": lambda *_: random.random(),
    "how decimals are calculated": lambda *_: setattr(decimal.getcontext(), "prec", 4),
    "where modules are": lambda patch, folder: patch.syspath_prepend(str(folder / "more")),
    "a name of every module": lambda patch, _: patch.setattr(builtins, "told", 1, raising=False),
    "a logger's level": lambda patch, _: patch.setattr(logging.getLogger("alembic"), "level", 7),
    "how a database is given values": lambda patch, _: patch.setitem(sqlite3.adapters, "a", "b"),
    "an operation": lambda patch, _: patch.setattr(Operations, "execute", "none"),
}


@pytest.fixture
def imported(tmp_path, monkeypatch):
    """Writes a package ``app``, imports its modules, and tells which others have filled."""
    monkeypatch.setattr(SourceFileLoader, "exec_module", SourceFileLoader.exec_module)
    monkeypatch.syspath_prepend(str(tmp_path))
    root = str(tmp_path)
    heard = Registries(
        lambda path: str(path).removeprefix(f"{root}/") if str(path).startswith(root) else None,
        ["app/inner.py"],
    )
    heard.listen()

    def import_them(**modules):
        (tmp_path / "app").mkdir()
        for name, text in {"__init__": "", "kinds": KINDS, "another": "", **modules}.items():
            (tmp_path / "app" / f"{name}.py").write_text(text)
        importlib.invalidate_caches()
        for name in modules:
            importlib.import_module(f"app.{name}")
        return heard.filled()

    import_them.heard = heard
    yield import_them
    for name in [name for name in sys.modules if name.partition(".")[0] == "app"]:
        del sys.modules[name]


@pytest.mark.parametrize(("has", "does", "_inserts"), FILLED.values(), ids=FILLED)
def test_a_module_that_another_fills_is_known(imported, has, does, _inserts):
    takes = "from app.registry import R\n" if "app.registry" not in does else ""

    assert imported(registry=has, models=f"{takes}{does}") == {"app/registry.py"}


@pytest.mark.parametrize(("has", "does"), KEPT.values(), ids=KEPT)
def test_one_that_nobody_fills_is_not(imported, has, does):
    takes = "from app.registry import R\n" if "import" not in does and has else ""

    assert imported(registry=has, models=f"{takes}{does}") == set()


def test_what_a_module_fills_itself_it_has_from_its_own_code(imported):
    assert imported(registry="from app import kinds\nkinds.K = []\nR = {}\nR['a'] = 1") == {
        "app/kinds.py"
    }


def test_one_that_is_imported_anew_is_compared_with_what_it_had_then(imported):
    again = (
        "import importlib, app.registry\napp.registry.R['a'] = 1\nimportlib.reload(app.registry)"
    )

    assert imported(registry="R = {}", models=again) == set()


def test_of_one_with_too_many_values_nobody_knows(imported, monkeypatch):
    monkeypatch.setattr(values, "LIMIT", 1_000)

    assert imported(registry="R = list(range(2_000))", models="S = list(range(900))") == {
        "app/registry.py"
    }


def test_other_modules_than_the_projects_are_not_looked_at(imported, monkeypatch, tmp_path):
    assert imported(registry="R = {}", models="import json\njson.R = {}") == set()


class TestWhatIsLeft:
    """By revisions and seeds, since the first of them began."""

    def test_is_what_changed_since_then_and_not_before(self, imported):
        heard = imported.heard
        imported(registry="R = {}", models="import app.registry\napp.registry.R['a'] = 1")
        heard.begin()
        assert heard.left() == set()

        sys.modules["app.models"].K = 1
        heard.begin()

        assert heard.left() == {"app/models.py"}, "the second call notes nothing"

    def test_of_a_module_that_is_imported_later_is_what_its_own_code_did_not_leave(
        self, imported, tmp_path
    ):
        imported()
        imported.heard.begin()
        (tmp_path / "app" / "later.py").write_text("R = []")
        module = importlib.import_module("app.later")
        assert imported.heard.left() == set()

        module.R.append(1)

        assert imported.heard.left() == {"app/later.py"}

    def test_before_any_began_is_nothing(self, imported):
        imported(models="")
        sys.modules["app.models"].K = 1

        assert imported.heard.left() == {"app/models.py"}
        assert PROCESS not in imported.heard.left()

    @pytest.mark.parametrize("leave", IN_THE_PROCESS.values(), ids=IN_THE_PROCESS)
    def test_in_the_process_is_told(self, imported, monkeypatch, tmp_path, leave):
        imported()
        imported.heard.begin()
        before, patched = random.getstate(), monkeypatch.context()
        try:
            with patched as patch, decimal.localcontext():
                leave(patch, tmp_path)
                found = imported.heard.left()
        finally:
            random.setstate(before)

        assert found == {PROCESS}

    def test_in_the_flags_of_a_calculation_is_nothing(self, imported):
        imported()
        with decimal.localcontext():
            imported.heard.begin()
            decimal.Decimal(1) / 3

            assert imported.heard.left() == set()

    def test_in_a_cache_is_told_whatever_a_function_has_returned(self, imported):
        imported(registry="import functools\n@functools.cache\ndef R(): return 1")
        imported.heard.begin()
        assert imported.heard.left() == set()

        sys.modules["app.registry"].R()

        assert imported.heard.left() == {"app/registry.py"}

    def test_of_what_goes_on_or_is_open_nobody_knows(self, imported):
        imported(inner="R = (a for a in 'abc')", other="import sqlite3\nR = sqlite3.connect('')")
        imported.heard.begin()

        assert imported.heard.left() == {"app/inner.py", "app/other.py"}
        sys.modules["app.other"].R.close()

    def test_by_scripts_that_are_loaded_is_none(self, imported):
        imported(registry="R = []")
        imported.heard.begin()
        sys.modules["app.registry"].R.append(1)

        imported.heard.begin(anew=True)

        assert imported.heard.left() == set()

    @pytest.mark.parametrize("name", ["inner", "other"])
    @pytest.mark.parametrize(
        "has",
        [
            "R = random.Random(1)",
            "R = types.SimpleNamespace(a=({'b': [random.Random(1)]}, 1)).a[0]['b'][0]\n"
            "S = types.SimpleNamespace(a=({'b': collections.deque([R])}, 1))\n"
            "R, Q = S.a[0]['b'][0], None",
        ],
    )
    def test_in_generators_is_told(self, imported, has, name):
        imported(**{name: f"import collections, random, types\n{has}"})
        imported.heard.begin()

        sys.modules[f"app.{name}"].R.random()

        assert imported.heard.left() == {f"app/{name}.py"}

    @pytest.mark.parametrize("name", ["inner", "other"])
    def test_in_a_librarys_is_looked_for_where_revisions_import_it(self, imported, name):
        imported(**{name: "from faker import Faker\nR = Faker()"})
        imported.heard.begin()

        sys.modules[f"app.{name}"].R.random.random()

        assert imported.heard.left() == ({"app/inner.py"} if name == "inner" else set())

    def test_in_objects_of_sqlalchemys_is_not_looked_for(self, imported):
        has = "import random, sqlalchemy as sa\nT = sa.MetaData(info={'r': random.Random(1)})"
        imported(inner=has)
        imported.heard.begin()

        sys.modules["app.inner"].T.info["r"].random()

        assert imported.heard.left() == set()

    def test_in_a_script_that_alembic_loads_is_nobodys(self, imported):
        imported(registry="R = 1")
        imported.heard.begin()
        module = sys.modules.pop("app.registry")
        module.R = 2

        assert imported.heard.left() == set()


@pytest.fixture
def app(project):
    project.write("app/__init__.py", "")
    project.write("app/kinds.py", KINDS)
    env = project.root / "migrations/env.py"
    env.write_text("import app.models\n" + env.read_text())
    return project


def insert(names):
    return (
        f"op.execute('create table told (a text)')\n"
        f"for name in {names}: op.execute(f\"insert into told values ('{{name}}')\")"
    )


@pytest.mark.parametrize(("has", "does", "inserts"), FILLED.values(), ids=FILLED)
def test_what_env_pys_modules_put_into_one_of_a_revisions_counts(app, has, does, inserts):
    takes = "from app.registry import R\n" if "app.registry" not in does else ""
    app.write("app/registry.py", has)
    app.write("app/models.py", f"{takes}{does}\n")
    name = "from app.registry import R"
    if "registry" in inserts.replace("R.registry", ""):
        name = "from app import registry"
    app.revision("0001", None, insert(inserts), header=name)
    app.revision("0002", "0001")

    if "one" in does:
        claim_not_stale(app, "app/models.py", "one", "another")
    else:
        claim_not_stale(app, "app/models.py", does, "x = 1")


def test_what_they_put_into_one_that_a_seed_imports_counts(app):
    app.write("app/registry.py", "R = {}")
    app.write("app/models.py", "from app.registry import R\nR['one'] = 1\n")
    app.revision("0001", None, "op.execute('create table told (a text)')")
    app.write(
        "seeds.py",
        "import sqlalchemy as sa\nfrom app.registry import R\ndef seed(connection):\n"
        "    for name in R: connection.execute(sa.text(f\"insert into told values ('{name}')\"))\n",
    )
    app.configure('seeds = ["seeds:seed"]')

    claim_not_stale(app, "app/models.py", "one", "another")


def test_a_module_that_nobody_fills_makes_no_models_inputs(app):
    app.write("app/registry.py", "R = {'a': 1}")
    app.write("app/models.py", "from app.registry import R\nS = {**R, 'b': 2}\n")
    app.revision("0001", None, insert("R"), header="from app.registry import R")
    app.ensure()

    app.append("app/models.py", "# changed\n")

    assert app.build()[1] == []


def test_states_below_the_revision_that_imports_it_are_kept(app):
    app.write("app/registry.py", "R = {}")
    app.write("app/models.py", "from app.registry import R\nR['one'] = 1\n")
    app.revision("0001", None, "op.execute('create table first (a text)')")
    app.revision("0002", "0001", insert("R"), header="from app.registry import R")
    app.ensure()

    app.append("app/models.py", "R['two'] = 1\n")

    assert app.build()[1] == ["0002"]


def test_what_they_put_into_every_module_counts(app):
    app.write("app/models.py", "import builtins\nbuiltins.told = ['one']\n")
    app.revision("0001", None, insert("told"))

    claim_not_stale(app, "app/models.py", "one", "another")


def test_a_class_that_they_make_below_one_counts_where_subclasses_are_asked_for(app):
    app.write("app/registry.py", "class R: ...")
    app.write("app/models.py", "from app.registry import R\nclass one(R): ...\n")
    names = "[c.__name__ for c in R.__subclasses__()]"
    app.revision("0001", None, insert(names), header="from app.registry import R")

    claim_not_stale(app, "app/models.py", "one", "another")


# What a module assigns to a name of Alembic's.
ASSIGNED = {
    "a function of op": "op.execute = told",
    "a method": "Operations.execute = lambda self, sql: told(sql)",
    "a method that leads elsewhere": "op.execute = functools.partial(told)",
    "a method of an object": "op.execute = Told().told",
    "what an object is called with": "op.execute = Told()",
    "a method of each kind of database": "DefaultImpl._exec = _exec",
    "a kind of database's": "class Own(SQLiteImpl):\n    __dialect__ = 'sqlite'\n    _exec = _exec",
}
ASSIGNS = """
import functools
from alembic import op
from alembic.ddl.impl import DefaultImpl
from alembic.ddl.sqlite import SQLiteImpl
from alembic.operations import Operations
NAME = 'one'
original, inner = op.get_bind, DefaultImpl._exec
def told(sql): return op.get_bind().exec_driver_sql(sql.replace('none', NAME))
def _exec(self, construct, *arguments, **options):
    if isinstance(construct, str): construct = construct.replace('none', NAME)
    elif hasattr(construct, 'text'): construct.text = construct.text.replace('none', NAME)
    return inner(self, construct, *arguments, **options)
class Told:
    def told(self, sql): return told(sql)
    def __call__(self, sql): return told(sql)
"""


@pytest.mark.parametrize("assigns", ASSIGNED.values(), ids=ASSIGNED)
def test_what_they_assign_to_a_name_of_alembics_counts(app, assigns):
    app.write("app/models.py", f"{ASSIGNS}{assigns}\n")
    app.revision("0001", None, insert(["none"]))

    claim_not_stale(app, "app/models.py", "'one'", "'another'")


def test_a_value_that_they_assign_to_a_name_of_alembics_counts(app):
    app.write("app/models.py", "from alembic import op\nop.told = ['one']\n")
    app.revision("0001", None, insert("op.told"))

    claim_not_stale(app, "app/models.py", "one", "another")


def test_what_alembic_and_the_builder_assign_themselves_is_no_input(app):
    app.write("app/models.py", "X = 1\n")
    app.revision("0001", None, insert(["none"]))

    assert app.ensure().manifest.observed.files == {}
