"""G6: what is checked when a snapshot is built, and G5's seeds and layers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from alembic_snapshot import ConfigError, MigrationError


@pytest.fixture
def modelled(project):
    """A project whose env.py hands its models to Alembic; the test writes ``models.py``."""
    env = (project.root / "migrations/env.py").read_text()
    project.write(
        "migrations/env.py",
        env.replace("target_metadata = None", "from models import Base\ntarget_metadata = Base"
                    ".metadata"),
    )  # fmt: skip
    return project


@pytest.fixture
def alembic_check(modelled):
    """The operations that `alembic check` itself lists, run on a copy of the snapshot."""

    def check(*arguments):
        copy = modelled.ensure().path.with_name("copied.db")
        shutil.copyfile(modelled.ensure().path, copy)
        environment = {**os.environ, "PYTHONPATH": str(modelled.root)}
        command = [sys.executable, "-m", "alembic", "-x", f"url=sqlite:///{copy}", "check"]
        ini = (modelled.root / "alembic.ini").read_text()
        modelled.write("alembic.ini", f"{ini}sqlalchemy.url = sqlite:///{copy}\n")
        done = subprocess.run(
            command, cwd=modelled.root, env=environment, capture_output=True, text=True, check=False
        )
        modelled.write("alembic.ini", ini)
        return done

    return check


def compared(project, options):
    """Give these options to ``context.configure()``."""
    env = (project.root / "migrations/env.py").read_text()
    project.write(
        "migrations/env.py", env.replace("configure(connection", f"configure({options}, connection")
    )


BASE = """
    import sqlalchemy as sa
    from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

    class Base(DeclarativeBase): ...
"""
ONE = (
    BASE
    + """
    class One(Base):
        __tablename__ = "t_0001"
        id: Mapped[int] = mapped_column(primary_key=True)
"""
)


class TestDrift:
    def test_is_empty_when_models_and_schema_agree(self, modelled):
        modelled.write("models.py", ONE)
        modelled.history(1)

        assert modelled.ensure().manifest.checks["drift"] == []

    def test_lists_tables_columns_types_nullability_and_server_defaults(self, modelled):
        modelled.write(
            "models.py",
            BASE
            + """
    class One(Base):
        __tablename__ = "t"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[int]
        size: Mapped[int] = mapped_column(server_default="7")
        new: Mapped[str]

    class Two(Base):
        __tablename__ = "two"
        id: Mapped[int] = mapped_column(primary_key=True)
""",
        )
        modelled.revision(
            "a",
            upgrade="""
            op.create_table(
                't',
                sa.Column('id', sa.Integer, primary_key=True),
                sa.Column('name', sa.Text, nullable=False),
                sa.Column('size', sa.Integer, nullable=False, server_default='1'),
                sa.Column('old', sa.Text),
            )
            op.create_index('ix_old', 't', ['old'])
            """,
        )

        compared(modelled, "compare_server_default=True")

        drift = "\n".join(modelled.ensure().manifest.checks["drift"])

        assert "add table two" in drift
        assert "add column t.new" in drift
        assert "remove column t.old" in drift
        assert "remove index ix_old on t" in drift
        assert "modify type t.name: TEXT in the database, INTEGER in the models" in drift
        assert "modify default t.size" in drift

    def test_is_shown_by_build_and_status_and_does_not_fail_the_build(self, modelled):
        modelled.write("models.py", ONE)
        modelled.revision("a")

        built = modelled.command("build")
        status = modelled.command("status")

        assert built.returncode == status.returncode == 0
        assert "warning: drift: add table t_0001" in built.stderr
        assert "drift: add table t_0001" in status.stdout

    def test_ignored_is_not_shown_by_build(self, modelled):
        modelled.configure('drift = "ignore"')
        modelled.write("models.py", ONE)
        modelled.revision("a")

        assert "drift" not in modelled.command("build").stderr

    def test_that_can_never_show_is_reported(self, modelled):
        modelled.write("models.py", ONE)
        modelled.revision(
            "a", header="from models import Base", upgrade="Base.metadata.create_all(op.get_bind())"
        )

        done = modelled.command("build")

        assert "warning: revision a calls create_all" in done.stderr


class TestDriftIsAlembicsOwn:
    """Each of these `alembic check` decides in its way, and so does the snapshot's."""

    LONG = """
        op.create_table(
            't_0001',
            sa.Column('id', sa.Integer, primary_key=True),
            sa.Column('size', sa.Integer, server_default='1'),
        )
    """
    WITH_DEFAULT = ONE + '        size: Mapped[int | None] = mapped_column(server_default="2")\n'

    def test_defaults_are_compared_only_if_env_py_says_so(self, modelled, alembic_check):
        modelled.write("models.py", self.WITH_DEFAULT)
        modelled.revision("0001", upgrade=self.LONG)

        assert modelled.ensure().manifest.checks["drift"] == []
        assert alembic_check().returncode == 0

        compared(modelled, "compare_server_default=True")

        assert modelled.ensure().manifest.checks["drift"] == [
            "modify default t_0001.size: '1' in the database, 2 in the models"
        ]
        assert "modify_default" in alembic_check().stderr + alembic_check().stdout

    @pytest.mark.parametrize(
        ("option", "hook"),
        [
            ("process_revision_directives", "c, r, d: d[0].upgrade_ops.ops.clear()"),
            ("process_revision_directives", "c, r, d: d.clear()"),
            ("include_object", "o, name, kind, *more: name != 'more'"),
            ("include_name", "name, kind, parents: name != 'more'"),
        ],
    )
    def test_what_env_py_leaves_out_is_no_drift(self, modelled, option, hook):
        in_models = "" if option == "include_name" else (
            '\n    class More(Base):\n        __tablename__ = "more"\n'
            "        id: Mapped[int] = mapped_column(primary_key=True)\n"
        )  # fmt: skip
        modelled.write("models.py", ONE + in_models)
        modelled.history(1)
        if option == "include_name":
            modelled.revision("more", "0001", "op.create_table('more', sa.Column('x', sa.Text))")
        assert len(modelled.ensure().manifest.checks["drift"]) == 1

        compared(modelled, f"{option}=lambda {hook}")

        checks = modelled.ensure().manifest.checks
        assert (checks["drift"], checks["drift_error"]) == ([], None)

    def test_what_env_py_adds_is_drift_also_where_it_does_not_tell_what_it_is(self, modelled):
        modelled.write("models.py", ONE)
        modelled.history(1)
        env = (modelled.root / "migrations/env.py").read_text()
        modelled.write(
            "migrations/env.py",
            """
            from alembic.operations import ops

            class Unheard(ops.MigrateOperation):
                table_name = "somewhere"

            def hook(context, revision, directives):
                found = directives[0].upgrade_ops.ops
                found += [Unheard(), ops.ExecuteSQLOp("select 1")]
                found += [ops.RenameTableOp("t_0001", "t_0002")]

            """.replace("\n            ", "\n") + env.lstrip("\n"),
        )  # fmt: skip
        compared(modelled, "process_revision_directives=hook")

        assert modelled.ensure().manifest.checks["drift"] == [
            "RenameTableOp t_0001",
            "Unheard somewhere",
            "execute select 1",
        ]

    def test_a_line_that_can_not_be_told_hides_no_other(self, modelled):
        modelled.write(
            "models.py",
            ONE.replace(
                "class Base",
                """from sqlalchemy.ext.compiler import compiles

    class Mute(sa.types.UserDefinedType):
        def get_col_spec(self, **options): return "MUTE"
        def __repr__(self): raise ValueError("no")
        __str__ = __repr__

    class Silent(sa.sql.ColumnElement):
        inherit_cache = False
        def __repr__(self): raise ValueError("no")
        __str__ = __repr__

    @compiles(Silent)
    def _(element, compiler, **options): return "'x'"

    class Base""",
            )
            + """
        kind: Mapped[str | None] = mapped_column(Mute)
        made: Mapped[str | None] = mapped_column(sa.Text, server_default=sa.DefaultClause(Silent()))
        more: Mapped[str | None]
""",
        )
        modelled.revision(
            "0001",
            upgrade="""
            op.create_table(
                't_0001',
                sa.Column('id', sa.Integer, primary_key=True),
                sa.Column('kind', sa.Integer),
                sa.Column('made', sa.Text),
            )
            """,
        )
        compared(
            modelled,
            "compare_type=lambda *a: a[2].name == 'kind', compare_server_default=lambda *a: "
            "a[2].name == 'made'",
        )

        checks = modelled.ensure().manifest.checks

        assert checks["drift_error"] is None
        assert checks["drift"] == [
            "add column t_0001.more",
            "modify default t_0001.made: None in the database, a Silent that can't be shown in "
            "the models",
            "modify type t_0001.kind: INTEGER in the database, a Mute that can't be shown in "
            "the models",
        ]

    def test_env_py_finds_the_command_line_of_alembic_check(self, modelled):
        modelled.write("models.py", ONE)
        modelled.history(1)
        modelled.append(
            "migrations/env.py",
            "with open(config.get_main_option('here') + '/told', 'a') as told:\n"
            "    names = sorted(vars(config.cmd_opts))\n"
            "    offline = context.is_offline_mode()\n"
            "    print(config.cmd_opts.cmd[0].__name__, 'revision' in names, offline, file=told)\n",
        )

        modelled.ensure()

        told = (modelled.root / "told").read_text()
        assert told == "upgrade True False\ncheck False False\n"

    def test_a_failure_that_env_py_swallows_is_no_agreement(self, modelled):
        modelled.write("models.py", ONE)
        modelled.history(1)
        env = (modelled.root / "migrations/env.py").read_text()
        run = "context.run_migrations()"
        swallowing = f"try: {run}\n        except Exception: pass"
        modelled.write("migrations/env.py", env.replace(run, swallowing))
        compared(modelled, "include_object=lambda *whatever: 1 / 0")

        found = modelled.ensure().manifest.checks["drift_error"]
        assert found == "ZeroDivisionError: division by zero"

    def test_where_env_py_runs_nothing_is_not_checked(self, modelled):
        modelled.write("models.py", ONE)
        modelled.history(1)
        env = (modelled.root / "migrations/env.py").read_text()
        run = "context.run_migrations()"
        only = f"if config.cmd_opts.cmd[0].__name__ == 'upgrade': {run}"
        modelled.write("migrations/env.py", env.replace(run, only))

        assert modelled.ensure().manifest.checks["drift_error"] == "env.py ran no migrations"

    def test_without_models_is_not_checked_and_says_so(self, project):
        project.history(2)
        # As a module that is imported it would have failed to become one.
        script = max(project.versions.glob("*.py"))
        project.write("shared/made.py", script.read_text())
        script.unlink()
        script.symlink_to(project.root / "shared/made.py")

        checks = project.ensure().manifest.checks

        assert checks["drift_error"] == "env.py gives no target_metadata to context.configure()"
        assert project.build()[0].built is False


class TestWhatCouldNotBeChecked:
    """It is said in the run, and tried again in the next, though no file has changed."""

    FAILURES = (
        "raise RuntimeError('not now')",
        "import nowhere",
        "raise SystemExit('not now')",
        "os._exit(7)",
        "os.kill(os.getpid(), 9)",
        "import sqlite3; sqlite3.connect(os.environ['ELSEWHERE'])",
    )

    @pytest.fixture
    def failing(self, modelled, monkeypatch, request, tmp_path):
        """An env.py that fails while the variable is set, in a check only."""
        monkeypatch.setenv("ELSEWHERE", str(tmp_path / "elsewhere.db"))
        modelled.configure('ignore_environment = ["NOT_NOW", "ELSEWHERE"]')
        modelled.write("models.py", ONE)
        modelled.history(1)
        modelled.append(
            "migrations/env.py",
            "import os\nis_check = config.cmd_opts.cmd[0].__name__ == 'check'\n"
            "if os.environ.get('NOT_NOW') and is_check:\n"
            f"    {request.param}\n",
        )
        return modelled

    @pytest.mark.parametrize("failing", FAILURES, indirect=True)
    def test_does_not_keep_the_snapshot_from_being_published(self, failing, monkeypatch):
        monkeypatch.setenv("NOT_NOW", "1")
        first = failing.ensure()
        told = failing.command("status").stdout
        monkeypatch.delenv("NOT_NOW")
        again = failing.ensure()
        complete = (again.path.parent / "manifest.json").stat().st_mtime_ns
        failing.ensure()

        assert first.built
        assert first.manifest.checks["drift_error"]
        assert "drift: not checked, because" in told
        assert (again.built, again.path) == (False, first.path)
        assert again.manifest.checks["drift_error"] is None
        assert again.manifest.checks["unchecked"] == {}
        assert (again.path.parent / "manifest.json").stat().st_mtime_ns == complete

    @pytest.mark.parametrize("failing", FAILURES[:1], indirect=True)
    def test_is_tried_once_a_run(self, failing, monkeypatch):
        monkeypatch.setenv("NOT_NOW", "1")
        monkeypatch.setenv("PYTEST_XDIST_TESTRUNUID", "a run")
        failing.ensure()
        monkeypatch.delenv("NOT_NOW")
        same = failing.ensure()
        monkeypatch.setenv("PYTEST_XDIST_TESTRUNUID", "another")

        assert same.manifest.checks["drift_error"]
        assert failing.ensure().manifest.checks["drift_error"] is None

    def test_is_an_error_where_the_models_can_not_be_imported(self, modelled, monkeypatch):
        modelled.configure('ignore_environment = ["NOT_NOW"]')
        modelled.write("models.py", ONE)
        modelled.history(1)
        modelled.ensure()
        modelled.append("models.py", "\nimport os\nif os.environ.get('NOT_NOW'): import nowhere\n")
        monkeypatch.setenv("NOT_NOW", "1")
        with pytest.raises(MigrationError, match="No module named 'nowhere'"):
            modelled.ensure()
        monkeypatch.delenv("NOT_NOW")
        mended = modelled.ensure().manifest.checks

        assert (mended["drift"], mended["drift_error"], mended["unchecked"]) == ([], None, {})

    def test_is_an_env_py_that_swallows_its_models_errors(self, modelled, monkeypatch):
        env = (modelled.root / "migrations/env.py").read_text()
        modelled.write(
            "migrations/env.py",
            "try:\n    from models import Base\n    target_metadata = Base.metadata\n"
            "except ImportError:\n    target_metadata = None\n"
            + env.replace("from models import Base\ntarget_metadata = Base.metadata", ""),
        )
        modelled.configure('ignore_environment = ["NOT_NOW"]')
        modelled.write("models.py", ONE)
        modelled.append("models.py", "\nimport os\nif os.environ.get('NOT_NOW'): import nowhere\n")
        modelled.history(1)
        monkeypatch.setenv("NOT_NOW", "1")
        broken = modelled.ensure().manifest.checks
        monkeypatch.delenv("NOT_NOW")

        assert "no target_metadata" in broken["drift_error"]
        assert modelled.ensure().manifest.checks["drift_error"] is None


class TestOtherFacts:
    def test_mappers_that_do_not_configure_are_found_in_a_fresh_process(self, modelled):
        modelled.write("models.py", ONE + '        other = relationship("Nowhere")\n')
        modelled.history(1)

        assert "Nowhere" in modelled.ensure().manifest.checks["mappers"]

    def test_foreign_keys_that_do_not_hold_are_found(self, project):
        project.revision(
            "a",
            upgrade="""
            op.execute("create table p (id integer primary key)")
            op.execute("create table c (p integer references p (id))")
            op.execute("insert into c values (1)")
            """,
        )

        assert project.ensure().manifest.checks["foreign_keys"] == [
            "c row 1 refers to a row of p that is not there"
        ]

    def test_a_sound_snapshot_has_no_findings(self, project):
        project.history(1)
        checks = project.ensure().manifest.checks

        assert checks["integrity"] == checks["foreign_keys"] == checks["create_all"] == []
        assert checks["mappers"] is None


class TestSeeds:
    SEEDS = """
        import sqlalchemy as sa
        from sqlalchemy.orm import Session

        def one(connection):
            connection.execute(sa.text("insert into t_0001 values (1)"))

        def two(session: Session) -> None:
            assert isinstance(session, Session)
            session.execute(sa.text("insert into t_0001 values (2)"))

        def demo(connection: sa.Connection):
            connection.execute(sa.text("insert into t_0001 values (3)"))
    """

    @pytest.fixture
    def seeded(self, project):
        project.history(1)
        project.write("seed.py", self.SEEDS)
        project.configure('seeds = ["seed:one", "seed:two"]\nlayers = { demo = ["seed:demo"] }')
        return project

    def test_run_once_in_order_with_a_connection_or_a_session(self, seeded, rows):
        snapshot, ran = seeded.build()

        assert ran == ["0001", "seed:one", "seed:two"]
        assert rows(snapshot.path, "select id from t_0001") == [(1,), (2,)]
        assert seeded.build()[1] == []

    def test_a_named_layer_is_built_on_top(self, seeded, rows):
        seeded.ensure()

        snapshot, ran = seeded.build(layer="demo")

        assert ran == ["seed:demo"]
        assert rows(snapshot.path, "select id from t_0001") == [(1,), (2,), (3,)]
        assert rows(seeded.ensure().path, "select id from t_0001") == [(1,), (2,)]

    def test_a_changed_seed_runs_no_revision(self, seeded):
        seeded.ensure()

        seeded.append("seed.py", "# changed\n")

        assert seeded.build()[1] == ["seed:one", "seed:two"]

    def test_a_new_revision_runs_the_seeds_again_after_it(self, seeded):
        seeded.ensure()

        seeded.revision("0002", "0001")

        assert seeded.build()[1] == ["0002", "seed:one", "seed:two"]

    def test_a_database_at_a_revision_has_no_seeds(self, seeded, rows):
        assert rows(seeded.ensure(revision="0001").path, "select * from t_0001") == []

    def test_a_failing_seed_is_named_and_the_revisions_are_not_lost(self, seeded):
        seeded.configure('seeds = ["seed:one", "seed:bad"]')
        seeded.append("seed.py", "\ndef bad(connection):\n    1 / 0\n")

        with pytest.raises(MigrationError, match=r"seed seed:bad failed at seed.py line \d+: Zero"):
            seeded.ensure()
        seeded.configure('seeds = ["seed:one", "seed:two"]')

        assert seeded.build()[1] == ["seed:two"]

    def test_a_seed_that_breaks_a_foreign_key_fails(self, project):
        project.revision(
            "a",
            upgrade="""
            op.execute("create table p (id integer primary key)")
            op.execute("create table c (p integer references p (id))")
            """,
        )
        project.write(
            "seed.py", "import sqlalchemy as sa\n"
            "def add(c):\n    c.execute(sa.text('insert into c values (1)'))\n"
        )  # fmt: skip
        project.configure('seeds = ["seed:add"]')

        with pytest.raises(MigrationError, match="FOREIGN KEY constraint failed"):
            project.ensure()

    def test_a_session_may_be_imported_for_type_checkers_only(self, project, rows):
        project.history(1)
        project.write(
            "seed.py",
            """
            from __future__ import annotations
            from typing import TYPE_CHECKING
            import sqlalchemy as sa
            if TYPE_CHECKING:
                from sqlalchemy import orm

            def add(session: orm.Session) -> None:
                session.execute(sa.text("insert into t_0001 values (7)"))
                session.flush()
            """,
        )
        project.configure('seeds = ["seed:add"]')

        assert rows(project.ensure().path, "select id from t_0001") == [(7,)]

    @pytest.mark.parametrize("line", ["async def add(c): pass", "def add(c): yield"])
    def test_a_seed_of_which_nothing_ran_is_an_error(self, project, line):
        project.history(1)
        project.write("seed.py", line)
        project.configure('seeds = ["seed:add"]')

        with pytest.raises(MigrationError, match="nothing of an asynchronous function or a gen"):
            project.ensure()

    def test_an_unknown_module_or_layer_is_an_error_before_anything_runs(self, seeded):
        with pytest.raises(ConfigError, match="no layer 'nowhere'"):
            seeded.ensure(layer="nowhere")
        seeded.configure('seeds = ["nowhere:one"]')
        with pytest.raises(ConfigError, match="no module 'nowhere' for seed"):
            seeded.ensure()
        assert not (seeded.root / ".alembic-snapshot").exists()


class TestHeads:
    def test_two_heads_are_built_and_reported_with_what_to_do(self, project):
        project.history(1)
        project.revision("b", "0001")
        project.revision("c", "0001")

        done = project.command("build")

        assert done.returncode == 0
        assert "warning: there are 2 heads, b and c: join them" in done.stderr

    def test_two_heads_are_fine_where_the_project_says_so(self, project):
        project.configure('heads = "many"')
        project.revision("b")
        project.revision("c")

        assert "heads" not in project.command("build").stderr

    def test_two_heads_of_a_state_on_the_way_are_reported_when_it_is_the_snapshot(self, project):
        project.revision("b")
        project.revision("c")
        project.revision("d", ("b", "c"))
        project.ensure()

        (project.versions / "d_made.py").unlink()

        done = project.command("build")
        assert done.returncode == 0
        assert "there are 2 heads" in project.command("status").stdout

    def test_may_be_said_to_be_fine_after_the_build(self, modelled):
        modelled.write("models.py", BASE)
        project = modelled
        project.revision("b", upgrade="pass")
        project.revision("c", upgrade="pass")
        project.ensure()

        project.configure('heads = "many"\ndrift = "ignore"')

        assert json.loads(project.command("status", "--json").stdout)["checks"] == []


def test_a_comparison_that_ends_the_process_leaves_what_env_py_has_read_known(project):
    project.write("helper.py", "TEXT = open('settings.txt').read()\n")
    project.write("settings.txt", "before")
    env = (project.root / "migrations/env.py").read_text()
    project.write(
        "migrations/env.py",
        "import os\nimport sqlalchemy as sa\nimport helper\n"
        + env.replace("target_metadata = None", "target_metadata = sa.MetaData()").replace(
            "configure(", "configure(include_object=lambda *_: os._exit(7), "
        ),
    )
    project.history(1)
    reason = "the builder ended with status 7"
    assert project.ensure().manifest.checks["drift_error"] == reason
    assert project.look_up().changed_for_env() == ()
    project.write("settings.txt", "after")
    assert project.look_up().changed_for_env() == ("settings.txt changed (read while it ran)",)

    snapshot, ran = project.build()

    assert ran == []
    assert snapshot.manifest.checks["drift_error"] == reason
    assert project.look_up().changed_for_env() == ()
