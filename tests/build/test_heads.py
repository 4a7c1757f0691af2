"""Whatever makes the database, it is at the heads of the scripts, or there is no snapshot."""

from __future__ import annotations

import textwrap

import pytest

from alembic_snapshot import BuildError, MigrationError

UPGRADE = """
    from alembic import command
    from alembic.config import Config

    def create(url):
        config = Config("alembic.ini")
        config.set_main_option("sqlalchemy.url", url)
        {body}
"""
# An env.py that lets nothing through.
SWALLOWING = """
    from alembic import context
    from sqlalchemy import create_engine
    from sqlalchemy.exc import OperationalError

    engine = create_engine(context.config.get_main_option("sqlalchemy.url"))
    with engine.connect() as connection:
        context.configure(connection=connection, transaction_per_migration=True)
        try:
            with context.begin_transaction():
                context.run_migrations()
        except OperationalError:
            pass
        connection.commit()
"""


def env_that(*lines):
    """An env.py that has a connection and a context, and does these lines with them."""
    head = """
    from alembic import context
    from sqlalchemy import create_engine

    engine = create_engine(context.config.get_main_option("sqlalchemy.url"))
    with engine.begin() as connection:
        context.configure(connection=connection)
    """
    return textwrap.dedent(head) + "".join(f"    {line}\n" for line in lines)


@pytest.fixture
def migrated(project):
    """Two revisions, and a function that makes the database with the lines that a test gives."""

    def write(body, *, revisions=2):
        project.history(revisions)
        project.configure('migrate = "setup_db:create"')
        text = textwrap.indent(textwrap.dedent(body).strip(), " " * 8).strip()
        project.write("setup_db.py", textwrap.dedent(UPGRADE).replace("{body}", text).replace(
            "\n        ", "\n    "))  # fmt: skip
        return project

    return write


@pytest.fixture(params=["literal", "computed", "found by env.py"])
def tree(request, project):
    """Two revisions: read from files, or known only when they run."""
    project.history(2)
    if request.param == "computed":
        path = project.versions / "0002_made.py"
        path.write_text(path.read_text().replace("down_revision = '0001'",
                                                 "down_revision = str('0001')"))  # fmt: skip
    elif request.param == "found by env.py":
        project.versions.rename(project.root / "hidden")
        project.versions.mkdir()

    def env(text):
        found = (
            "from alembic import context\n"
            f"context.script.version_locations = [{str(project.root / 'hidden')!r}]\n"
        )
        prefix = found if request.param == "found by env.py" else ""
        project.write("migrations/env.py", prefix + textwrap.dedent(text))
        return project

    project.versions_now = project.versions
    if request.param == "found by env.py":
        project.versions_now = project.root / "hidden"
    return env


class TestEnvPy:
    def test_that_swallows_a_revision_s_error_is_an_error_that_names_the_revision(
        self, project, tree
    ):
        project.revision("0002", "0001", "op.execute('select * from nowhere')",
                         folder=project.versions_now)  # fmt: skip

        with pytest.raises(MigrationError, match=r"revision 0002 failed at .*nowhere") as failed:
            tree(SWALLOWING).ensure()

        assert failed.value.hint.startswith("env.py caught this error and went on")

    def test_that_stamps_instead_of_running_is_an_error(self, tree):
        with pytest.raises(BuildError, match=r"of 2 revisions did not run|is at 0002") as failed:
            tree(env_that('context.get_context().stamp(context.script, "heads")')).ensure()

        assert "env.py" in failed.value.message

    def test_that_makes_a_version_table_and_runs_nothing_is_an_error(self, tree):
        with pytest.raises(BuildError, match=r"at no revision: env.py did not commit, or"):
            tree(env_that("context.get_context()._ensure_version_table()")).ensure()

    @pytest.mark.parametrize(
        "setting", ['seeds = ["seeding:fill"]', 'layers = {l=["seeding:fill"]}']
    )
    def test_that_runs_nothing_is_told_and_not_the_seed_that_finds_no_table(
        self, project, tree, setting
    ):
        project.write(
            "seeding.py", "def fill(c): c.exec_driver_sql('insert into t_0001 values (1)')\n"
        )
        made = tree(env_that("pass"))
        made.configure(setting)

        with pytest.raises(BuildError, match=r"at no revision: env.py did not commit, or"):
            made.ensure(**({"layer": "l"} if "layers" in setting else {}))

    def test_that_runs_is_not_blamed_for_a_seed(self, project, tree):
        project.write(
            "seeding.py", "def fill(c): c.exec_driver_sql('insert into nowhere values (1)')\n"
        )
        made = tree(env_that("context.run_migrations()"))
        made.configure('seeds = ["seeding:fill"]')

        with pytest.raises(
            MigrationError, match=r"^seed seeding:fill failed at seeding\.py line 1"
        ):
            made.ensure()

    def test_that_writes_a_version_that_no_script_has_is_an_error(self, tree):
        line = "update alembic_version set version_num = '0009' where version_num = '0002'"
        env = env_that("context.run_migrations()", f'connection.exec_driver_sql("{line}")')

        with pytest.raises(BuildError, match=r"at 0009, and no script is revision 0009"):
            tree(env).ensure()

    def test_that_runs_all_of_them_is_fine(self, tree):
        snapshot = tree(env_that("context.run_migrations()")).ensure()

        assert snapshot.manifest.heads == ("0002",)
        assert snapshot.manifest.checks["revisions"] == 2

    def test_that_tries_again_after_an_error_and_succeeds_is_fine(self, project, tables):
        flag = project.root / "tried"
        project.revision("0001", upgrade=f"""
            import pathlib
            if not pathlib.Path({str(flag)!r}).exists():
                pathlib.Path({str(flag)!r}).touch()
                op.execute("select * from nowhere")
            op.execute("create table made (x)")
            """)  # fmt: skip
        again = "except OperationalError:\n        context.run_migrations()"
        env = textwrap.dedent(SWALLOWING).replace("except OperationalError:\n        pass", again)
        project.write("migrations/env.py", env.replace("begin_transaction():\n", "begin_tran"
                                                       "saction():\n"))  # fmt: skip

        assert "made" in tables(project.ensure().path)

    def test_that_looks_elsewhere_for_more_scripts_is_an_error(self, project):
        project.history(1)
        more = project.revision("b", "0001", folder=project.root / "more").parent
        env = (project.root / "migrations/env.py").read_text()
        line = f"context.script.version_locations.append({str(more)!r})"
        text = env.replace("config = context.config", f"config = context.config\n{line}")
        project.write("migrations/env.py", text)

        with pytest.raises(BuildError, match=r"other places than its settings name: .*more") as f:
            project.ensure()

        assert "version_locations" in f.value.hint

    def test_whose_scripts_are_another_history_when_they_run_is_an_error(self, project):
        project.history(2)
        path = project.revision("0003", "0002")
        text = "import sys\nsys._getframe(0).f_globals.update(down_revision='0001')\n"
        path.write_text(path.read_text() + f"\ndef change():\n    {text.splitlines()[0]}\n"
                        "    getattr(sys, '_get' + 'frame')().f_globals['down_revision'] = '0001'\n"
                        "change()\n")  # fmt: skip

        with pytest.raises(BuildError, match="revision 0003 stands on 0001 when it runs; reading"):
            project.ensure()


class TestMigrate:
    def test_that_stops_early_is_named_with_both_places(self, migrated):
        project = migrated('command.upgrade(config, "0001")')

        with pytest.raises(BuildError, match="is at 0001; the scripts are at 0002") as failed:
            project.ensure()

        assert failed.value.message.startswith("migrate's setup_db:create ended")
        assert "set migrate" not in str(failed.value)
        assert "env.py" not in str(failed.value)

    def test_of_which_one_of_two_heads_is_applied_is_an_error(self, migrated, project):
        migrated('command.upgrade(config, "0002")')
        project.revision("b", "0001")

        with pytest.raises(BuildError, match="is at 0002; the scripts are at 0002, b"):
            project.ensure()

    def test_that_stamps_an_empty_database_is_an_error(self, migrated):
        with pytest.raises(BuildError, match="stamped the database at 0002, but made no table"):
            migrated('command.stamp(config, "heads")').ensure()

    def test_that_makes_tables_and_stamps_is_fine_and_said(self, migrated):
        body = """
            import sqlalchemy as sa
            engine = sa.create_engine(url)
            with engine.begin() as connection:
                connection.exec_driver_sql("create table t_0001 (id)")
            command.stamp(config, "0001")
            command.upgrade(config, "heads")
        """
        snapshot = migrated(body).ensure()

        assert snapshot.manifest.heads == ("0002",)
        (note,) = snapshot.manifest.warnings
        assert note == "migrate stamped 1 of 2 revisions without running them"

    def test_that_is_not_seen_to_run_a_revision_is_said(self, migrated):
        body = """
            import sqlalchemy as sa
            with sa.create_engine(url).begin() as connection:
                connection.exec_driver_sql("create table t_0001 (id)")
                connection.exec_driver_sql("create table alembic_version (version_num text)")
                connection.exec_driver_sql("insert into alembic_version values ('0002')")
        """
        snapshot = migrated(body).ensure()

        (note,) = snapshot.manifest.warnings
        assert note == "migrate ran 2 of 2 revisions in another process, or not at all"

    def test_that_writes_a_version_that_no_script_has_is_an_error(self, migrated):
        body = """
            import sqlalchemy as sa
            command.upgrade(config, "heads")
            with sa.create_engine(url).begin() as connection:
                connection.exec_driver_sql("update alembic_version set version_num = 'later'")
        """
        with pytest.raises(BuildError, match="at later, and no script is revision later; the"):
            migrated(body).ensure()

    @pytest.mark.parametrize("line", ["delete from", "drop table"])
    def test_that_leaves_no_version_is_an_error(self, migrated, line):
        body = f"""
            import sqlalchemy as sa
            command.upgrade(config, "heads")
            with sa.create_engine(url).begin() as connection:
                connection.exec_driver_sql("{line} alembic_version")
        """
        with pytest.raises(BuildError, match="is at no revision"):
            migrated(body).ensure()

    def test_that_catches_a_revision_s_error_is_an_error(self, migrated, project):
        body = """
            try:
                command.upgrade(config, "heads")
            except Exception:
                command.stamp(config, "heads")
        """
        migrated(body)
        project.revision("0002", "0001", "op.execute('select * from nowhere')")

        with pytest.raises(MigrationError, match="revision 0002 failed") as failed:
            project.ensure()

        assert failed.value.hint.startswith("migrate caught this error")

    def test_without_any_script_is_an_error(self, migrated):
        with pytest.raises(BuildError, match=r"there are no revisions: none in .*, and migrate"):
            migrated('command.upgrade(config, "heads")', revisions=0).ensure()

    def test_runs_once_whatever_is_wrong_with_it(self, migrated, project):
        body = """
            with open("ran.txt", "a") as file:
                file.write("x")
            command.upgrade(config, "0001")
        """
        with pytest.raises(BuildError):
            migrated(body).ensure()

        assert (project.root / "ran.txt").read_text() == "x"

    def test_its_heads_are_the_snapshot_s(self, migrated, project):
        migrated('command.upgrade(config, "heads")')
        project.revision("b", "0001")

        snapshot = project.ensure()

        assert snapshot.manifest.heads == ("0002", "b")
        assert "there are 2 heads, 0002 and b" in project.command("status").stdout


class TestVersionTable:
    @pytest.fixture
    def own(self, migrated, project):
        """A function with a Config of its own, without which env.py raises."""
        migrated("config.attributes['mine'] = True\ncommand.upgrade(config, 'heads')")
        env = (project.root / "migrations/env.py").read_text()
        project.write("migrations/env.py", env.replace(
            "target_metadata = None",
            "target_metadata = None\n"
            "if not config.attributes.get('mine'): raise RuntimeError('only with our Config')",
        ).replace("target_metadata=target_metadata", "version_table='ddl_version'"))  # fmt: skip
        return project

    def test_is_that_of_the_run_although_env_py_fails_by_itself(self, own, rows):
        snapshot = own.ensure()

        assert snapshot.manifest.heads == ("0002",)
        assert snapshot.manifest.version_table == "ddl_version"
        assert rows(snapshot.path, "select * from ddl_version") == [("0002",)]

    def test_is_known_to_what_is_built_upon_it(self, own, rows):
        own.ensure()
        own.write("seed.py", """
            import sqlalchemy as sa

            def add(connection):
                connection.execute(sa.text("insert into t_0001 values (1)"))

            def bad(connection):
                connection.execute(sa.text("delete from ddl_version"))
            """)  # fmt: skip
        own.configure('migrate = "setup_db:create"\nseeds = ["seed:add"]')

        snapshot, ran = own.build()

        assert ran == ["seed:add"]
        assert snapshot.manifest.version_table == "ddl_version"
        assert snapshot.manifest.checks["revisions"] == 2
        own.configure('migrate = "setup_db:create"\nseeds = ["seed:bad"]')
        with pytest.raises(BuildError, match="is at no revision"):
            own.ensure()

    def test_is_compared_where_a_seed_fails_afterwards(self, own):
        own.write("seed.py", "def bad(connection):\n    1 / 0\n")
        own.configure('migrate = "setup_db:create"\nseeds = ["seed:bad"]')
        with pytest.raises(MigrationError, match="seed seed:bad failed"):
            own.ensure()
        own.configure('migrate = "setup_db:create"')

        snapshot = own.ensure()

        assert not snapshot.built
        assert snapshot.manifest.checks["heads_error"] is None

    def test_is_compared_there(self, own):
        own.write("setup_db.py", (own.root / "setup_db.py").read_text().replace("heads", "0001"))

        with pytest.raises(BuildError, match="is at 0001; the scripts are at 0002"):
            own.ensure()

    def test_is_each_that_env_py_keeps_also_on_top_of_what_was_built(self, project):
        project.revision("0001", upgrade="op.execute('create table if not exists t_0001 (x)')")
        project.write("migrations/env.py", env_that(
            "for table in ('one', 'two'):",
            "    context.configure(connection=connection, version_table=table)",
            "    context.run_migrations()",
            "if '0002' in context.get_context().get_current_heads():",
            "    connection.exec_driver_sql('delete from two')",
        ))  # fmt: skip
        project.ensure()
        project.revision("0002", "0001", "op.execute('create table if not exists t_0002 (x)')")

        with pytest.raises(BuildError, match="at no revision"):
            project.ensure()

    def test_of_another_tree_in_the_same_database_does_not_count(self, migrated, project):
        (project.root / "other/versions").mkdir(parents=True)
        migrated("""
            command.upgrade(config, "heads")
            config.set_main_option("script_location", "other")
            command.upgrade(config, "heads")
            """)  # fmt: skip
        env = (project.root / "migrations/env.py").read_text()
        project.write("other/env.py", env.replace(
            "target_metadata=target_metadata", "version_table='other_versions'"))  # fmt: skip
        project.revision("x", folder=project.root / "other/versions")

        assert project.ensure().manifest.version_table == "alembic_version"

    def test_that_nothing_tells_is_said_not_to_be_known(self, migrated, project):
        migrated("""
            import sqlalchemy as sa
            with sa.create_engine(url).begin() as connection:
                connection.exec_driver_sql("create table my_versions (version_num)")
                connection.exec_driver_sql("insert into my_versions values ('0002')")
            """)  # fmt: skip
        env = project.root / "migrations/env.py"
        env.write_text(f"raise RuntimeError\n{env.read_text()}")

        with pytest.raises(BuildError, match="which table has the versions is not known"):
            project.ensure()

    def test_of_which_the_scripts_can_not_be_read_is_not_compared_and_that_is_said(
        self, migrated, project
    ):
        migrated("""
            import sqlalchemy as sa
            with sa.create_engine(url).begin() as connection:
                connection.exec_driver_sql("create table alembic_version (version_num)")
                connection.exec_driver_sql("insert into alembic_version values ('0002')")
                connection.exec_driver_sql("create table t_0001 (x)")
            """)  # fmt: skip
        project.revision("0002", "0001", header="import nowhere_at_all")

        checks = project.ensure().manifest.checks

        assert "nowhere_at_all" in checks["heads_error"]
