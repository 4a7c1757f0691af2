"""G3, G4: what was read is kept with the state in which it was read, and nothing else counts."""

from __future__ import annotations

import re

import pytest

COMPUTED = "open('data/ro' + 'les.txt').read()"
KEEP = "op.execute('create table kv (v)')\nop.get_bind().exec_driver_sql(" \
       "'insert into kv values (?)', ({value},))"  # fmt: skip


@pytest.fixture
def early(project):
    """A project whose first revision reads a file that nothing names literally."""
    project.write("data/roles.txt", "old")
    project.write("app/__init__.py", "")
    project.write("app/helper.py", "X = 'old'\n")
    return project


def reads_computed(project):
    project.revision("0001", upgrade=KEEP.format(value=COMPUTED))


@pytest.mark.parametrize("later", ["revision", "seed", "named layer"])
def test_an_early_state_is_not_used_because_something_later_names_the_file(early, rows, later):
    reads_computed(early)
    named = "P = 'data/roles.txt'"
    early.revision("0002", "0001", header=named if later == "revision" else "")
    early.write("app/seeds.py", f"{named}\ndef seed(connection):\n    pass\n")
    if later == "seed":
        early.configure('seeds = ["app.seeds:seed"]')
    elif later == "named layer":
        early.configure('layers = { demo = ["app.seeds:seed"] }')
        early.ensure(layer="demo")
    early.ensure()

    early.write("data/roles.txt", "new")

    assert rows(early.ensure().path, "select v from kv") == [("new",)]


def test_a_module_imported_under_a_computed_name_is_kept_with_its_revision(early, rows):
    value = "__import__('importlib').import_module('app.hel' + 'per').X"
    early.revision("0001", upgrade=KEEP.format(value=value))
    early.revision("0002", "0001", header="from app.helper import X")
    early.ensure()

    early.write("app/helper.py", "X = 'new'\n")

    assert rows(early.ensure().path, "select v from kv") == [("new",)]


def test_what_a_later_revision_reads_does_not_spoil_the_state_before_it(early):
    early.revision("0001")
    early.revision("0002", "0001", upgrade=KEEP.format(value=COMPUTED))
    early.ensure()

    early.write("data/roles.txt", "new")
    _, ran = early.build()

    assert ran == ["0002"]


def test_what_the_newest_script_reads_when_it_is_loaded_is_its_own(early):
    early.revision("0001")
    early.revision("0002", "0001", header=f"X = {COMPUTED}")
    early.ensure()

    early.write("data/roles.txt", "new")
    _, ran = early.build()

    assert ran == ["0002"]


@pytest.mark.parametrize(
    "name", ["README.md", "data/app.log", "dev.db", "data/x.sqlite3", "setup.cfg", "notes/plan.txt"]
)
def test_a_constant_that_names_a_file_which_nobody_opens_is_no_input(project, name):
    project.write(name, "1")
    project.revision("a", header=f"NAME = {name!r}")
    project.ensure()

    project.write(name, "2")
    _, ran = project.build()

    assert ran == []


def test_a_constant_that_names_a_file_counts_where_something_reads_unheard(project):
    project.write("data.txt", "1")
    project.revision(
        "a",
        header="import subprocess\nNAME = 'data.txt'",
        upgrade="subprocess.run(['cat', NAME], check=True)\nop.execute('select 1')",
    )
    project.ensure()

    project.write("data.txt", "2")

    assert project.look_up().reasons == ("data.txt changed",)


def test_the_key_of_a_cache_covers_the_files_that_constants_name(project):
    project.write("data.csv", "1")
    project.revision("a", upgrade="open('data.csv').close()\nop.execute('select 1')")
    before = project.key()

    project.write("data.csv", "2")

    assert project.key() != before


def test_a_file_named_by_a_leading_dot_counts_when_it_appears(project):
    project.revision("a", header="NAME = '.env'")
    before = project.key()

    project.write(".env", "X=1")

    assert project.key() != before


@pytest.mark.parametrize(
    "body",
    [
        "open(NAME, 'a').close()\nopen(NAME).read()",
        "open(NAME, 'r+').read()\nopen(NAME, 'w').write('again')",
        "text = open(NAME).read()\nopen(NAME, 'w').write(text)",
        "os.makedirs(os.path.dirname(NAME), exist_ok=True)\nos.listdir(os.path.dirname(NAME))",
    ],
)
def test_what_is_read_and_written_is_compared_with_what_the_build_left(early, body):
    header = "import os\nNAME = 'data/ro' + 'les.txt'"
    early.revision("a", header=header, upgrade=f"{body}\nop.execute('select 1')")
    early.ensure()
    assert early.look_up().entry

    early.write("data/roles.txt", "another")
    early.write("data/more.txt", "")

    assert early.look_up().entry is None


def test_a_module_that_two_revisions_import_brings_both_what_it_read(early, rows):
    early.write("app/shared.py", f"X = {COMPUTED}\n")
    imported = "X = __import__('importlib').import_module('app.sha' + 'red').X"
    early.revision("b", header=imported, upgrade=KEEP.format(value="X"))
    early.revision("a", "b", header=imported)
    early.ensure()

    early.write("data/roles.txt", "new")

    assert rows(early.ensure().path, "select v from kv") == [("new",)]


class TestWhatTheBuildWrites:
    @pytest.mark.parametrize(
        "body",
        [
            "open('app.log', 'a').write('built')",
            "open('out.txt', 'w').write('built')\nopen('out.txt').read()",
            "open('count.txt', 'r+').write('22')",
            "os.makedirs('made/here', exist_ok=True)\nos.path.exists('made/here')",
            "pathlib.Path('made/here').mkdir(parents=True, exist_ok=True)",
        ],
    )
    def test_is_no_input(self, project, body):
        project.write("count.txt", "1")
        header = "import os, pathlib"
        project.revision("a", header=header, upgrade=f"{body}\nop.execute('select 1')")
        project.ensure()

        _, ran = project.build()

        assert ran == []

    def test_is_what_was_there_before_if_it_was_asked_for(self, project):
        project.write("count.txt", "1")
        body = "if os.path.exists('count.txt'): os.rename('count.txt', 'moved.txt')"
        project.revision("a", header="import os", upgrade=f"{body}\nop.execute('select 1')")
        project.ensure()

        ran = [project.build()[1] for _ in range(2)]

        assert ran == [["a"], []]

    def test_may_be_a_log_that_a_seed_names(self, project):
        project.write("app.log", "")
        project.write("seeds.py", "def seed(connection):\n    open('app.log', 'a').write('x')\n")
        project.configure('seeds = ["seeds:seed"]')
        project.revision("a")
        project.ensure()

        assert project.look_up().entry


class TestInputs:
    @pytest.mark.parametrize("name", ["data/r[2024].csv", "data/a*b", "ä ?.csv"])
    def test_that_status_suggests_are_patterns_of_that_file(self, early, name):
        early.write(name, "x")
        early.revision("0001", None, f"open({name!r}[:-1] + {name[-1]!r})\nop.execute('select 1')")
        early.ensure()
        (line,) = re.findall(r"inputs = .* to the", early.command("status").stdout)

        early.configure(line.removesuffix(" to the"))
        before = early.key()
        early.write(name, "y")

        assert early.key() != before


class TestIgnoreInputs:
    @pytest.mark.parametrize("pattern", ["data/roles.txt", "data/*", "data", "*.txt"])
    def test_leaves_files_out(self, early, pattern):
        early.configure(f'ignore_inputs = ["{pattern}"]')
        reads_computed(early)
        early.revision("0002", "0001", header="import os\nos.listdir('da' + 'ta')")
        early.ensure()

        early.write("data/roles.txt", "new")
        if pattern != "data/roles.txt":
            early.write("data/more.txt", "new")
        _, ran = early.build()

        assert ran == []

    def test_counts_in_the_key(self, early):
        reads_computed(early)
        before = early.key()

        early.configure('ignore_inputs = ["data/*"]')

        assert early.key() != before

    def test_is_what_status_suggests_for_a_miss_that_keeps_coming(self, early):
        reads_computed(early)
        early.ensure()

        early.write("data/roles.txt", "new")

        assert 'ignore_inputs = ["data/roles.txt"]' in early.command("status").stdout

    @pytest.mark.parametrize("name", ["data/r[2024].csv", 'data/r"q.csv', "data/a*b", "ä ?.csv"])
    def test_followed_to_the_letter_ignores_that_file_and_no_other(self, early, name):
        early.write(name, "x")
        early.write("data/r2", "x")
        reads = f"open({name!r}[:-1] + {name[-1]!r}).read(); open('data/' + 'r2').read()"
        early.revision("0001", None, f"{reads}\nop.execute('select 1')")
        early.ensure()
        early.write(name, "y")
        (cure,) = re.findall(r"ignore_inputs = .*", early.command("status").stdout)

        early.configure(cure)
        early.ensure()
        early.write(name, "z")
        _, ran = early.build()
        early.write("data/r2", "y")
        _, ran_then = early.build()

        assert (ran, ran_then) == ([], ["0001"])

    @pytest.mark.parametrize("folder", [".", "data"])
    def test_of_a_listing_ignores_what_came_and_no_file_that_was_read(self, early, folder):
        early.write("data/r2", "x")
        early.revision(
            "0001",
            None,
            f"import os\nos.listdir({folder!r})\nopen('data/' + 'r2').read()\n"
            "op.execute('select 1')",
        )
        early.ensure()
        early.write(f"{folder}/NOTES.txt", "x")
        (cure,) = re.findall(r"ignore_inputs = .*", early.command("status").stdout)

        early.configure(cure)
        early.ensure()
        early.write(f"{folder}/NOTES.txt", "xy")
        _, ran = early.build()
        early.write("data/r2", "y")
        _, ran_then = early.build()
        early.write(f"{folder}/later.txt", "y")
        _, ran_at_last = early.build()

        assert (ran, ran_then, ran_at_last) == ([], ["0001"], ["0001"])


MODEL = """
import sqlalchemy as sa
from app.base import M

sa.Table("{}", M, sa.Column("id", sa.Integer, primary_key=True))
"""


class TestModelsThatEnvPyFinds:
    @pytest.fixture
    def found(self, project):
        """Models that nothing imports literally."""
        project.write("app/__init__.py", "")
        project.write("app/base.py", "import sqlalchemy as sa\nM = sa.MetaData()\n")
        project.write("app/models/__init__.py", """
            import pkgutil
            from importlib import import_module
            for module in pkgutil.iter_modules(__path__):
                import_module(f"{__name__}.{module.name}")
            """)  # fmt: skip
        project.write("app/models/user.py", MODEL.format("t_a"))
        env = project.root / "migrations/env.py"
        text = env.read_text().replace("target_metadata = None", "target_metadata = app.base.M")
        env.write_text("import app.base\nimport app.models\n" + text)
        project.revision("a")
        assert project.ensure().manifest.checks["drift"] == []
        return project

    def test_are_compared_again_when_one_changes(self, found):
        more = MODEL.replace("M, ", "M, sa.Column('n', sa.Integer), ")
        found.write("app/models/user.py", more.format("t_a"))
        snapshot, ran = found.build()

        assert ran == []
        assert len(snapshot.manifest.checks["drift"]) == 1

    def test_are_compared_again_when_there_is_one_more(self, found):
        found.write("app/models/shop.py", MODEL.format("shop"))
        snapshot, ran = found.build()

        assert ran == []
        assert len(snapshot.manifest.checks["drift"]) == 1
