"""G6: what is checked when a snapshot is built, and G5's seeds and layers."""

from __future__ import annotations

import json

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

    def test_may_be_said_to_be_fine_after_the_build(self, project):
        project.revision("b")
        project.revision("c")
        project.ensure()

        project.configure('heads = "many"\ndrift = "ignore"')

        assert json.loads(project.command("status", "--json").stdout)["checks"] == []
