"""G3: a change to what a migration depends on is a miss, a change to anything else a hit."""

from __future__ import annotations

import json
import os
import py_compile
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from alembic_snapshot import BuildError, ConfigError
from alembic_snapshot.key.inputs import content_digest

IMPORT = "from names import TABLE"


@pytest.fixture
def shop(project):
    """A project with models, helpers, data files, a seed, and revisions that use some of them."""
    project.configure('pythonpath = ["app"]\nseeds = ["shop.seed:countries"]')
    project.write("app/shop/__init__.py", "")
    project.write("app/shop/models.py", "import sqlalchemy as sa\nmetadata = sa.MetaData()\n")
    project.write("app/shop/names.py", "from shop.deeper import PREFIX\nTABLE = PREFIX + 'x'\n")
    project.write("app/shop/deeper.py", "PREFIX = 'p_'\n")
    project.write("app/shop/relative.py", "from . import names\nfrom .deeper import PREFIX\n")
    project.write(
        "app/shop/seed.py",
        """
        from pathlib import Path
        from shop.seed_data import COUNTRIES
        import sqlalchemy as sa

        def countries(connection):
            (Path(__file__).parent / "countries.csv").read_text()
            for name in COUNTRIES:
                connection.execute(sa.text("insert into t_0002 (id) values (1)"))
        """,
    )
    project.write("app/shop/seed_data.py", "COUNTRIES = ['nl']\n")
    project.write("app/shop/countries.csv", "nl\n")
    project.write("migrations/sql/0003.sql", "select 1\n")
    project.history(2)
    project.revision("0003", "0002", "op.execute('select 1')", header="import shop.names")
    env = (project.root / "migrations/env.py").read_text()
    project.write("migrations/env.py", env.replace(
        "target_metadata = None", "from shop.models import metadata as target_metadata"
    ))  # fmt: skip
    return project


def change(path):
    path.write_text(path.read_text() + "\n# changed\n")


class TestAMiss:
    @pytest.mark.parametrize(
        "name",
        [
            "migrations/env.py",
            "migrations/versions/0002_made.py",
            "migrations/sql/0003.sql",
            "app/shop/names.py",
            "app/shop/deeper.py",
            "app/shop/__init__.py",
            "app/shop/seed.py",
            "app/shop/seed_data.py",
            "app/shop/countries.csv",
        ],
    )
    def test_is_a_change_to_a_file_that_a_migration_or_a_seed_depends_on(self, shop, name):
        before = shop.key()

        change(shop.root / name)

        assert shop.key() != before

    @pytest.mark.parametrize(
        "line",
        [
            'foreign_table = "x"',
            'version_table = "versions"',
        ],
    )
    def test_is_an_alembic_setting_that_env_py_may_read(self, project, line):
        project.history(1)
        before = project.key()

        project.append("alembic.ini", line + "\n")

        assert project.key() != before

    @pytest.mark.parametrize(
        "line",
        [
            'environment = { MODE = "x" }',
            "inherit_environment = []",
            'ignore_environment = ["MODE"]',
            "private_home = true",
            'x = ["tenant=a"]',
            'inputs = ["extra/*.txt"]',
        ],
    )
    def test_is_a_setting_of_ours_that_reaches_the_run(self, project, line):
        project.history(1)
        project.write("extra/a.txt", "a")
        before = project.key()

        project.configure(line)

        assert project.key() != before

    @pytest.mark.parametrize(
        "name", ["a.txt", "a.log", "a.db", "a.sqlite", "a.sqlite3", "a.db-journal", "a.db-wal"]
    )
    def test_is_a_file_of_inputs_that_changed(self, project, name):
        project.history(1)
        project.write(f"extra/{name}", "a")
        project.configure('inputs = ["extra/*"]')
        before = project.key()

        project.write(f"extra/{name}", "b")

        assert project.key() != before

    def test_is_another_version_of_a_tool(self, project, monkeypatch):
        from alembic_snapshot.key import layers
        from alembic_snapshot.sqlite.backend import SQLite

        project.history(1)
        before = project.key()
        real = layers.library_versions()

        for name in real:
            monkeypatch.setattr(layers, "library_versions", lambda name=name: {**real, name: "99"})
            assert project.key() != before
        monkeypatch.setattr(layers, "library_versions", lambda: real)
        assert project.key() == before
        monkeypatch.setattr(SQLite, "versions", lambda _self: {"SQLite": "99"})
        assert project.key() != before

    def test_is_a_relative_import_that_changed(self, shop):
        shop.revision("0004", "0003", header="import shop.relative")
        before = shop.chain().revisions["0004"].inputs

        assert {"app/shop/names.py", "app/shop/deeper.py"} <= set(before)

    def test_is_a_module_imported_by_its_name_as_text(self, shop):
        shop.revision(
            "0004", "0003", header="import importlib\nimportlib.import_module('shop.models')"
        )

        assert "app/shop/models.py" in shop.chain().revisions["0004"].inputs

    def test_says_what_changed(self, shop):
        shop.ensure()

        change(shop.versions / "0002_made.py")
        (shop.root / "migrations/sql/0003.sql").unlink()

        assert shop.look_up().reasons == (
            "migrations/sql/0003.sql is gone",
            "migrations/versions/0002_made.py changed",
        )

    def test_says_nothing_of_what_comes_after_the_revision_that_was_asked_for(self, shop):
        shop.ensure()

        assert shop.look_up(revision="0001").reasons == (
            "the store has no snapshot at revision 0001",
        )

    def test_is_compared_with_the_snapshot_that_is_most_like_it(self, shop):
        shop.ensure()
        shop.ensure(revision="0001")

        change(shop.versions / "0002_made.py")

        assert shop.look_up().reasons == ("migrations/versions/0002_made.py changed",)


class TestAHit:
    def test_is_a_change_to_a_model_that_no_migration_imports(self, shop):
        before = shop.key()

        change(shop.root / "app/shop/models.py")

        assert shop.key() == before

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("sqlalchemy.url = sqlite:///a.db\n", "sqlalchemy.url = sqlite:///b.db\n"),
            ("file_template = %%(rev)s\n", "file_template = %%(slug)s\n"),
            ("[loggers]\nkeys = root\n", "[loggers]\nkeys = root,x\n"),
            ("[logger_root]\nlevel = WARN\n", "[logger_root]\nlevel = INFO\n"),
            ("[post_write_hooks]\nhooks = black\n", "[post_write_hooks]\nhooks = ruff\n"),
            ("# a comment\n", "# another\n"),
        ],
    )
    def test_is_a_setting_without_an_effect(self, project, before, after):
        project.history(1)
        ini = (project.root / "alembic.ini").read_text()
        project.write("alembic.ini", ini + before)
        key = project.key()

        project.write("alembic.ini", ini + after)

        assert project.key() == key

    @pytest.mark.parametrize(
        "name", ["README.md", "migrations/README", "migrations/script.py.mako"]
    )
    def test_is_prose_and_the_template_of_new_files(self, project, name):
        project.history(1)
        project.write(name, "a")
        before = project.key()

        project.write(name, "b")

        assert project.key() == before

    @pytest.mark.parametrize("folder", [".git", ".cache", "__pycache__", "node_modules"])
    def test_is_in_a_folder_of_tools_among_the_scripts(self, project, folder):
        project.history(1)
        before = project.key()

        project.write(f"migrations/{folder}/rows.csv", "a")
        project.write(f"migrations/versions/{folder}/rows.csv", "a")

        assert project.key() == before

    def test_is_a_setting_without_an_effect_in_a_file_among_the_scripts(self, project):
        (project.root / "alembic.ini").unlink()
        project.configure('config = "migrations/alembic.ini"')
        text = "[alembic]\nscript_location = %(here)s\nsqlalchemy.url = sqlite:///a.db\n"
        project.write("migrations/alembic.ini", text)
        project.history(1)
        before = project.key()

        project.write("migrations/alembic.ini", text.replace("a.db", "b.db"))

        assert project.key() == before

    @pytest.mark.parametrize("name", ["run.log", "dev.db", "dev.db-wal", "dev.sqlite3"])
    def test_is_what_running_leaves_among_the_scripts(self, project, name):
        project.history(1)
        before = project.key()

        project.write(f"migrations/{name}", "a")

        assert project.key() == before

    def test_is_a_touched_file(self, shop):
        before = shop.key()

        for path in shop.root.rglob("*.py"):
            os.utime(path, (1, 1))

        assert shop.key() == before

    def test_is_a_checkout_in_another_place(self, shop, tmp_path):
        before = shop.key()

        shutil.copytree(shop.root, tmp_path / "elsewhere" / "checkout")
        shop.root = tmp_path / "elsewhere" / "checkout"

        assert shop.key() == before

    def test_is_a_checkout_with_other_line_endings(self, shop):
        before = shop.key()

        for path in shop.root.rglob("*.py"):
            path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))

        assert shop.key() == before

    def test_is_the_same_key_from_another_folder_and_another_sys_path(self, shop):
        code = "from alembic_snapshot.build.lookup import look_up"
        code += "; from alembic_snapshot import load_project"
        code += f"; print(look_up(load_project(__import__('pathlib').Path({str(shop.root)!r})))"
        code += ".chain.key)"

        found = subprocess.run(
            [sys.executable, "-c", code],
            cwd=shop.root / "app",
            env={**os.environ, "PYTHONPATH": str(shop.root / "app"), "USER": "somebody"},
            capture_output=True,
            text=True,
            check=True,
        )

        assert found.stdout.strip() == shop.key()

    def test_imports_no_revision_and_neither_alembic_nor_sqlalchemy(self, shop):
        shop.revision("0004", "0003", header="raise RuntimeError('imported')")
        code = f"""
import sys, pathlib
from alembic_snapshot import load_project
from alembic_snapshot.build.lookup import look_up
look_up(load_project(pathlib.Path({str(shop.root)!r})))
assert not {{"alembic", "sqlalchemy", "shop"}} & set(sys.modules), sorted(sys.modules)
"""

        subprocess.run([sys.executable, "-c", code], check=True, cwd=shop.root)

    def test_is_the_same_key_cold_and_warm(self, shop):
        cold = shop.key()

        shop.ensure()

        assert (shop.root / ".alembic-snapshot/facts.json").exists()
        assert shop.key() == cold
        assert not shop.ensure().built


def test_what_this_python_can_not_parse_is_not_remembered_for_another(project):
    project.write("helper.py", "")
    project.revision("a", header="import helper")
    project.ensure()

    helper = project.write("helper.py", "def syntax of a later Python\n")
    project.look_up()

    facts = json.loads((project.root / ".alembic-snapshot/facts.json").read_text())["facts"]
    assert facts
    assert content_digest(helper.read_bytes()) not in facts


class TestWhatOnlyARunReveals:
    def test_a_file_opened_under_a_computed_name_is_compared_at_every_hit(self, project):
        project.write("data/x1.txt", "1")
        project.revision(
            "a",
            upgrade="open('data/' + 'x' + str(1) + '.' + 'txt').close()\nop.execute('select 1')",
        )
        first = project.ensure()

        project.write("data/x1.txt", "2")

        assert first.manifest.observed.files.keys() == {"data/x1.txt"}
        assert project.look_up().reasons == ("data/x1.txt changed (read while it ran)",)
        assert project.ensure().built
        assert not project.ensure().built

    def test_a_listed_folder_is_compared_at_every_hit(self, project):
        project.write("data/a.sql", "")
        project.revision("a", upgrade="import os\nos.listdir('da' + 'ta')\nop.execute('select 1')")
        project.ensure()

        project.write("data/b.sql", "")

        assert project.look_up().reasons == (
            "the list of files in data changed: b.sql is new (read while it ran)",
        )

    def test_an_environment_variable_is_compared_but_not_shown(self, project, monkeypatch):
        monkeypatch.setenv("REGION", "eu-secret")
        project.revision("a", upgrade="import os\nos.environ['REGION']\nop.execute('select 1')")
        snapshot = project.ensure()

        assert not project.ensure().built
        monkeypatch.setenv("REGION", "us")

        assert project.look_up().reasons == ("the environment variable REGION changed",)
        assert "eu-secret" not in (snapshot.path.parent / "manifest.json").read_text()

    def test_a_variable_that_is_asked_for_and_unset_counts_too(self, project, monkeypatch):
        project.revision("a", upgrade="import os\nos.getenv('REGION')\nop.execute('select 1')")
        project.ensure()

        monkeypatch.setenv("REGION", "us")

        assert project.look_up().entry is None

    def test_ignored_variables_do_not_count(self, project, monkeypatch):
        project.configure('ignore_environment = ["REGION"]')
        project.revision("a", upgrade="import os\nos.getenv('REGION')\nop.execute('select 1')")
        project.ensure()

        monkeypatch.setenv("REGION", "us")

        assert project.look_up().entry is not None

    def test_two_values_of_a_variable_have_a_snapshot_each(self, project, monkeypatch):
        project.revision("a", upgrade="import os\nos.getenv('REGION')\nop.execute('select 1')")
        monkeypatch.setenv("REGION", "eu")
        first = project.ensure()
        monkeypatch.setenv("REGION", "us")
        second = project.ensure()

        monkeypatch.setenv("REGION", "eu")

        assert project.ensure().path == first.path != second.path

    def test_a_module_imported_under_a_computed_name_is_compared(self, project):
        project.write("late.py", "X = 1\n")
        project.revision("a", header="import importlib\nimportlib.import_module('la' + 'te')")
        project.ensure()

        project.write("late.py", "X = 2\n")

        assert project.look_up().reasons == ("late.py changed (read while it ran)",)

    def test_what_an_ancestor_read_counts_for_what_is_built_on_it(self, project):
        project.write("data/x1.txt", "1")
        project.revision(
            "a", upgrade="open('data/x' + str(1) + '.txt').close()\nop.execute('select 1')"
        )
        project.ensure()
        project.revision("b", "a")
        _, ran = project.build()

        project.write("data/x1.txt", "2")
        _, again = project.build()

        assert ran == ["b"]
        assert again == ["a", "b"]

    def test_status_suggests_the_line_for_inputs(self, project):
        project.write("data/x1.txt", "1")
        project.revision(
            "a", upgrade="open('data/x' + str(1) + '.txt').close()\nop.execute('select 1')"
        )
        project.ensure()

        assert 'inputs = ["data/x1.txt"]' in project.command("status").stdout


class TestModels:
    """What ``env.py`` imports is checked again when it changes, without a rebuild."""

    @pytest.fixture
    def modelled(self, project):
        env = (project.root / "migrations/env.py").read_text()
        project.write(
            "migrations/env.py",
            env.replace("target_metadata = None", "from models import metadata as target_metadata"),
        )
        project.write(
            "models.py",
            """
            import sqlalchemy as sa
            metadata = sa.MetaData()
            sa.Table("t_0001", metadata, sa.Column("id", sa.Integer, primary_key=True))
            """,
        )
        project.history(1)
        return project

    def test_a_changed_model_is_a_hit_and_the_drift_is_found(self, modelled):
        first = modelled.ensure()

        modelled.append("models.py", 'sa.Table("more", metadata, sa.Column("id", sa.Integer))\n')
        second = modelled.ensure()

        assert first.manifest.checks["drift"] == []
        assert second.path == first.path
        assert not second.built
        assert second.manifest.checks["drift"] == ["add table more"]

    def test_a_state_on_the_way_is_compared_when_it_is_the_snapshot(self, modelled):
        modelled.revision("0002", "0001")
        modelled.append("models.py", 'sa.Table("t_0002", metadata, sa.Column("id", sa.Integer))\n')
        modelled.ensure()

        (modelled.versions / "0002_made.py").unlink()
        snapshot = modelled.ensure()

        assert not snapshot.built
        assert snapshot.manifest.checks["drift"] == ["add table t_0002"]

    def test_checking_again_costs_nothing_when_nothing_changed(self, modelled):
        modelled.ensure()
        modelled.append("models.py", "# changed\n")
        modelled.ensure()
        stamp = (modelled.ensure().path.parent / "manifest.json").stat().st_mtime_ns

        modelled.ensure()

        assert (modelled.ensure().path.parent / "manifest.json").stat().st_mtime_ns == stamp

    def test_another_naming_convention_is_a_miss(self, modelled):
        modelled.ensure()
        text = (modelled.root / "models.py").read_text()

        modelled.write("models.py", text.replace(
            "sa.MetaData()", "sa.MetaData(naming_convention={'pk': 'pk_%(table_name)s'})"
        ))  # fmt: skip
        snapshot = modelled.ensure()

        assert snapshot.built
        assert "context.configure()" in snapshot.why[0]

    def test_models_that_do_not_import_any_more_are_an_error_as_on_an_empty_store(self, modelled):
        modelled.ensure()

        modelled.append("models.py", "raise RuntimeError('no')\n")

        with pytest.raises(BuildError, match="RuntimeError: no"):
            modelled.ensure()


@pytest.mark.parametrize("name", ["migrations/versions/a_made.py", "names.py", "../libs/names.py"])
def test_what_runs_is_what_was_read_and_no_compiled_copy_of_the_same_size_and_time(
    project, tables, name
):
    if "names" in name:
        (project.root.parent / "libs").mkdir(exist_ok=True)
        project.configure('pythonpath = [".", "../libs"]')
        module = project.write(name, "TABLE = 't_1'\n")
        project.revision("a", upgrade="op.execute(f'create table {TABLE} (x)')", header=IMPORT)
    else:
        module = project.revision("a", upgrade="op.execute('create table t_1 (x)')")
    compiled = edited_behind_pythons_back(module)
    content = compiled.read_bytes()

    found = tables(project.ensure().path)

    assert "t_2" in found
    assert compiled.read_bytes() == content


def test_what_an_applied_revision_imports_is_compiled_anew_for_the_next_one(project, tables):
    module = project.write("names.py", "TABLE = 't_1'\n")
    project.revision("a", header=IMPORT)
    edited_behind_pythons_back(module)
    project.ensure()

    project.revision("b", "a", upgrade="op.execute(f'create table {TABLE} (x)')", header=IMPORT)
    snapshot, ran = project.build()

    assert ran == ["b"]
    assert "t_2" in tables(snapshot.path)


def edited_behind_pythons_back(module):
    """Write t_2 for t_1, so that Python takes the old compiled copy for the file's; that copy."""
    compiled = Path(py_compile.compile(os.fspath(module)))
    before = module.stat()
    module.write_text(module.read_text().replace("t_1", "t_2"))
    os.utime(module, ns=(before.st_atime_ns, before.st_mtime_ns))
    return compiled


def test_a_pattern_of_inputs_that_matches_nothing_is_an_error(project):
    project.history(1)
    project.configure('inputs = ["nothing/*.csv"]')

    with pytest.raises(ConfigError, match=r"'nothing/\*.csv' matches no file"):
        project.key()


@pytest.mark.parametrize("pattern", ["data", "data/", "da*", "data/deep", "data/*", "data/**"])
@pytest.mark.parametrize("change", ["edited", "added", "removed"])
def test_a_folder_in_inputs_stands_for_all_that_is_in_it(project, pattern, change):
    project.history(1)
    rows = project.write("data/deep/er/rows.db", "1")
    project.configure(f'inputs = ["{pattern}"]')
    before = project.key()

    if change == "edited":
        rows.write_text("2")
    elif change == "added":
        project.write("data/deep/er/more.txt", "1")
    else:
        rows.unlink()

    assert project.key() != before


@pytest.mark.parametrize("pattern", ["app", "app/**", "ap*"])
def test_what_python_compiles_is_none_of_inputs(project, pattern):
    project.history(1)
    project.write("app/models.py", "")
    project.configure(f'inputs = ["{pattern}"]')
    before = project.key()

    project.write("app/__pycache__/models.pyc", "1")

    assert project.key() == before
