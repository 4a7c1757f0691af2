"""Which steps a stairway takes, in which order, and what it reports: one by one."""

from __future__ import annotations

import contextlib
import itertools

import pytest
import sqlalchemy as sa
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from alembic_snapshot.builder.file_target import FileTarget
from alembic_snapshot.builder.pools import Pools
from alembic_snapshot.builder.protocol import Step
from alembic_snapshot.builder.stairway import Stairway
from alembic_snapshot.sqlite.database import DatabaseFile

REVISION = """
import sqlalchemy as sa
from alembic import op

revision = {name!r}
down_revision = {down!r}
left = []

def upgrade():
    op.get_context().opts["log"].append("up {name}")
    {up}

def downgrade():
    op.get_context().opts["log"].append("down {name}")
    {down_body}
"""
PARENTS = {"3": ("2",), "2": ("1",), "1": ()}
# What a revision stands on, if nothing else is said.
LAST = "the last one"
# Histories with branches: revisions, and what they stand on.
BRANCHES = {
    "two bases": {"a": None, "z": None},
    "two branches": {"r": None, "a": "r", "z": "r"},
    "a longer one": {"r": None, "a": "r", "z": "r", "m": "z"},
    "the other longer": {"r": None, "a": "r", "z": "r", "m": "a"},
    "merged": {"r": None, "a": "r", "z": "r", "m": ("a", "z")},
}
LINES = "raise ValueError('one\\ntwo\\nthree\\nfour')"


class Target(FileTarget):
    """A file that connections are not told to be quick with."""

    def prepare(self, own_work):
        self.keep(own_work)


class Climb:
    """A stairway with everything around it, and what came of it."""

    def __init__(self, root):
        self.root = root
        self.versions = root / "migrations" / "versions"
        self.versions.mkdir(parents=True, exist_ok=True)
        self.log, self.reports, self.runs, self.work = [], [], 0, []
        self.file = root / "shop.db"
        self.engine = sa.create_engine(f"sqlite:///{self.file}", poolclass=sa.pool.NullPool)
        self._last = None

    def revision(self, name, up="", down="", on=LAST):
        (self.versions / f"{name}.py").write_text(
            REVISION.format(
                name=name, down=self._last if on == LAST else on,
                up=up or f"op.execute('create table t{name} (a)')",
                down_body=down or f"op.execute('drop table t{name}')",
            )
        )  # fmt: skip
        self._last = name

    def report(self, event, revision, **fields):
        said = (fields["kind"], list(fields["lines"])) if fields else ()
        self.reports.append((event, revision, *said))

    def run(self, revisions, path, parents=None, run_env=None):
        config = Config(str(self.root / "alembic.ini"))
        config.set_main_option("script_location", str(self.root / "migrations"))
        step = Step("stairway", revisions=revisions, path=path, parents=parents)
        stairway = Stairway(
            Target(DatabaseFile(self.file)), ScriptDirectory.from_config(config), step,
            self.report, self.own_work, Pools(),
        )  # fmt: skip
        stairway.run(run_env or self.run_env, self.watched)
        return stairway

    @contextlib.contextmanager
    def own_work(self, name):
        self.work.append(name)
        yield

    def watched(self, step):
        self.log.append(f"step {step.revision.revision}")
        return step

    def run_env(self, steps, overrides):
        assert overrides == {"transaction_per_migration": True}
        self.runs += 1
        with self.engine.connect() as connection:
            opts = {"fn": steps, "log": self.log, **overrides}
            context = MigrationContext.configure(connection, opts=opts)
            with Operations.context(context), context.begin_transaction():
                context.run_migrations()

    @property
    def ran(self):
        return [entry for entry in self.log if not entry.startswith("step")]

    @property
    def tables(self):
        return DatabaseFile(self.file).tables()


@pytest.fixture
def climb(tmp_path):
    return Climb(tmp_path)


class TestFromBelow:
    def test_each_revision_goes_up_down_and_up_again_and_others_are_passed(self, climb):
        for name in "123":
            climb.revision(name)

        stairway = climb.run(["2", "3"], ["1", "2", "3"])

        assert climb.ran == ["up 1", "up 2", "down 2", "up 2", "up 3", "down 3", "up 3"]
        assert len(climb.log) == 2 * len(climb.ran)
        assert climb.reports == [("tried", "2"), ("tried", "3")]
        assert climb.tables == ["alembic_version", "t1", "t2", "t3"]
        assert DatabaseFile(climb.file).heads("alembic_version") == ["3"]
        assert stairway.is_done
        assert climb.runs == 2, "the first one tells whether env.py runs the migrations once"

    def test_one_that_alembic_does_not_have_is_none_that_was_tried(self, climb):
        climb.revision("1")

        climb.run(["nowhere"], ["1", "nowhere"])

        assert climb.reports == []

    def test_a_downgrade_that_fails_is_put_back_and_told_in_three_lines(self, climb):
        climb.revision("1")
        climb.revision("2", down=f"op.execute('drop table t2'); {LINES}")
        climb.revision("3")

        climb.run(["1", "2", "3"], ["1", "2", "3"])

        assert climb.reports == [
            ("tried", "1"),
            ("finding", "2", "downgrade failed", ["ValueError: one", "two", "three"]),
            ("tried", "2"),
            ("tried", "3"),
        ]
        assert climb.ran == [
            "up 1", "down 1", "up 1", "up 2", "down 2", "up 3", "down 3", "up 3"
        ]  # fmt: skip
        assert climb.tables == ["alembic_version", "t1", "t2", "t3"]
        assert climb.runs == 3

    def test_an_error_without_words_is_its_kind(self, climb):
        climb.revision("1", down="raise NotImplementedError")

        climb.run(["1"], ["1"])

        assert climb.reports[0] == (
            "finding", "1", "downgrade failed", ["NotImplementedError"]
        )  # fmt: skip

    def test_what_a_downgrade_leaves_or_takes_is_told_for_the_step_that_shows_it(self, climb):
        climb.revision("1")
        climb.revision("2", "op.execute('create table if not exists t2 (a)')", "pass")
        climb.revision(
            "3",
            "op.execute('create table if not exists t3 (a)')",
            "op.execute('drop table t3'); op.execute('alter table t1 rename to u1')",
        )

        climb.run(["2", "3"], ["1", "2", "3"])

        told = [entry[:3] for entry in climb.reports]
        assert told == [
            ("finding", "2", "downgrade"),
            ("tried", "2"),
            ("finding", "3", "downgrade"),
            ("finding", "3", "second upgrade"),
            ("tried", "3"),
        ]
        assert "left behind: table t2" in climb.reports[0][3]
        assert {"missing: table t1", "left behind: table u1"} <= set(climb.reports[2][3])
        assert climb.reports[3][3] == climb.reports[2][3]

    def test_a_second_upgrade_that_fails_goes_on_from_the_first(self, climb):
        climb.revision("1", down="pass")
        climb.revision("2")

        climb.run(["1", "2"], ["1", "2"])

        kinds = [entry[2] for entry in climb.reports if entry[0] == "finding"]
        assert kinds == ["downgrade", "second upgrade failed"]
        assert [entry[1] for entry in climb.reports if entry[0] == "tried"] == ["1", "2"]
        assert climb.tables == ["alembic_version", "t1", "t2"]

    def test_a_first_upgrade_that_fails_ends_it(self, climb):
        climb.revision("1")
        climb.revision("2", up="1 / 0")

        with pytest.raises(ZeroDivisionError):
            climb.run(["1", "2"], ["1", "2"])

        assert climb.reports == [("tried", "1")]

    def test_each_step_has_the_module_as_it_is_imported(self, climb):
        assert_empty = "assert not left; left.append(1)"
        climb.revision("1", up=assert_empty, down=assert_empty)

        climb.run(["1"], ["1"])

        assert climb.reports == [("tried", "1")]

    def test_a_step_that_leaves_something_in_its_connection_is_the_last_on_it(self, climb):
        climb.revision("1", "op.execute('create temp table left_there (a)')", "pass")
        climb.revision("2")

        climb.run(["2"], ["1", "2"])

        assert climb.runs == 3
        assert climb.reports == [("tried", "2")]


class TestFromAbove:
    @pytest.fixture
    def upgraded(self, climb):
        """Makes the database as it is above all revisions."""

        def make():
            with climb.engine.begin() as connection:
                connection.exec_driver_sql("create table alembic_version (version_num)")
                connection.exec_driver_sql("insert into alembic_version values ('3')")
                for name in "123":
                    connection.exec_driver_sql(f"create table t{name} (a)")

        return make

    def test_each_revision_goes_down_up_and_down_again(self, climb, upgraded):
        for name in "123":
            climb.revision(name)
        upgraded()

        climb.run(["1", "2"], ["3", "2", "1"], PARENTS)

        assert climb.ran == ["down 3", "down 2", "up 2", "down 2", "down 1", "up 1", "down 1"]
        assert climb.reports == [("tried", "2"), ("tried", "1")]
        assert climb.tables == ["alembic_version"]

    @pytest.mark.parametrize("wanted", [["1", "2", "3"], ["1", "3"]])
    def test_below_one_that_does_not_go_down_none_is_tried_and_that_is_said(
        self, climb, upgraded, wanted
    ):
        climb.revision("1")
        climb.revision("2")
        climb.revision("3", down="1 / 0")
        upgraded()

        climb.run(wanted, ["3", "2", "1"], PARENTS)

        failed = ["ZeroDivisionError: division by zero"]
        above = ["revision 3, above it, does not go down"]
        assert climb.reports == [
            ("finding", "3", "downgrade failed", failed),
            ("tried", "3"),
            *(
                entry
                for name in ("2", "1")
                if name in wanted
                for entry in (("finding", name, "not tried", above), ("tried", name))
            ),
        ]
        assert climb.ran == ["down 3"]
        assert climb.tables == ["alembic_version", "t1", "t2", "t3"]

    def test_of_one_that_was_not_asked_for_nothing_is_said_but_what_is_below_is_not_tried(
        self, climb, upgraded
    ):
        climb.revision("1")
        climb.revision("2")
        climb.revision("3", down="1 / 0")
        upgraded()

        climb.run(["1"], ["3", "2", "1"], PARENTS)

        assert climb.reports == [
            ("finding", "1", "not tried", ["revision 3, above it, does not go down"]),
            ("tried", "1"),
        ]
        assert climb.tables == ["alembic_version", "t1", "t2", "t3"]

    def test_what_is_other_than_before_is_told(self, climb, upgraded):
        climb.revision("1")
        climb.revision("2", up="op.execute('create table t2 (a, b)')")
        climb.revision("3", "op.execute('create table t3 (a)')",
                       "op.execute('drop table if exists t3; ')"
                       " if len(left) == 0 else None")  # fmt: skip
        upgraded()

        climb.run(["2", "3"], ["3", "2", "1"], PARENTS)

        told = [entry[:3] for entry in climb.reports]
        assert told == [
            ("tried", "3"),
            ("finding", "2", "second upgrade"),
            ("tried", "2"),
        ]


class TestAnEnvPy:
    def test_that_runs_nothing_ends_it_undone(self, climb):
        climb.revision("1")

        stairway = climb.run(["1"], ["1"], run_env=lambda _steps, overrides: None)

        assert not stairway.is_done
        assert climb.reports == []

    @pytest.mark.parametrize("error", [ValueError("why"), SystemExit(3)])
    def test_that_fails_by_itself_ends_it_with_its_error(self, climb, error):
        climb.revision("1")

        def run_env(_steps, overrides):
            raise error

        with pytest.raises(type(error)) as raised:
            climb.run(["1"], ["1"], run_env=run_env)
        assert raised.value is error

    def test_that_swallows_the_error_of_a_downgrade_hides_nothing(self, climb):
        climb.revision("1", down="1 / 0")
        climb.revision("2")

        def run_env(steps, overrides):
            with contextlib.suppress(ZeroDivisionError):
                climb.run_env(steps, overrides)

        climb.run(["1", "2"], ["1", "2"], run_env=run_env)

        assert climb.reports[0] == (
            "finding", "1", "downgrade failed", ["ZeroDivisionError: division by zero"]
        )  # fmt: skip
        assert climb.reports[1:] == [("tried", "1"), ("tried", "2")]

    def test_that_swallows_that_there_is_no_downgrade_hides_nothing(self, climb):
        climb.revision("1")
        path = climb.versions / "1.py"
        path.write_text(path.read_text().partition("def downgrade")[0])

        def run_env(steps, overrides):
            with contextlib.suppress(AttributeError):
                climb.run_env(steps, overrides)

        climb.run(["1"], ["1"], run_env=run_env)

        ((_, _, kind, (told,)), _) = climb.reports
        assert kind == "downgrade failed"
        assert told.startswith("AttributeError: ")
        assert "downgrade" in told

    def test_that_swallows_an_error_of_alembic_s_hides_nothing(self, climb):
        climb.revision("1", down="op.execute('delete from alembic_version')")

        def run_env(steps, overrides):
            with contextlib.suppress(CommandError):
                climb.run_env(steps, overrides)

        climb.run(["1"], ["1"], run_env=run_env)

        told = ["env.py caught the error, and went on"]
        assert climb.reports == [("finding", "1", "downgrade failed", told), ("tried", "1")]

    def test_that_swallows_the_error_of_a_first_upgrade_ends_it_with_that_error(self, climb):
        climb.revision("1", up="1 / 0")

        def run_env(steps, overrides):
            with contextlib.suppress(ZeroDivisionError):
                climb.run_env(steps, overrides)

        with pytest.raises(ZeroDivisionError):
            climb.run(["1"], ["1"], run_env=run_env)


@pytest.mark.parametrize("only_last", [False, True])
@pytest.mark.parametrize("way", ["up", "down"])
@pytest.mark.parametrize("shape", BRANCHES)
def test_branches_run_in_the_order_of_an_upgrade(climb, shape, way, only_last):
    downs = BRANCHES[shape]
    for name, down in downs.items():
        climb.revision(name, on=down)
    script = ScriptDirectory(str(climb.root / "migrations"))
    order = [step.revision.revision for step in script._upgrade_revs("heads", ())]
    for before, name in itertools.pairwise(order):
        # It needs what the one before it has made, and says so nowhere.
        asks = f"op.execute('select * from t{before}')"
        up, down = f"{asks}; op.execute('create table t{name} (a)')", f"{asks}; op.drop_table"
        climb.revision(name, up, f"{down}('t{name}')", downs[name])
    parents = None
    if way == "down":
        parents = {name: [on] if isinstance(on, str) else on or () for name, on in downs.items()}
        with climb.engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"log": []})
            with Operations.context(context):
                for step in script._upgrade_revs("heads", ()):
                    step.migration_fn()
            context.stamp(script, "heads")
            connection.commit()

    ends = order[-1] if way == "up" else order[0]
    climb.run([ends] if only_last else order, sorted(order), parents)

    found = [entry for entry in climb.reports if entry[0] == "finding"]
    assert found == []
    assert [entry[1] for entry in climb.reports] == (
        [ends] if only_last else order if way == "up" else order[::-1]
    )


class TestWhereEnvPyRunsTheMigrationsSeveralTimes:
    """As it does for each tenant, or schema, with a version table of its own."""

    @pytest.fixture
    def tenants(self, climb):
        def run_env(steps, overrides):
            climb.runs += 1
            for tenant in "abc":
                with climb.engine.connect() as connection:
                    opts = {"fn": steps, "version_table": f"{tenant}_version", **overrides}
                    opts["log"] = climb.log
                    context = MigrationContext.configure(connection, opts=opts)
                    with Operations.context(context), context.begin_transaction():
                        context.run_migrations()

        climb.by_tenant = run_env
        return climb

    def revision(self, climb, name, in_b="pass"):
        """A revision whose downgrade does something else for the tenant b."""
        mine = "op.get_context().version_table[0]"
        climb.revision(
            name,
            f"op.execute(f'create table {{{mine}}}{name} (a)')",
            f"exec({in_b!r}) if {mine} == 'b' else op.execute(f'drop table {{{mine}}}{name}')",
        )

    @pytest.mark.parametrize("parents", [None, {"1": [], "2": ["1"], "3": ["2"]}])
    def test_each_of_them_goes_up_down_and_up_again(self, tenants, parents):
        for name in "123":
            self.revision(tenants, name, f"op.execute('drop table b{name}')")
        tenants.run(["1", "2", "3"], ["1", "2", "3"], run_env=tenants.by_tenant)
        reports = list(tenants.reports)
        if parents is not None:
            tenants.reports.clear()
            path = ["3", "2", "1"]
            tenants.run(path, path, parents, run_env=tenants.by_tenant)
            reports = tenants.reports

        assert {entry[0] for entry in reports} == {"tried"}
        assert len(reports) == 3
        there = {name for name in tenants.tables if not name.endswith("version")}
        every = {f"{tenant}{name}" for tenant in "abc" for name in "123"}
        assert there == (every if parents is None else set())

    def test_one_that_does_not_go_down_is_told(self, tenants):
        self.revision(tenants, "1", "op.execute('drop table b1')")
        self.revision(tenants, "2", "raise RuntimeError('b stays')")
        self.revision(tenants, "3", "op.execute('drop table b3')")

        tenants.run(["1", "2", "3"], ["1", "2", "3"], run_env=tenants.by_tenant)

        assert tenants.reports == [
            ("tried", "1"),
            ("finding", "2", "downgrade failed", ["RuntimeError: b stays"]),
            ("tried", "2"),
            ("tried", "3"),
        ]
        assert {"a3", "b3", "c3"} <= set(tenants.tables)

    def test_what_one_leaves_is_told(self, tenants):
        self.revision(tenants, "1", "op.execute('create table b_left (a)')")

        tenants.run(["1"], ["1"], run_env=tenants.by_tenant)

        assert tenants.reports[0][:3] == ("finding", "1", "downgrade")
        assert any("b_left" in line for line in tenants.reports[0][3])
        assert not any("version" in line for line in tenants.reports[0][3])
