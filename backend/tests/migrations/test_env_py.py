"""What `alembic/env.py` does for every caller: transactions, locks, and scripts of SQL."""

import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator
from io import StringIO
from os import environ
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import OperationalError

from .conftest import REVISIONS, ROOT, Migrated, config, insert, stopped

HEAD = REVISIONS[-1]


def upgrade(engine: Engine, *x: str, revision: str = "head") -> None:
    """What `alembic -x … upgrade` does on a connection of an engine."""
    settings = config()
    settings.cmd_opts = Namespace(x=list(x))
    with engine.connect() as connection:
        settings.attributes["connection"] = connection
        command.upgrade(settings, revision)


class TestSQLite:
    @pytest.fixture
    def unsettled(self, tmp_path: Path) -> Iterator[Engine]:
        """An engine as SQLAlchemy makes it: foreign keys are off."""
        engine = create_engine(f"sqlite:///{tmp_path / 'plain.db'}")
        yield engine
        engine.dispose()

    def test_an_engine_that_begins_by_itself_may_do_so(self, sqlite: Engine) -> None:
        @event.listens_for(sqlite, "begin")
        def begin(connection: Any) -> None:
            connection.exec_driver_sql("BEGIN")

        upgrade(sqlite)

        assert Migrated(sqlite).is_at(HEAD)

    def test_a_connection_is_as_it_was_afterwards(self, sqlite: Engine) -> None:
        settings = config()
        with sqlite.connect() as connection:
            driver: Any = connection.connection.dbapi_connection
            before = driver.isolation_level
            settings.attributes["connection"] = connection
            command.upgrade(settings, "head")

            assert driver.isolation_level == before
            assert not driver.in_transaction
            assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 1

    def test_in_the_callers_transaction_it_is_the_caller_who_commits(
        self, unsettled: Engine
    ) -> None:
        settings = config()
        with unsettled.begin() as connection:
            settings.attributes["connection"] = connection
            command.upgrade(settings, "head")
            connection.rollback()
        left = Migrated(unsettled).rows()

        with unsettled.begin() as connection:
            settings.attributes["connection"] = connection
            command.upgrade(settings, "head")

        assert left == {}
        assert Migrated(unsettled).is_at(HEAD)

    @pytest.mark.parametrize("rows", [0, 1])
    def test_a_transaction_in_which_foreign_keys_cannot_rest_is_refused(
        self, sqlite: Engine, rows: int
    ) -> None:
        settings = config()
        with sqlite.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE mine (id INTEGER)")
            for number in range(rows):
                insert(connection, "mine", id=number)
            settings.attributes["connection"] = connection

            with pytest.raises(CommandError, match="foreign keys rest"):
                command.upgrade(settings, "head")

            assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 1

        assert set(Migrated(sqlite).rows()) == {"mine"}

    def test_a_lock_of_somebody_else_is_told_in_one_line(
        self, sqlite: Engine, unsettled: Engine, tmp_path: Path
    ) -> None:
        impatient = create_engine(sqlite.url, connect_args={"timeout": 0})
        with sqlite.connect() as other:
            other.exec_driver_sql("BEGIN IMMEDIATE")

            with pytest.raises(CommandError, match="somebody else has a lock"):
                upgrade(impatient)

        upgrade(impatient)
        impatient.dispose()
        assert Migrated(sqlite).is_at(HEAD)

    def test_alembic_current_looks_at_a_database_that_somebody_writes_to(
        self, sqlite: Engine
    ) -> None:
        upgrade(sqlite)
        said = StringIO()
        settings = Config(stdout=said)
        settings.set_main_option("script_location", str(ROOT / "alembic"))
        settings.set_main_option("sqlalchemy.url", f"{sqlite.url}?timeout=0")
        with sqlite.connect() as other:
            other.exec_driver_sql("BEGIN IMMEDIATE")

            command.current(settings)

        assert said.getvalue() == f"{HEAD} (head)\n"


class TestAnyHistory:
    """Our `env.py` with other revisions than ours, on SQLite."""

    @pytest.fixture
    def scripts(self, tmp_path: Path) -> Path:
        """A history in which the second revision makes an orphan, and the third removes it."""
        folder = tmp_path / "alembic"
        (folder / "versions").mkdir(parents=True)
        (folder / "env.py").write_bytes((ROOT / "alembic" / "env.py").read_bytes())
        statements = (
            "CREATE TABLE parents (id INTEGER PRIMARY KEY)",
            "CREATE TABLE children (parent INTEGER REFERENCES parents)",
            "INSERT INTO parents VALUES (1)",
            "INSERT INTO children VALUES (1)",
        )
        self.revision(folder, 1, *statements)
        self.revision(folder, 2, "DELETE FROM parents")
        self.revision(folder, 3, "DELETE FROM children")
        return folder

    def revision(self, folder: Path, number: int, *statements: str, first: str = "pass") -> None:
        before = str(number - 1) if number > 1 else None
        lines = "".join(f"    op.execute({statement!r})\n" for statement in statements)
        (folder / "versions" / f"{number}.py").write_text(
            f"from alembic import op\nrevision = '{number}'\ndown_revision = {before!r}\n"
            f"def upgrade():\n    {first}\n{lines}"
        )

    def upgrade(self, engine: Engine, scripts: Path, revision: str) -> None:
        settings = config(script_location=str(scripts))
        with engine.connect() as connection:
            settings.attributes["connection"] = connection
            command.upgrade(settings, revision)

    def test_an_autocommit_block_does_not_put_the_drivers_own_way_back(
        self, sqlite: Engine, scripts: Path
    ) -> None:
        block = "with op.get_context().autocommit_block(): op.execute('VACUUM')"
        self.revision(scripts, 2, "CREATE TABLE whole (id INTEGER)", first=block)
        self.revision(scripts, 3, "CREATE TABLE half (id INTEGER)", "SELECT nonsense")

        with pytest.raises(OperationalError, match="nonsense"):
            self.upgrade(sqlite, scripts, "head")

        tables = {"alembic_version", "children", "parents", "whole"}
        assert Migrated(sqlite).rows().keys() == tables
        assert Migrated(sqlite).is_at("2")

    def test_a_revision_that_makes_orphans_is_refused_and_taken_back(
        self, sqlite: Engine, scripts: Path
    ) -> None:
        with pytest.raises(CommandError, match="revision 2 leaves rows in children"):
            self.upgrade(sqlite, scripts, "head")

        assert Migrated(sqlite).is_at("1")
        assert len(Migrated(sqlite).rows()["parents"]) == 1

    def test_orphans_that_were_there_before_are_no_reason(
        self, sqlite: Engine, scripts: Path
    ) -> None:
        self.upgrade(sqlite, scripts, "1")
        with sqlite.connect() as connection:
            raw: Any = connection.connection.dbapi_connection
            raw.executescript("PRAGMA foreign_keys=OFF; DELETE FROM parents")
            connection.invalidate()

        self.upgrade(sqlite, scripts, "head")

        assert Migrated(sqlite).is_at("3")


WAITING = """
import sys
from alembic.config import main
from sqlalchemy import Engine, event

@event.listens_for(Engine, "before_cursor_execute")
def tell(connection, cursor, statement, *_):
    if statement.lstrip().startswith("CREATE TABLE workspaces"):
        print("here", flush=True)
        sys.stdin.read()

main(["upgrade", "head"])
"""


class TestPostgreSQL:
    @pytest.fixture
    def waiting(self, postgresql: Engine) -> Iterator["subprocess.Popen[str]"]:
        """A process in the middle of its first revision, which goes on when it is let."""
        with stopped(postgresql, WAITING) as process:
            yield process
            process.kill()

    def test_of_two_that_upgrade_at_once_one_does_the_work_and_both_end_well(
        self, postgresql: Engine, waiting: "subprocess.Popen[str]"
    ) -> None:
        url = postgresql.url.render_as_string(hide_password=False)
        with subprocess.Popen(
            [sys.executable, "-m", "alembic", "upgrade", "head"],
            cwd=ROOT,
            env={**environ, "DATABASE_URL": url},
            stderr=subprocess.PIPE,
            text=True,
        ) as second:
            assert second.stderr is not None
            said = ""
            while "waiting for it" not in said:
                said = second.stderr.readline()
                assert said, "it did not wait"
            _, first_said = waiting.communicate()
            second_said = second.stderr.read()

        assert (waiting.returncode, second.returncode) == (0, 0)
        assert first_said.count("Running upgrade") == len(REVISIONS)
        assert second_said.count("Running upgrade") == 0
        assert Migrated(postgresql).is_at(HEAD)

    def test_who_waits_too_long_for_another_gives_up_in_one_line(
        self, postgresql: Engine, waiting: "subprocess.Popen[str]"
    ) -> None:
        with pytest.raises(CommandError, match=r"did not end in 0 s.*-x wait=SECONDS"):
            upgrade(postgresql, "wait=0")

    def test_a_table_that_somebody_uses_is_not_waited_for_for_ever(
        self, postgresql: Engine
    ) -> None:
        upgrade(postgresql, revision="0011")
        with postgresql.connect() as reader:
            reader.execute(text("SELECT * FROM workspaces"))

            with pytest.raises(CommandError, match="somebody else has a lock"):
                upgrade(postgresql, "lock_timeout=1ms")

        assert Migrated(postgresql).is_at("0011")
        upgrade(postgresql)

    def test_a_connection_is_as_it_was_afterwards(self, postgresql: Engine) -> None:
        settings = config()
        with postgresql.connect() as connection:
            connection.execute(text("SET lock_timeout = '7s'"))
            connection.commit()
            settings.attributes["connection"] = connection
            command.upgrade(settings, "head")

            assert connection.scalar(text("SHOW lock_timeout")) == "7s"
            locks = (
                "SELECT count(*) FROM pg_locks JOIN pg_database ON database = pg_database.oid "
                "WHERE locktype = 'advisory' AND datname = current_database()"
            )
            assert connection.scalar(text(locks)) == 0

    def test_in_the_callers_transaction_it_is_the_caller_who_commits(
        self, postgresql: Engine
    ) -> None:
        settings = config()
        with postgresql.begin() as connection:
            settings.attributes["connection"] = connection
            command.upgrade(settings, "head")
            # Nobody else may begin before this is committed.
            with pytest.raises(CommandError, match="another process"):
                upgrade(postgresql, "wait=0")
            connection.rollback()

        assert Migrated(postgresql).rows() == {}


class TestScripts:
    """`alembic upgrade --sql`."""

    def script(self, url: str, deed: Any, revisions: str) -> str:
        settings = config(**{"sqlalchemy.url": url})
        settings.output_buffer = written = StringIO()
        try:
            deed(settings, revisions, sql=True)
        except CommandError:
            # Half a script would be run by somebody.
            assert written.getvalue() == ""
            raise
        return written.getvalue()

    def test_on_postgresql_the_script_makes_the_same_database(
        self, postgresql: Engine, databases: Any
    ) -> None:
        script = self.script("postgresql+psycopg://", command.upgrade, "head")
        back = self.script("postgresql+psycopg://", command.downgrade, "head:base")
        upgrade(postgresql)
        expected = Migrated(postgresql)
        other = databases.take(None)
        engine = create_engine(other.url(), isolation_level="AUTOCOMMIT")
        scripted = Migrated(engine)

        with engine.connect() as connection:
            connection.connection.cursor().execute(script)
        assert (scripted.shape(), scripted.rows()) == (expected.shape(), expected.rows())
        with engine.connect() as connection:
            connection.connection.cursor().execute(back)
        assert scripted.shape() == {}

        engine.dispose()
        databases.drop(other.name)

    def test_on_postgresql_the_script_locks_as_the_command_does(self) -> None:
        script = self.script("postgresql+psycopg://", command.upgrade, "head")

        first, second, *_ = script.split(";")
        assert "pg_advisory_lock" in first
        assert "lock_timeout = '10s'" in second

    def test_what_sqlite_needs_a_database_for_is_one_error_and_no_script(self) -> None:
        with pytest.raises(CommandError) as caught:
            self.script("sqlite://", command.upgrade, "head")

        message = str(caught.value)
        assert message.startswith("upgrade 0011 -> 0012")
        assert "run it without --sql" in message
        assert "\n" not in message

    def test_what_sqlite_needs_none_for_is_a_script(self) -> None:
        script = self.script("sqlite://", command.upgrade, "0012:0013")

        assert "UPDATE hitl_actions SET status = lower(status);" in script
        assert script.count("BEGIN") == script.count("COMMIT") == 1
