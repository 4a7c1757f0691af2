"""A template that somebody has let in, altered or written a comment on is no snapshot any more."""

from __future__ import annotations

import json

import pytest

from alembic_snapshot import ServerError
from alembic_snapshot.backend import backend_of
from alembic_snapshot.postgres import databases
from alembic_snapshot.postgres.database import ServerDatabase
from alembic_snapshot.postgres.surroundings import surroundings
from alembic_snapshot.project.config import load_project

CHANGED = "is damaged or was changed"
OPENED = "ALTER DATABASE {} ALLOW_CONNECTIONS true", "ALTER DATABASE {} ALLOW_CONNECTIONS false"


@pytest.fixture
def project(project, no_snapshots):
    project.history(2)
    return project


@pytest.fixture
def execute(postgres):
    def execute(statement, database="postgres"):
        with postgres.connect(database) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    return execute


def opened_and(what, execute, name):
    execute(OPENED[0].format(name))
    execute(what, database=name)
    execute(OPENED[1].format(name))


def altered(*statements):
    def alter(execute, name):
        for statement in statements:
            execute(statement.format(name))

    return alter


def made_anew(execute, name):
    """Dropped, and something else put in its place that has its comment."""
    ((text,),) = execute(
        f"SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = '{name}'"
    )
    execute(f"ALTER DATABASE {name} IS_TEMPLATE false")
    execute(f"DROP DATABASE {name}")
    execute(f"CREATE DATABASE {name} IS_TEMPLATE true ALLOW_CONNECTIONS false")
    quoted = text.replace("'", "''")
    execute(f"COMMENT ON DATABASE {name} IS '{quoted}'")


ALTERED = {
    "a row": lambda *of: opened_and("INSERT INTO t_0001 VALUES (7)", *of),
    "a column": lambda *of: opened_and("ALTER TABLE t_0001 ADD COLUMN more int", *of),
    "nothing, but it was open": altered(*OPENED),
    "it is open": altered(OPENED[0]),
    "it is no template": altered("ALTER DATABASE {} IS_TEMPLATE false"),
    "a setting": altered("ALTER DATABASE {} SET statement_timeout = 7"),
    "a role's setting": altered("ALTER ROLE CURRENT_USER IN DATABASE {} SET statement_timeout = 7"),
    "a limit": altered("ALTER DATABASE {} CONNECTION LIMIT 7"),
    "a right": altered("REVOKE CONNECT ON DATABASE {} FROM PUBLIC"),
    "all of it": made_anew,
}


@pytest.mark.parametrize("how", ALTERED)
def test_a_template_that_was_altered_is_built_again(project, execute, how):
    before, _ = project.build()
    name = before.entry.database.name

    ALTERED[how](execute, name)

    missed = project.command("status")
    after, ran = project.build()
    copy = ServerDatabase(after.entry.database.server, "copied")
    copy.start(after.entry.database)
    assert (missed.returncode, missed.stdout.splitlines()[0]) == (1, "miss")
    assert ran[-1:] == ["0002"]
    assert execute("SELECT * FROM t_0001", "copied") == []
    assert project.command("status").returncode == 0


@pytest.mark.parametrize("how", ["a row", "nothing, but it was open", "a setting", "all of it"])
def test_the_reason_is_told(project, execute, how):
    snapshot, _ = project.build()
    name = snapshot.entry.database.name

    ALTERED[how](execute, name)

    status, built = project.command("status"), project.command("build")
    assert status.stdout.splitlines() == ["miss", f"  {snapshot.entry.database} {CHANGED}"]
    assert f"{snapshot.entry.database} {CHANGED}" in built.stderr


@pytest.mark.parametrize("how", ["a row", "nothing, but it was open", "a setting", "all of it"])
def test_an_altered_ancestor_is_not_built_upon(project, execute, how):
    project.build()
    store = backend_of(load_project(project.root)).store()
    for entry in store.entries():
        ALTERED[how](execute, entry.database.name)
    project.revision("0003", down="0002")

    _, ran = project.build()

    assert ran == ["0001", "0002", "0003"]


COMMENTS = {
    "gone": lambda _text: None,
    "cut": lambda text: text[:300],
    "not json": lambda _text: "somebody's own",
    "edited": lambda text: text.replace('\\"tables\\": ', '\\"tables\\": 7'),
    "another's mark": lambda text: json.dumps({**json.loads(text), "mark": "1 2"}),
    "no mark": lambda text: json.dumps({**json.loads(text), "mark": None}),
}


@pytest.mark.parametrize("how", COMMENTS)
def test_a_comment_that_was_edited_is_told_and_not_believed(project, postgres, execute, how):
    snapshot, _ = project.build()
    name = snapshot.entry.database.name
    (text,) = (found for each, found in databases_of(postgres) if each == name)
    edited = COMMENTS[how](text)
    assert edited != text
    with postgres.connect() as connection:
        # An empty comment is none.
        databases.comment(connection, name, edited or "")

    missed, built = project.command("status"), project.command("build")

    assert missed.returncode == 1
    (told,) = missed.stdout.splitlines()[1:]
    assert name in told
    assert told.endswith(CHANGED)
    assert told.strip() in built.stderr
    assert project.command("status").returncode == 0


def databases_of(postgres):
    with postgres.connect() as connection:
        return list(databases.named(connection, databases.SNAPSHOT))


HARMLESS = (
    "VACUUM FULL pg_database",
    "VACUUM FREEZE pg_database",
    "ANALYZE pg_database",
    "VACUUM FREEZE pg_shdescription",
    "REINDEX TABLE pg_database",
    "SELECT pg_advisory_lock(1)",
    "ALTER SYSTEM SET work_mem = '7MB'",
    "CHECKPOINT",
    "CREATE DATABASE another TEMPLATE {}",
)


@pytest.mark.parametrize("what", HARMLESS)
def test_what_alters_nothing_leaves_a_hit(project, execute, what):
    snapshot, _ = project.build()

    execute(what.format(snapshot.entry.database.name))

    assert project.command("status").returncode == 0
    assert project.build()[1] == []


def test_that_it_was_asked_for_is_noted_and_changes_nothing_else(project, postgres):
    snapshot, _ = project.build()
    store = backend_of(load_project(project.root)).store()
    (entry,) = (each for each in store.entries() if each.name == snapshot.entry.name)

    old = type(entry)(entry.name, entry.database, entry.manifest, used=0.0)
    store.touch(old)
    store.update(entry, entry.manifest)

    (again,) = (each for each in store.entries() if each.name == snapshot.entry.name)
    assert again.used >= entry.used
    assert again.manifest == entry.manifest
    assert store.is_intact(again)


@pytest.fixture
def restored(execute):
    """Takes back what these tests change of the server."""
    yield
    for statement in (
        "ALTER ROLE postgres RESET ALL",
        "ALTER ROLE ALL RESET ALL",
        "ALTER ROLE postgres BYPASSRLS",
        "ALTER SYSTEM RESET ALL",
        "SELECT pg_reload_conf()",
    ):
        execute(statement)
    for statement in (
        "DROP EXTENSION IF EXISTS citext",
        "DROP SCHEMA IF EXISTS brought",
        "DROP TABLE IF EXISTS brought",
        "COMMENT ON SCHEMA public IS 'standard public schema'",
    ):
        execute(statement, "template1")


BEGINNINGS = {
    "the role's setting": "ALTER ROLE postgres SET timezone = 'America/Lima'",
    "the role's own setting": "ALTER ROLE postgres SET shop.tenant = '7'",
    "everybody's setting": "ALTER ROLE ALL SET search_path = brought, public",
    "the role's right": "ALTER ROLE postgres NOBYPASSRLS",
}
OF_THE_TEMPLATE = {
    "an extension": "CREATE EXTENSION citext",
    "a schema": "CREATE SCHEMA brought",
    "a table": "CREATE TABLE brought AS SELECT 1 AS n",
    "a comment": "COMMENT ON SCHEMA public IS 'ours'",
}


@pytest.mark.parametrize("how", [*BEGINNINGS, *OF_THE_TEMPLATE])
def test_a_snapshot_that_began_with_something_else_is_built_again(project, execute, restored, how):
    project.configure('backend = "postgresql"\narchive = "always"')
    snapshot, _ = project.build()
    store = backend_of(load_project(project.root)).store()
    archives = {one.name: one.manifest.created for one in store.usable_archives()}
    if how in BEGINNINGS:
        execute(BEGINNINGS[how])
    else:
        execute(OF_THE_TEMPLATE[how], "template1")

    status = project.command("status")
    kept = {one.name: one.manifest.created for one in store.archives.all()}
    _, ran = project.build()
    written = {one.name: one.manifest.created for one in store.archives.all()}

    assert status.returncode == 1
    assert kept == archives
    assert not written.items() & archives.items()
    assert status.stdout.splitlines()[0] == "miss"
    assert f"{snapshot.entry.database} was built with another template1" in status.stdout
    assert ran[-1:] == ["0002"]
    assert project.command("status").returncode == 0
    store = backend_of(load_project(project.root)).store()
    assert [store.damage(entry) for entry in store.entries()] == [None] * 2


def test_what_is_in_the_template_may_change_and_need_not_be_open(project, execute, restored):
    execute("CREATE TABLE brought AS SELECT 1 AS n", "template1")
    project.build()

    execute("VACUUM (FREEZE, ANALYZE)", "template1")
    assert project.command("status").returncode == 0
    execute("UPDATE brought SET n = 2", "template1")
    assert project.command("status").returncode == 1

    project.build()
    execute("ALTER DATABASE template1 ALLOW_CONNECTIONS false")
    try:
        project.build()
        assert project.command("status").returncode == 0
    finally:
        execute("ALTER DATABASE template1 ALLOW_CONNECTIONS true")


def test_what_is_in_the_template_counts_for_a_role_that_may_not_connect_to_it(
    execute, restored, tenant
):
    execute("REVOKE CONNECT ON DATABASE template1 FROM PUBLIC")
    try:
        with pytest.raises(ServerError):
            tenant.connect("template1")
        first = surroundings(tenant)
        assert surroundings(tenant) == first
        execute("CREATE TABLE brought AS SELECT 1 AS n", "template1")
        second = surroundings(tenant)
        execute("COMMENT ON TABLE brought IS 'ours'", "template1")

        assert len({first, second, surroundings(tenant)}) == 3
    finally:
        execute("GRANT CONNECT ON DATABASE template1 TO PUBLIC")


@pytest.mark.parametrize("comment", ["", "{}", "x", '{"manifest": "{}"}'])
def test_one_without_a_manifest_is_named_and_dropped(project, execute, comment):
    first, own = project.ensure().entry.name, "alembic_snapshot_of_mine"
    execute(f"COMMENT ON DATABASE {first} IS '{comment}'")
    execute(f"CREATE DATABASE {own} IS_TEMPLATE true ALLOW_CONNECTIONS false")

    listed = project.command("list")
    project.command("prune", "--keep", "5")

    left = {name for (name,) in execute("SELECT datname FROM pg_database")}
    execute(f"ALTER DATABASE {own} IS_TEMPLATE false")
    execute(f"DROP DATABASE {own}")
    assert f"damaged, or another version's, and never used: database {first}" in listed.stderr
    assert own not in listed.stderr
    assert own in left
    assert (first in left) is (comment == "{}")
