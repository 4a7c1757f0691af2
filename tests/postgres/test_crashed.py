"""A crash of the server empties unlogged tables, in templates too: such a one is no snapshot."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import signal

import pytest

from alembic_snapshot.backend import backend_of
from alembic_snapshot.errors import CloneError, SnapshotError, StoreError
from alembic_snapshot.postgres import databases
from alembic_snapshot.postgres.clones import PooledClones
from alembic_snapshot.postgres.database import ServerDatabase
from alembic_snapshot.postgres.pool import Pool
from alembic_snapshot.postgres.private import acquire as private
from alembic_snapshot.postgres.private.folder import open_lock
from alembic_snapshot.project.config import load_project
from tests.waiting import until

UNLOGGED = {
    "a table": ["CREATE UNLOGGED TABLE u (n int)", "INSERT INTO u VALUES (1)"],
    "a table that was another": ["CREATE TABLE u AS SELECT 1 AS n", "ALTER TABLE u SET UNLOGGED"],
    "a part of a table": [
        "CREATE TABLE u (n int) PARTITION BY LIST (n)",
        "CREATE UNLOGGED TABLE v PARTITION OF u FOR VALUES IN (1)",
        "INSERT INTO u VALUES (1)",
    ],
    "in another schema": [
        "CREATE SCHEMA s",
        "CREATE UNLOGGED TABLE s.v AS SELECT 1 AS n",
        "CREATE VIEW u AS SELECT n FROM s.v",
    ],
}
LOGGED = ["CREATE TABLE u AS SELECT 1 AS n"]


@pytest.fixture
def crash(postgres):
    def last():
        with contextlib.suppress(SnapshotError), postgres.connect() as connection:
            return databases.last_crash(connection)
        return None

    def crash():
        before = last()
        with postgres.connect() as connection:
            os.kill(connection.info.backend_pid, signal.SIGKILL)
        until(lambda: last() not in (None, before), "the server has crashed")

    return crash


def runs(statements):
    return "\n".join(f"op.execute({statement!r})" for statement in statements)


def rows(database):
    copy = ServerDatabase(database.server, "copied")
    copy.start(database)
    with copy.server.connect(copy.name) as connection:
        return connection.execute("SELECT n FROM u").fetchall()


@pytest.mark.parametrize("what", UNLOGGED)
def test_a_snapshot_that_a_crash_emptied_is_built_again(project, crash, what):
    project.revision("0001", upgrade=runs(UNLOGGED[what]))
    before, _ = project.build()

    crash()

    status = project.command("status")
    after, ran = project.build()
    assert status.stdout.splitlines() == [
        "miss",
        f"  {before.entry.database} has unlogged tables, which a crash of the server has emptied",
    ]
    assert ran == ["0001"]
    assert rows(after.entry.database) == [(1,)]
    assert project.command("status").returncode == 0


@pytest.mark.parametrize("what", UNLOGGED)
def test_a_state_that_a_crash_emptied_is_not_built_upon(project, crash, what):
    project.revision("0001", upgrade=runs(UNLOGGED[what]))
    project.build()
    project.revision("0002", down="0001")

    crash()

    after, ran = project.build()
    assert ran == ["0001", "0002"]
    assert rows(after.entry.database) == [(1,)]


@pytest.mark.parametrize("statements", [LOGGED, UNLOGGED["a table"]])
def test_what_a_crash_came_upon_before_it_was_a_snapshot_is_none(project, names, crash, statements):
    project.revision("0001")
    made, there = project.build()[0].entry, names("alembic_snapshot_")
    store = backend_of(load_project(project.root)).store()
    with contextlib.closing(store.workspace("f" * 64)) as workspace:
        workspace.database.start(None)
        with workspace.database.server.connect(workspace.database.name) as connection:
            for statement in statements:
                connection.execute(statement)
        manifest = dataclasses.replace(made.manifest, digest="f" * 64)

        crash()

        with pytest.raises(StoreError, match="crashed during the build"):
            store.publish(workspace.database, manifest)
        assert names("alembic_snapshot_") == there
    assert names("alembic_building_") == []


def test_a_snapshot_that_a_crash_left_as_it_was_is_found_again(project, crash):
    project.revision("0001", upgrade=runs(LOGGED))
    project.build()

    crash()

    after, ran = project.build()
    assert ran == []
    assert rows(after.entry.database) == [(1,)]


def test_a_server_that_ends_as_it_should_leaves_unlogged_tables(project, postgres_folder):
    project.revision("0001", upgrade=runs(UNLOGGED["a table"]))
    project.build()

    private.release()
    for place in postgres_folder.glob("postgres-*/processes.lock"):
        lock = open_lock(place)
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.close(lock)

    after, ran = project.build()
    assert ran == []
    assert rows(after.entry.database) == [(1,)]


@pytest.fixture
def snapshot(project):
    project.revision("0001", upgrade=runs(UNLOGGED["a table"]))
    return project.build()[0]


READY = {"made before": True, "made after": False}


@pytest.mark.parametrize("when", READY)
def test_a_crash_while_tests_run_gives_nobody_an_empty_table(
    snapshot, postgres, crash, monkeypatch, when
):
    with contextlib.closing(Pool(postgres)) as pool:
        template = snapshot.entry.database.name
        if not READY[when]:
            monkeypatch.setattr("alembic_snapshot.postgres.pool.READY", 0)
        pool.take(template)
        if READY[when]:
            until(lambda: len(pool._ready[template]) == 2, "clones are ready")

        crash()

        with pytest.raises(CloneError, match="crashed while the tests ran"):
            pool.take(template)


def test_a_crash_while_tests_run_empties_no_database_that_they_share(snapshot, crash):
    clones = PooledClones(lambda _seconds: None)
    with contextlib.closing(clones):
        clones.take(snapshot, read_only=True)

        crash()

        with pytest.raises(CloneError, match="crashed while the tests ran"):
            clones.take(snapshot, read_only=True)


def test_a_crash_while_tests_run_is_of_no_matter_to_logged_tables(project, postgres, crash):
    project.revision("0001", upgrade=runs(LOGGED))
    template = project.build()[0].entry.database.name
    with contextlib.closing(Pool(postgres)) as pool:
        pool.take(template)

        crash()

        assert rows(pool.take(template)) == [(1,)]


def test_what_is_kept_of_the_last_crash_stays_when_a_snapshot_is_used(snapshot, project, crash):
    store = backend_of(load_project(project.root)).store()
    (entry,) = [one for one in store.entries() if one.name == snapshot.entry.name]
    store.update(entry, entry.manifest)
    assert store.is_intact(entry)

    crash()

    assert not store.is_intact(entry)
