"""The variables of ``environment`` lead nowhere before a test has its clone."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys

import pytest

from alembic_snapshot.backend import backend_of
from alembic_snapshot.engines.nowhere import Nowhere, lead_nowhere
from alembic_snapshot.key.observed import inherited
from alembic_snapshot.postgres.database import ServerDatabase
from alembic_snapshot.project.config import load_project

# What a variable has, and what the tests have; FILE is where nothing is.
ON_FILES = [
    ("{url}", None, "sqlite:///FILE"),
    ("{url}", "", "sqlite:///FILE"),
    ("{url}", "sqlite:///dev.db", "sqlite:///FILE"),
    ("{url}", "sqlite:////data/dev.db?timeout=9", "sqlite:///FILE?timeout=9"),
    ("{url}", "sqlite+pysqlite:///dev.db", "sqlite+pysqlite:///FILE"),
    ("{url}", "sqlite+aiosqlite:///dev.db", "sqlite+aiosqlite:///FILE"),
    ("{url}", "sqlite:///file:dev.db?mode=rwc&uri=true", "sqlite:///file:FILE?mode=rwc&uri=true"),
    ("{url}", "sqlite://", "sqlite://"),
    ("{url}", "sqlite:///:memory:", "sqlite:///:memory:"),
    ("{url}", "sqlite:///file:x?mode=memory&uri=true", "sqlite:///file:x?mode=memory&uri=true"),
    ("{url}", "postgresql://server/dev", "sqlite:///FILE"),
    ("{url}", "no URL", "sqlite:///FILE"),
    ("{async_url}", None, "sqlite+aiosqlite:///FILE"),
    ("{path}", None, "FILE"),
    ("{path}", "dev.db", "FILE"),
    ("{path}", ":memory:", ":memory:"),
    ("sqlite:///{path}", "sqlite:///dev.db?timeout=9", "sqlite:///FILE?timeout=9"),
    ("sqlite:///{path}?timeout=9", "sqlite:///dev.db", "sqlite:///FILE?timeout=9"),
    ("{{x}}{path}", "{x}dev.db", "{x}FILE"),
]
ON_SERVERS = [
    ("{url}", None, "postgresql+psycopg://localhost/NAME"),
    ("{url}", "postgresql://u:p@server:5/dev", "postgresql://localhost/NAME"),
    ("{url}", "postgres://u:p@server/dev", "postgres://localhost/NAME"),
    ("{url}", "postgresql+asyncpg://u@server/dev", "postgresql+asyncpg://localhost/NAME"),
    ("{url}", "postgresql:///dev?host=/run&sslmode=off", "postgresql://localhost/NAME?sslmode=off"),
    ("{url}", "postgresql:///?sslmode=off&service=s", "postgresql://localhost/NAME?sslmode=off"),
    ("{url}", "postgresql:///?host=a&host=b", "postgresql://localhost/NAME"),
    ("{url}", "sqlite:///dev.db", "postgresql+psycopg://localhost/NAME"),
    ("{async_url}", "sqlite:///dev.db", "postgresql+asyncpg://localhost/NAME"),
    ("{database}", "dev", "NAME"),
    ("{host}", "server", "localhost"),
    ("{port}", "7777", "5432"),
    ("{user}", "ada", "ada"),
    ("{password}", None, "none"),
    ("x-{database}", "x-dev", "x-NAME"),
    ("postgresql://{host}/{database}", "postgresql://server/dev", "postgresql://localhost/NAME"),
]
CASES = [("sqlite", *one) for one in ON_FILES] + [("postgresql", *one) for one in ON_SERVERS]


@pytest.fixture
def configured(tmp_path, monkeypatch):
    """Makes a project with one variable."""

    def make(kind, template, more=""):
        monkeypatch.delenv("ALEMBIC_SNAPSHOT_BACKEND", raising=False)
        monkeypatch.delenv("ALEMBIC_SNAPSHOT_PLACEHOLDERS", raising=False)
        (tmp_path / "pyproject.toml").write_text(
            f"[tool.alembic-snapshot]\nbackend = '{kind}'\n{more}\n"
            f"environment = {{ SHOP = '{template}', TOKEN = 'x' }}\n"
        )
        return load_project(tmp_path)

    return make


def led(project):
    """Have the variables of a project lead nowhere; how to undo that."""
    return lead_nowhere([(project, backend_of(project).nowhere())])


def given(monkeypatch, value):
    if value is None:
        monkeypatch.delenv("SHOP", raising=False)
    else:
        monkeypatch.setenv("SHOP", value)


@pytest.mark.parametrize("is_in_file", [False, True])
@pytest.mark.parametrize(("kind", "template", "value", "expected"), CASES)
def test_the_form_of_what_is_set_stays_and_not_where_it_leads(
    configured, monkeypatch, tmp_path, kind, template, value, expected, is_in_file
):
    project = configured(kind, template)
    nowhere = backend_of(project).nowhere()
    given(monkeypatch, None if is_in_file else value)
    if is_in_file and value is not None:
        (tmp_path / ".env").write_text(f"OTHER=1\nexport SHOP='{value}'  # mine\n")

    restore = led(project)

    name = "alembic-snapshot-has-no-engine-default"
    wanted = expected.replace("FILE", nowhere["path"]).replace("NAME", name)
    assert os.environ["SHOP"] == wanted
    assert "TOKEN" not in os.environ
    before = None if is_in_file else value
    assert inherited(project, os.environ).get("SHOP") == before
    restore()
    assert os.environ.get("SHOP") == before
    assert "ALEMBIC_SNAPSHOT_PLACEHOLDERS" not in os.environ


def test_a_worker_knows_what_the_first_process_was_given(configured, monkeypatch):
    project = configured("sqlite", "{path}")
    monkeypatch.setenv("SHOP", "dev.db")
    restore = led(project)
    first, former = dict(os.environ), Nowhere(project).former

    again = led(project)

    assert dict(os.environ) == first
    assert Nowhere(project).former == former != {}
    again()
    assert dict(os.environ) == first
    restore()
    assert os.environ["SHOP"] == "dev.db"


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("sqlite", None, None),
        ("sqlite", "sqlite:///dev.db", "sqlite:///dev.db"),
        (
            "postgresql",
            None,
            "postgresql+psycopg://localhost/alembic-snapshot-has-no-engine-default",
        ),
        ("postgresql", "postgresql://server/dev", "postgresql://server/dev"),
    ],
)
def test_without_the_guard_what_is_set_stays(configured, monkeypatch, kind, value, expected):
    project = configured(kind, "{url}", "guard = 'off'")
    given(monkeypatch, value)

    restore = led(project)

    assert os.environ.get("SHOP") == expected
    restore()
    assert os.environ.get("SHOP") == value


ASKING = """
from sqlalchemy import create_engine, text
from app import db

def add(engine, number):
    with engine.begin() as connection:
        connection.execute(text(f"INSERT INTO t VALUES ({number})"))

def test_not_asking():
    add(db.engine, 1)

def test_asking(db_session):
    db_session.execute(text("SELECT * FROM t"))
    add(db.engine, 2)

def test_the_developers_own(db_session):
    db_session.execute(text("SELECT * FROM t"))
    add(create_engine(db.REAL), 3)
"""


@pytest.fixture
def developers(kind, request, tmp_path):
    """The URL of a database with a table, and what is in it."""
    if kind == "sqlite":
        path = tmp_path.parent / f"{tmp_path.name}-dev.db"
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE t (id INTEGER)")
            yield f"sqlite:///{path}", lambda: connection.execute("SELECT * FROM t").fetchall()
        return
    server = request.getfixturevalue("postgres")
    database = ServerDatabase(server, "developers")
    database.start(None)
    with server.connect("developers") as connection:
        connection.execute("CREATE TABLE t (id INTEGER)")

    def rows():
        with server.connect("developers") as connection:
            return connection.execute("SELECT * FROM t").fetchall()

    yield database.url(), rows
    database.remove()


@pytest.fixture
def application(new_sample, kind, developers, monkeypatch):
    """An application whose engine is of a variable, and whose configured engine is another one."""
    if kind == "postgresql":
        monkeypatch.setenv("ALEMBIC_SNAPSHOT_BACKEND", "postgresql")
    sample = new_sample("shop")
    url = developers[0]
    other = f"{url}-test"
    sample.write("app/__init__.py", "")
    sample.write(
        "app/db.py",
        f"""
        import os
        from pathlib import Path

        from sqlalchemy import create_engine

        REAL = {url!r}
        env = Path(__file__).parents[1] / ".env"
        if env.is_file():
            os.environ.setdefault("APP_DB", env.read_text().strip().partition("=")[2])
        engine = create_engine(os.environ.get("APP_DB", REAL))
        """,
    )
    sample.write(
        "app/commands.py",
        f"from sqlalchemy import create_engine\nengine = create_engine({other!r})\n",
    )
    sample.write(
        "migrations/env.py",
        """
        from alembic import context
        from app.db import engine

        with engine.connect() as connection:
            context.configure(connection=connection)
            with context.begin_transaction():
                context.run_migrations()
        """,
    )
    for path in (sample.root / "migrations/versions").glob("*.py"):
        path.unlink()
    sample.write(
        "migrations/versions/a.py",
        """
        import sqlalchemy as sa
        from alembic import op

        revision = "a"
        down_revision = None

        def upgrade():
            op.create_table("t", sa.Column("id", sa.Integer))
        """,
    )
    sample.write(
        "pyproject.toml",
        """
        [tool.alembic-snapshot]
        engine = "app.commands:engine"
        environment = { APP_DB = "{url}" }

        [tool.pytest.ini_options]
        pythonpath = ["."]
        asyncio_default_fixture_loop_scope = "function"
        """,
    )
    return sample


@pytest.mark.usefixtures("own_store")
@pytest.mark.parametrize(
    ("is_set", "mode", "early"),
    [
        ("set", "plain", ()),
        ("set", "n2", ()),
        ("in a file", "plain", ()),
        ("not set", "n2", ()),
        # Another plugin has imported SQLAlchemy before this one starts.
        ("set", "plain", ("-p", "sqlalchemy.orm")),
        ("in a file", "plain", ("-p", "sqlalchemy.orm")),
        ("in parts", "plain", ()),
    ],
    indirect=["mode"],
)
def test_an_engine_of_the_variable_is_not_the_developers_database(
    application, developers, monkeypatch, is_set, mode, early
):
    url, rows = developers
    if is_set == "set":
        monkeypatch.setenv("APP_DB", url)
    if is_set == "in a file":
        application.write(".env", f"APP_DB={url}\n")
    if is_set == "in parts":
        kind, mark, rest = url.partition("://")
        application.write(".env", f'KIND={kind}\nAPP_DB="${{KIND}}{mark}{rest}"\n')

    # What only the application has as a text, nobody knows.
    chosen = "asking" if is_set == "not set" else "test"
    result = application.run(*early, "-k", chosen, mode=mode, test_it=ASKING)

    assert rows() == []
    result.assert_outcomes(failed=2 if is_set == "not set" else 3)
    result.stdout.fnmatch_lines_random(
        [
            "E *DatabaseNotRequested: test_it.py line 5 connects to what APP_DB says, but *",
            "E *EngineError: test_it.py line 5 connects to what APP_DB says, and not to the *",
            'E *hint: *engine = "module:name" in * its database is from the variable APP_DB',
        ]
    )
    if is_set != "not set":
        where = "*EngineError: test_it.py line 5 connects to * (what APP_DB says outside of *"
        result.stdout.fnmatch_lines([where])


@pytest.mark.usefixtures("own_store")
@pytest.mark.parametrize("engine", ["app.db:engine", "sqlite:///elsewhere.db"])
def test_the_configured_engine_and_all_of_the_variable_are_pointed(
    application, developers, kind, monkeypatch, engine
):
    url, rows = developers
    if kind == "postgresql":
        engine = engine.replace(
            "sqlite:///elsewhere.db", "postgresql+psycopg://localhost/elsewhere"
        )
    application.replace("pyproject.toml", "app.commands:engine", engine)
    monkeypatch.setenv("APP_DB", url)

    result = application.run(
        test_it=ASKING.replace("def test_not_asking():", "def test_too(db_session):")
    )

    assert rows() == []
    result.assert_outcomes(passed=3)


@pytest.mark.usefixtures("own_store")
def test_a_child_process_of_a_test_is_not_led_to_it_either(application, developers, monkeypatch):
    url, rows = developers
    monkeypatch.setenv("APP_DB", url)
    application.replace("pyproject.toml", "app.commands:engine", "app.db:engine")

    result = application.run(
        test_it="""
        import subprocess, sys

        CODE = "from app.db import engine; c = engine.connect(); "
        CODE += "c.exec_driver_sql('INSERT INTO t VALUES (1)'); c.commit()"

        def run(**options):
            return subprocess.run([sys.executable, "-c", CODE], **options).returncode

        def test_without_a_clone():
            assert run() != 0

        def test_with_a_clone_that_it_is_not_given(db_clone):
            assert run() != 0

        def test_with_its_clone(db_clone):
            assert run(env=db_clone.environ) == 0
        """
    )

    assert rows() == []
    result.assert_outcomes(passed=3)


@pytest.mark.usefixtures("own_store")
def test_a_run_uses_what_the_command_line_has_built(new_sample, add_events, monkeypatch):
    monkeypatch.setenv("EVENTS", "sqlite:///dev.db")
    shop = new_sample("shop")
    add_events(shop, 'environment = { EVENTS = "{url}" }\n')
    env = (shop.root / "migrations/env.py").read_text()
    shop.write(
        "migrations/env.py", f"import os\nassert os.environ['EVENTS'] == 'sqlite:///dev.db'\n{env}"
    )
    command = [sys.executable, "-m", "alembic_snapshot", "build"]
    subprocess.run(command, check=True, cwd=shop.root)

    result = shop.run(test_it="def test_it(db_session): pass")

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["alembic-snapshot: * reused; *"])
