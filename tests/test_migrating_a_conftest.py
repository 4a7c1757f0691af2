"""docs/migrating-a-conftest.md, taken step by step by a project that has such a conftest."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[1] / "docs/migrating-a-conftest.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
START, ENGINE, SESSION, MARKER, SHARED, EACH, TABLES, ROLLED_BACK, OWN = BLOCKS
EMPTY, _SEED, CONFIGURED = re.findall(r"```toml\n(.*?)```", PAGE, flags=re.DOTALL)
IMPORTS = """\
import shutil
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine
from sqlalchemy.orm import sessionmaker
"""
FILES = {
    "alembic.ini": """
        [alembic]
        script_location = %(here)s/migrations
        prepend_sys_path = src
        """,
    "migrations/env.py": """
        from alembic import context
        from sqlalchemy import create_engine

        engine = create_engine(context.config.get_main_option("sqlalchemy.url"))
        with engine.connect() as connection:
            context.configure(connection=connection)
            with context.begin_transaction():
                context.run_migrations()
        """,
    "migrations/versions/0001_orders.py": """
        import sqlalchemy as sa
        from alembic import op

        revision, down_revision = "0001", None

        def upgrade():
            op.create_table("orders", sa.Column("item", sa.Text))
        """,
    "src/shop/__init__.py": "",
    "src/shop/database.py": """
        from sqlalchemy import create_engine
        from sqlalchemy.orm import sessionmaker

        engine = create_engine("sqlite:///real.db")
        SessionLocal = sessionmaker(engine)
        """,
    "src/shop/seed.py": """
        def reference_data(connection):
            connection.exec_driver_sql("insert into orders values ('water')")
        """,
    "src/shop/orders.py": """
        from shop import database

        def place(item):
            with database.SessionLocal() as session:
                session.connection().exec_driver_sql("insert into orders values (?)", (item,))
                session.commit()
        """,
    "tests/test_orders.py": """
        import pytest
        from shop.orders import place

        @pytest.mark.parametrize("turn", [1, 2])
        def test_what_was_ordered_is_there_once(session, turn):
            place("tea")

            found = session.connection().exec_driver_sql("select item from orders").scalars().all()
            assert found.count("tea") == 1
        """,
    "tests/test_without_asking.py": """
        from shop import database

        def test_that_opens_the_database_without_a_fixture():
            database.engine.connect().close()
        """,
}


CLIENT = """
import shop.testing
import pytest
"""
WHOLE_SESSION = {
    "src/shop/testing.py": """
        from shop import database, orders

        class client:
            place = staticmethod(orders.place)

            def count(self):
                with database.engine.connect() as connection:
                    return connection.exec_driver_sql("select count(*) from orders").scalar()
        """,
    "tests/test_orders.py": """
        import pytest

        @pytest.mark.parametrize("turn", [1, 2])
        def test_what_is_ordered_is_there(client, turn, record_property):
            before = client.count()
            client.place("tea")

            assert client.count() == before + 1
            print("rows before:", before)
        """,
}


class Suite:
    """The project's folder, changed step by step."""

    def __init__(self, root):
        self.root = root
        for name, text in FILES.items():
            self.write(name, textwrap.dedent(text).lstrip("\n"))

    def write(self, name, text):
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text(text)

    def configure(self, table):
        own = '[tool.pytest.ini_options]\npythonpath = ["src"]\n'
        self.write("pyproject.toml", table.replace("# pyproject.toml\n", "") + own)

    def run(self, module, *arguments):
        return subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=self.root,
            capture_output=True,
            text=True,
            check=False,
        )

    def passes(self):
        done = self.run("pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly")
        return done.returncode == 0, done.stdout


@pytest.fixture
def suite(tmp_path, monkeypatch):
    for name in ("ALEMBIC_SNAPSHOT_DIR", "PYTHONPATH", "PYTEST_CURRENT_TEST"):
        monkeypatch.delenv(name, raising=False)
    return Suite(tmp_path)


def test_the_suite_passes_after_every_step_and_the_guard_finds_who_did_not_ask(suite):
    suite.configure("")
    suite.write("tests/conftest.py", IMPORTS + START)
    fixtures = START.partition("@pytest.fixture\ndef session")[2]
    assert suite.passes()[0], "where it starts"

    built = suite.run("alembic_snapshot", "build")
    assert built.returncode == 0, built.stderr
    assert suite.passes()[0], "1. install"

    suite.configure(EMPTY)
    patching = f"\n\n@pytest.fixture\ndef session{fixtures}"
    suite.write("tests/conftest.py", IMPORTS + ENGINE + patching)
    passed, text = suite.passes()
    assert passed, text
    assert "2 clones" in text

    suite.configure(CONFIGURED)
    suite.write("tests/conftest.py", f"import pytest\n{SESSION}")
    passed, text = suite.passes()
    assert passed, text

    suite.configure(CONFIGURED.replace('guard = "off"\n', ""))
    passed, text = suite.passes()
    assert not passed
    assert "test_without_asking.py line 4" in text

    asking = suite.root / "tests/test_without_asking.py"
    asking.write_text(f"import pytest\n{asking.read_text()}\n{MARKER}")
    passed, text = suite.passes()
    assert passed, text
    assert "3 clones" in text


def test_a_suite_with_one_client_for_the_session_passes_after_both_of_its_steps(suite):
    for name, text in WHOLE_SESSION.items():
        suite.write(name, textwrap.dedent(text).lstrip("\n"))
    (suite.root / "tests/test_without_asking.py").unlink()
    suite.configure(CONFIGURED.replace('guard = "off"\n', ""))
    seen = []
    for fixtures in (SHARED, EACH):
        suite.write("tests/conftest.py", CLIENT + fixtures)
        done = suite.run("pytest", "-q", "-s", "-p", "no:cacheprovider", "-p", "no:randomly")
        assert done.returncode == 0, done.stdout
        seen.append(re.findall(r"rows before: (\d)|(\d) clone", done.stdout))

    # The seed's row, and in the first step what the first test left.
    assert seen[0] == [("1", ""), ("2", ""), ("", "1")]
    assert seen[1] == [("1", ""), ("1", ""), ("", "2")]


def test_a_suite_with_create_all_is_refused_and_passes_after_each_of_its_steps(suite):
    base = "\nfrom sqlalchemy import MetaData\nclass Base: metadata = MetaData()\n"
    suite.write("src/shop/database.py", textwrap.dedent(FILES["src/shop/database.py"]) + base)
    (suite.root / "tests/test_without_asking.py").unlink()
    imports = "import pytest\nfrom shop.database import Base, engine\n"
    imports += "from sqlalchemy.orm import Session\n"
    suite.configure(CONFIGURED.replace('guard = "off"\n', ""))

    suite.write("tests/conftest.py", imports + TABLES)
    passed, text = suite.passes()
    assert not passed
    assert text.count("DatabaseNotRequested: tests/conftest.py line 7 connects") >= 2
    assert not (suite.root / "real.db").exists()

    suite.write("tests/conftest.py", imports + ROLLED_BACK)
    reading = "def test_of_the_migrated_schema(session):\n    "
    reading += "session.connection().exec_driver_sql('insert into orders values (1)')\n"
    suite.write("tests/test_orders.py", reading)
    passed, text = suite.passes()
    assert passed, text
    assert "1 clone" in text

    suite.write("tests/test_orders.py", textwrap.dedent(FILES["tests/test_orders.py"]))
    suite.write("tests/conftest.py", imports + OWN)
    passed, text = suite.passes()
    assert passed, text
    assert "2 clones" in text
