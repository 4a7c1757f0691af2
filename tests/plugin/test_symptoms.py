"""What docs/troubleshooting.md says of a symptom is so: its cause shows it, its cure ends it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from alembic_snapshot import errors

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
BUILT = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
# In backticks on the page, and said by the library: what others say is not in its sources.
OURS = [
    "fresh clones instead of reset ones",
    "the store has no snapshot of this project",
    "asked to",
    "OpenConnectionWarning",
    "not committed",
    "not flushed",
    "DatabaseNotRequested",
    "<version of",
]

NO_CLONES = """
    import pytest
    from sqlalchemy import text

    @pytest.mark.db_clone(readonly=True)
    def test_that_only_reads(db_session):
        assert db_session.scalar(text("select count(*) from customers")) == 1

    def test_that_never_connects(db_session, db_engine): ...

    @pytest.mark.db_clone
    def test_that_is_marked(): ...
"""
LOCKED = """
    import pytest
    from sqlalchemy import text
    from sqlalchemy.exc import OperationalError
    from shop.db import engine

    ADD = "insert into customers (name) values (:name)"

    @pytest.mark.parametrize("commits", [False, True])
    def test_an_own_session_that_has_written(db_session, commits):
        db_session.execute(text(ADD), {"name": "ada"})
        if commits:
            db_session.commit()
        with engine.connect() as connection:
            connection.exec_driver_sql("pragma busy_timeout=1")
            if commits:
                connection.execute(text(ADD), {"name": "bob"})
            else:
                with pytest.raises(OperationalError, match="database is locked"):
                    connection.execute(text(ADD), {"name": "bob"})
"""
NO_TABLE = """
    import sqlite3
    import pytest
    from sqlalchemy import text
    from sqlalchemy.exc import OperationalError

    READ = "select count(*) from customers"

    @pytest.mark.db_clone(empty=True)
    def test_an_empty_one(db_session):
        with pytest.raises(OperationalError, match="no such table"):
            db_session.scalar(text(READ))

    def test_a_raw_driver_without_and_with_the_path(db_clone, tmp_path):
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            sqlite3.connect(tmp_path / "shop.db").execute(READ)
        connection = sqlite3.connect(db_clone.path)
        assert connection.execute(READ).fetchone() == (1,)
        connection.close()
"""


@pytest.mark.parametrize("text", OURS)
def test_the_words_are_the_librarys_own(text):
    assert f"`{text}" in PAGE
    assert text in BUILT


def test_every_error_that_is_a_symptom_is_one_of_ours():
    named = re.findall(r"^## (\w*(?:Error|Requested))$", PAGE, flags=re.MULTILINE)

    assert named
    assert set(named) <= errors.SnapshotError.kinds.keys()


def test_there_are_no_clones_where_nobody_connects_and_where_the_snapshot_is_read(shop):
    result = shop.run(test_it=NO_CLONES)

    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["alembic-snapshot: *; 0 clones, *"])


def test_there_is_no_such_line_where_nobody_asks_or_there_is_no_table_or_the_run_is_silent(shop):
    nobody = shop.run(test_it="def test_it(): pass")
    silent = shop.run("-qq", test_it=NO_CLONES)
    shop.replace("pyproject.toml", "[tool.alembic-snapshot]", "[tool.other]")
    without = shop.run(test_it="def test_it(): pass")

    for result in (nobody, silent, without):
        assert result.ret == 0
        result.stdout.no_fnmatch_line("*clones*")
    nobody.stdout.fnmatch_lines(["alembic-snapshot: */pyproject.toml, store *"])
    without.stdout.no_fnmatch_line("alembic-snapshot: *")


def test_a_locked_database_and_a_missing_table_come_from_what_the_page_names(shop):
    texts = {"test_locked": LOCKED, "test_table": NO_TABLE}

    result = shop.run("-W", "ignore::ResourceWarning", **texts)

    result.assert_outcomes(passed=4)
