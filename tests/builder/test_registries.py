"""G3: what other modules put into one that a revision imports counts."""

from __future__ import annotations

import importlib
import random
import sys
from importlib.machinery import SourceFileLoader

import pytest

from alembic_snapshot.builder import registries
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
    "an object of a library": ("import threading\nR = threading.local()", "R.x = 1"),
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
    monkeypatch.setattr(registries, "_LIMIT", 100)

    assert imported(registry="R = list(range(200))", models="S = list(range(90))") == {
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

    @pytest.mark.parametrize("what", ["a variable", "its folder", "random numbers"])
    def test_in_the_process_is_told(self, imported, monkeypatch, tmp_path, what):
        imported()
        imported.heard.begin()
        before = random.getstate()
        try:
            if what == "a variable":
                monkeypatch.setenv("LEFT_BY_A_REVISION", "1")
            elif what == "its folder":
                monkeypatch.chdir(tmp_path)
            else:
                random.random()
            found = imported.heard.left()
        finally:
            random.setstate(before)

        assert found == {PROCESS}

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
    def test_in_generators_is_told_of_modules_that_revisions_import(self, imported, has, name):
        imported(**{name: f"import collections, random, types\n{has}"})
        imported.heard.begin()

        sys.modules[f"app.{name}"].R.random()

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
