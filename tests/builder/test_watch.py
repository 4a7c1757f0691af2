"""G3: what no reading of the files tells, a run reveals, however the project is laid out."""

from __future__ import annotations

import textwrap

import pytest

from alembic_snapshot import BuildError, ensure, load_project
from alembic_snapshot.build.lookup import look_up

ROOT = "from pathlib import Path\nROOT = Path(__file__).parents[2]"


def imports_first(project, line):
    """Let ``env.py`` import something before any revision does."""
    env = project.root / "migrations/env.py"
    env.write_text(f"{textwrap.dedent(line)}\n{env.read_text()}")


def reasons(project):
    status = project.look_up()
    return status.reasons if status.entry is None else ()


class TestAModule:
    def test_that_is_run_by_its_path_is_compared(self, project):
        project.write("tools/helper.py", "X = 1\n")
        project.revision(
            "a",
            header=ROOT,
            upgrade="""
            from importlib import util
            spec = util.spec_from_file_location("by_path", ROOT / "tools" / "helper.py")
            spec.loader.exec_module(util.module_from_spec(spec))
            op.execute("select 1")
            """,
        )
        project.ensure()

        project.write("tools/helper.py", "X = 2\n")

        assert reasons(project) == ("tools/helper.py changed (read while it ran)",)

    @pytest.mark.parametrize(
        "line",
        ["from app.kinds import X", "import importlib\nimportlib.import_module('app.kinds')"],
    )
    def test_that_env_py_imported_first_is_compared_with_what_it_imports(self, project, line):
        project.write("src/app/__init__.py", "")
        project.write("src/app/kinds.py", "from app.deeper import X\n")
        project.write("src/app/deeper.py", "X = 1\n")
        # As an editable installation does it: no setting says that modules are in src/.
        src = str(project.root / "src")
        imports_first(project, f"import sys\nsys.path.append({src!r})\nimport app.kinds")
        project.revision("a", upgrade=f"{line}\nop.execute('select 1')")
        project.ensure()

        project.write("src/app/deeper.py", "X = 2\n")

        assert reasons(project) == ("src/app/deeper.py changed (read while it ran)",)

    def test_that_only_env_py_imports_is_not_compared(self, project):
        project.write("models.py", "import os\nos.getenv('REGION')\nopen('mod' + 'els.txt')\n")
        project.write("models.txt", "")
        imports_first(project, "import models")
        project.revision("a")

        assert not project.ensure().manifest.observed

    def test_that_gives_op_a_method_is_compared_though_only_env_py_imports_it(self, project):
        project.write(
            "operations.py",
            """
            from alembic.operations import MigrateOperation, Operations

            @Operations.register_operation("create_view")
            class CreateView(MigrateOperation):
                def __init__(self, name): self.name = name

                @classmethod
                def create_view(cls, operations, name): return operations.invoke(cls(name))

            @Operations.implementation_for(CreateView)
            def create_view(operations, operation):
                operations.execute(f"create view {operation.name} as select 1")
            """,
        )
        imports_first(project, "import operations")
        project.revision("a", upgrade="op.create_view('v')")
        project.ensure()

        project.append("operations.py", "# changed\n")

        assert reasons(project) == ("operations.py changed (read while it ran)",)

    def test_that_hears_of_each_revision_is_compared(self, project):
        project.write("hooks.py", "def heard(**facts):\n    pass\n")
        imports_first(project, "import hooks")
        env = project.root / "migrations/env.py"
        configured = "on_version_apply=hooks.heard, target_metadata=target_metadata"
        env.write_text(env.read_text().replace("target_metadata=target_metadata", configured))
        project.revision("a")
        project.ensure()

        project.append("hooks.py", "# changed\n")

        assert reasons(project) == ("hooks.py changed (read while it ran)",)

    def test_brings_what_it_read_when_env_py_imported_it(self, project, monkeypatch):
        project.write("config.py", "import os\nREGION = os.getenv('REGION')\n")
        imports_first(project, "import config")
        project.revision("a", upgrade="from config import REGION\nop.execute('select 1')")
        project.ensure()

        monkeypatch.setenv("REGION", "us")

        assert reasons(project) == ("the environment variable REGION changed",)


class TestAFile:
    def test_that_was_looked_for_and_is_there_now_is_compared(self, project):
        project.revision(
            "a",
            upgrade="""
            import contextlib
            with contextlib.suppress(OSError):
                open("more" + ".txt").close()
            op.execute("select 1")
            """,
        )
        project.ensure()
        assert not reasons(project)

        project.write("more.txt", "")

        assert reasons(project) == ("more.txt changed (read while it ran)",)

    def test_in_a_folder_whose_name_begins_like_the_scripts_is_listed(self, project):
        project.write("migrations_data/a.sql", "")
        listing = "import os\nos.listdir('migrations' + '_data')\nop.execute('select 1')"
        project.revision("a", upgrade=listing)
        project.ensure()

        project.write("migrations_data/b.sql", "")

        assert reasons(project) == (
            "the list of files in migrations_data changed: b.sql is new (read while it ran)",
        )

    @pytest.mark.parametrize(
        "asked",
        [
            "metadata.version('shop')",
            "metadata.entry_points(group='shop')",
            "metadata.packages_distributions()",
            "list(metadata.distributions())",
        ],
    )
    def test_beside_the_descriptions_of_packages_is_none_of_them(self, project, asked):
        """An application that asks for its own version looks through the folders of modules."""
        project.revision(
            "a",
            upgrade=f"""
            import contextlib
            from importlib import metadata
            with contextlib.suppress(metadata.PackageNotFoundError):
                {asked}
            op.execute("select 1")
            """,
        )
        project.ensure()

        project.write("notes.txt", "")
        project.write("dist/shop.whl", "")
        assert not reasons(project)

        project.write("shop.egg-info/PKG-INFO", "Name: shop\nVersion: 1\n")
        said = "the list of package descriptions in . changed: shop.egg-info is new"
        assert reasons(project) == (f"{said} (read while it ran)",)

    @pytest.mark.parametrize("place", ["'.'", "Path(__file__).resolve().parents[2]"])
    def test_is_compared_in_a_project_that_is_reached_through_a_link(
        self, project, tmp_path, place
    ):
        project.write("data.txt", "1")
        opened = f"open(Path({place}) / ('da' + 'ta.txt')).close()\nop.execute('select 1')"
        project.revision("a", upgrade=opened, header=ROOT)
        link = tmp_path / "link"
        link.symlink_to(project.root)
        ensure(load_project(link))

        project.write("data.txt", "2")

        status = look_up(load_project(link))
        assert status.entry is None
        assert status.reasons == ("data.txt changed (read while it ran)",)


class TestPythonpathBesideTheProject:
    @pytest.fixture
    def beside(self, project):
        """A project whose revision uses a package of another project of the same repository."""
        project.configure('pythonpath = ["../common"]')
        project.write("../common/late.py", "import os\nos.getenv('REGION')\nX = 1\n")
        project.write("../common/names", "1")
        project.write(
            "../common/shared.py",
            """
            import importlib
            from pathlib import Path

            def read():
                importlib.import_module("la" + "te")
                return (Path(__file__).parent / ("na" + "mes")).read_text()
            """,
        )
        project.revision("a", upgrade="import shared\nshared.read()\nop.execute('select 1')")
        project.ensure()
        assert not reasons(project)
        return project

    @pytest.mark.parametrize("name", ["late.py", "names"])
    def test_is_read_as_if_it_were_in_it(self, beside, name):
        beside.write(f"../common/{name}", "X = 2\n")

        assert reasons(beside) == (f"../common/{name} changed (read while it ran)",)

    def test_has_its_variables_compared(self, beside, monkeypatch):
        monkeypatch.setenv("REGION", "us")

        assert reasons(beside) == ("the environment variable REGION changed",)


KINDS, ALONE = "../common/src/common/kinds.py", "../common/src/alone.py"


@pytest.fixture
def common(project):
    """A package of another project of the same repository, which ``env.py`` has on its path."""
    project.write("../common/src/common/__init__.py", "")
    project.write(KINDS, "from common.deeper import X\n")
    project.write("../common/src/common/deeper.py", "X = 1\n")
    project.write("../common/src/common/names.json", "[1]")
    project.write(ALONE, "X = 1\n")
    imports_first(
        project,
        """
        import sys
        from pathlib import Path
        sys.path.append(str(Path(__file__).parents[2] / "common/src"))
        """,
    )
    return project


class TestAModuleThatNothingInstalled:
    """In a monorepo the siblings of a service are on the path without any setting of ours."""

    @pytest.mark.parametrize(
        ("first", "line", "changed"),
        [
            ("", "from common.kinds import X", KINDS),
            ("", "import alone", ALONE),
            ("import common.kinds", "from common.kinds import X", "../common/src/common/deeper.py"),
            (
                "",
                "from importlib.resources import files\n"
                "files('comm' + 'on').joinpath('names' + '.json').read_bytes()",
                "../common/src/common/names.json",
            ),
            (
                "",
                "import runpy, sys\nfrom importlib import util\n"
                "path = next(one for one in sys.path if one.endswith('common/src'))\n"
                "spec = util.spec_from_file_location('by.path', f'{path}/alone.py')\n"
                "spec.loader.exec_module(util.module_from_spec(spec))",
                ALONE,
            ),
        ],
        ids=["of a package", "alone", "imported before", "data of a package", "by its path"],
    )
    def test_is_read_as_if_it_were_the_projects(self, common, first, line, changed):
        if first:
            env = common.root / "migrations/env.py"
            env.write_text(env.read_text().replace("config =", f"{first}\nconfig =", 1))
        common.revision("a", upgrade=f"{line}\nop.execute('select 1')")
        common.ensure()
        common.write("../common/src/common/unused.py", "X = 1\n")
        common.write("../common/unused.txt", "")
        assert not reasons(common)

        common.write(changed, "X = 2\n")

        assert reasons(common) == (f"{changed} changed (read while it ran)",)

    def test_has_its_models_compared_again_when_they_change(self, common):
        models = "import sqlalchemy as sa\nmetadata = sa.MetaData()\n"
        common.write("../common/src/common/models.py", models)
        env = common.root / "migrations/env.py"
        text = env.read_text().replace("target_metadata = None", "target_metadata = metadata")
        env.write_text(text.replace("config =", "from common.models import metadata\nconfig =", 1))
        common.revision("a", upgrade="op.execute('select 1')")
        assert common.ensure().manifest.checks["drift"] == []

        common.write(
            "../common/src/common/models.py",
            f"{models}more = sa.Table('more', metadata, sa.Column('id', sa.Integer))\n",
        )

        snapshot, ran = common.build()
        assert (snapshot.manifest.checks["drift"], ran) == (["add table more"], [])

    def test_is_none_that_was_installed(self, common):
        common.write("../common/src/shop.dist-info/RECORD", "")
        common.revision("a", upgrade="import common.kinds, alone\nop.execute('select 1')")
        common.ensure()

        common.write(KINDS, "X = 2\n")
        common.write(ALONE, "X = 2\n")

        assert not reasons(common)


def test_what_pytest_says_of_itself_does_not_count_where_all_variables_are_read(
    project, monkeypatch
):
    project.revision("a", upgrade="import os\n{**os.environ}\nop.execute('select 1')")
    project.ensure()

    monkeypatch.setenv("PYTEST_CURRENT_TEST", "another")
    monkeypatch.setenv("SHLVL", "77")
    assert not reasons(project)

    monkeypatch.setenv("REGION", "us")
    assert reasons(project) == ("the environment variable REGION is new",)


def test_revisions_that_env_py_finds_elsewhere_are_compared(project):
    imports_first(
        project,
        """
        from alembic import context
        from alembic.script import ScriptDirectory

        context.config.set_main_option("version_locations", "more")
        context._proxy.script = ScriptDirectory.from_config(context.config)
        """,
    )
    project.versions.mkdir()
    path = project.revision("a", folder=project.root / "more")
    project.ensure()
    assert not reasons(project)

    path.write_text(path.read_text() + "# changed\n")

    assert reasons(project) == ("more/a_made.py changed (read while it ran)",)


# Where a layer reads a file that only a run names: how its revision or its seed is written.
READS = "open('data/' + 'value').read()"
LAYERS = {
    "in the upgrade": ("", f"op.execute({READS})", ""),
    "when it is loaded": (f"SQL = {READS}", "op.execute(SQL)", ""),
    "by a module": ("import importlib", "op.execute(importlib.import_module('hel' + 'per').sql())",
                    ""),
    "in a thread": ("from concurrent.futures import ThreadPoolExecutor",
                    "with ThreadPoolExecutor(1) as pool:\n"
                    f"    op.execute(pool.submit(lambda: {READS}).result())", ""),
    "in a seed": ("", "pass", f"def fill(connection):\n    connection.exec_driver_sql({READS})\n"),
}  # fmt: skip


@pytest.mark.parametrize("layer", LAYERS)
def test_what_one_layer_reads_counts_for_it_alone(project, tables, layer):
    header, upgrade, seed = LAYERS[layer]
    project.history(1)
    project.revision("0002", "0001", upgrade, header=header)
    project.write("helper.py", f"def sql():\n    return {READS}\n")
    data = project.write("data/value", "create table before (x)")
    if seed:
        project.write("seed.py", seed)
        project.configure('seeds = ["seed:fill"]')
    assert project.build()[1][:2] == ["0001", "0002"]

    data.write_text("create table after (x)")
    snapshot, ran = project.build()

    assert ran == (["seed:fill"] if seed else ["0002"])
    assert "after" in tables(snapshot.path)
    assert "before" not in tables(snapshot.path)


class TestInputsThatChangeWhileABuildRuns:
    def test_are_named_and_nothing_is_published_under_their_old_digest(self, project, tables):
        project.history(2)
        path = project.versions / "0002_made.py"
        before = path.read_text()

        def edit(event):
            if event["event"] == "build":
                path.write_text(before.replace("t_0002", "edited"))

        with pytest.raises(BuildError, match=r"0002_made.py changed while the snapshot was built"):
            project.ensure(listener=edit)
        path.write_text(before)

        assert "t_0002" in tables(project.ensure().path)

    @pytest.mark.parametrize("reader", ["a revision", "env.py"])
    def test_are_named_when_only_the_run_reveals_them(self, project, reader):
        data = project.write("data.txt", "1")
        reads = "open('da' + 'ta.txt').close()"
        if reader == "env.py":
            env = project.root / "migrations/env.py"
            env.write_text(env.read_text().replace("config =", f"{reads}\nconfig ="))
            reads = ""
        project.revision("a", upgrade=f"{reads}\nop.execute('select 1')")
        wait = "while os.path.getsize('da' + 'ta.txt') < 2: time.sleep(0.01)"
        project.revision("b", "a", f"import os, time\n{wait}\nop.execute('select 1')")

        def edit(event):
            if event["event"] == "applied":
                data.write_text("22")

        with pytest.raises(BuildError, match=r"^data.txt changed while the snapshot was built"):
            project.ensure(listener=edit)

    def test_do_not_fail_a_build_that_writes_them_itself(self, project):
        project.write("migrations/notes.txt", "")
        project.revision(
            "a",
            header=ROOT,
            upgrade="""
            (ROOT / "migrations" / "notes.txt").write_text("run")
            op.execute("select 1")
            """,
        )

        assert project.ensure().built

    def test_do_not_fail_a_build_that_writes_and_imports_and_writes_again(self, project):
        project.revision(
            "a",
            header=f"{ROOT}\nimport importlib",
            upgrade="""
            (ROOT / "made.py").write_text("X = 1")
            importlib.invalidate_caches()
            importlib.import_module("ma" + "de")
            (ROOT / "made.py").write_text("X = 22")
            op.execute("select 1")
            """,
        )

        assert project.ensure().built


FINDER = """
import importlib.abc, importlib.machinery, pathlib, sys

class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path, target=None):
        return importlib.machinery.ModuleSpec(name, self) if name == "made" else None

    def exec_module(self, module):
        module.V = pathlib.Path("data.txt").read_text()

sys.meta_path.insert(0, Finder())
"""


def test_what_a_module_that_the_project_makes_is_made_of_counts(project, rows):
    project.write("data.txt", "old")
    project.write("finder.py", FINDER)
    env = project.root / "migrations/env.py"
    env.write_text(f"import finder\nimport made\n{env.read_text()}")
    put = "op.execute('create table kv (v)')\n" \
          "op.get_bind().exec_driver_sql('insert into kv values (?)', (made.V,))"  # fmt: skip
    project.revision("a", upgrade=put, header="import made")
    project.ensure()

    project.write("data.txt", "new")

    assert rows(project.ensure().path, "select v from kv") == [("new",)]


# What a module puts in its own place.
PLACED = {
    "an object": "class One:\n    value = {value!r}\nsys.modules[__name__] = One()",
    "a class": "class One:\n    value = {value!r}\nsys.modules[__name__] = One",
    "a namespace": "sys.modules[__name__] = types.SimpleNamespace(value={value!r})",
    "one that has every name": "sys.modules[__name__] = One = type('One', (), "
    "{{'__getattr__': lambda self, name: {value!r}}})()",
    "another module": "one = types.ModuleType('one')\none.value = {value!r}\n"
    "sys.modules[__name__] = one",
}
ASKED = {
    "by a function": "import_module('.'.join(['app', 'values']))",
    "relatively": "import_module('.values', 'app')",
    "by the statement's": "__import__('.'.join(['app', 'values']), fromlist=['value'])",
}


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("placed", PLACED)
def test_what_a_module_puts_in_its_own_place_counts(project, rows, placed, asked):
    def values(value):
        code = PLACED[placed].format(value=value)
        project.write("app/values.py", f"import sys, types\n{code}\n")

    values("old")
    imports_first(project, "import app.values")
    put = "op.execute('create table kv (v)')\n" \
          f"value = {ASKED[asked]}.value\n" \
          "op.get_bind().exec_driver_sql('insert into kv values (?)', (value,))"  # fmt: skip
    project.revision("a", upgrade=put, header="from importlib import import_module")
    project.ensure()

    values("new")

    assert rows(project.ensure().path, "select v from kv") == [("new",)]


LOGGING = """
[loggers]
keys = root
[handlers]
keys = own
[formatters]
keys = own
[logger_root]
handlers = own
[handler_own]
class = {handler}
args = ()
formatter = own
[formatter_own]
class = {formatter}
format = %%(message)s
"""


@pytest.mark.parametrize("kind", ["handler", "formatter"])
def test_what_modules_read_that_only_the_settings_of_loggers_name_counts(project, kind):
    classes = {"handler": "StreamHandler", "formatter": "logging.Formatter"}
    project.append("alembic.ini", LOGGING.format(**{**classes, kind: "app.logs.Own"}))
    project.write("app/first.py", "")
    project.write("app/region.txt", "1")
    project.write(
        "app/values.py",
        "import pathlib\nNAME = '.'.join(['region', 'txt'])\n"
        "V = pathlib.Path(__file__).with_name(NAME).read_text()",
    )
    base = classes[kind].rpartition(".")[2]
    project.write("app/logs.py", f"import logging, app.values\nclass Own(logging.{base}): ...")
    imports_first(
        project,
        """
        import logging.config, app.first
        from alembic import context
        logging.config.fileConfig(context.config.config_file_name)
        """,
    )
    project.revision(
        "a", upgrade="op.execute('create table t (x)')", header="from app.values import V"
    )
    project.ensure()

    project.write("app/region.txt", "2")

    assert reasons(project) == ("app/region.txt changed (read while it ran)",)
