"""Rows that policies hide from our role: never taken for none, by whatever of ours reads rows."""

from __future__ import annotations

import psycopg
import pytest

from alembic_snapshot.errors import ServerError, StoreError
from alembic_snapshot.postgres import archive
from alembic_snapshot.postgres.changeset import capture
from alembic_snapshot.postgres.database import ServerDatabase
from alembic_snapshot.postgres.replay import ServerReplay

SCHEMA = """
    CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);
    INSERT INTO alembic_version VALUES ('0002');
    CREATE TABLE orders (id int PRIMARY KEY, customer text);
    INSERT INTO orders VALUES (1, 'a');
"""
HIDING = """
    ALTER TABLE {0} ENABLE ROW LEVEL SECURITY;
    ALTER TABLE {0} FORCE ROW LEVEL SECURITY;
    CREATE POLICY p ON {0} USING (current_setting('app.tenant', true) = 'a');
"""
ADDING = "SET app.tenant = 'a'; INSERT INTO orders VALUES (2, 'a')"
HIDDEN = 'query would be affected by row-level security policy for table "orders"'


def run(database, *statements):
    with database.server.connect(database.name) as connection:
        connection.execute("RESET row_security")
        for statement in statements:
            connection.execute(statement)


@pytest.fixture
def made(tenant):
    """A database of a role that is no superuser, and a copy of it, after statements in both."""

    def made(*statements, server=tenant):
        before, after = (ServerDatabase(server, f"hidden_{n}") for n in (1, 2))
        before.start(None)
        run(before, SCHEMA, *statements)
        after.start(before)
        return before, after

    return made


@pytest.mark.parametrize("statement", ["SELECT 1", ADDING], ids=["nothing", "a row"])
def test_they_are_not_said_to_be_the_same(made, statement):
    before, after = made(HIDING.format("orders"))
    run(after, statement)

    found = after.diff(before)

    assert str(found) == f"orders: not compared: {HIDDEN}"
    assert found
    assert found.to_record()["tables"]["orders"]["added"] is None


def test_all_else_is_compared(made):
    before, after = made(HIDING.format("orders"))
    run(after, "UPDATE alembic_version SET version_num = '0003'")

    assert "alembic_version: 1 added, 1 removed" in str(after.diff(before)).splitlines()


def test_they_are_not_compared_either_where_one_side_hides_them(made):
    before, after = made()
    run(after, HIDING.format("orders"))

    assert f"orders: not compared: {HIDDEN}" in str(after.diff(before)).splitlines()


def test_who_sees_all_of_them_compares_all(made, postgres):
    before, after = made(HIDING.format("orders"), server=postgres)
    run(after, ADDING)

    assert str(after.diff(before)).splitlines()[0] == "orders: 1 added"


def test_the_owner_of_a_table_sees_them_unless_that_is_forced(made):
    policy = HIDING.format("orders").replace("ALTER TABLE orders FORCE ROW LEVEL SECURITY;", "")
    before, after = made(policy)
    run(after, "INSERT INTO orders VALUES (2, 'b')")

    assert str(after.diff(before)).splitlines()[0] == "orders: 1 added"
    assert capture(before, after)[0].rows["public.orders"].added == [("2", "b")]


def test_they_make_no_token(made):
    before, after = made(HIDING.format("orders"))
    run(after, ADDING)

    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
        capture(before, after)


def test_they_are_in_no_file(made, tmp_path):
    before, _ = made(HIDING.format("orders"))

    with pytest.raises(StoreError) as caught:
        archive.write(before, tmp_path / "a.archive")

    assert (
        caught.value.message == f"a file can't carry it: it has rows that can't be read: {HIDDEN}"
    )


def test_a_version_table_that_hides_its_rows_is_not_empty(made):
    before, _ = made(HIDING.format("alembic_version"))

    with pytest.raises(ServerError, match="row-level security"):
        before.heads("alembic_version")


def test_what_a_test_wrote_is_run_again_as_by_the_test(made):
    before, _ = made(HIDING.format("orders"))
    replay = ServerReplay(before, lambda: None)
    try:
        rows = replay.connection(0, autocommit=True).execute("SELECT count(*) FROM orders")
        assert rows.fetchall() == [(0,)]
    finally:
        replay.close()
