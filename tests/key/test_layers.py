"""Layers: which digests change when a file changes, for every shape of a history."""

from __future__ import annotations

import shutil

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from alembic_snapshot import ConfigError, ScriptError
from alembic_snapshot.key.history import find_scripts


def digests(project):
    return {name: layer.digest for name, layer in project.chain().revisions.items()}


class TestShapes:
    def test_a_linear_history_has_one_head_and_one_parent_each(self, project):
        project.history(3)

        chain = project.chain()

        assert chain.heads == ("0003",)
        assert {name: layer.parents for name, layer in chain.revisions.items()} == {
            "0001": (),
            "0002": ("0001",),
            "0003": ("0002",),
        }

    def test_revisions_are_in_the_order_of_their_ids_whatever_their_files_are_called(self, project):
        for name, file in [("a", "3"), ("b", "1"), ("c", "2")]:
            path = project.revision(name)
            path.rename(path.with_name(f"{file}.py"))

        assert list(project.chain().revisions) == ["a", "b", "c"]

    def test_a_merge_stands_on_all_its_parents(self, project):
        project.revision("a")
        project.revision("b", "a")
        project.revision("c", "a")
        project.revision("d", ("b", "c"))

        chain = project.chain()

        assert chain.heads == ("d",)
        assert set(chain.revisions["d"].parents) == {"b", "c"}

    def test_many_merges_one_above_the_other_take_no_longer_than_as_many_revisions(self, project):
        # There are 2 ** 40 ways from the head down to the base.
        project.revision("m0")
        for number in range(40):
            project.revision(f"a{number}", f"m{number}")
            project.revision(f"b{number}", f"m{number}")
            project.revision(f"m{number + 1}", (f"a{number}", f"b{number}"))

        chain = project.chain()

        assert chain.below(chain.heads) == chain.revisions.keys()

    def test_depends_on_is_a_parent_like_any_other(self, project):
        project.revision("a")
        project.revision("b", depends_on="a")
        before = digests(project)

        project.revision("a", upgrade="op.execute('select 1')")

        assert project.chain().revisions["b"].parents == ("a",)
        assert digests(project)["b"] != before["b"]

    def test_depends_on_may_name_a_branch_or_the_beginning_of_an_id(self, project):
        project.revision("abcdef", branch_labels=("billing",))
        project.revision("b", depends_on="billing")
        project.revision("c", depends_on=("abc",))

        chain = project.chain()

        assert chain.revisions["b"].parents == chain.revisions["c"].parents == ("abcdef",)

    def test_several_bases_and_heads_are_one_snapshot(self, project, tables):
        project.revision("a")
        project.revision("b")

        snapshot = project.ensure()

        assert snapshot.manifest.heads == ("a", "b")
        assert {"t_a", "t_b"} <= set(tables(snapshot.path))

    def test_several_version_locations_are_one_history(self, project, tables):
        other = project.root / "more"
        project.revision("a")
        project.revision("b", "a", folder=other)
        project.write(
            "alembic.ini",
            """
            [alembic]
            script_location = %(here)s/migrations
            path_separator = os
            version_locations = %(here)s/migrations/versions:%(here)s/more
            """,
        )

        snapshot = project.ensure()

        assert snapshot.manifest.heads == ("b",)
        assert "t_b" in tables(snapshot.path)

    def test_version_locations_in_subfolders_are_found_when_recursive(self, project):
        project.revision("a", folder=project.versions / "2025")
        project.write(
            "alembic.ini",
            """
            [alembic]
            script_location = %(here)s/migrations
            recursive_version_locations = true
            """,
        )

        assert project.ensure().manifest.heads == ("a",)

    def test_alembic_may_be_configured_in_pyproject_toml_alone(self, project):
        (project.root / "alembic.ini").unlink()
        project.history(1)
        project.write(
            "pyproject.toml",
            """
            [tool.alembic]
            script_location = "%(here)s/migrations"

            [tool.alembic-snapshot]
            """,
        )

        assert project.ensure().manifest.heads == ("0001",)

    def test_the_script_location_may_be_inside_a_package(self, project):
        project.history(2)
        package = project.root / "lib" / "billing"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        shutil.move(project.root / "migrations", package / "migrations")
        project.write("alembic.ini", "[alembic]\nscript_location = billing:migrations\n")
        project.configure('pythonpath = ["lib"]')

        assert project.ensure().manifest.heads == ("0002",)

    @pytest.mark.parametrize("inside", ["db:migrations", "db/migrations", "db:x/../migrations", ""])
    @pytest.mark.parametrize("setting", ["pythonpath", "prepend_sys_path"])
    def test_each_colon_of_a_location_is_a_folder_further_as_alembic_has_it(
        self, project, setting, inside
    ):
        project.history(2)
        scripts = project.root / "lib/billing" / (inside.replace(":", "/") or ".")
        (project.root / "lib/billing/db/x").mkdir(parents=True)
        (project.root / "lib/billing/__init__.py").touch()
        shutil.copytree(project.root / "migrations", scripts, dirs_exist_ok=True)
        shutil.rmtree(project.root / "migrations")
        ini = f"[alembic]\nscript_location = billing:{inside}\n"
        ini += f"path_separator = newline\nversion_locations = billing:{inside}:versions\n"
        if setting == "prepend_sys_path":
            ini += "prepend_sys_path = %(here)s/lib\n"
        else:
            project.configure('pythonpath = ["lib"]')
        project.write("alembic.ini", ini)

        manifest = project.ensure().manifest

        assert manifest.heads == ("0002",)
        assert project.load().alembic.script_location.resolve() == scripts.resolve()

    def test_a_path_to_import_from_is_never_inside_of_a_package(self, project):
        project.history(1)
        ini = "[alembic]\nscript_location = %(here)s/migrations\npath_separator = newline\n"
        project.write("alembic.ini", f"{ini}prepend_sys_path = email:mime\n")

        assert project.load().alembic.prepend_sys_path == (project.root / "email:mime",)
        assert project.ensure().manifest.heads == ("0001",)

    def test_a_revision_id_need_not_be_the_file_name(self, project):
        path = project.revision("one")
        path.rename(path.with_name("something_else.py"))

        assert project.chain().heads == ("one",)

    def test_revisions_named_only_at_run_time_are_one_layer(self, project, tables):
        project.revision("a", folder=project.root / "hidden")
        project.versions.mkdir(parents=True)
        env = (project.root / "migrations/env.py").read_text()
        project.write(
            "migrations/env.py",
            "import pathlib\nfrom alembic import context\n"
            "here = pathlib.Path(__file__).parents[1]\n"
            "context.script.version_locations = [str(here / 'hidden')]\n" + env,
        )

        snapshot = project.ensure()

        assert project.chain().opaque
        assert "t_a" in tables(snapshot.path)
        assert not project.ensure().built


class TestChanges:
    def test_a_revision_edited_in_place_changes_itself_and_what_stands_on_it(self, project):
        project.history(3)
        before = digests(project)

        project.revision("0002", "0001", "op.execute('select 1')")

        after = digests(project)
        assert after["0001"] == before["0001"]
        assert after["0002"] != before["0002"]
        assert after["0003"] != before["0003"]

    def test_two_branches_do_not_change_each_other(self, project):
        project.revision("a")
        project.revision("b", "a")
        project.revision("c", "a")
        before = digests(project)

        project.revision("b", "a", "op.execute('select 1')")

        assert digests(project)["c"] == before["c"]

    def test_env_py_changes_everything(self, project):
        project.history(2)
        before = digests(project)

        project.append("migrations/env.py", "# changed\n")

        assert all(digests(project)[name] != before[name] for name in before)

    def test_a_build_keeps_the_states_before_the_heads_at_them_and_after_each_seed(self, project):
        project.history(3)
        project.write("seed.py", "def one(connection): ...\ndef two(connection): ...\n")
        project.configure('seeds = ["seed:one", "seed:two"]')

        states = project.chain().published_states()

        assert [(state.heads, len(state.seeds)) for state in states] == [
            (("0002",), 0),
            (("0003",), 0),
            (("0003",), 1),
            (("0003",), 2),
        ]


class TestBrokenHistories:
    @pytest.mark.parametrize("field", ["down", "depends_on"])
    def test_a_missing_parent_names_the_file_and_the_parent(self, project, field):
        if field == "down":
            project.revision("b", "gone")
        else:
            project.revision("b", depends_on="gone")

        with pytest.raises(ScriptError) as told:
            project.chain()

        assert told.value.message == (
            "migrations/versions/b_made.py refers to revision 'gone', which does not exist"
        )
        assert told.value.hint == "add the missing file, or correct down_revision or depends_on"

    def test_a_missing_parent_may_lie_deeper_than_alembic_looks(self, project):
        project.revision("gone", folder=project.versions / "2025")
        project.revision("b", "gone")
        for name in ("c1", "c2"):
            project.revision(name)

        with pytest.raises(ScriptError) as told:
            project.chain()
        assert told.value.hint.endswith("/2025: set recursive_version_locations = true")

        project.revision("b", "c")
        with pytest.raises(ScriptError) as told:
            project.chain()
        assert told.value.hint == "add the missing file, or correct down_revision or depends_on"

    @pytest.mark.parametrize("name", ["__init__.py", "__init__old.py", ".#0001_made.py", "a.txt"])
    @pytest.mark.parametrize("recursive", ["true", "false"])
    def test_what_alembic_does_not_load_is_no_script(self, project, name, recursive):
        project.append("alembic.ini", f"recursive_version_locations = {recursive}\n")
        project.history(1)
        project.write(f"migrations/versions/{name}", "no script")

        assert project.chain().heads == ("0001",)

    @pytest.mark.parametrize("recursive", [True, False])
    def test_what_alembic_loads_is_a_script_whatever_it_is_called(self, project, recursive):
        names = ["README.py", "readme_0001.py", ".hidden.py", "LICENSE.py", "test_it.py", "a b.py"]
        folders = [".hidden", "node_modules", "site-packages", "a/b.egg-info", "__pycache__", "1"]
        names += [f"{folder}/x.py" for folder in folders if recursive]
        project.append("alembic.ini", f"recursive_version_locations = {str(recursive).lower()}\n")
        for number, name in enumerate(names):
            text = f"revision = 'r{number}'\ndown_revision = None\ndef upgrade(): ...\n"
            project.write(f"migrations/versions/{name}", text)
        elsewhere = project.write("elsewhere/x.py", "revision = 'linked'\n").parent
        (project.versions / "link").symlink_to(elsewhere)
        known = ScriptDirectory.from_config(Config(project.root / "alembic.ini")).get_heads()

        assert len(known) == (11 if recursive else 6)
        assert set(project.chain().heads) == set(known)

    def test_a_syntax_error_names_the_file_and_the_line(self, project):
        project.revision("a").write_text("revision = 'a'\ndown_revision = (\n")

        with pytest.raises(ScriptError, match=r"a_made.py does not parse: line 2"):
            project.chain()

    def test_a_file_that_can_not_be_read_is_named(self, project):
        project.history(1)
        (project.versions / "0002.py").mkdir()

        with pytest.raises(ScriptError, match=r"versions/0002.py does not parse: Is a directory"):
            project.chain()

    def test_an_import_from_above_everything_is_the_run_s_to_refuse(self, project):
        project.revision("a", header=f"from {'.' * 50} import x")

        assert project.chain().heads == ("a",)

    def test_a_revision_that_is_there_twice_names_both_files(self, project):
        path = project.revision("a")
        shutil.copy(path, path.with_name("b.py"))

        with pytest.raises(ScriptError, match=r"revision a is there twice: .*a_made.py and .*b.py"):
            project.chain()

    def test_a_cycle_names_two_of_its_revisions(self, project):
        project.revision("a", "b")
        project.revision("b", "a")

        with pytest.raises(ScriptError) as told:
            project.chain()

        cycle = "circular dependency between revisions "
        assert told.value.message in (f"{cycle}a and b", f"{cycle}b and a")

    def test_a_longer_cycle_names_two_of_its_revisions(self, project):
        for name, down in ("ab", "bc", "cd", "da"):
            project.revision(name, down)

        with pytest.raises(ScriptError) as told:
            project.chain()

        start, _, revisions = told.value.message.partition(" between revisions ")
        first, _, second = revisions.partition(" and ")
        assert start == "circular dependency"
        assert f"{first}{second}" in ("ab", "bc", "cd", "da", "ba", "cb", "dc", "ad")

    @pytest.mark.parametrize("field", ["revision", "down_revision", "depends_on", "branch_labels"])
    def test_a_field_that_is_no_text_is_named_with_its_line(self, project, field):
        project.history(1)
        path = project.write(
            "migrations/versions/b.py", f"revision = 'b'\ndown_revision = '0001'\n{field} = 5\n"
        )

        with pytest.raises(ScriptError) as told:
            project.chain()

        kinds = "a string" if field == "revision" else "a string, a tuple of some, or None"
        place = path.relative_to(project.root)
        assert told.value.message == f"{place} line 3: {field} is 5, not {kinds}"

    @pytest.mark.parametrize(
        "lines",
        [
            "revision, down_revision = '0002', '0001'",
            "(revision, (down_revision, depends_on)) = ['0002', ('0001', None)]",
            "revision = other = '0002'\ndown_revision: str = '0001'",
        ],
    )
    def test_however_its_literals_are_assigned_a_script_is_read(self, project, lines):
        project.history(1)
        project.write("migrations/versions/b.py", f"{lines}\ndef upgrade(): ...\n")

        chain = project.chain()

        assert not chain.opaque
        assert list(chain.revisions) == ["0001", "0002"]

    @pytest.mark.parametrize(
        "lines",
        [
            "revision, down_revision = ['0002', '0001'][:2]",
            "revision = '0002'\nif True:\n    down_revision = '0001'",
            "revision = '0002'\nfor down_revision in ['0001']: ...",
            "revision = '0002'\nfrom migrations.shared import down_revision",
        ],
    )
    def test_a_script_whose_parent_only_a_run_tells_is_never_taken_for_a_base(self, project, lines):
        project.history(1)
        project.write("migrations/shared.py", "down_revision = '0001'\n")
        project.write("migrations/versions/b.py", f"{lines}\ndef upgrade(): ...\n")

        assert project.chain().opaque

    def test_a_file_that_is_no_revision_is_named(self, project):
        project.history(1)
        project.write("migrations/versions/notes.py", "x = 1\n")

        with pytest.raises(ScriptError, match=r"notes.py is no revision script"):
            project.chain()

    def test_an_unknown_revision_to_stop_at_is_refused(self, project):
        project.history(2)

        with pytest.raises(ConfigError, match="no revision '0009'"):
            project.chain(revision="0009")


class TestWhatOnlyARunTells:
    def test_is_named_by_field_script_and_line(self, project):
        project.history(1)
        project.write(
            "migrations/versions/b.py",
            "import os\n\nrevision = '0002'\ndown_revision = os.environ['X']\ndepends_on = None\n",
        )

        assert project.chain().opaque == (
            "migrations/versions/b.py line 4: down_revision is computed",
        )

    def test_makes_what_any_script_imports_or_names_count_for_all(self, project):
        names = project.write("names.py", "TABLE = 'x'\n")
        project.revision("a", "b", header="import names\nstr('computed')")
        project.write(
            "migrations/versions/b.py", "revision = str('b')\ndown_revision = depends_on = None\n"
        )
        before = project.key()
        assert project.chain().opaque

        names.write_text("TABLE = 'y'\n")

        assert project.key() != before

    def test_is_said_of_a_function_that_makes_the_database_and_of_no_scripts(self, project):
        no_scripts = project.chain().opaque
        project.write("setup_db.py", "def create(url): ...\n")
        project.configure('migrate = "setup_db:create"')

        assert no_scripts == ("there are no revision scripts in migrations/versions",)
        assert project.chain().opaque == ("migrate makes the database: setup_db:create",)

    @pytest.mark.parametrize("field", ["revision", "down_revision", "depends_on", "branch_labels"])
    def test_is_where_a_revision_is_in_the_history(self, project, field):
        project.history(1)
        fields = {"revision": "'b'", "down_revision": "'0001'", field: "str('x')"}
        lines = "\n".join(f"{name} = {value}" for name, value in fields.items())
        project.write("migrations/versions/b.py", f"{lines}\n")
        computed = [*fields].index(field) + 1

        status = project.look_up()
        scripts = find_scripts(project.load(), status.files)

        assert [script.computed for script in scripts] == [(), ((field, computed),)]
        assert [script.dynamic for script in scripts] == [False, field != "branch_labels"]
        assert status.chain.opaque == (
            (f"migrations/versions/b.py line {computed}: {field} is computed",)
            if field != "branch_labels"
            else ()
        )

    @pytest.mark.parametrize("label", ["EXPAND", "label()", "f'{EXPAND}'"])
    def test_is_not_a_label_that_no_script_stands_on(self, project, label):
        header = "EXPAND = str('expand')\ndef label(): return 'expand'\n"
        path = project.revision("0001", header=header)
        path.write_text(path.read_text() + f"\nbranch_labels = {label}\n")
        project.revision("0002", "0001")

        assert not project.chain().opaque
        assert project.ensure().manifest.heads == ("0002",)

    def test_is_not_a_label_that_is_read_although_others_are_computed(self, project):
        project.revision("0001", header="branch_labels = str('expand')")
        project.revision("0002", "0001", branch_labels=("billing",))
        project.revision("0003", "0002", depends_on=("billing", "0001"))

        assert not project.chain().opaque

    @pytest.mark.parametrize("name", ["expand", "00"])
    def test_is_a_label_that_a_script_may_stand_on(self, project, name):
        path = project.revision("0001", header="EXPAND = str('expand')")
        path.write_text(path.read_text() + "\nbranch_labels = EXPAND\n")
        project.revision("0002", depends_on=name)

        (reason,) = project.chain().opaque

        assert reason.startswith(f"migrations/versions/0002_made.py stands on {name!r}, and ")
        assert reason.endswith("0001_made.py line 13: branch_labels is computed")

    def test_is_not_a_constant_of_the_same_file(self, project):
        project.history(2)
        project.write(
            "migrations/versions/c.py",
            "REV, ONE, TWO = '0003', '0001', '0002'\nrevision = REV\ndown_revision = TWO\n"
            "LABEL = 'third'\nbranch_labels = LABEL\ndepends_on = (ONE,)\ndef upgrade(): ...\n",
        )

        assert not project.chain().opaque
        assert project.build()[1] == ["0001", "0002", "0003"]


@pytest.mark.parametrize("name", ["migrations/env.py", "migrations/versions/0001_made.py"])
@pytest.mark.parametrize("pattern", ["*", "migrations", "migrations/*"])
def test_what_alembic_runs_counts_whatever_is_ignored(project, name, pattern):
    project.configure(f'ignore_inputs = ["{pattern}"]')
    project.history(1)
    before = project.key()

    project.append(name, "# changed\n")

    assert project.key() != before
