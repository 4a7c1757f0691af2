"""What a database of before left beside its file, or in a log, is in no database after it."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing

import pytest

from alembic_snapshot.sqlite import database as databases
from alembic_snapshot.sqlite import files

SIDE_FILES = ("-journal", "-wal", "-shm")


def left_by_a_dead_process(path):
    """A database whose last rows are in its log alone, as a process that was killed leaves it."""
    other = path.with_name("other.db")
    with closing(sqlite3.connect(other, isolation_level=None)) as connection:
        connection.execute("pragma journal_mode=wal")
        connection.execute("create table left_behind (x)")
        connection.execute("insert into left_behind values (1)")
        for suffix in ("", *SIDE_FILES[1:]):
            shutil.copyfile(f"{other}{suffix}", f"{path}{suffix}")
    assert files.side_files(path)[1].stat().st_size


def test_a_copy_that_replaces_a_database_has_nothing_of_it(project, tables):
    project.history(1)
    target = project.root / "out.db"
    left_by_a_dead_process(target)

    files.replace(project.ensure().path, target)

    assert tables(target) == ["alembic_version", "t_0001"]


@pytest.mark.parametrize("suffix", SIDE_FILES)
@pytest.mark.parametrize("way", ["replace", "start from a snapshot", "start from nothing"])
def test_no_side_file_outlives_the_database_that_it_was_of(project, way, suffix):
    project.history(1)
    snapshot = project.ensure()
    target = project.root / "out.db"
    target.write_bytes(b"")
    side = target.with_name(target.name + suffix)
    side.write_bytes(b"something")

    if way == "replace":
        files.replace(snapshot.path, target)
    else:
        source = databases.DatabaseFile(snapshot.path) if way == "start from a snapshot" else None
        databases.DatabaseFile(target).start(source)

    assert not side.exists()


def test_a_state_on_the_way_has_what_was_only_in_the_log(project, rows):
    project.write(
        "migrations/env.py",
        """
        from alembic import context
        from sqlalchemy import create_engine, event

        engine = create_engine(context.config.get_main_option("sqlalchemy.url"))

        @event.listens_for(engine, "connect")
        def in_wal_mode(connection, _record):
            connection.execute("pragma journal_mode=wal")
            connection.execute("pragma wal_autocheckpoint=0")

        KEPT = engine.connect()
        with engine.connect() as connection:
            context.configure(connection=connection, transaction_per_migration=True)
            with context.begin_transaction():
                context.run_migrations()
        """,
    )
    project.revision(
        "0001", upgrade="op.execute('create table a (x)')\nop.execute('insert into a values (1)')"
    )
    project.revision("0002", "0001")
    project.ensure()

    project.revision("0002", "0001", upgrade="op.execute('create table b (x)')")
    snapshot, ran = project.build()

    assert ran == ["0002"]
    assert rows(snapshot.path, "select x from a") == [(1,)]


class TestAFailedBuild:
    @pytest.fixture
    def failing(self, project, monkeypatch):
        """A project that fails where a variable says, which does not count."""
        env = (project.root / "migrations/env.py").read_text()
        # What can't be imported is not tried in another way, and opens no database.
        fails = "import os\nif os.environ.get('FAILS') == {!r}:\n    import nowhere\n"
        project.write("migrations/env.py", fails.format("at once") + env)
        half = "op.execute('create table half (x)')\n"
        project.revision("0001", upgrade=half + fails.format("in a revision"))
        project.configure('ignore_environment = ["FAILS"]')

        def build(where):
            monkeypatch.setenv("FAILS", where)
            return project.command("build", "-q").returncode

        return build

    def test_is_kept_in_place_of_the_one_before_it(self, project, failing, tables):
        failed = project.root / ".alembic-snapshot/failed"

        assert failing("in a revision") == 2
        (kept,) = failed.glob("*.db")
        assert "half" in tables(kept)
        assert failing("at once") == 2

        assert [path for path in failed.glob("*.db") if "half" in tables(path)] == []

    def test_is_forgotten_when_a_build_succeeds(self, project, failing):
        failing("in a revision")
        failed = project.root / ".alembic-snapshot/failed"
        (kept,) = failed.glob("*.db")
        for suffix in SIDE_FILES:
            kept.with_name(kept.name + suffix).touch()

        assert failing("nowhere") == 0

        assert list(failed.iterdir()) == []
