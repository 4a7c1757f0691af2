"""G3: what revisions and seeds leave for later ones is there, whatever the store holds.

What is built on an old store equals what is built on an empty one, and what Alembic makes at once.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys

import pytest

TREE = (
    "op.execute('create table tree (id integer primary key)')\n"
    "op.execute('create table fruit (id integer primary key,"
    " tree integer references tree on delete cascade)')\n"
    "op.execute('insert into tree values (1), (2)')\n"
    "op.execute('insert into fruit values (10, 1), (20, 2)')"
)
TOLD = "op.execute('create table if not exists told (a text)')"


def tell(value):
    return f"{TOLD}\nop.execute(f\"insert into told values ('{{{value}}}')\")"


# What comes before, what leaves something, and what finds it; with modules of the project.
LEFT = {
    "a setting": (
        "", TREE, "op.execute('pragma foreign_keys=on')", "op.execute('delete from tree')",
    ),
    "a temporary table": (
        "", "pass", "op.execute('create temp table kept as select 7 as a')",
        "op.execute('create table made as select * from kept')",
    ),
    "a counter": (
        "import itertools\nnumbers = itertools.count()\nclass Last: number = 0\n"
        "def following():\n    Last.number += 1\n    return Last.number\n",
        "pass", tell("helper.following()"), tell("helper.following()"),
    ),
    "a generator of random numbers": (
        "import random\nR = random.Random(42)\ndef following(): return R.random()\n",
        "pass", tell("helper.following()"), tell("helper.following()"),
    ),
    "one inside another object": (
        "import random, types\nR = types.SimpleNamespace(a=[{'b': random.Random(42)}])\n"
        "def following(): return R.a[0]['b'].random()\n",
        "pass", tell("helper.following()"), tell("helper.following()"),
    ),
    "a library's generator": (
        "from faker import Faker\nFaker.seed(42)\nfake = Faker()\n"
        "def following(): return fake.first_name().replace(chr(39), '')\n",
        "pass", tell("helper.following()"), tell("helper.following()"),
    ),
    "Python's generator": (
        "import random\nrandom.seed(42)\ndef following(): return random.random()\n",
        "pass", tell("helper.following()"), tell("helper.following()"),
    ),
    "a variable": (
        "import os", "pass", "import os\nos.environ['LEFT'] = '1'",
        "import os\n" + tell("os.environ.get('LEFT', 'none')"),
    ),
    "a name in a module": (
        "", "pass", "helper.left = 'something'", tell("getattr(helper, 'left', 'nothing')"),
    ),
    "a count": (
        "import itertools\nnumbers = itertools.count()\n",
        "pass", tell("next(helper.numbers)"), tell("next(helper.numbers)"),
    ),
    "what goes on": (
        "numbers = (number for number in range(9))\n",
        "pass", tell("next(helper.numbers)"), tell("next(helper.numbers)"),
    ),
    "a date": (
        "import datetime\nD = datetime.date(2020, 1, 1)\n",
        "pass", "helper.D += helper.datetime.timedelta(1)", tell("helper.D"),
    ),
    "a default argument": (
        "def seen(x, _seen=[]):\n    _seen.append(x)\n    return len(_seen)\n",
        "pass", tell("helper.seen(1)"), tell("helper.seen(2)"),
    ),
    "how decimals are calculated": (
        "import decimal\n", "pass", "helper.decimal.getcontext().prec = 4",
        tell("helper.decimal.Decimal(1) / 3"),
    ),
    "what a function has cached": (
        "import functools\n@functools.lru_cache\ndef names(): return []\n",
        "pass", "helper.names().append('a')", tell("len(helper.names())"),
    ),
    "what its thread has": (
        "import threading\nL = threading.local()\n",
        "pass", "helper.L.a = 1", tell("vars(helper.L).get('a', 'none')"),
    ),
    "a logger's level": (
        "import logging\nL = logging.getLogger('app')\n",
        "pass", "helper.L.setLevel(7)", tell("helper.L.getEffectiveLevel()"),
    ),
    "an operation": (
        "", "pass", "op.told = 'something'", tell("getattr(op, 'told', 'nothing')"),
    ),
}  # fmt: skip


def content(path):
    connection = sqlite3.connect(path)
    try:
        return list(connection.iterdump())
    finally:
        connection.close()


def built(project):
    return content(project.ensure().path)


def on_an_empty_store(project):
    shutil.rmtree(project.root / ".alembic-snapshot")
    return built(project)


def by_alembic(project):
    command = [sys.executable, "-m", "alembic", "upgrade", "heads"]
    variables = {**os.environ, "PYTHONPATH": str(project.root)}
    subprocess.run(command, cwd=project.root, env=variables, check=True, capture_output=True)
    return content(project.root / "app.db")


@pytest.fixture
def helped(project):
    """Writes revisions that import a helper of the project's."""
    project.write("app/__init__.py", "")
    project.append("alembic.ini", "sqlalchemy.url = sqlite:///%(here)s/app.db\n")

    def write(helper, *bodies):
        project.write("app/helper.py", helper)
        before = None
        for number, body in enumerate(bodies, 1):
            name = f"{number:04}"
            project.revision(name, before, body, header="from app import helper")
            before = name
        return project

    return write


@pytest.mark.parametrize("more", ["", "pass"], ids=["at the end", "further on"])
@pytest.mark.parametrize(("helper", "first", "leaves", "finds"), LEFT.values(), ids=LEFT)
def test_what_a_revision_leaves_is_found_by_one_that_is_added(
    helped, helper, first, leaves, finds, more
):
    project = helped(helper, first, leaves, *([more] if more else []))
    built(project)
    last = "0003" if more else "0002"
    project.revision("0009", last, finds, header="from app import helper")

    found = built(project)

    assert found == on_an_empty_store(project)
    assert found == by_alembic(project)


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("a setting", "their connection"),
        ("a counter", "app/helper.py"),
        ("Python's generator", "their process"),
    ],
)
def test_a_build_says_why_it_runs_more_than_what_is_new(helped, name, where):
    project = helped(*LEFT[name][:3])
    assert not any("left in" in reason for reason in project.ensure().why)
    project.revision("0009", "0002", LEFT[name][3], header="from app import helper")

    why = project.ensure().why

    assert why == (
        "migrations/versions/0009_made.py is new",
        f"what runs may need what revisions or seeds before it left in {where}",
    )


WRITES = "(__import__('pathlib').Path(helper.__file__).parent / 'map.json').write_text('a')"
READS = tell(
    "'map.json' in __import__('os').listdir(__import__('os').path.dirname(helper.__file__))"
)


def test_a_file_that_a_revision_wrote_is_written_again(helped):
    project = helped("", "pass", WRITES)
    project.ensure()
    project.revision("0003", "0002", READS, header="from app import helper")
    (project.root / "app/map.json").unlink()

    snapshot = project.ensure()

    assert snapshot.why[-1].endswith("before it left in app/map.json")
    found = content(snapshot.path)
    (project.root / "app/map.json").unlink()
    assert found == by_alembic(project)


@pytest.mark.parametrize(
    "does",
    [
        "import tempfile; tempfile.TemporaryFile(dir=helper.__path__).close()",
        "import os; os.makedirs(helper.__path__, exist_ok=True)",
    ],
    ids=["a file that goes", "a folder that is there"],
)
def test_what_is_on_the_disk_as_before_costs_no_build(helped, does):
    helper = "import os\n__path__ = os.path.dirname(__file__)\n"
    project = helped(helper, "pass", does)
    project.ensure()
    project.revision("0003", "0002", "pass", header="from app import helper")

    assert project.build()[1] == ["0003"]


def test_what_was_left_below_a_state_is_left_below_those_above_it(helped):
    project = helped(LEFT["a counter"][0], "pass", tell("helper.following()"))
    built(project)
    project.revision("0003", "0002", "pass")
    assert project.build()[1] == ["0003"]
    project.revision("0004", "0003", tell("helper.following()"), header="from app import helper")

    found = built(project)

    assert found == on_an_empty_store(project)
    assert found == by_alembic(project)


def test_a_seed_finds_what_the_one_before_it_left(project):
    project.revision("0001", None, TOLD)
    project.write(
        "demo.py",
        "import random\nimport sqlalchemy as sa\nR = random.Random(1)\n"
        "INSERT = 'insert into told values ({})'\n"
        "def put(connection): connection.execute(sa.text(INSERT.format(R.random())))\n"
        "def one(connection): put(connection)\ndef two(connection): put(connection)\n",
    )
    project.configure('seeds = ["demo:one"]')
    built(project)
    project.configure('seeds = ["demo:one", "demo:two"]')

    assert built(project) == on_an_empty_store(project)


def test_what_nobody_imports_any_more_costs_no_build(helped):
    project = helped(LEFT["a counter"][0], "pass", tell("helper.following()"))
    project.ensure()
    project.revision("0003", "0002", "op.execute('create table other (a)')")

    snapshot, ran = project.build()

    assert ran == ["0003"]
    assert snapshot.why == ("migrations/versions/0003_made.py is new",)


def test_a_setting_of_a_connection_is_missed_by_revisions_and_not_by_seeds(project):
    project.revision("0001", None, TOLD)
    project.revision("0002", "0001", "op.execute('pragma foreign_keys=on')")
    project.ensure()
    project.write("demo.py", "def one(connection): ...\n")
    project.configure('seeds = ["demo:one"]')

    assert project.build()[1] == ["demo:one"]


def test_what_leaves_nothing_is_built_upon(helped):
    project = helped("VALUES = {'a': 1}\n", TOLD, tell("len(helper.VALUES)"))
    project.ensure()
    project.revision("0003", "0002", tell("len(helper.VALUES)"), header="from app import helper")

    assert project.build()[1] == ["0003"]


class TestOnAServer:
    @pytest.fixture
    def project(self, project, postgres, forget, monkeypatch):
        monkeypatch.delenv("ALEMBIC_SNAPSHOT_BACKEND", raising=False)
        forget()
        project.configure('backend = "postgresql"')
        project.revision("0001", None, "op.execute('create schema sales')")
        return project

    @pytest.mark.parametrize(
        ("leaves", "finds"),
        [
            ("set search_path to sales, public", "create table found (a int)"),
            ("create temp table kept as select 7 as a", "create table found as table kept"),
            (
                "set timezone to 'Asia/Tokyo'",
                "create table found as select now()::text like '%+09'",
            ),
        ],
        ids=["a setting", "a temporary table", "the time zone"],
    )
    def test_what_a_revision_leaves_is_found_by_one_that_is_added(
        self, project, postgres, forget, leaves, finds
    ):
        project.revision("0002", "0001", f"op.execute({leaves!r})")
        project.ensure()
        project.revision("0003", "0002", f"op.execute({finds!r})")

        old = project.ensure()
        here = asked(old, postgres)
        forget()
        shutil.rmtree(project.root / ".alembic-snapshot")

        assert here == asked(project.ensure(), postgres)
        assert here != []

    @pytest.mark.parametrize("local", ["", "local "])
    def test_how_long_something_may_take_is_no_matter(self, project, local):
        project.revision("0002", "0001", f"op.execute(\"set {local}lock_timeout = '5s'\")")
        project.ensure()
        project.revision("0003", "0002", "op.execute('create table found (a int)')")

        assert project.build()[1] == ["0003"]


def asked(snapshot, postgres):
    """The tables of a snapshot on a server, with their schemas and rows."""
    clone = snapshot.clone("asked")
    query = "SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ('public', 'sales')"
    with postgres.connect("asked") as connection:
        names = sorted(connection.execute(query).fetchall())
        found = [
            (schema, table, connection.execute(f'TABLE "{schema}"."{table}"').fetchall())
            for schema, table in names
            if table != "alembic_version"
        ]
    clone.delete()
    return found
