"""G3: environment variables count, however they are asked for, as the builder was given them."""

from __future__ import annotations

import pytest

from alembic_snapshot import ensure, load_project
from alembic_snapshot.build.lookup import look_up
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
    "as_an_ini_files_defaults": "configparser.ConfigParser(os.environ, interpolation=None)",
    "below_others": "dict(collections.ChainMap({}, os.environ))",
    "in_a_mapping_of_pythons": "collections.UserDict(os.environ)",
    "by_a_pattern": "fnmatch.filter(os.environ, 'KNOWN*')",
    "in_a_thread": "list(ThreadPoolExecutor().map(collections.UserDict, [os.environ]))",
}
HEADER = (
    "import collections, configparser, fnmatch, os\n"
    "from concurrent.futures import ThreadPoolExecutor"
)


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


BESIDE_ALL = """
def ask(name):
    for one in sorted(os.environ):
        os.environ[one]
    return os.environ.get(name), [os.getenv(each) for each in [f"{name}_NAME"]]

ask("GITHUB_REF")
"""


def test_a_name_from_elsewhere_counts_also_where_all_variables_are_read(project, monkeypatch):
    for name in ("REF", "REF_NAME", "SHA"):
        monkeypatch.setenv(f"GITHUB_{name}", "one")
    project.revision("a", header=HEADER, upgrade=BESIDE_ALL + "op.execute('select 1')")
    project.ensure()

    monkeypatch.setenv("GITHUB_SHA", "another")
    assert not reasons(project)
    for name in ("GITHUB_REF", "GITHUB_REF_NAME"):
        monkeypatch.setenv(name, "another")
        assert reasons(project) == (f"the environment variable {name} changed",)
        monkeypatch.setenv(name, "one")


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


# What tools, drivers and this library are told, which the project's own code may ask for as well.
OF_TOOLS = ["PGUSER", "PGPASSWORD", "PGSERVICE", "COVERAGE_RUN", "ALEMBIC_SNAPSHOT_DIR"]


@pytest.mark.parametrize("name", [*OF_TOOLS, "SNAPSHOT_POSTGRES_URL"])
@pytest.mark.parametrize("asks", ["a revision", "env.py"])
def test_a_variable_of_a_tool_counts_if_the_project_asks_for_it(project, monkeypatch, asks, name):
    ask = f"import os\nos.environ.get({name!r})"
    if asks == "env.py":
        project.append("migrations/env.py", ask)
    project.revision("a", upgrade=f"{ask if asks == 'a revision' else ''}\nop.execute('select 1')")
    monkeypatch.setenv(name, "/of-tools/value")  # no path that a message has: a secret stays masked
    store = project.root / "store"
    build_in(project, store)

    monkeypatch.setenv(name, "/of-tools/another")

    status = look_up(load_project(project.root, store=store))
    assert status.entry is None
    assert status.reasons == (f"the environment variable {name} changed",)


def test_a_variable_of_libpq_counts_where_a_library_asks_for_it_on_behalf_of_a_revision(
    project, monkeypatch, tmp_path
):
    library = tmp_path / "site-packages"
    library.mkdir()
    (library / "decoupled.py").write_text("import os\ndef config(name): return os.getenv(name)\n")
    monkeypatch.setenv("PGUSER", "one")
    project.configure(f"pythonpath = [{str(library)!r}]")
    project.revision(
        "a", upgrade="import decoupled\ndecoupled.config('PGUSER')\nop.execute('select 1')"
    )
    project.ensure()

    monkeypatch.setenv("PGUSER", "another")

    assert reasons(project) == ("the environment variable PGUSER changed",)


# The drivers of PostgreSQL that ask in Python, before they connect.
CONNECTING = {
    "psycopg": "import psycopg\ntry:\n    psycopg.connect('host=/nowhere')",
    "asyncpg": "import asyncio, asyncpg\ntry:\n    asyncio.run(asyncpg.connect(timeout=1))",
}


@pytest.mark.parametrize("driver", CONNECTING)
def test_what_a_driver_asks_for_says_where_a_server_is(project, monkeypatch, driver):
    caught = "except Exception:\n    pass\nop.execute('select 1')"
    project.revision("a", upgrade=f"{CONNECTING[driver]}\n{caught}")
    for name in ("PGHOST", "PGHOSTADDR", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PGHOST", "/nowhere")
    project.ensure()

    for name in ("PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE"):
        monkeypatch.setenv(name, "1")

    assert reasons(project) == ()


def build_in(project, store):
    ensure(load_project(project.root, store=store))


@pytest.mark.parametrize("environ", ["environ", "environb"])
def test_a_variable_that_is_deleted_is_one_that_was_asked_for(project, monkeypatch, environ):
    name = "'REGION'" if environ == "environ" else "b'REGION'"
    body = f"try:\n    del os.{environ}[{name}]\nexcept KeyError:\n    pass"
    project.revision("a", upgrade=f"{body}\nop.execute('select 1')", header="import os")
    project.ensure()

    monkeypatch.setenv("REGION", "r1")

    assert project.look_up().reasons == ("the environment variable REGION changed",)


def test_all_that_differ_are_proposed_in_one_line_that_holds(project, monkeypatch):
    project.revision("0001", upgrade="import os\nseen = dict(os.environ)\n"
                     "open('da' + 'ta').read()\nopen('mo' + 're').read()")  # fmt: skip
    for name in ("data", "more"):
        project.write(name, "old")
    monkeypatch.setenv("ImageOS", "first")
    project.ensure()
    for name in ("data", "more"):
        project.write(name, "new")
    for name in ("ImageOS", "pythonLocation", "JAVA_HOME"):
        monkeypatch.setenv(name, "another")

    cures, keyed = project.look_up().cures, project.key()
    status = project.command("status")
    *_, proposed = status.stdout.splitlines()
    project.configure(proposed.partition("change with it: ")[2])
    with_inputs = project.key()
    project.write("more", "newer")
    assert status.returncode == 1
    assert len({keyed, with_inputs, project.key()}) == 3
    project.configure("\n".join(cures))

    assert cures == (
        'ignore_inputs = ["data", "more"]',
        'ignore_environment = ["JAVA_HOME", "pythonLocation", "ImageOS"]',
    )
    project.ensure()
    for name in ("ImageOS", "pythonLocation", "JAVA_HOME"):
        monkeypatch.setenv(name, "a third")
    assert project.look_up().entry is not None
