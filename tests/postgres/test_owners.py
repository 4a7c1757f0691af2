"""Each role has snapshots of its own, whatever it may do with another's: tables belong to who made
them, and rows may say who that was."""

from __future__ import annotations

import pytest

from alembic_snapshot.postgres import databases, server
from alembic_snapshot.postgres.database import ServerDatabase
from tests.server import as_role

ROLES = {"ada": "SUPERUSER", "bob": "SUPERUSER", "dev": "CREATEDB", "ci": "CREATEDB IN ROLE dev"}
PAIRS = {
    "two superusers": ("ada", "bob"),
    "a member of the other": ("dev", "ci"),
    "whom the other is a member of": ("ci", "dev"),
    "a superuser after another role": ("dev", "ada"),
}


@pytest.fixture
def project(project, postgres):
    project.revision("0001", upgrade="op.execute('CREATE TABLE t AS SELECT current_user AS who')")
    owned = "SELECT datname FROM pg_database WHERE pg_get_userbyid(datdba) = ANY(%s)"
    with postgres.connect() as connection:
        for role, rights in ROLES.items():
            connection.execute(f"CREATE ROLE {role} LOGIN {rights}")
        yield project
        for (name,) in connection.execute(owned, (list(ROLES),)).fetchall():
            databases.drop(connection, name)
        for role in ROLES:
            connection.execute(f"DROP ROLE {role}")


@pytest.fixture
def build(project, postgres, monkeypatch):
    def build(role):
        monkeypatch.setenv(server.VARIABLE, as_role(postgres, role))
        snapshot, ran = project.build()
        return snapshot.entry.database, ran

    return build


def who_made(database):
    copy = ServerDatabase(database.server, "copied")
    copy.start(database)
    with copy.server.connect(copy.name) as connection:
        row = connection.execute(
            "SELECT who, tableowner FROM t, pg_tables WHERE tablename = 't'"
        ).fetchone()
    copy.remove()
    return row


@pytest.mark.parametrize("who", PAIRS)
def test_a_role_uses_no_snapshot_of_another_role(build, who):
    for role in PAIRS[who]:
        database, ran = build(role)
        assert ran == ["0001"]
        assert who_made(database) == (role, role)

    for role in PAIRS[who]:
        database, ran = build(role)
        assert ran == []
        assert who_made(database) == (role, role)


@pytest.mark.parametrize("who", PAIRS)
def test_a_role_prunes_no_snapshot_of_another_role(build, project, who):
    for role in PAIRS[who]:
        build(role)

    pruned = project.command("prune", "--keep", "0", "--all")

    assert pruned.returncode == 0, pruned.stderr
    first, second = PAIRS[who]
    assert build(first)[1] == []
    assert build(second)[1] == ["0001"]


def test_a_snapshot_that_a_migration_gave_to_another_role_is_found_again(build, project):
    project.revision(
        "0001",
        upgrade="name = op.get_bind().scalar(sa.text('SELECT current_database()'))\n"
        "op.execute(f'CREATE TABLE t (n int); ALTER DATABASE {name} OWNER TO dev')",
    )

    assert build("ada")[1] == ["0001"]
    assert build("ada")[1] == []
