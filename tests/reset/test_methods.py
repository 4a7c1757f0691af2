"""Whatever is done with a connection directly leaves it to nobody else."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest

from alembic_snapshot.sqlite.reset.connections import Watched

# What leaves nothing in a connection that the next test could find, and executes no SQL of its own.
HARMLESS = {
    "backup", "blobopen", "close", "commit", "cursor", "getconfig", "getlimit", "interrupt",
    "iterdump", "rollback", "serialize",
}  # fmt: skip
METHODS = [
    name
    for name in dir(sqlite3.Connection)
    if not name.startswith("_") and callable(getattr(sqlite3.Connection, name))
]


@pytest.mark.parametrize("name", [n for n in METHODS if n[0].islower() and n not in HARMLESS])
def test_a_method_that_may_leave_something_makes_it_nobody_elses(name):
    connection = sqlite3.connect(":memory:", factory=Watched)
    assert not connection.is_dirty

    with contextlib.closing(connection), contextlib.suppress(Exception):
        getattr(connection, name)()

    assert connection.is_dirty


@pytest.mark.parametrize(
    "statement", ["SELECT 1", "UPDATE t SET a = 1", "INSERT INTO t VALUES (1)"]
)
@pytest.mark.parametrize("how", ["execute", "executemany"])
def test_rows_that_a_cursor_changes_leave_nothing_in_the_connection(statement, how):
    connection = sqlite3.connect(":memory:", factory=Watched)
    sqlite3.Connection.execute(connection, "CREATE TABLE t (a)")

    with contextlib.closing(connection), contextlib.suppress(sqlite3.Error):
        getattr(connection.cursor(), how)(statement, *([[()]] if how == "executemany" else []))

        assert not connection.is_dirty


def test_a_cursor_of_another_class_is_heard_by_nobody_and_so_are_its_statements():
    connection = sqlite3.connect(":memory:", factory=Watched)

    with contextlib.closing(connection):
        connection.cursor(sqlite3.Cursor)

        assert connection.is_dirty
