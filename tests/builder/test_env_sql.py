"""G3: the SQL that ``env.py`` runs beside the migrations counts, wherever it has it from.

What is built after a change on the old store equals what is built on an empty one.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing

import pytest

from alembic_snapshot import BuildError

VIEW = "SQL = 'create view v as select {} as one'\nVALUES = {{'value': {}}}\n"
FUNCTION = """
from sqlalchemy import text

def make(connection):
    connection.execute(text("drop view if exists v"))
    connection.execute(text("create view v as select {} as one"))
"""
DROP = "connection.execute(text('drop view if exists v'))"
MADE = "from sqlalchemy import text\nfrom app import sql"
# What env.py does with a module of the application; the module; before or after the migrations.
WAYS = {
    "a constant": (VIEW, f"{DROP}; connection.execute(text(sql.SQL))"),
    "a function": (FUNCTION, "sql.make(connection)"),
    "as the driver takes it": (VIEW, f"{DROP}; connection.exec_driver_sql(sql.SQL)"),
    "through Alembic": (VIEW, f"{DROP}; context.execute(sql.SQL)"),
    "a parameter": (
        VIEW,
        "connection.execute(text('create table if not exists v (one)')); "
        "connection.execute(text('delete from v')); "
        "connection.execute(text('insert into v values (:value)'), sql.VALUES)",
    ),
    "an engine of its own": (
        VIEW,
        "e = sa.create_engine(connection.engine.url); c = e.connect(); "
        "c.execute(text('drop view if exists v')); c.execute(text(sql.SQL)); "
        "c.commit(); c.close(); e.dispose()",
    ),
}


def write_module(project, text, value):
    project.write("app/sql.py", text.format(value, value))


def with_env(project, run, *, before=False):
    """Have ``env.py`` run this, in the transaction of the migrations."""
    env = project.root / "migrations/env.py"
    call = "        context.run_migrations()"
    lines = f"        {run}; connection.commit()"
    assert call in env.read_text()
    text = env.read_text().replace(call, f"{lines}\n{call}" if before else f"{call}\n{lines}")
    env.write_text(f"import sqlalchemy as sa\n{MADE}\n{text}")
    project.write("app/__init__.py", "")


def dump(snapshot):
    with closing(sqlite3.connect(snapshot.path)) as connection:
        return sorted(connection.iterdump())


def is_as_from_nothing(project, tmp_path):
    """Whether the old store gives what an empty one gives, and whether it was built for that."""
    old = project.ensure()
    store = project.load().store
    aside = tmp_path / "aside"
    shutil.move(store, aside)
    new = dump(project.ensure())
    shutil.rmtree(store)
    shutil.move(aside, store)
    return dump(old) == new, old


@pytest.mark.parametrize("before", [False, True], ids=["after", "before"])
@pytest.mark.parametrize("way", WAYS)
def test_what_env_py_has_from_a_module_counts(project, tmp_path, rows, way, before):
    module, run = WAYS[way]
    project.history(1)
    with_env(project, run, before=before)
    write_module(project, module, 1)
    first = project.ensure()
    assert rows(first.path, "select * from v") == [(1,)]

    write_module(project, module, 222)
    is_same, second = is_as_from_nothing(project, tmp_path)

    assert is_same
    assert second.built
    assert second.why == ("the SQL that env.py runs beside the migrations changed",)
    assert rows(second.path, "select * from v") == [(222,)]
    # It is found again, and what does not change the SQL does not count.
    assert not project.ensure().built
    project.append("app/sql.py", "# for who reads\n")
    assert not project.ensure().built


@pytest.mark.parametrize("is_changed", [True, False], ids=["changed", "the same"])
@pytest.mark.parametrize("way", ["a constant", "a parameter"])
def test_a_new_revision_stands_on_what_was_built_with_the_same_sql(
    project, tmp_path, way, is_changed
):
    module, run = WAYS[way]
    project.history(1)
    with_env(project, run.replace("drop view if exists v", "select 1"))
    write_module(project, module, 1)
    project.ensure()

    # A view that is there can't be made.
    body = "op.execute('drop view if exists v')" if way == "a constant" else ""
    project.revision("0002", "0001", body)
    write_module(project, module, 2 if is_changed else 1)
    _, ran = project.build()

    assert ran[-2:] == (["0001", "0002"] if is_changed else ["0002"])


CONDITIONAL = (
    "sa.inspect(connection).has_table('extra') or "
    "connection.execute(text('create table extra (i)'))"
)


ONCE = {
    "if there is no such table": (
        "SQL = 'create table extra (i{})'\n",
        "sa.inspect(connection).has_table('extra') or connection.execute(text(sql.SQL))",
    ),
    "if not exists": (
        "SQL = 'create table if not exists extra (i{})'\n",
        "connection.execute(text(sql.SQL))",
    ),
    "create_all": (
        "import sqlalchemy as sa\nmetadata = sa.MetaData()\n"
        "sa.Table('extra', metadata, sa.Column('i{}', sa.Integer))\n",
        "sql.metadata.create_all(connection)",
    ),
    "or ignore": (
        "SQL = 'insert or ignore into extra values (1, {0}0)'\n",
        "connection.execute(text('create table if not exists extra (i primary key, j)')); "
        "connection.execute(text(sql.SQL))",
    ),
}


@pytest.mark.parametrize("way", ONCE)
def test_sql_that_does_nothing_on_what_is_there_is_run_on_an_empty_database(project, tmp_path, way):
    module, run = ONCE[way]
    project.history(1)
    with_env(project, run)
    project.write("app/sql.py", module.format("1"))
    project.ensure()
    assert not project.ensure().built
    project.revision("0002", "0001")
    # What it runs then is another SQL, and env.py the same.
    assert project.build()[1] == ["0002"]

    project.write("app/sql.py", module.format("2"))
    is_same, found = is_as_from_nothing(project, tmp_path)

    assert is_same
    assert found.built


def test_sql_that_leaves_something_else_each_time_is_built_anew_when_something_changed(project):
    project.history(1)
    with_env(project, "connection.execute(text('create table if not exists log (i)')); "
             "connection.execute(text('insert into log values (random())'))")  # fmt: skip
    write_module(project, VIEW, 1)
    project.ensure()

    assert not project.ensure().built
    write_module(project, VIEW, 2)
    assert not project.ensure().built, "the SQL is the same"


LOG = "connection.execute(text('create table if not exists log (i)'))"
# What leaves something more each time that env.py runs.
MORE = {
    "a row": f"{LOG}; connection.execute(text('insert into log values (1)'))",
    "as the driver takes it": f"{LOG}; connection.exec_driver_sql('insert into log values (1)')",
    "through Alembic": f"{LOG}; context.execute(text('insert into log values (1)'))",
    "rows of a query": f"{LOG}; "
    "connection.execute(text('insert into log select count(*) from log'))",
    "a counter": f"{LOG}; connection.execute(text('insert into log select 0 where not exists "
    "(select 1 from log)')); connection.execute(text('update log set i = i + 1'))",
    "a replaced row": "connection.execute(text('create table if not exists log (i integer primary "
    "key autoincrement)')); connection.execute(text('delete from log')); "
    "connection.execute(text('insert into log default values'))",
    "an engine of its own": f"{LOG}; connection.commit(); e = sa.create_engine("
    "connection.engine.url); c = e.connect(); c.execute(text('insert into log values (1)')); "
    "c.commit(); c.close(); e.dispose()",
}  # fmt: skip


@pytest.mark.parametrize("before", [False, True], ids=["after", "before"])
@pytest.mark.parametrize("way", MORE)
class TestAnEnvPyThatLeavesMoreEachTime:
    def test_has_run_once_in_a_snapshot(self, project, rows, way, before):
        project.history(2)
        with_env(project, MORE[way], before=before)
        write_module(project, VIEW, 1)

        snapshot = project.ensure()

        assert rows(snapshot.path, "select count(*) from log") == [(1,)]
        assert rows(snapshot.path, "select max(i) from log where i > 1") == [(None,)]
        assert "drift" in snapshot.manifest.checks
        assert not project.ensure().built

    @pytest.mark.parametrize("what", ["a revision", "a seed", "an edit"])
    def test_builds_what_an_empty_store_gives(self, project, tmp_path, way, before, what):
        project.history(2)
        with_env(project, MORE[way], before=before)
        write_module(project, VIEW, 1)
        project.write("app/seed.py", "def seed(connection):\n    pass\n")
        project.ensure()

        if what == "a revision":
            project.revision("0003", "0002")
        elif what == "an edit":
            project.revision("0002", "0001", "op.execute('create table other (i)')")
        else:
            project.configure('seeds = ["app.seed:seed"]\n')
        is_same, found = is_as_from_nothing(project, tmp_path)

        assert is_same
        assert found.why[-1] == "env.py may leave more in the database each time that it runs"


def test_a_state_that_such_an_env_py_failed_behind_is_not_built_on(project, tmp_path):
    project.history(1)
    with_env(project, MORE["a row"], before=True)
    write_module(project, VIEW, 1)
    project.revision("0002", "0001", "raise RuntimeError('it broke')")
    with pytest.raises(BuildError, match="it broke"):
        project.ensure()

    project.revision("0002", "0001")
    is_same, _ = is_as_from_nothing(project, tmp_path)

    assert is_same


def test_a_seed_stands_on_what_env_py_left(project):
    project.history(1)
    module, run = WAYS["a constant"]
    with_env(project, run)
    write_module(project, module, 1)
    project.write("app/seed.py", "def seed(connection):\n    pass\n")
    project.ensure()

    project.configure('seeds = ["app.seed:seed"]\n')
    assert project.build()[1] == ["app.seed:seed"]
    write_module(project, module, 2)
    assert project.build()[1] == ["0001", "app.seed:seed"]


class TestAnEnvPyThatDoesNotRunAsBefore:
    def test_with_another_version_table_is_built_anew(self, project, tmp_path, tables):
        project.history(2)
        project.write("app/sql.py", "TABLE = 'one'\n")
        with_env(project, "pass")
        env = project.root / "migrations/env.py"
        given = "context.configure(version_table=sql.TABLE, "
        env.write_text(env.read_text().replace("context.configure(", given))
        project.ensure()

        project.write("app/sql.py", "TABLE = 'another'\n")
        is_same, found = is_as_from_nothing(project, tmp_path)

        assert is_same
        assert found.built
        assert tables(found.path) == ["another", "t_0001", "t_0002"]

    @pytest.mark.parametrize("broken", ["raise RuntimeError('it broke')", "import nothing_there"])
    def test_is_an_error_as_on_an_empty_store(self, project, broken):
        project.history(1)
        project.write("app/sql.py", "")
        with_env(project, "pass")
        project.ensure()

        project.write("app/sql.py", broken)
        with pytest.raises(BuildError, match=r"it broke|nothing_there"):
            project.ensure()
        done = project.command("build")
        assert done.returncode == 2
        project.write("app/sql.py", "# mended\n")
        assert not project.ensure().built


# SQL of env.py that runs once, and what the database says the second time.
ONCE_ONLY = {
    "a view": ("create view once as select 1 as one", "view once already exists"),
    "a table": ("create table once (i)", "table once already exists"),
    "an index": ("create index once on alembic_version (version_num)", "index once already exists"),
    "a rename": ("alter table t_0001 rename to once", "no such table: t_0001"),
}
AGAIN = "env.py has run this statement on this database before; it runs each time, in production"
BEFORE = "env.py has run on this database before; if this statement can run once only"


def run_by(way, sql):
    return {
        "connection": f"connection.execute(text({sql!r}))",
        "driver": f"connection.exec_driver_sql({sql!r})",
        "alembic": f"context.execute({sql!r})",
        "a try": f"try:\n            connection.execute(text({sql!r}))\n"
        "        except Exception as error:\n            raise RuntimeError('no') from error\n"
        "        connection.commit()",
    }[way]


@pytest.mark.parametrize("way", ["connection", "driver", "alembic", "a try"])
@pytest.mark.parametrize("what", ONCE_ONLY)
def test_sql_that_runs_once_only_is_said_to_be_that(project, way, what):
    sql, said = ONCE_ONLY[what]
    project.history(2)
    with_env(project, run_by(way, sql))
    project.write("app/sql.py", "")
    # One run of env.py makes all that an empty database is upgraded to.
    project.ensure()
    project.revision("0003", "0002")

    with pytest.raises(BuildError) as caught:
        project.ensure()

    assert (said in caught.value.message) is (way != "a try")
    assert caught.value.hint.startswith(BEFORE)
    assert "move it into a revision" in caught.value.hint
    assert sql in (caught.value.details or "")


@pytest.mark.parametrize("way", ["connection", "driver", "alembic"])
def test_a_row_that_can_be_there_once_only_is_there_as_after_one_upgrade(project, way):
    project.history(2)
    with_env(project, run_by(way, "insert into t_0001 values (1)"))
    project.write("app/sql.py", "")
    project.ensure()
    project.revision("0003", "0002")

    snapshot = project.ensure()

    with closing(sqlite3.connect(snapshot.path)) as connection:
        assert connection.execute("SELECT * FROM t_0001").fetchall() == [(1,)]
    said = snapshot.manifest.checks["drift_error"]
    assert "a second alembic upgrade fails in production as well" in said


def test_sql_that_fails_where_env_py_has_not_run_it_is_no_sql_that_runs_once_only(project):
    project.history(2)
    with_env(project, run_by("connection", "insert into nothing_there values (1)"))
    project.write("app/sql.py", "")

    with pytest.raises(BuildError) as caught:
        project.ensure()

    assert "env.py has run" not in caught.value.hint


@pytest.mark.parametrize("first", ["0001", "0002"])
def test_what_a_revision_ran_is_not_said_to_be_of_env_py(project, first):
    sql = ONCE_ONLY["a view"][0]
    project.history(1)
    project.revision("0002", "0001", f"op.execute({sql!r})")
    if first == "0001":
        project.revision(
            "0001", None, f"op.execute('create table t_0001 (id)')\nop.execute({sql!r})"
        )
    with_env(project, run_by("connection", sql))
    project.write("app/sql.py", "")

    with pytest.raises(BuildError, match="once already exists") as caught:
        project.ensure()

    assert "env.py has run" not in caught.value.hint


def test_sql_that_only_reads_is_not_said_to_run_once_only(project):
    project.history(1)
    with_env(project, run_by("connection", "select id from t_0001"))
    project.write("app/sql.py", "")
    project.ensure()
    project.revision("0002", "0001", "op.rename_table('t_0001', 'gone')")

    with pytest.raises(BuildError, match="no such table") as caught:
        project.ensure()

    assert "env.py has run" not in caught.value.hint


def test_a_comparison_that_runs_it_again_says_so_and_names_it(project):
    sql = ONCE_ONLY["a table"][0]
    project.history(1)
    with_env(project, run_by("connection", sql), before=True)
    project.write("app/sql.py", "")

    error = project.ensure().manifest.checks["drift_error"]

    assert f"[{sql}]; {AGAIN}" in error


def build_once(project, kind):
    project.history(1)
    with_env(project, run_by("connection", ONCE_ONLY[kind][0]))
    project.write("app/sql.py", "")
    project.ensure()


def test_a_build_on_a_stored_state_says_what_env_py_has_run_before(project):
    build_once(project, "a table")
    project.revision("0002", "0001")

    with pytest.raises(BuildError, match="table once already exists") as caught:
        project.ensure()

    assert caught.value.hint.startswith(BEFORE)


def test_a_hit_after_a_change_of_a_module_says_what_env_py_has_run_before(project):
    build_once(project, "a view")
    project.write("app/sql.py", "# changed")

    assert BEFORE in project.ensure().why[0]
