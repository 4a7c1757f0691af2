"""The configuration: found from anywhere in the project, and every mistake in it is one error."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path

import pytest

from alembic_snapshot import ConfigError, StoreError, load_project
from alembic_snapshot.project.config import _KEYS
from alembic_snapshot.project.table import check_values


class TestFinding:
    def test_works_from_any_folder_below(self, project):
        deep = project.root / "a" / "b"
        deep.mkdir(parents=True)

        assert load_project(deep).root == project.root

    def test_prefers_the_nearest_table_to_a_nearer_alembic_ini(self, project):
        below = project.root / "backend"
        project.write("backend/alembic.ini", "[alembic]\nscript_location = m\n")

        assert load_project(below).root == project.root

    def test_needs_no_table(self, project):
        (project.root / "pyproject.toml").unlink()
        project.history(1)

        found = load_project(project.root)

        assert not found.configured
        assert project.ensure().built

    def test_a_file_may_be_named(self, project, tmp_path):
        assert load_project(tmp_path, config=project.root / "alembic.ini").root == project.root

    def test_an_ini_file_may_be_written_for_commands_typed_in_the_root(self, project, tables):
        (project.root / "alembic.ini").unlink()
        project.write("conf/alembic.ini", """
            [alembic]
            script_location = migrations
            version_locations = migrations/versions more
            """)  # fmt: skip
        project.configure('config = "conf/alembic.ini"')
        project.history(1)
        project.revision("0002", "0001", folder=project.root / "more")

        assert {"t_0001", "t_0002"} <= set(tables(project.ensure().path))

    def test_nothing_to_find_is_an_error_with_a_hint(self, tmp_path):
        with pytest.raises(ConfigError, match="no configuration: neither") as failed:
            load_project(tmp_path)

        assert "--config" in failed.value.hint

    def test_a_file_that_is_not_there_is_an_error(self, project):
        with pytest.raises(ConfigError, match="there is no file"):
            load_project(project.root, config=project.root / "nowhere.ini")

    def test_two_different_script_locations_are_an_error(self, project):
        project.history(1)
        project.write(
            "pyproject.toml",
            """
            [tool.alembic]
            script_location = "%(here)s/others"

            [tool.alembic-snapshot]
            """,
        )

        with pytest.raises(ConfigError, match="two configurations of Alembic") as error:
            project.key()

        # Followed to the letter, each of the hint's two ways works.
        others = shutil.copytree(project.root / "migrations", project.root / "others")
        both = (project.root / "pyproject.toml").read_text()
        assert 'config = "pyproject.toml"' in error.value.hint
        project.write("pyproject.toml", f'{both}config = "pyproject.toml"\n')
        assert project.load().alembic.script_location == others
        project.configure()
        assert project.load().alembic.script_location == project.root / "migrations"


# One file, as it can be spelled in the project's root.
SPELLINGS = {
    "db": ["db/alembic.ini", "./db/alembic.ini", "db/../db/alembic.ini", "docs/../db/alembic.ini",
           "link/alembic.ini", "link/../db/alembic.ini", "linked.ini", "docs/deep/../../linked.ini",
           "pyproject.toml", "docs/../pyproject.toml", "db/../pyproject.toml"],
    "logs": ["logs/alembic.ini", "docs/../logs/alembic.ini", "logs/../logs/alembic.ini",
             "link_to_logs/alembic.ini", "logs.ini"],
}  # fmt: skip


class TestANamedFile:
    """``--config`` is one file, however it is spelled, and the table that has it counts."""

    @pytest.fixture
    def two(self, project, monkeypatch):
        """A project with two databases, each with an ini file in a folder of its own."""
        (project.root / "docs" / "deep").mkdir(parents=True)
        project.history(1)
        for name, link in (("db", "link"), ("logs", "link_to_logs")):
            project.write(f"{name}/alembic.ini", "[alembic]\nscript_location = ../migrations\n")
            (project.root / link).symlink_to(project.root / name)
        (project.root / "linked.ini").symlink_to(project.root / "db" / "alembic.ini")
        (project.root / "logs.ini").symlink_to(project.root / "logs" / "alembic.ini")
        project.configure(
            """
            config = "db/alembic.ini"
            x = ["of=db"]
            [tool.alembic-snapshot.databases.logs]
            config = "logs/alembic.ini"
            x = ["of=logs"]
            """
        )
        monkeypatch.chdir(project.root)
        return project

    @pytest.mark.parametrize("named", SPELLINGS["db"])
    def test_is_the_databases_own_in_every_spelling(self, two, named):
        found = load_project(config=named)

        assert (found.root, found.config) == (two.root, two.root / "db" / "alembic.ini")
        assert found == load_project()

    @pytest.mark.parametrize("named", SPELLINGS["db"])
    def test_is_found_from_another_folder(self, two, monkeypatch, named):
        expected = load_project()
        monkeypatch.chdir(two.root / "docs" / "deep")

        assert load_project(config=f"../../{named}") == expected

    @pytest.mark.parametrize("named", SPELLINGS["logs"])
    def test_of_another_database_is_an_error_that_names_it(self, two, named):
        with pytest.raises(ConfigError, match=r"is the configuration of the database logs") as no:
            load_project(config=named)

        assert no.value.hint == "give --database logs"
        assert load_project(config=named, database="logs") == load_project(database="logs")

    @pytest.mark.parametrize("named", ["third.ini", "docs/../third.ini"])
    def test_that_no_database_has_is_used_instead(self, two, named):
        two.write("third.ini", "[alembic]\nscript_location = migrations\n")

        for database in ("default", "logs"):
            found = load_project(config=named, database=database)
            assert found.config == two.root / "third.ini"

    @pytest.mark.parametrize("start", ["docs/..", "docs/deep/../..", "link/.."])
    def test_a_folder_may_be_spelled_in_any_way(self, two, start):
        assert load_project(start) == load_project()


@pytest.mark.parametrize("kind", [str, Path])
def test_paths_may_be_text(project, kind):
    given = kind(project.root)

    found = load_project(given, store=kind(project.root / "store"))

    assert (found.root, found.store) == (project.root, project.root / "store")
    assert load_project(config=kind(project.root / "alembic.ini")).root == project.root
    for name in ("start", "config", "store"):
        with pytest.raises(ConfigError, match="a path is empty"):
            load_project(**{name: ""})
    with pytest.raises(ConfigError):
        load_project(kind("/nowhere"))


@pytest.mark.parametrize("store", [".", "../project", "link", "below"])
def test_no_store_is_where_the_project_is(project, tmp_path, store):
    (project.root / "link").symlink_to(project.root)
    root = project.root
    if store == "below":
        root, store = shutil.copytree(root, tmp_path / "around/archives", symlinks=True), ".."

    with pytest.raises(StoreError, match="the project is in it") as no:
        load_project(root, store=root / store)

    assert "a folder for the store alone" in no.value.hint


class TestMistakes:
    @pytest.mark.parametrize(
        ("line", "message", "hint"),
        [
            ("engin = 'x:y'", "unknown key 'engin'", "did you mean 'engine'?"),
            ("database = {two = {}}", "unknown key 'database'", "did you mean 'databases'?"),
            (
                "engine = 'x:y'\n[tool.alembic-snapshot.databases.two]\nengine = 'x:y'",
                "snapshot. and .tool.alembic-snapshot.databases.two. have the same engine, 'x:y'",
                "write the engine of the application's other database in one of them",
            ),
            (
                "[tool.alembic-snapshot.databases.one]\nsessionmaker = 'x:y'\n"
                "[tool.alembic-snapshot.databases.two]\nsessionmaker = 'x:y'",
                "databases.one. and .*databases.two. have the same sessionmaker",
                "write the sessionmaker of the application's other database in one of them",
            ),
            ("pythonpath = 'app'", "pythonpath .* must be a list of strings", ""),
            ("pythonpath = ['app']", "pythonpath .* has .*app, which is not there", "or take it"),
            ("pythonpath = ['alembic.ini']", "has .*alembic.ini, which is no folder", "or take"),
            (
                "environment = ['SHOP_URL']",
                "environment .* must be a table of strings",
                'environment = { SHOP_URL = "{url}" }',
            ),
            ("tokens = false", "tokens .* must be a string", 'tokens = "off"'),
            ("archive = true", "archive .* must be a string", 'archive = "always"'),
            ("heads = 3", "heads .* must be a string", 'heads = "one"'),
            ("reset = 'x'", "reset .* must be one of rewrite, rewind", 'reset = "rewrite"'),
            ("drift = 'eror'", "drift .* must be one of warn, error, ignore", "'error'"),
            ("private_home = 'yes'", "private_home .* must be true or false", ""),
            ("engine = 'core.database'", "engine 'core.database' .* module:name", "core.database:"),
            ("seeds = ['no way']", "a seed 'no way' .* module:name", ""),
            ("config = 'nowhere.ini'", "there is no file .*nowhere.ini", "correct config"),
            ("databases = 3", "databases .* must be a table of tables", "databases.NAME]"),
            ("databases = { x = 'a' }", "databases .* must be a table of tables", ""),
            ("[tool]\nalembic = 3", "tool.alembic is 3", "write [tool.alembic]"),
        ],
    )
    def test_are_named_with_a_hint(self, project, line, message, hint):
        project.configure(line)

        with pytest.raises(ConfigError, match=message) as failed:
            project.key()

        assert hint in failed.value.hint

    @pytest.mark.parametrize("key", sorted(_KEYS.keys() - {"remote_keys"}))
    @pytest.mark.parametrize("value", [True, False, 3, [1], {"a": 1}, "no such value"])
    def test_in_a_type_or_a_choice_have_hints_that_are_right_to_the_letter(self, key, value):
        kind, choices = _KEYS[key]["kind"], _KEYS[key]["choices"]
        if (kind == "text" and isinstance(value, str) and not choices) or (
            kind == "flag" and isinstance(value, bool)
        ):
            return
        with pytest.raises(ConfigError) as failed:
            check_values({key: value}, "t", _KEYS)
        before, _, line = failed.value.hint.partition("write for example ")

        assert not before
        check_values(tomllib.loads(line), "t", _KEYS)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "has no script_location"),
            ("[alembic]\n", "has no script_location"),
            ("[alembic]\nscript_location = nowhere\n", "has no env.py"),
            ("[alembic]\nscript_location = nowhere:x\n", "no package 'nowhere'"),
            ("[alembic]\nscript_location = %(nowhere)s/x\n", r"%\(nowhere\)s .* undefined"),
            ("script_location = x\n", "does not parse"),
            ("[alembic]\nscript_location = migrations\nversion_locations = a\n"
             "path_separator = comma\n", "'comma' is not a path_separator"),
        ],
    )  # fmt: skip
    def test_in_alembic_ini_are_named(self, project, text, message):
        project.write("alembic.ini", text)

        with pytest.raises(ConfigError, match=message):
            project.key()

    def test_that_lie_elsewhere_are_named_as_not_there(self, project):
        project.configure("")
        project.write("db/alembic.ini", (project.root / "alembic.ini").read_text())
        (project.root / "alembic.ini").unlink()

        with pytest.raises(ConfigError) as caught:
            project.key()

        assert caught.value.message.startswith(f"there is no {project.root / 'alembic.ini'}, and ")
        assert 'config = "db/alembic.ini"' in caught.value.hint

    @pytest.mark.parametrize(
        ("text", "hint"),
        [
            ("{host}", 'known are {url}, {async_url}, {path}; set backend = "postgresql"'),
            ("{hots}", "known are {url}, {async_url}, {path}; {{name}} is"),
            ("{asyncurl}", "did you mean {async_url}? known are {url}, {async_url}, {path}; "),
            ("{nonsense}", "known are {url}, {async_url}, {path}; {{name}} is {name} itself"),
        ],
    )
    def test_in_braces_have_the_list_of_what_there_is(self, project, text, hint):
        project.configure(f'environment = {{ A = "{text}" }}')

        with pytest.raises(ConfigError) as caught:
            project.load()

        assert caught.value.hint.startswith(hint)

    def test_other_braces_stand_for_themselves(self, project):
        text = '{"a": {"b": 1}} {{ x }} {{url}} {3} {} ${HOME'
        project.configure(f"environment = {{ A = '{text}' }}")
        project.history(1)

        assert project.ensure().clone(project.root / "mine.db").environ["A"] == text.replace(
            "{{url}}", "{url}"
        )

    def test_of_a_table_that_is_none_are_named(self, project):
        project.write("pyproject.toml", "[tool]\nalembic-snapshot = 3\n")

        with pytest.raises(ConfigError, match=r"tool.alembic-snapshot is 3, no table"):
            project.key()

    def test_in_toml_are_named(self, project):
        project.write("pyproject.toml", "[tool.alembic-snapshot\n")

        with pytest.raises(ConfigError, match=r"pyproject.toml is not TOML"):
            project.key()

    def test_no_revisions_at_all_is_an_error_with_a_hint(self, project):
        project.versions.mkdir(parents=True)

        done = project.command("build")

        assert done.returncode == 2
        assert "error: there are no revisions: none in" in done.stderr
        assert "hint: make the first with `alembic revision`" in done.stderr


class TestDatabases:
    def test_a_further_database_has_its_own_snapshot(self, project, tables):
        project.history(1)
        project.write("other/migrations/env.py", (project.root / "migrations/env.py").read_text())
        project.write("other.ini", "[alembic]\nscript_location = %(here)s/other/migrations\n")
        project.revision("x", folder=project.root / "other/migrations/versions")
        project.configure(
            """
            [tool.alembic-snapshot.databases.other]
            config = "other.ini"
            """
        )

        first = project.command("build", "--database", "default").stdout.strip()
        second = project.command("build", "--database", "other").stdout.strip()

        assert "t_0001" in tables(first)
        assert "t_x" in tables(second)

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ('engin = "shop:engine"', "unknown key 'engin'"),
            ("seeds = 3", "seeds"),
            ('drift = "eror"', "drift"),
            ('engine = "shop"', "engine 'shop'"),
            ('layers = { demo = ["shop"] }', "a seed 'shop'"),
        ],
    )
    @pytest.mark.parametrize("asked", ["default", "other"])
    def test_a_mistake_in_any_table_is_told_with_that_table(self, project, line, message, asked):
        project.configure(f"[tool.alembic-snapshot.databases.other]\n{line}")

        with pytest.raises(ConfigError) as error:
            load_project(project.root, database=asked)
        assert error.value.message.startswith(message)
        assert " in [tool.alembic-snapshot.databases.other] " in f"{error.value.message} "

    def test_each_is_checked_unless_one_is_named(self, project):
        project.revision("0001")
        project.write("other.ini", "[alembic]\nscript_location = %(here)s/other/migrations\n")
        project.write("other/migrations/env.py", (project.root / "migrations/env.py").read_text())
        path = project.revision("x", folder=project.root / "other/migrations/versions")
        path.write_text(path.read_text().replace("op.drop_table('t_x')", "pass"))
        project.configure('[tool.alembic-snapshot.databases.other]\nconfig = "other.ini"')

        done = project.command("check", "-q", "--allow-unchecked")
        first = project.command("check", "-q", "--allow-unchecked", "--database", "default")
        facts = json.loads(project.command("check", "-q", "--json").stdout)

        assert done.returncode == 1
        assert "other: revision x: " in done.stdout
        assert "default: 1 revision, each up, down and up again" in done.stdout
        assert first.returncode == 0
        assert "other" not in first.stdout
        assert [bool(one["findings"]) for one in facts["databases"].values()] == [False, True]

    def test_an_unknown_database_is_an_error(self, project):
        with pytest.raises(ConfigError, match="no database 'nowhere'"):
            load_project(project.root, database="nowhere")
