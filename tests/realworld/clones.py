"""Tests on clones that hold for any project: copied into each as ``test_clones.py``."""

import sqlite3

import pytest
import sqlalchemy as sa


def tables(path):
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    connection.close()
    return {name for (name,) in rows}


def test_the_tables_of_the_migrations_are_there(db_session):
    found = set(sa.inspect(db_session.connection()).get_table_names())

    assert len(found) > 2
    assert any("alembic" in name or "version" in name for name in found)


@pytest.mark.parametrize("turn", [1, 2])
def test_what_one_test_commits_no_other_test_sees(db_engine, db_clone, turn):
    with db_engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE written_by_a_test (id INTEGER)"))
        connection.execute(sa.text("INSERT INTO written_by_a_test VALUES (:turn)"), {"turn": turn})

    with sa.create_engine(db_clone.url).connect() as another:
        rows = another.execute(sa.text("SELECT id FROM written_by_a_test")).all()
    assert rows == [(turn,)]


def test_every_test_has_a_file_of_its_own(db_clone, db_snapshot):
    assert db_clone.path != db_snapshot.path
    assert tables(db_clone.path) == tables(db_snapshot.path)
