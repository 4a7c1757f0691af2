"""Every revision up, down and up again: what is not clean is named, and does not stop the rest."""

from __future__ import annotations

import json
import sqlite3

import pytest

from alembic_snapshot import CheckError
from alembic_snapshot.builder.schema import differences, read_schema
from alembic_snapshot.stairway import climb

STATEMENTS = (
    "create table alembic_version (version_num text)",
    "create table a (id integer primary key, name text)",
    "create index ix on a (known_elsewhere(name))",
    "create table b (y text default 1, a integer references a (id))",
    "create view v as select 1",
)


def climbed(project, **options):
    return [(s.revision, s.kind, list(s.lines)) for s in climb(project.load(), **options).stairs]


def with_downgrade(project, name, down, upgrade, downgrade):
    path = project.revision(name, down, upgrade)
    text = path.read_text().partition("def downgrade")[0]
    path.write_text(f"{text}def downgrade():\n    {downgrade}\n")


class TestAClimb:
    def test_finds_nothing_where_every_downgrade_undoes_its_upgrade(self, project):
        project.history(3)

        assert climbed(project) == []

    def test_finds_nothing_wrong_with_branches_and_merges(self, project):
        project.revision("a")
        project.revision("b", "a")
        project.revision("c", "a")
        project.revision("d", ("b", "c"))
        project.revision("e", depends_on="b")

        assert climbed(project) == []

    def test_does_not_mind_the_order_of_columns(self, project):
        project.history(1)
        with_downgrade(
            project, "0002", "0001", "op.add_column('t_0001', sa.Column('x', sa.Text))\n"
            "op.add_column('t_0001', sa.Column('y', sa.Text))",
            "op.drop_column('t_0001', 'y'); op.drop_column('t_0001', 'x')",
        )  # fmt: skip
        with_downgrade(
            project, "0003", "0002", "op.drop_column('t_0001', 'x')",
            "op.add_column('t_0001', sa.Column('x', sa.Text))",
        )  # fmt: skip

        assert climbed(project) == []

    def test_names_what_a_downgrade_leaves_behind_and_that_it_does_not_go_up_again(self, project):
        project.history(1)
        with_downgrade(
            project, "0002", "0001", "op.create_table('left', sa.Column('x', sa.Text))", "pass"
        )
        project.revision("0003", "0002")

        behind, again = climbed(project)

        assert behind[:2] == ("0002", "downgrade")
        assert "left behind: table left" in behind[2]
        assert again[:2] == ("0002", "second upgrade failed")
        assert "already exists" in again[2][0]

    def test_names_what_a_downgrade_takes_too_much(self, project):
        project.history(1)
        with_downgrade(
            project,
            "0002",
            "0001",
            "op.create_index('ix', 't_0001', ['id'])",
            "op.drop_index('ix'); op.drop_table('t_0001')",
        )

        assert ("0002", "downgrade") in [stair[:2] for stair in climbed(project)]
        assert "missing: table t_0001" in climbed(project)[0][2]

    @pytest.mark.parametrize(
        ("downgrade", "error"),
        [("raise NotImplementedError('never')", "NotImplementedError: never"), ("1 / 0", "Zero")],
    )
    def test_names_a_downgrade_that_is_not_there_and_goes_on(self, project, downgrade, error):
        project.history(1)
        with_downgrade(project, "0002", "0001", "op.execute('select 1')", downgrade)
        with_downgrade(
            project, "0003", "0002", "op.create_table('left', sa.Column('x', sa.Text))", "pass"
        )

        found = climbed(project)

        assert found[0][:2] == ("0002", "downgrade failed")
        assert error in found[0][2][0]
        assert found[1][0] == "0003"

    def test_in_pieces_finds_the_same(self, project):
        project.history(120)
        for name, down in (("0010", "0009"), ("0110", "0109")):
            with_downgrade(project, name, down, "op.execute('select 1')", "1 / 0")

        one, two = (climbed(project, workers=count, from_scratch=True) for count in (1, 2))

        assert one == two
        assert [stair[0] for stair in two] == ["0010", "0110"]

    def test_leaves_nothing_in_the_store(self, project):
        project.history(2)
        climb(project.load())

        assert list((project.root / ".alembic-snapshot/building").iterdir()) == []

    def test_is_refused_where_the_revisions_are_not_known(self, project):
        project.write("setup_db.py", "def create(url): ...\n")
        project.configure('migrate = "setup_db:create"')
        project.history(1)

        with pytest.raises(CheckError, match="can't be climbed"):
            climb(project.load())


class TestWhatPassedBefore:
    def test_is_climbed_again_only_from_a_change_on(self, project):
        project.history(4)

        first = climb(project.load())
        unchanged = climb(project.load())
        project.revision("0005", "0004")
        grown = climb(project.load())
        project.append("migrations/versions/0003_made.py", "# changed\n")
        edited = climb(project.load())
        everything = climb(project.load(), from_scratch=True)

        climbs = (first, unchanged, grown, edited, everything)
        assert [found.climbed for found in climbs] == [4, 0, 1, 3, 5]
        assert unchanged.snapshot.path == first.snapshot.path

    def test_is_not_believed_when_a_file_that_a_downgrade_reads_has_changed(self, project):
        project.history(1)
        project.write("drop.sql", "drop table t_b")
        with_downgrade(
            project, "b", "0001", "op.create_table('t_b', sa.Column('x', sa.Text))",
            "op.execute(open('dr' + 'op.sql').read())",
        )  # fmt: skip
        assert climbed(project) == []

        project.write("drop.sql", "select 1")

        assert [stair[:2] for stair in climbed(project)] == [
            ("b", "downgrade"),
            ("b", "second upgrade failed"),
        ]

    def test_is_not_believed_when_env_py_gives_other_options(self, project):
        env = (project.root / "migrations/env.py").read_text()
        project.write(
            "migrations/env.py",
            "from naming import metadata\n" + env.replace("= None", "= metadata"),
        )
        naming = "import sqlalchemy as sa\nmetadata = sa.MetaData(naming_convention={CONVENTION})\n"
        project.write("naming.py", naming.format(CONVENTION={}))
        project.history(2)
        assert climb(project.load()).climbed == 2

        project.append("naming.py", "# the same options\n")
        assert climb(project.load()).climbed == 0

        project.write("naming.py", naming.format(CONVENTION={"pk": "pk_%(table_name)s"}))
        assert climb(project.load()).climbed == 2

    def test_is_remembered_and_what_failed_is_tried_again(self, project, monkeypatch):
        project.history(2)
        with_downgrade(project, "c", "0002", "op.execute('select 1')", "1 / 0")
        climb(project.load())

        again = climb(project.load())
        monkeypatch.setenv("PYTEST_XDIST_TESTRUNUID", "a run")
        runs = [climb(project.load()) for _ in range(2)]
        for remembered in (project.root / ".alembic-snapshot/climbs").iterdir():
            remembered.write_text("{")
        damaged = climb(project.load())

        found = (again, *runs, damaged)
        assert [[stair.kind for stair in one.stairs] for one in found] == [["downgrade failed"]] * 4
        assert [one.climbed for one in found] == [1, 1, 0, 3]


class TestEnvironments:
    """Ways in which an env.py runs its migrations that a climb has to get along with."""

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            pytest.param("engine.connect()", "engine.begin()", id="in one transaction"),
            pytest.param(
                "    context.configure(",
                "    connection.connection.cursor().execute('pragma journal_mode=wal')\n"
                "    context.configure(",
                id="in WAL mode",
            ),
        ],
    )
    def test_a_failed_downgrade_is_put_back(self, project, before, after):
        env = (project.root / "migrations/env.py").read_text()
        assert before in env
        project.write("migrations/env.py", env.replace(before, after))
        project.history(1)
        with_downgrade(project, "b", "0001", "op.execute('select 1')", "op.drop_table('t_0001')\n"
                       "    1 / 0")  # fmt: skip
        project.revision("c", "b", "op.create_table('t_c', sa.Column('x', sa.Text))")

        assert [stair[:2] for stair in climbed(project)] == [("b", "downgrade failed")]


class TestAComparison:
    def test_sees_through_the_spelling_of_statements(self):
        connection = sqlite3.connect(":memory:")
        connection.create_function("known_elsewhere", 1, str, deterministic=True)
        for sql in STATEMENTS:
            connection.execute(sql)
        before = read_schema(connection.cursor(), "alembic_version")
        connection.execute("drop table b")
        connection.execute('create table "b" ( a integer references a (id),\n y text default 1)')
        connection.execute("drop view v")
        connection.execute("create  view v as select 1")
        respelled = read_schema(connection.cursor(), "alembic_version")
        connection.execute("drop index ix")
        connection.execute("create index ix on a (length(name))")
        connection.execute("drop view v")
        connection.execute("create view v as select 2")
        changed = read_schema(connection.cursor(), "alembic_version")
        connection.close()

        assert before != respelled
        assert differences(before, respelled) == []
        assert differences(respelled, changed) == [
            "left behind: CREATE INDEX ix on a (length(name))",
            "left behind: view v: CREATE VIEW v as select 2",
            "missing: CREATE INDEX ix on a (known_elsewhere(name))",
            "missing: view v: CREATE VIEW v as select 1",
        ]


class TestTheCommand:
    @pytest.fixture(autouse=True)
    def without_models(self, project):
        project.configure('drift = "ignore"')

    def test_is_0_when_all_is_well(self, project):
        project.history(2)

        done = project.command("check", "-q")

        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == (
            "2 revisions, each up, down and up again, without drift: 0 findings\n"
        )

    def test_is_1_and_lists_what_it_found(self, project):
        project.history(1)
        project.revision("b", "0001")
        with_downgrade(project, "c", "0001", "op.execute('select 1')", "1 / 0")

        done = project.command("check")
        facts = json.loads(project.command("check", "--json").stdout)

        assert done.returncode == 1
        assert "there are 2 heads" in done.stdout
        assert "revision c: downgrade failed" in done.stdout
        assert len(facts["findings"]) == 2

    def test_may_leave_the_stairway_out(self, project):
        project.history(1)
        with_downgrade(project, "0002", "0001", "op.execute('select 1')", "1 / 0")

        done = project.command("check", "--no-stairway")

        assert (done.returncode, done.stdout) == (
            0, "2 revisions, without the stairway and drift: 0 findings\n"
        )  # fmt: skip
