"""G3: environment variables count, however they are asked for, as the builder was given them."""

from __future__ import annotations

import pytest
from psycopg.pq import Conninfo

from alembic_snapshot import load_project
from alembic_snapshot.build.lookup import look_up
from alembic_snapshot.key.observed import without_effect
from alembic_snapshot.project.spelling import is_ignored
from tests.sample import SampleProject

# How code asks for a variable by name; NAME stands for an expression without a constant.
BY_NAME = {
    "getenv": "os.getenv(NAME)",
    "item": "os.environ.setdefault(NAME, 'x')",
    "get": "os.environ.get(NAME)",
    "contained": "NAME in os.environ",
    "bytes": "os.getenvb(NAME.encode())",
    "bytes_mapping": "os.environb.get(NAME.encode())",
    "expanded": "os.path.expandvars('$' + NAME)",
    "popped": "os.environ.pop(NAME, None)",
    "in_a_thread": "list(ThreadPoolExecutor().map(os.getenv, [NAME]))",
}
# How all of them are read.
SCANS = {
    "dict": "dict(os.environ)",
    "unpacked": "{**os.environ}",
    "copy": "os.environ.copy()",
    "items": "[item for item in os.environ.items()]",
    "loop": "[os.environ[name] for name in os.environ]",
    "values": "list(os.environ.values())",
    "joined": "os.environ | {}",
    "bytes_copy": "dict(os.environb)",
    "printed": "repr(os.environ)",
}
HEADER = "import os\nfrom concurrent.futures import ThreadPoolExecutor"


def made(tmp_path_factory, bodies, table=""):
    project = SampleProject(tmp_path_factory.mktemp("variables") / "project")
    project.configure(table)
    before = None
    for name, body in bodies.items():
        project.revision(name, before, header=HEADER, upgrade=f"{body}\nop.execute('select 1')")
        before = name
    project.ensure()
    return project


@pytest.fixture(scope="module")
def by_name(tmp_path_factory):
    """Each revision asks for a variable of its own."""
    asks = {way: f"NAME = 'MY_' + {way.upper()!r}\n{code}" for way, code in BY_NAME.items()}
    asks["shell"] = "os.getenv('TERM')"
    asks["expanded shell"] = "os.path.expandvars('$EDITOR')"
    asks["home"] = "os.path.expanduser('~')"
    asks["temporary"] = "import tempfile\ntempfile.tempdir = None\ntempfile.gettempdir()"
    return made(tmp_path_factory, asks)


def reasons(project):
    status = look_up(load_project(project.root))
    return status.reasons if status.entry is None else ()


@pytest.mark.parametrize("way", BY_NAME)
def test_a_variable_counts_however_it_is_asked_for(by_name, monkeypatch, way):
    monkeypatch.setenv(f"MY_{way.upper()}", "another")

    assert reasons(by_name) == (f"the environment variable MY_{way.upper()} changed",)


@pytest.mark.parametrize("name", ["TERM", "EDITOR"])
def test_a_variable_of_the_terminal_counts_if_code_asks_for_it_by_name(by_name, monkeypatch, name):
    monkeypatch.setenv(name, "another")

    assert reasons(by_name) == (f"the environment variable {name} changed",)


def test_the_home_directory_counts_if_code_asks_for_it(by_name, monkeypatch):
    monkeypatch.setenv("HOME", "/another")

    assert reasons(by_name) == ("the environment variable HOME changed",)


@pytest.mark.parametrize("name", ["UNRELATED", "TMPDIR", "COLUMNS", "PYTEST_CURRENT_TEST"])
def test_what_nobody_asked_for_does_not_count(by_name, monkeypatch, name):
    monkeypatch.setenv(name, "/tmp")

    assert reasons(by_name) == ()


@pytest.mark.parametrize("way", SCANS)
def test_where_all_are_read_each_counts_but_those_of_the_surroundings(
    tmp_path_factory, monkeypatch, way
):
    monkeypatch.setenv("KNOWN", "1")
    project = made(tmp_path_factory, {"a": SCANS[way]})

    monkeypatch.setenv("TERM", "another")
    monkeypatch.setenv("COLUMNS", "77")
    monkeypatch.setenv("PATH", f"{monkeypatch}:/usr/bin:/bin")
    assert reasons(project) == ()

    monkeypatch.setenv("KNOWN", "2")
    monkeypatch.setenv("NEW", "1")
    assert set(reasons(project)) == {
        "the environment variable KNOWN changed",
        "the environment variable NEW is new",
    }


@pytest.mark.parametrize(
    ("table", "name"),
    [
        ("private_home = true", "HOME"),
        ('inherit_environment = ["HOME"]', "NEW"),
        ('ignore_environment = ["NE*"]', "NEW"),
        ('environment = { NEW = "given" }', "NEW"),
    ],
)
def test_what_the_builder_is_not_given_does_not_count(tmp_path_factory, monkeypatch, table, name):
    body = "dict(os.environ)\nos.getenv('NEW')\nos.path.expanduser('~')"
    project = made(tmp_path_factory, {"a": body}, table)
    assert reasons(project) == ()

    monkeypatch.setenv(name, "/another")

    assert reasons(project) == ()


def test_status_names_the_setting_that_ignores_a_variable(project, monkeypatch):
    project.revision("a", header="import os", upgrade="os.getenv('BUILD')\nop.execute('select 1')")
    project.ensure()

    status = project.command("status", variables={"BUILD": "77"})
    assert 'ignore_environment = ["BUILD"]' in status.stdout
    project.configure('ignore_environment = ["BUILD"]')
    project.ensure()

    assert project.command("status", variables={"BUILD": "78"}).returncode == 0


def test_what_libpq_reads_says_where_a_server_is_and_is_no_matter_of_migrations(project):
    names = {str(option.envvar, "ascii") for option in Conninfo.get_defaults() if option.envvar}
    ignored = without_effect(project.load())

    assert "PGHOST" in names
    assert not [name for name in names if not is_ignored(name, ignored)]
