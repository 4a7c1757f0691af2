"""Checks and settings that hold in several places hold in each of them."""

from __future__ import annotations

import pytest

from alembic_snapshot import BuildError, load_project
from alembic_snapshot.builder.server_guard import ServerGuard, place_of

URL = "postgresql://someone@host/{}?sslmode=disable"
PAIRS = "host=host dbname={} user=someone"
# How each driver is told which database to connect to.
SPELLINGS = [
    *((driver, (URL,), {}) for driver in ("psycopg", "psycopg2", "asyncpg")),
    *((driver, (PAIRS,), {}) for driver in ("psycopg", "psycopg2")),
    *(("psycopg", (), {"conninfo": text}) for text in (URL, PAIRS)),
    *(("psycopg2", (), {"dsn": text}) for text in (URL, PAIRS)),
    ("asyncpg", (), {"dsn": URL}),
    ("psycopg", (), {"dbname": "{}", "host": "host"}),
    ("psycopg2", (), {"dbname": "{}", "host": "host"}),
    ("psycopg2", (), {"database": "{}", "host": "host"}),
    ("asyncpg", (), {"database": "{}", "host": "host"}),
    ("asyncpg", (), {"dsn": URL, "user": None}),
    # A name wins over the text, a query of libpq's URLs over the path, asyncpg's path over it.
    ("psycopg", (PAIRS.format("wrong"),), {"dbname": "{}"}),
    ("psycopg2", (URL.format("wrong"),), {"database": "{}"}),
    ("psycopg", ("postgresql://host/wrong?dbname={}",), {}),
    ("asyncpg", ("postgresql://host/{}?database=wrong",), {}),
    ("asyncpg", ("postgresql://host?database={}",), {}),
    ("asyncpg", ("postgresql://host?dbname={}",), {}),
    ("asyncpg", (URL.format("wrong"),), {"database": "{}"}),
]


class Server:
    """What the guard asks of its target: a name."""

    name = "target"


@pytest.mark.parametrize(("driver", "arguments", "options"), SPELLINGS)
def test_the_guard_knows_a_database_however_a_driver_is_told(driver, arguments, options):
    guard = ServerGuard(Server(), refuse=lambda _: None)

    def place(name):
        filled = {k: v.format(name) if v else v for k, v in options.items()}
        return place_of(driver, tuple(text.format(name) for text in arguments), filled)

    assert [guard.database_of(place(name)) for name in ("target", "other")] == ["target", "other"]
    assert [guard.allows(place(name)) for name in ("target", "other")] == [True, False]


@pytest.mark.parametrize(
    ("place", "variable", "found"),
    [
        ({"database": "one", "user": "me"}, "two", "one"),
        ({"user": "me"}, "two", "two"),
        ({"user": "me"}, None, "me"),
        ({}, None, "of this user"),
    ],
)
def test_the_guard_knows_the_database_that_a_driver_would_choose(
    monkeypatch, place, variable, found
):
    for name in ("PGDATABASE", "PGSERVICE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PGUSER", "of this user")
    if variable:
        monkeypatch.setenv("PGDATABASE", variable)

    assert ServerGuard(Server(), refuse=lambda _: None).database_of(place) == found


def test_the_builders_own_work_may_reach_any_database_while_it_lasts():
    guard = ServerGuard(Server(), refuse=lambda _: None)
    found = [guard.allows({"dbname": "other"})]

    with guard.own_work():
        found.append(guard.allows({"dbname": "other"}))
    found.append(guard.allows({"dbname": "other"}))

    assert found == [False, True, False]


SHARED = {
    "pythonpath": ('pythonpath = ["lib"]', 'pythonpath = ["app"]'),
    "backend": ('backend = "postgresql"', 'backend = "sqlite"'),
    "clones": ('clones = "reset"', 'clones = "fresh"'),
    "guard": ('guard = "off"', 'guard = "on"'),
}


@pytest.mark.parametrize("key", SHARED)
def test_a_further_database_has_what_all_share_unless_it_says_otherwise(project, key):
    for folder in ("lib", "app"):
        (project.root / folder).mkdir()
    common, own = SHARED[key]
    tables = "[tool.alembic-snapshot.databases.{}]\nconfig = 'alembic.ini'\n"
    project.configure(f"{common}\n{tables.format('same')}{tables.format('other')}{own}\n")

    found = [getattr(project.load(database=name), key) for name in ("default", "same", "other")]

    assert found[0] == found[1] != found[2]


class TestAConfigurationByName:
    @pytest.fixture
    def two(self, new_project):
        """A project, and another below its folder that has no table of its own."""
        outer = new_project("outer")
        outer.configure('drift = "error"')
        inner = new_project("outer/inner")
        (inner.root / "pyproject.toml").unlink()
        return outer, inner

    def test_has_no_table_of_another_project_above_it(self, two):
        outer, inner = two

        found = load_project(outer.root, config=inner.root / "alembic.ini")

        assert (found.root, found.configured, found.drift) == (inner.root, False, "warn")

    @pytest.mark.parametrize("name", ["alembic.ini", "pyproject.toml"])
    def test_has_the_table_beside_it(self, two, name):
        outer, inner = two

        found = load_project(inner.root, config=outer.root / name)

        assert (found.root, found.configured, found.drift) == (outer.root, True, "error")

    def test_has_the_table_above_it_that_names_it(self, two):
        outer, inner = two
        outer.configure('drift = "error"\nconfig = "inner/alembic.ini"')

        found = load_project(inner.root, config=inner.root / "alembic.ini")

        assert (found.root, found.configured, found.drift) == (outer.root, True, "error")


@pytest.mark.parametrize("where", ["a revision", "env.py", "a seed"])
def test_where_imports_are_found_is_configured_and_never_the_callers(project, tmp_path, where):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/callers.py").touch()
    project.revision("0001", header="import callers" if where == "a revision" else "")
    if where == "env.py":
        env = (project.root / "migrations/env.py").read_text()
        project.write("migrations/env.py", "import callers\n" + env)
    if where == "a seed":
        project.write("seeds.py", "def seed(connection):\n    import callers\n")
        project.configure('seeds = ["seeds:seed"]')

    done = project.command("build", variables={"PYTHONPATH": str(tmp_path / "elsewhere")})

    assert done.returncode == 2
    assert "No module named 'callers'" in done.stderr


@pytest.mark.parametrize("ddl", [True, False])
def test_each_step_of_the_stairway_is_a_transaction_whatever_env_py_says(project, tmp_path, ddl):
    runs = tmp_path / "runs.txt"
    env = (project.root / "migrations/env.py").read_text()
    project.write("migrations/env.py", f"open({str(runs)!r}, 'a').write('x')\n{env}")
    project.history(3)
    command = ("check", "--from-scratch", "--allow-unchecked")
    assert project.command(*command).returncode == 0
    usual = runs.read_text()

    given = f"target_metadata=None, transaction_per_migration=False, transactional_ddl={ddl})"
    text = (project.root / "migrations/env.py").read_text()
    text = text.replace("target_metadata=target_metadata)", given)
    project.write("migrations/env.py", text)
    runs.unlink()
    done = project.command(*command)

    assert done.returncode == 0, done.stderr
    # It is run once for all of them, and not for each.
    assert runs.read_text() == usual


# Who writes a version beside the one that is there.
WRITES = "insert into alembic_version values ('{}')"
WRITERS = {
    "a revision": lambda project, sql: project.revision("0002", "0001", f'op.execute("{sql}")'),
    "a seed": lambda project, sql: (
        project.write("seeds.py", f"def seed(one):\n    one.exec_driver_sql({sql!r})\n"),
        project.configure('seeds = ["seeds:seed"]'),
    ),
    "migrate": lambda project, sql: (
        project.write("made.py", f"{MAKE}    engine = create_engine(url)\n"
                      f"    with engine.begin() as own:\n        own.exec_driver_sql({sql!r})\n"),
        project.configure('migrate = "made:make"'),
    ),
}  # fmt: skip
MAKE = """from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

def make(url):
    config = Config("alembic.ini")
    config.set_main_option("sqlalchemy.url", url)
    command.upgrade(config, "heads")
"""


@pytest.mark.parametrize(
    ("who", "version"),
    # A revision finds the one before it there.
    [("a revision", "ghost"), *((w, v) for w in ("a seed", "migrate") for v in ("ghost", "0001"))],
)
def test_a_version_too_many_is_an_error_whoever_wrote_it(project, who, version):
    project.history(2)
    WRITERS[who](project, WRITES.format(version))

    with pytest.raises(BuildError, match=rf"\bat [\w, ]*{version}"):
        project.ensure()
