"""What counts as a difference between two SQLite files."""

from __future__ import annotations

import sqlite3

import pytest

from alembic_snapshot.sqlite.files import DatabaseFile

TABLE = "CREATE TABLE notes (id INTEGER PRIMARY KEY, size INTEGER, {})"
ONE, OTHER = "CONSTRAINT one CHECK (size > 1)", "CONSTRAINT other UNIQUE (size)"


@pytest.fixture
def made(tmp_path):
    """Makes a file with one table that has these constraints."""

    def make(name, *constraints):
        path = tmp_path / name
        with sqlite3.connect(path) as connection:
            connection.execute(TABLE.format(", ".join(constraints)))
        connection.close()
        return DatabaseFile(path)

    return make


def test_the_order_of_constraints_is_none(made):
    assert not made("after.db", ONE, OTHER).diff(made("before.db", OTHER, ONE))


def test_another_constraint_is_one(made):
    found = made("after.db", ONE, OTHER).diff(made("before.db", ONE.replace("1", "2"), OTHER))

    assert list(found.schema) == ["table notes: defined differently"]
