"""Building: what runs, what is published, what is taken from the store, and what is not touched."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import signal
import sys
import textwrap
from pathlib import Path

import pytest

from alembic_snapshot import BuildError, MigrationError, ensure, load_project


class TestTheSnapshot:
    def test_is_one_sealed_read_only_file_at_the_head(self, project, tables, rows):
        project.history(3)

        snapshot = project.ensure()

        assert rows(snapshot.path, "select version_num from alembic_version") == [("0003",)]
        assert tables(snapshot.path) == ["alembic_version", "t_0001", "t_0002", "t_0003"]
        assert rows(snapshot.path, "pragma journal_mode") == [("delete",)]
        assert snapshot.path.stat().st_mode & 0o222 == 0
        names = sorted(path.name for path in snapshot.path.parent.iterdir())
        assert names == ["manifest.json", "snapshot.db", "verified.json"]

    def test_is_found_again_and_not_built(self, project):
        project.history(2)
        first, ran = project.build()

        second, again = project.build()

        assert first.built
        assert ran == ["0001", "0002"]
        assert again == []
        assert not second.built
        assert second.path == first.path

    def test_has_what_a_wal_that_was_left_behind_has(self, project, rows):
        project.revision(
            "a",
            upgrade="""
            op.create_table('t', sa.Column('x', sa.Text))
            op.execute("insert into t values ('" + "x" * 100000 + "')")
            """,
        )
        env = (project.root / "migrations/env.py").read_text()
        wal = """
            connection.exec_driver_sql("pragma journal_mode=wal")
            connection.exec_driver_sql("pragma wal_autocheckpoint=0")
            connection.commit()
        """
        before = "    context.configure("
        env = env.replace(before, textwrap.indent(textwrap.dedent(wal), "    ") + before)
        still_open = "\nleft = engine.connect()\nleft.exec_driver_sql('select 1 from t')\n"
        project.write("migrations/env.py", env + still_open)

        snapshot = project.ensure()

        assert rows(snapshot.path, "select length(x) from t") == [(100000,)]
        assert rows(snapshot.path, "pragma journal_mode") == [("delete",)]

    def test_is_the_same_whatever_is_random_in_it(self, project):
        project.revision(
            "a",
            upgrade="""
            import uuid
            op.create_table('t', sa.Column('x', sa.Text))
            op.execute(f"insert into t values ('{uuid.uuid4()}')")
            """,
        )
        first = project.ensure()

        shutil.rmtree(project.root / ".alembic-snapshot")
        second = project.ensure()

        assert first.digest == second.digest
        assert first.path == second.path
        assert second.built

    def test_is_not_in_the_way_of_git(self, project):
        project.history(1)
        project.ensure()

        assert (project.root / ".alembic-snapshot/.gitignore").read_text() == "*\n"

    def test_may_be_kept_elsewhere(self, project, tmp_path, monkeypatch):
        project.history(1)
        monkeypatch.setenv("ALEMBIC_SNAPSHOT_DIR", str(tmp_path / "elsewhere"))

        assert project.ensure().path.is_relative_to(tmp_path / "elsewhere")
        assert not (project.root / ".alembic-snapshot").exists()

    @pytest.mark.parametrize("named", ["cache", "./cache", "x/../cache", "../shop-cache"])
    def test_in_a_relative_folder_is_one_from_everywhere(
        self, new_project, tmp_path, monkeypatch, named
    ):
        project = new_project("shop")
        project.history(1)
        monkeypatch.setenv("ALEMBIC_SNAPSHOT_DIR", named)
        (project.root / "inside/deep").mkdir(parents=True)
        (project.root / "inside/deep/test_it.py").write_text("def test_it(db_clone): pass\n")
        below, above = project.root / "inside/deep", tmp_path

        built = project.command("build", cwd=below).stdout.strip()
        config = f"--config={project.root / 'pyproject.toml'}"
        seen = [
            project.command("status", "--json", *options, cwd=folder).stdout
            for folder, options in ((project.root, ()), (below, ()), (above, (config,)))
        ]
        run = project.pytest("-q", "-p", "no:cacheprovider", cwd=below)

        assert Path(built).is_relative_to(os.path.normpath(project.root / named))
        assert {json.loads(one)["path"] for one in seen} == {built}
        assert " reused; " in run.stdout
        assert len({*tmp_path.rglob("snapshots")}) == 1

    @pytest.mark.parametrize("name", ["with space", "100%", 'it\'s "quoted"', "żółć", "a#b?c"])
    def test_may_be_on_a_path_with_odd_characters(self, new_project, name, tables):
        project = new_project(name)
        project.history(2)

        snapshot = project.ensure()

        assert "t_0002" in tables(snapshot.path)
        assert not project.ensure().built


class TestOnlyTheNewPart:
    def test_a_new_revision_costs_one_revision(self, project):
        project.history(5)
        project.ensure()

        project.revision("0006", "0005")

        assert project.build()[1] == ["0006"]

    def test_editing_the_newest_revision_costs_one_revision(self, project, tables):
        project.history(5)
        project.ensure()

        project.revision("0005", "0004", "op.create_table('other', sa.Column('x', sa.Integer))")
        snapshot, ran = project.build()

        assert ran == ["0005"]
        assert "other" in tables(snapshot.path)
        assert "t_0005" not in tables(snapshot.path)

    def test_editing_the_first_revision_runs_all(self, project):
        project.history(3)
        project.ensure()

        project.revision("0001", None, "op.create_table('t_0001', sa.Column('x', sa.Integer))")

        assert project.build()[1] == ["0001", "0002", "0003"]

    def test_going_back_to_what_was_before_builds_nothing(self, project):
        project.history(3)
        first = project.ensure()
        new = project.revision("0004", "0003")
        project.ensure()

        new.unlink()

        assert project.ensure().path == first.path
        assert not project.ensure().built

    def test_a_snapshot_at_an_older_revision_is_an_ancestor_too(self, project):
        project.history(4)
        at_two, ran = project.build(revision="0002")

        _, rest = project.build()

        assert at_two.manifest.heads == ("0002",)
        assert ran == ["0001", "0002"]
        assert rest == ["0003", "0004"]

    def test_a_branch_that_runs_first_is_built_from_where_it_begins(self, project):
        project.revision("a")
        project.revision("b", "a")
        project.ensure()
        project.revision("c", "a")
        _, second = project.build()
        project.revision("d", ("b", "c"))

        _, third = project.build()

        assert second == ["c", "b"]
        assert third == ["d"]

    def test_two_checkouts_with_different_branches_share_one_store(self, new_project, tmp_path):
        one, two = new_project("one"), new_project("two")
        for project in (one, two):
            project.history(3)
            project.append("pyproject.toml", '[project]\nname = "shop"\n')
        two.revision("0004", "0003")
        store = tmp_path / "store"

        first = ensure(load_project(one.root, store=store))
        second = ensure(load_project(two.root, store=store))
        again = ensure(load_project(one.root, store=store))

        assert first.path == again.path != second.path
        assert not again.built
        assert second.why[0].endswith("is new")

    def test_a_build_from_scratch_finds_no_difference_to_one_step_by_step(self, project):
        project.history(2)
        project.ensure()
        project.revision("0003", "0002")
        project.ensure()

        done = project.command("build", "--from-scratch")

        assert done.returncode == 0, done.stderr

    def test_a_build_from_scratch_shows_rows_that_differ(self, project):
        project.revision(
            "a",
            upgrade="""
            import uuid
            op.create_table('t', sa.Column('x', sa.Text))
            op.execute(f"insert into t values ('{uuid.uuid4()}')")
            """,
        )
        project.ensure()

        done = project.command("build", "--from-scratch")

        assert done.returncode == 1
        assert "t: 1 added, 1 removed" in done.stderr

    def test_a_build_from_scratch_replaces_the_states_on_the_way_too(self, project, rows, tmp_path):
        outside = tmp_path / "outside"
        outside.write_text("1")
        project.revision(
            "a",
            upgrade=f"""
            op.execute("create table t (x)")
            op.execute("insert into t values (" + open({str(outside)!r}).read() + ")")
            """,
        )
        project.revision("b", "a")
        project.ensure()

        outside.write_text("2")
        assert project.command("build", "--from-scratch").returncode == 1
        project.revision("b", "a", "op.execute('select 1')")
        snapshot, ran = project.build()

        assert ran == ["b"]
        assert rows(snapshot.path, "select x from t") == [(2,)]

    def test_a_history_of_400_revisions_runs_only_what_is_new(self, project):
        project.history(400)
        _, all_of_it = project.build()
        project.revision("0401", "0400")
        _, added = project.build()
        project.revision("0401", "0400", "op.execute('select 1')")
        _, edited = project.build()
        for path in project.versions.iterdir():
            os.utime(path, (1, 1))
        _, touched = project.build()

        assert len(all_of_it) == 400
        assert added == edited == ["0401"]
        assert touched == []


class TestFailures:
    def test_a_failing_revision_is_named_with_its_line_its_sql_and_its_traceback(self, project):
        project.history(2)
        project.revision("0003", "0002", "op.execute('insert into nowhere values (1)')")

        with pytest.raises(MigrationError) as failed:
            project.ensure()

        assert failed.value.message.startswith(
            "revision 0003 failed at migrations/versions/0003_made.py line 8: OperationalError: "
            "no such table: nowhere [insert into nowhere values (1)]"
        )
        assert "Traceback" in failed.value.details
        assert "Output:" not in failed.value.details

    def test_what_a_failing_revision_wrote_to_its_output_is_told(self, project):
        project.history(2)
        project.revision("0003", "0002", "print('half-way')\n1 / 0")

        with pytest.raises(MigrationError) as failed:
            project.ensure()

        assert failed.value.details.endswith("\nOutput:\nhalf-way\n")

    def test_a_failed_build_is_kept_for_inspection_but_never_used(self, project, tables):
        project.history(2)
        project.revision("0003", "0002", "op.create_table('half', sa.Column('x', sa.Text))\n1 / 0")

        with pytest.raises(MigrationError) as failed:
            project.ensure()

        kept = next((project.root / ".alembic-snapshot/failed").glob("*.db"))
        assert str(kept) in failed.value.hint
        assert "half" in tables(kept)
        assert project.look_up().entry is None

    def test_a_failed_newest_revision_costs_one_revision_to_mend(self, project):
        project.history(2)
        project.revision("0003", "0002", "1 / 0")
        with pytest.raises(MigrationError):
            project.ensure()

        project.revision("0003", "0002")

        assert project.build()[1] == ["0003"]

    def test_a_failed_build_leaves_an_existing_snapshot_as_it_was(self, project):
        project.history(2)
        first = project.ensure()
        bad = project.revision("0003", "0002", "1 / 0")
        with pytest.raises(MigrationError):
            project.ensure()

        bad.unlink()

        assert project.ensure().path == first.path
        assert not project.ensure().built

    def test_a_mended_revision_builds(self, project):
        project.revision("a", upgrade="1 / 0")
        with pytest.raises(MigrationError):
            project.ensure()

        project.revision("a")

        assert project.ensure().built
        assert list((project.root / ".alembic-snapshot/building").iterdir()) == []

    def test_a_module_that_is_not_found_hints_at_pythonpath(self, project):
        project.revision("a", header="import nowhere")

        with pytest.raises(MigrationError, match="No module named 'nowhere'") as failed:
            project.ensure()

        assert "pythonpath" in failed.value.hint

    def test_a_syntax_error_in_env_py_is_to_be_corrected_and_not_installed(self, project):
        project.append("migrations/env.py", "\ndef x(:\n")
        project.history(1)

        told = r"env.py failed at migrations/env.py line \d+: SyntaxError: "
        with pytest.raises(MigrationError, match=told) as failed:
            project.ensure()

        assert failed.value.hint == "correct the file"

    def test_a_migration_that_ends_the_process_is_reported(self, project):
        project.revision("a", upgrade="import os\nos._exit(7)")

        with pytest.raises(BuildError, match="the builder ended with status 7"):
            project.ensure()

    def test_a_migration_that_calls_sys_exit_is_reported(self, project):
        project.revision("a", upgrade="import sys\nsys.exit('enough')")

        with pytest.raises(MigrationError, match=r"revision a failed .*SystemExit: enough"):
            project.ensure()

    def test_a_full_disk_is_one_error_and_leaves_the_store_as_it_was(self, project):
        import resource
        import subprocess

        project.history(1)
        first = project.ensure()
        project.revision(
            "0002",
            "0001",
            "op.execute('create table big (x)')\nop.execute('insert into big values "
            "(zeroblob(3000000))')",
        )

        done = subprocess.run(
            [sys.executable, "-m", "alembic_snapshot", "build"],
            cwd=project.root,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000,) * 2),
            capture_output=True,
            text=True,
            check=False,
        )

        assert done.returncode == 2
        assert "error: " in done.stderr
        assert "hint: is the disk full?" in done.stderr
        assert done.stderr.count("revision to run") == 1
        assert "Traceback" not in done.stderr
        (project.versions / "0002_made.py").unlink()
        assert project.ensure().path == first.path


class TestTheCallersProcess:
    def test_is_the_same_before_and_after_a_build(self, project):
        env = (project.root / "migrations/env.py").read_text()
        project.write("migrations/env.py", env.replace(
            "config = context.config\n",
            "config = context.config\nfileConfig(config.config_file_name)\n"
            "import os, sys\nimport imported_by_env_alone\n"
            "os.environ['LEFT'] = 'here'\nsys.path.append('/nowhere')\n",
        ))  # fmt: skip
        project.configure('pythonpath = ["."]')
        project.write("imported_by_env_alone.py", "")
        project.append(
            "alembic.ini",
            "[loggers]\nkeys=root\n[handlers]\nkeys=h\n[formatters]\nkeys=f\n"
            "[logger_root]\nhandlers=h\nlevel=WARN\n[handler_h]\nclass=StreamHandler\nargs=()\n"
            "formatter=f\n[formatter_f]\nformat=%%(message)s\n",
        )
        project.history(1)
        logger = logging.getLogger("somebody")
        before = (dict(os.environ), list(sys.path), logger.disabled, logging.root.handlers[:])
        directory = os.getcwd()

        project.ensure()

        after = (dict(os.environ), list(sys.path), logger.disabled, logging.root.handlers[:])
        assert after == before
        assert os.getcwd() == directory
        assert "imported_by_env_alone" not in sys.modules

    def test_may_have_a_running_event_loop(self, project):
        project.write("migrations/env.py", ASYNC_ENV)
        project.history(1)

        async def build():
            loop = asyncio.get_running_loop()
            snapshot = project.ensure()
            assert asyncio.get_running_loop() is loop
            return snapshot

        assert asyncio.run(build()).built


ASYNC_ENV = """
    import asyncio
    from alembic import context
    from sqlalchemy.ext.asyncio import async_engine_from_config

    def run(connection):
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()

    async def main():
        engine = async_engine_from_config(
            context.config.get_section("alembic", {}), prefix="sqlalchemy."
        )
        async with engine.connect() as connection:
            await connection.run_sync(run)
        await engine.dispose()

    asyncio.run(main())
"""


class TestWaysToTakeTheTarget:
    """G2's other side: what an ``env.py`` accepts is found out by trying."""

    def test_a_url(self, project):
        project.history(1)

        assert project.ensure().manifest.handover == "url"

    def test_an_async_url(self, project):
        project.write("migrations/env.py", ASYNC_ENV)
        project.history(1)

        assert project.ensure().manifest.handover == "async"

    def test_a_connection_in_the_attributes_only(self, project):
        project.history(1)
        project.write(
            "migrations/env.py",
            """
            from alembic import context
            context.configure(connection=context.config.attributes["connection"])
            with context.begin_transaction():
                context.run_migrations()
            """,
        )

        assert project.ensure().manifest.handover == "connection"

    def test_an_engine_in_the_attributes_only(self, project):
        project.history(1)
        project.write(
            "migrations/env.py",
            """
            from alembic import context
            with context.config.attributes["connection"].connect() as connection:
                context.configure(connection=connection)
                with context.begin_transaction():
                    context.run_migrations()
            """,
        )

        assert project.ensure().manifest.handover == "engine"

    def test_an_x_argument_only(self, project):
        project.history(1)
        project.configure('x = ["db={url}"]')
        project.write(
            "migrations/env.py",
            """
            from alembic import context
            from sqlalchemy import create_engine
            with create_engine(context.get_x_argument(as_dictionary=True)["db"]).connect() as c:
                context.configure(connection=c)
                with context.begin_transaction():
                    context.run_migrations()
            """,
        )

        assert project.ensure().built

    def test_an_environment_variable_only(self, project):
        project.history(1)
        project.configure('environment = { APP_DB = "{url}" }')
        project.write(
            "migrations/env.py",
            """
            import os
            from alembic import context
            from sqlalchemy import create_engine
            with create_engine(os.environ["APP_DB"]).connect() as connection:
                context.configure(connection=connection)
                with context.begin_transaction():
                    context.run_migrations()
            """,
        )

        snapshot = project.ensure()

        assert list(snapshot.manifest.warnings) == []

    def test_one_outer_transaction(self, project):
        env = (project.root / "migrations/env.py").read_text()
        project.write("migrations/env.py", env.replace("engine.connect()", "engine.begin()"))
        project.history(2)

        assert project.ensure().built

    def test_what_worked_is_tried_first_the_next_time(self, project):
        project.history(1)
        project.write(
            "migrations/env.py",
            """
            from alembic import context
            with open("tries.txt", "a") as file:
                file.write("x")
            context.configure(connection=context.config.attributes["connection"])
            with context.begin_transaction():
                context.run_migrations()
            """,
        )
        project.ensure()
        (project.root / "tries.txt").unlink()

        project.revision("0002", "0001")
        project.ensure()

        assert (project.root / "tries.txt").read_text() == "xx"  # the upgrade and the check

    def test_a_function_instead_of_alembic_alone(self, project, tables):
        project.write(
            "setup_db.py",
            """
            import sqlalchemy as sa
            from alembic import command
            from alembic.config import Config

            def create(url):
                engine = sa.create_engine(url)
                with engine.begin() as connection:
                    connection.exec_driver_sql("create table legacy (id integer primary key)")
                engine.dispose()
                config = Config("alembic.ini")
                config.set_main_option("sqlalchemy.url", url)
                command.upgrade(config, "heads")
            """,
        )
        project.configure('migrate = "setup_db:create"')
        project.revision("a", upgrade="op.add_column('legacy', sa.Column('x', sa.Text))")

        snapshot = project.ensure()

        assert "legacy" in tables(snapshot.path)
        project.append("setup_db.py", "# changed\n")
        assert project.ensure().built

    def test_an_env_py_that_runs_only_inside_the_function_fails_the_comparison_not_the_build(
        self, project, tables
    ):
        project.write("application.py", "current = None\n")
        env = project.root / "migrations/env.py"
        env.write_text("import application\napplication.current.name\n" + env.read_text())
        project.write(
            "setup_db.py",
            """
            from types import SimpleNamespace
            import application
            from alembic import command
            from alembic.config import Config

            def create(url):
                application.current = SimpleNamespace(name="app")
                config = Config("alembic.ini")
                config.set_main_option("sqlalchemy.url", url)
                command.upgrade(config, "heads")
                application.current = None
            """,
        )
        project.configure('migrate = "setup_db:create"')
        project.history(1)

        snapshot = project.ensure()

        assert "t_0001" in tables(snapshot.path)
        assert "AttributeError" in snapshot.manifest.checks["drift_error"]

    def test_a_function_that_leaves_no_revision_is_an_error(self, project):
        project.write("setup_db.py", "def create(url): pass\n")
        project.configure('migrate = "setup_db:create"')
        project.history(1)

        with pytest.raises(BuildError, match="at no revision, without a table alembic_version"):
            project.ensure()

    def test_an_allow_list_hides_the_rest_of_the_environment(self, project, monkeypatch):
        monkeypatch.setenv("SECRET", "x")
        monkeypatch.setenv("WANTED", "y")
        project.configure('inherit_environment = ["WANTED"]\nprivate_home = true')
        project.revision(
            "a",
            upgrade="""
            import json, os, pathlib
            home = str(pathlib.Path.home())
            seen = json.dumps([os.environ.get("SECRET"), os.environ["WANTED"], home])
            op.execute("create table seen (x)")
            op.execute(sa.text("insert into seen values (:x)").bindparams(x=seen))
            """,
        )

        import sqlite3

        snapshot = project.ensure()
        connection = sqlite3.connect(snapshot.path)
        secret, wanted, home = json.loads(connection.execute("select x from seen").fetchone()[0])
        connection.close()

        assert (secret, wanted) == (None, "y")
        assert home != os.path.expanduser("~")

    def test_another_version_table(self, project, rows):
        env = (project.root / "migrations/env.py").read_text()
        project.write("migrations/env.py", env.replace(
            "target_metadata=target_metadata", "version_table='my_versions'"
        ))  # fmt: skip
        project.history(2)

        snapshot = project.ensure()

        assert rows(snapshot.path, "select * from my_versions") == [("0002",)]
        assert snapshot.manifest.version_table == "my_versions"
        assert not project.ensure().built

    def test_a_script_location_that_is_a_package_named_alembic(self, project):
        project.history(2)
        shutil.move(project.root / "migrations", project.root / "alembic")
        project.write("alembic/__init__.py", "")
        project.write("alembic.ini", "[alembic]\nscript_location = alembic\n")

        assert project.ensure().manifest.heads == ("0002",)

    def test_a_loop_that_is_running_does_not_turn_it_into_a_task(self, project, tables):
        project.history(1)
        project.write(
            "migrations/env.py",
            textwrap.dedent(ASYNC_ENV).replace("asyncio.run(main())", """
try:
    asyncio.get_running_loop().create_task(main())
except RuntimeError:
    asyncio.run(main())
"""),
        )  # fmt: skip

        async def build():
            return project.ensure()

        assert "t_0001" in tables(asyncio.run(build()).path)

    def test_a_thread_that_is_left_running_does_not_keep_the_builder_alive(self, project):
        project.append(
            "migrations/env.py",
            "\nimport threading\nthreading.Thread(target=threading.Event().wait).start()\n",
        )
        project.history(1)

        assert project.ensure().built

    @pytest.mark.parametrize(
        "start",
        [
            "os.fork() or (time.sleep(20), open('late', 'w'), os._exit(0))",
            "subprocess.Popen(['sh', '-c', 'sleep 20; touch late'], close_fds=False)",
        ],
    )
    def test_a_process_that_is_left_running_does_not_keep_the_caller_waiting(self, project, start):
        project.revision(
            "a",
            upgrade=f"""
            import os, pathlib, subprocess, time
            started = {start}
            pathlib.Path("pid").write_text(str(getattr(started, "pid", started)))
            os._exit(7)
            """,
        )

        try:
            with pytest.raises(BuildError, match="the builder ended with status 7"):
                project.ensure()
            assert not (project.root / "late").exists()
        finally:
            os.kill(int((project.root / "pid").read_text()), signal.SIGKILL)

    def test_a_variable_that_is_missing_is_named_in_the_hint(self, project):
        env = (project.root / "migrations/env.py").read_text()
        project.write("migrations/env.py", "import os\nos.environ['SECRET_KEY']\n" + env)
        project.history(1)

        with pytest.raises(MigrationError, match="KeyError: 'SECRET_KEY'") as failed:
            project.ensure()

        assert "environment = { SECRET_KEY =" in failed.value.hint


class TestProgress:
    def test_without_a_terminal_it_is_plain_lines_on_standard_error(self, project):
        project.history(3)

        done = project.command("build")

        assert done.stdout == f"{project.ensure().path}\n"
        assert "building the snapshot: the store has no snapshot" in done.stderr
        assert "built in" in done.stderr

    def test_quiet_is_quiet(self, project):
        project.configure('drift = "ignore"')
        project.history(1)

        assert project.command("build", "-q").stderr == ""

    def test_a_second_build_says_nothing(self, project):
        project.configure('drift = "ignore"')
        project.history(1)
        project.ensure()

        assert project.command("build").stderr == ""

    @pytest.mark.parametrize("is_terminal", [False, True])
    def test_that_nobody_can_be_shown_ends_no_build(self, project, is_terminal):
        from alembic_snapshot.build.progress import Progress

        project.history(1)
        with open("/dev/full", "w") as stream:
            stream.isatty = lambda: is_terminal

            with Progress(stream=stream) as progress:
                snapshot = project.ensure(listener=progress)

        assert snapshot.built

    def test_on_a_terminal_it_is_a_bar(self, project):
        import io

        from alembic_snapshot.build.progress import Progress

        class Terminal(io.StringIO):
            def isatty(self):
                return True

        project.history(2)
        stream = Terminal()

        with Progress(stream=stream) as progress:
            project.ensure(listener=progress)

        assert "2 steps" in stream.getvalue()
