"""G3: what revisions find is what they find in the one run of ``env.py`` that Alembic makes.

A state below the newest revision is kept on the way: nothing of that run is lost by it.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest
from sqlalchemy import make_url

from alembic_snapshot.postgres import databases
from tests.build.test_left_for_later import by_alembic, content
from tests.sample import STOCK_ENV

KV = "op.execute('create table if not exists kv (v text)')"
ATTRIBUTES = "op.get_context().config.attributes"
DRIVER = "op.get_bind().connection.driver_connection"


def put(value):
    return (
        f"{KV}\nop.get_bind().execute(sa.text('insert into kv values (:v)'), {{'v': str({value})}})"
    )


def sql(statement):
    return f"{KV}\nop.execute({statement!r})"


# What the first revision leaves, and what the last one finds.
LEFT = {
    "an attribute": (f"{ATTRIBUTES}['tenant'] = 'acme'", put(f"{ATTRIBUTES}.get('tenant')")),
    "an option of the context": (
        "op.get_context().opts['q'] = 5", put("op.get_context().opts.get('q')"),
    ),
    "an option of the file": (
        "op.get_context().config.set_main_option('q', '5')",
        put("op.get_context().config.get_main_option('q')"),
    ),
    "what a list of env.py's own has": (
        f"{ATTRIBUTES}['seen'].append(1)", put(f"{ATTRIBUTES}['seen']"),
    ),
    "a pragma that can't be asked": (
        "op.execute('pragma case_sensitive_like = on')", sql("insert into kv select 'A' like 'a'"),
    ),
    "a pragma": (
        "op.execute('pragma foreign_keys = on')",
        sql("insert into kv select foreign_keys from pragma_foreign_keys"),
    ),
    "another pragma": (
        "op.execute('pragma reverse_unordered_selects = on')",
        put("op.get_bind().exec_driver_sql('pragma reverse_unordered_selects').scalar()"),
    ),
    "a temporary table": (
        "op.execute('create temp table kept as select 7 as a')",
        sql("insert into kv select a from kept"),
    ),
    "what the connection has beside it": (
        "op.get_bind().info['left'] = 'here'", put("op.get_bind().info.get('left')"),
    ),
}  # fmt: skip
# Of the driver's own connection.
OF_SQLITE = {
    "a function": (
        f"{DRIVER}.create_function('slug', 1, str.lower)", sql("insert into kv select slug('A')"),
    ),
    "a function in the place of SQLite's": (
        f"{DRIVER}.create_function('lower', 1, str.upper)", sql("insert into kv select lower('a')"),
    ),
    "a collation": (
        f"{DRIVER}.create_collation('rev', lambda a, b: (a < b) - (a > b))",
        sql("insert into kv select v from (select 'a' v union select 'b') order by v collate rev"),
    ),
    "the last row's number": (
        f"{KV}\nop.execute(\"insert into kv values ('x')\")",
        sql("insert into kv select last_insert_rowid()"),
    ),
}  # fmt: skip

ASYNC_ENV = """
    import asyncio
    from alembic import context
    from sqlalchemy import pool
    from sqlalchemy.ext.asyncio import create_async_engine

    config = context.config

    def migrate(connection):
        context.configure(connection=connection, target_metadata=None)
        with context.begin_transaction():
            context.run_migrations()

    async def main():
        url = config.get_main_option("sqlalchemy.url").replace("sqlite:", "sqlite+aiosqlite:")
        engine = create_async_engine(url, poolclass=pool.NullPool)
        async with engine.connect() as connection:
            await connection.run_sync(migrate)
        await engine.dispose()

    asyncio.run(main())
"""
COUNTS = """
    n = 0
    def hook(ctx, step, **_):
        global n
        n += 1
        ctx.connection.exec_driver_sql(f"insert into kv values ('{n}: {step.up_revision_id}')")
"""
ENVS = {
    "a transaction": STOCK_ENV,
    "a transaction each": STOCK_ENV.replace(
        "target_metadata=target_metadata", "transaction_per_migration=True"
    ),
    "asynchronous": ASYNC_ENV,
    "with savepoints": STOCK_ENV.replace(
        "with engine",
        "from sqlalchemy import event\n"
        "    event.listen(engine, 'connect', lambda c, _: setattr(c, 'isolation_level', None))\n"
        "    event.listen(engine, 'begin', lambda c: c.exec_driver_sql('BEGIN'))\n"
        "    with engine",
    ),
}


def write(project, env, first, last):
    begins = "config = context.config\n"
    assert begins in textwrap.dedent(env)
    env = textwrap.dedent(env).replace(begins, f"{begins}config.attributes['seen'] = [0]\n")
    project.write("migrations/env.py", env)
    project.append("alembic.ini", "sqlalchemy.url = sqlite:///%(here)s/app.db\n")
    project.revision("0001", None, f"{KV}\n{first}")
    project.revision("0002", "0001")
    project.revision("0003", "0002", last)


def edit_the_newest(project):
    project.append("migrations/versions/0003_made.py", "# edited\n")


def compare(project, expected):
    """The first build, one from nothing, and one on the old store after an edit are Alembic's."""
    first = content(project.ensure().path)
    edit_the_newest(project)
    again = content(project.ensure().path)
    scratch = project.command("build", "--from-scratch", "-q")
    assert first == expected
    assert again == expected
    assert scratch.returncode == 0, scratch.stderr


@pytest.mark.parametrize("env", ENVS)
@pytest.mark.parametrize("what", LEFT)
def test_what_a_revision_leaves_is_there_for_the_newest(project, env, what):
    write(project, ENVS[env], *LEFT[what])

    compare(project, by_alembic(project))


@pytest.mark.parametrize("env", [env for env in ENVS if env != "asynchronous"])
@pytest.mark.parametrize("what", OF_SQLITE)
def test_what_it_leaves_in_the_driver_is_there(project, env, what):
    write(project, ENVS[env], *OF_SQLITE[what])
    expected = by_alembic(project)

    assert content(project.ensure().path) == expected
    if what != "the last row's number":  # which limits name
        compare(project, expected)


@pytest.mark.parametrize("env", ENVS)
def test_what_env_py_counts_is_counted_once(project, env):
    lines = textwrap.dedent(ENVS[env]).replace(
        "context.configure(", "context.configure(on_version_apply=hook, "
    )
    write(project, textwrap.dedent(COUNTS) + lines, "pass", "pass")

    compare(project, by_alembic(project))


@pytest.mark.parametrize("env", ENVS)
def test_what_env_py_does_in_each_run_is_done_once(project, env):
    """It puts something into a list of the application's, and a row into a table of its own."""
    project.write("app.py", "STARTED = []\n")
    lines = textwrap.dedent(ENVS[env]).replace(
        "with context.begin_transaction()",
        "connection.exec_driver_sql('create table if not exists runs (a)')\n"
        "{0}connection.exec_driver_sql('insert into runs values (1)')\n"
        "{0}with context.begin_transaction()".format("    "),
    )
    write(project, "import app\napp.STARTED.append(1)\n" + lines, "pass",
          "import app\n" + put("app.STARTED"))  # fmt: skip

    assert content(project.ensure().path) == by_alembic(project)


@pytest.mark.parametrize("env", ENVS)
def test_the_state_below_the_newest_is_kept_and_begun_from(project, env):
    write(project, ENVS[env], "pass", put("1"))

    assert project.build()[1] == ["0001", "0002", "0003"]
    edit_the_newest(project)

    assert project.build()[1] == ["0003"]
    assert content(project.ensure().path) == by_alembic(project)


def test_what_was_reached_before_a_failure_is_kept(project):
    write(project, STOCK_ENV, "pass", "raise LookupError")

    assert "0003" in project.command("build").stderr
    project.revision("0003", "0002", put("1"))

    assert project.build()[1] == ["0003"]
    assert content(project.ensure().path) == by_alembic(project)


def test_a_key_that_a_later_revision_puts_right_is_no_error(project):
    """What is not right in between is not committed in between."""
    env = ENVS["with savepoints"].replace(
        "setattr(c, 'isolation_level', None))",
        "[setattr(c, 'isolation_level', None), c.execute('pragma foreign_keys=on')])",
    )
    env = env.replace("target_metadata=target_metadata", "transactional_ddl=True")
    assert "foreign_keys" in env
    first = (
        "op.execute('create table a (id integer primary key)')\n"
        "op.execute('create table b (a integer references a deferrable initially deferred)')\n"
        "op.execute('insert into b values (1)')"
    )
    write(project, env, first, sql("insert into a values (1)"))

    compare(project, by_alembic(project))


SETTING = put(
    "op.get_bind().execute(sa.text(\"select current_setting('app.tenant', true)\")).scalar()"
)
KIND = "sa.Column('k', sa.Enum('x', 'y', name='kind'))"
ON_A_SERVER = {
    "a setting of one's own": (sql("set app.tenant = 'acme'"), SETTING),
    "one behind a comment": (sql("set/* c */app.tenant = 'acme'"), SETTING),
    "one for the transaction": (sql("set local app.tenant = 'acme'"), SETTING),
    "one by a function": (sql("select set_config('app.tenant', 'acme', false)"), SETTING),
    "one whose name is a value": (
        f"{KV}\nop.get_bind().execute(sa.text('select set_config(:n, :v, false)'),"
        " {'n': 'app.tenant', 'v': 'acme'})",
        SETTING,
    ),
    "a role": (
        sql("set role pg_monitor") + "\nop.execute('reset role')", put("1"),
    ),
    "a prepared statement": (
        sql("prepare one as select 'kept'"), sql("insert into kv values ('x')")
        + "\nop.get_bind().exec_driver_sql('execute one')",
    ),
    "an enumeration that Alembic remembers": (
        f"op.create_table('a', {KIND})", f"op.create_table('b', {KIND})\n" + put("1"),
    ),
    "a key that is put right later": (
        "op.execute('create table a (id int primary key)')\n"
        "op.execute('create table b (a int references a deferrable initially deferred)')\n"
        "op.execute('insert into b values (1)')",
        sql("insert into a values (1)") + "\nop.execute(\"insert into kv values ('right')\")",
    ),
    "the last number of a sequence": (
        sql("create sequence s") + "\nop.execute(\"select nextval('s')\")",
        sql("insert into kv select lastval()"),
    ),
    "an attribute": LEFT["an attribute"],
    "what the connection has beside it": LEFT["what the connection has beside it"],
}  # fmt: skip


class TestOnAServer:
    @pytest.fixture
    def project(self, project, postgres, forget, monkeypatch):
        monkeypatch.delenv("ALEMBIC_SNAPSHOT_BACKEND", raising=False)
        forget()
        project.configure('backend = "postgresql"')
        url = make_url(postgres.url).set(database="by_hand")
        text = url.render_as_string(hide_password=False).replace("%", "%%")
        project.append("alembic.ini", f"sqlalchemy.url = {text}\n")
        return project

    @pytest.fixture
    def found(self, postgres):
        def found(database):
            with postgres.connect(database) as connection:
                return connection.execute("SELECT * FROM kv").fetchall()

        return found

    def by_alembic(self, project, postgres, found):
        with postgres.connect() as connection:
            databases.create(connection, postgres, "by_hand", None)
        command = [sys.executable, "-m", "alembic", "upgrade", "heads"]
        subprocess.run(command, cwd=project.root, check=True, capture_output=True)
        return found("by_hand")

    @pytest.mark.parametrize("what", ON_A_SERVER)
    def test_what_a_revision_leaves_is_there_for_the_newest(self, project, postgres, found, what):
        first, last = ON_A_SERVER[what]
        project.revision("0001", None, f"{KV}\n{first}")
        project.revision("0002", "0001")
        project.revision("0003", "0002", last)
        expected = self.by_alembic(project, postgres, found)

        for _ in range(2):
            snapshot = project.ensure()
            clone = snapshot.clone("asked")
            assert found("asked") == expected
            clone.delete()
            edit_the_newest(project)
        assert len(expected) == 1

    def test_a_failing_one_is_told_and_what_was_reached_is_kept(self, project):
        project.revision("0001", None, KV)
        project.revision("0002", "0001")
        project.revision("0003", "0002", "raise LookupError")

        assert "revision 0003 failed" in project.command("build").stderr
        project.revision("0003", "0002", put("1"))

        assert project.build()[1] == ["0003"]
