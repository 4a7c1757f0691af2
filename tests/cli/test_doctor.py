"""What doctor says of a project, and that each hint leads to a better answer."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest

from alembic_snapshot import load_project
from alembic_snapshot.cli.doctor import _database, _warned

from .conftest import Folder


def doctor(folder: Folder, *arguments: str) -> dict[str, dict]:
    """The findings by what they are about; the status says whether one is bad."""
    done = folder.command("doctor", "--json", *arguments)
    facts = json.loads(done.stdout)
    found = {one["about"]: one for one in facts["findings"]}
    is_bad = any(one["state"] == "bad" for one in facts["findings"])
    assert done.returncode == is_bad, done.stdout + done.stderr
    assert facts["good"] is not is_bad
    assert done.stderr == ""
    return found


def states(found: dict[str, dict]) -> set[str]:
    return {one["state"] for one in found.values()}


@pytest.fixture
def shop(folder: Folder) -> Folder:
    """A project after ``init``."""
    folder.shape().init()
    return folder


def test_all_is_well_after_init_and_it_leaves_nothing(shop):
    before = shop.files()

    done = shop.command("doctor")

    assert done.returncode == 0
    assert {line[0] for line in done.stdout.splitlines()} == {"✓"}
    where = "to what SHOP_URL says, as env.py's"
    assert f"✓ engine: shop.db:engine, sqlite+pysqlite, {where}" in done.stdout
    assert "✓ sessionmaker: shop.db:SessionLocal, on that engine" in done.stdout
    assert shop.files() == before
    assert not list((shop.root / "shop").glob("__pycache__"))


def test_without_a_table_the_hint_is_init(folder):
    folder.shape()

    found = doctor(folder)
    folder.command(*found["table"]["hint"].split()[1:2], "--yes")

    assert found["table"]["state"] == "bad"
    assert found["the rest"]["state"] == "doubtful"
    assert states(doctor(folder)) == {"good"}


def test_without_any_configuration_it_says_so(folder):
    found = doctor(folder)

    assert found["table"]["state"] == "bad"
    assert "no configuration" in found["table"]["seen"]
    assert "Alembic" not in found


def test_a_table_that_is_wrong_is_a_line(shop):
    text = shop.read("pyproject.toml")
    shop.write("pyproject.toml", text.replace("engine =", "engin ="))

    found = doctor(shop)
    (right,) = re.findall(r"did you mean '(\w+)'", found["table"]["hint"])
    shop.write("pyproject.toml", text.replace("engine =", f"{right} ="))

    assert found["table"]["state"] == "bad"
    assert states(doctor(shop)) == {"good"}


@pytest.mark.parametrize("layout", ["flat", "src", "backend"])
@pytest.mark.parametrize("file", ["pyproject.toml", "pytest.ini"])
def test_an_application_that_pytest_can_not_import(folder, layout, file):
    folder.shape(layout).init()
    text = folder.read("pyproject.toml")
    head, _, _ = text.partition("[tool.pytest.ini_options]")
    folder.write("pyproject.toml", head)
    if file == "pytest.ini":
        folder.write(file, "[pytest]\naddopts = -q\n")

    found = doctor(folder)
    line, section, name = re.fullmatch(
        r"write (pythonpath = .*) below (\[.*\]) in (.*)", found["pytest"]["hint"]
    ).groups()
    before = folder.read(name)
    folder.write(
        name, f"{before}{line}\n" if section in before else f"{before}\n{section}\n{line}\n"
    )

    assert found["pytest"]["seen"] == "it can't import shop.db"
    assert found["engine"]["state"] == "bad"
    assert name == file
    assert states(doctor(folder)) == {"good"}


@pytest.mark.parametrize("layout", ["flat", "src"])
@pytest.mark.parametrize("wrong", ["shop.bd", "shopp.db", "shp.db"])
def test_a_module_that_is_misspelled(folder, layout, wrong):
    folder.shape(layout).init()
    text = folder.read("pyproject.toml")
    folder.write("pyproject.toml", text.replace('"shop.db:', f'"{wrong}:'))

    found = doctor(folder)
    (right,) = re.findall(r"did you mean ([\w.]+)\?", found["pytest"]["hint"])
    folder.write("pyproject.toml", text.replace('"shop.db:', f'"{right}:'))

    assert found["pytest"]["state"] == "bad"
    assert "pythonpath" not in found["pytest"]["hint"]
    assert states(doctor(folder)) == {"good"}


def test_a_module_that_another_one_hides(folder):
    folder.shape("src").init()
    folder.write("conftest.py", "")
    folder.write("shop.py", "")

    hint = doctor(folder)["pytest"]["hint"]
    (folder.root / "shop.py").unlink()

    assert hint == "another shop is found before the one in src: give it another name, or remove it"
    assert states(doctor(folder)) == {"good"}


def test_a_module_that_is_nowhere_has_no_line_for_pythonpath(shop):
    text = shop.read("pyproject.toml")
    shop.write("pyproject.toml", text.replace('"shop.db:', '"warehouse:'))

    hint = doctor(shop)["pytest"]["hint"]

    assert hint == "install it, or correct the reference in [tool.alembic-snapshot]"


@pytest.mark.parametrize("layout", ["src", "backend"])
def test_a_conftest_that_imports_an_application_that_pytest_can_not_import(folder, layout):
    folder.shape(layout).init()
    text = folder.read("pyproject.toml")
    head, _, _ = text.partition("[tool.pytest.ini_options]")
    folder.write("pyproject.toml", head)
    folder.write("conftest.py", "import shop.db\n")

    hint = doctor(folder)["pytest"]["hint"]
    line, section = re.fullmatch(
        r"write (pythonpath = .*) below (\[.*\]) in pyproject.toml", hint
    ).groups()
    folder.write("pyproject.toml", f"{head}\n{section}\n{line}\n")

    assert states(doctor(folder)) == {"good"}


def test_a_build_that_failed(shop):
    (path,) = (shop.root / "migrations/versions").glob("*.py")
    text = path.read_text()
    path.write_text(text.replace("def upgrade():", "def upgrade():\n    raise KeyError('tea')\n"))
    before = doctor(shop)["snapshot"]
    shop.command("build")

    after = doctor(shop)["snapshot"]

    assert before["state"] == "doubtful"
    assert after["state"] == "bad"
    assert "its last build failed" in after["seen"]
    assert "KeyError: 'tea'" in after["seen"]
    assert after["hint"].endswith("alembic-snapshot build tries it again")


def test_a_reference_that_is_misspelled(shop):
    text = shop.read("pyproject.toml")
    shop.write("pyproject.toml", text.replace('"shop.db:engine"', '"shop.db:engin"'))

    found = doctor(shop)
    (right,) = re.findall(r"did you mean '(\w+)'", found["engine"]["hint"])
    shop.write("pyproject.toml", text.replace('"shop.db:engine"', f'"shop.db:{right}"'))

    assert found["engine"]["state"] == "bad"
    assert states(doctor(shop)) == {"good"}


def test_a_factory_that_is_on_another_engine(shop):
    shop.write("shop/reports.py", "from sqlalchemy import create_engine\n"
               "from sqlalchemy.orm import sessionmaker\n"
               "Session = sessionmaker(create_engine('sqlite:///reports.db'))\n")  # fmt: skip
    text = shop.read("pyproject.toml")
    shop.write("pyproject.toml", text.replace("shop.db:SessionLocal", "shop.reports:Session"))

    found = doctor(shop)

    assert found["sessionmaker"]["state"] == "bad"
    assert "go to 'reports.db'" in found["sessionmaker"]["seen"]


def test_an_engine_on_another_database_than_the_migrations(shop):
    ini = shop.read("alembic.ini")
    shop.write("alembic.ini", ini.replace("shop.db", "other.db"))
    text = shop.read("pyproject.toml")
    shop.write("pyproject.toml", re.sub("(?m)^environment = .*$", "", text))

    found = doctor(shop)
    (line,) = re.findall(r"write (engine = .*) in ", found["engine"]["hint"])
    lines = shop.read("pyproject.toml").splitlines()
    lines = [line if one.startswith("engine") else one for one in lines]
    lines = [one for one in lines if not one.startswith("sessionmaker")]
    shop.write("pyproject.toml", "\n".join(lines))

    assert found["engine"]["state"] == "doubtful"
    assert (
        "to 'shop.db', and not to 'other.db' (sqlalchemy.url of alembic.ini)"
        in (found["engine"]["seen"])
    )
    assert doctor(shop)["engine"]["state"] == "good"


URIS = {
    "in memory": ("file:m1?mode=memory&cache=shared", "good", "to a database in memory, "),
    "a file": ("file:shop.db?mode=rwc", "good", "to 'shop.db', as env.py's"),
    "a reader's": ("file:shop.db?mode=ro", "doubtful", "with mode=ro: tests can read their clones"),
    "another VFS": (
        "file:shop.db?vfs=zip",
        "bad",
        "shop.db:engine opens its database with vfs=zip",
    ),
}


@pytest.mark.parametrize(("uri", "state", "seen"), URIS.values(), ids=URIS)
@pytest.mark.parametrize("is_text", [False, True], ids=["of an engine", "as engine"])
def test_a_uri_of_sqlite(shop, uri, state, seen, is_text):
    url = f"sqlite:///{uri}&uri=true"
    if is_text:
        lines = shop.read("pyproject.toml").splitlines()
        lines = [one for one in lines if not one.startswith("sessionmaker")]
        lines = [f'engine = "{url}"' if one.startswith("engine") else one for one in lines]
        shop.write("pyproject.toml", "\n".join(lines))
        seen = seen.replace("shop.db:engine", url)
    else:
        shop.write("shop/settings.py", f"URL = {url!r}\n")

    found = doctor(shop)

    assert found["engine"]["state"] == state
    assert seen in found["engine"]["seen"]
    assert ("without vfs" in str(found["engine"]["hint"])) is (state == "bad")


def test_no_engine_at_all(folder):
    folder.shape()
    folder.write("pyproject.toml", "[tool.alembic-snapshot]\n")

    found = doctor(folder)
    folder.command(*found["engine"]["hint"].split()[1:2], "--yes")

    assert found["engine"]["state"] == "doubtful"
    assert doctor(folder)["engine"]["state"] == "good"


# What is in the table, and what is said of an env.py that took its URL from elsewhere.
REDIRECTED = {
    "": 'write environment = { DATABASE_URL = "{url}" }',
    'environment = { SHOP_KEY = "x" }': 'write environment = { DATABASE_URL = "{url}" }',
    'backend = "postgresql"': 'for each part of the URL, as in DB_HOST = "{host}"',
    'environment = { A = "{url}", KEY = "x", B = "file:{path}" }': "its URL is not from A, B",
}


@pytest.mark.parametrize(("lines", "hint"), REDIRECTED.items(), ids=range(len(REDIRECTED)))
def test_a_redirect_proposes_nothing_that_is_there_already(folder, lines, hint):
    folder.shape()
    folder.write("pyproject.toml", f"[tool.alembic-snapshot]\n{lines}\n")

    said = _warned(
        "env.py line 3 …, which was redirected to the snapshot", load_project(folder.root)
    )

    assert hint in said
    assert ("write environment" in said) != ("correct environment" in said)


def test_a_snapshot_that_is_not_built(shop):
    shop.write("shop/more.py", "")
    shop.write("migrations/versions/0002_more.py", "revision, down_revision = '2', '0001'\n"
               "def upgrade(): ...\n")  # fmt: skip

    found = doctor(shop)
    shop.command(*found["snapshot"]["hint"].split()[1:2])

    assert found["snapshot"]["state"] == "doubtful"
    assert "0002_more.py is new" in found["snapshot"]["seen"]
    assert doctor(shop)["snapshot"]["state"] == "good"


def test_no_revision(folder):
    folder.shape()
    folder.write("pyproject.toml", "[tool.alembic-snapshot]\n")
    (folder.root / "migrations/versions/0001_orders.py").unlink()
    folder.write("migrations/script.py.mako", "revision = ${repr(up_revision)}\n"
                 "down_revision = ${repr(down_revision)}\ndef upgrade():\n    pass\n")  # fmt: skip

    found = doctor(folder)
    (command,) = re.findall(r"alembic (revision.*)$", found["scripts"]["hint"])
    done = folder._run("alembic", *command.split())

    assert found["scripts"]["state"] == "bad"
    assert done.returncode == 0, done.stderr
    assert doctor(folder)["scripts"]["state"] == "good"


def test_two_heads(shop):
    for name in "ab":
        shop.write(f"migrations/versions/{name}.py", f"revision, down_revision = '{name}', '0001'\n"
                   "def upgrade(): ...\n")  # fmt: skip

    found = doctor(shop)
    (command,) = re.findall(r"alembic (merge heads)", found["scripts"]["hint"])
    shop.write("migrations/script.py.mako", "revision = ${repr(up_revision)}\n"
               "down_revision = ${repr(down_revision)}\ndef upgrade(): ...\n")  # fmt: skip
    assert shop._run("alembic", *command.split()).returncode == 0
    shop.command("build", "-q")

    assert found["scripts"]["seen"] == "2 heads: a, b"
    assert doctor(shop)["scripts"]["state"] == "good"


def test_a_history_that_makes_no_sense_is_a_line(shop):
    shop.write("migrations/versions/b.py", "revision, down_revision = 'b', 'nowhere'\n")

    found = doctor(shop)

    assert found["scripts"]["state"] == "bad"
    assert "refers to revision 'nowhere'" in found["scripts"]["seen"]
    assert found["engine"]["state"] == "good"


def test_a_store_that_is_no_folder(shop, tmp_path):
    shop.variables["ALEMBIC_SNAPSHOT_DIR"] = str(shop.write("file", "") / "store")

    found = doctor(shop)
    other = doctor(shop, "--store", str(tmp_path / "other"))

    assert found["store"]["state"] == "bad"
    assert "choose another with ALEMBIC_SNAPSHOT_DIR" in found["store"]["hint"]
    assert other["store"]["state"] == "good"


def test_models_that_differ(shop):
    models = shop.read("shop/models.py")
    shop.write("shop/models.py", f"{models}    price: Mapped[int]\n")
    shop.command("build", "-q")

    found = doctor(shop)
    listed = shop.command(*found["models"]["hint"].split()[1:2])

    assert found["models"]["state"] == "doubtful"
    assert "add column orders.price" in listed.stdout


def test_drift_that_fails_tests_is_bad(shop):
    text = shop.read("pyproject.toml")
    table = "[tool.alembic-snapshot]\n"
    shop.write("pyproject.toml", text.replace(table, f'{table}drift = "error"\n'))
    models = shop.read("shop/models.py")
    shop.write("shop/models.py", f"{models}    price: Mapped[int]\n")
    shop.command("build", "-q")

    assert doctor(shop)["models"]["state"] == "bad"


def test_a_plugin_that_is_switched_off(shop):
    text = shop.read("pyproject.toml")
    shop.write("pyproject.toml", f'{text}addopts = ["-p", "no:alembic-snapshot"]\n')

    found = doctor(shop)

    assert found["pytest"]["seen"] == "it does not load the plugin"
    assert "-p no:alembic-snapshot" in found["pytest"]["hint"]


@pytest.mark.parametrize(
    ("encoding", "cookie"),
    [("latin-1", "# coding: latin-1"), ("cp1252", "# -*- coding: cp1252 -*-"), ("utf-8-sig", "#")],
)
def test_an_env_py_in_another_encoding_is_read(shop, encoding, cookie):
    path = shop.root / "migrations" / "env.py"
    path.write_bytes(f"{cookie}\n# René\n{path.read_text()}".encode(encoding))

    found = doctor(shop)

    assert found["snapshot"]["about"] == "snapshot"
    assert found["engine"]["state"] == "good"


@pytest.mark.parametrize("look", ["_drivers", "_server", "_store", "_shared", "_snapshot"])
@pytest.mark.parametrize("error", [IndexError("no such"), UnicodeDecodeError("x", b"", 0, 1, "y")])
def test_a_look_that_nobody_foresaw_to_fail_is_a_line(shop, monkeypatch, look, error):
    def fail(project):
        raise error

    monkeypatch.chdir(shop.root)
    monkeypatch.setattr(f"alembic_snapshot.cli.doctor.{look}", fail)

    findings = list(_database(load_project()))

    bad = [one for one in findings if one.state.value[1] == "bad"]
    assert [one.seen for one in bad] == [f"not looked at: {type(error).__name__}: {error}"]
    assert findings[0].about == "Alembic"


ENDS = {
    "a mistake": ("1 / 0", "engine", "ZeroDivisionError"),
    "an exit": ("raise SystemExit('no settings')", "engine", "SystemExit: no settings"),
    "the end": ("import os; os._exit(7)", "pytest", "pytest ended with status 7"),
    "a signal": ("import os; os.kill(os.getpid(), 11)", "pytest", "was ended by SIGSEGV"),
    "a wait": ("import threading; threading.Event().wait()", "pytest", "did not end within 6 s: "
               "it is at shop/db.py line 1"),
}  # fmt: skip


@pytest.mark.parametrize("name", ENDS)
def test_whatever_the_application_does_is_a_line_and_not_the_end_of_doctor(shop, name):
    code, about, seen = ENDS[name]
    shop.write("shop/db.py", f"{code}\n{shop.read('shop/db.py')}")

    # What ends by itself has as long as it takes.
    limit = ["--timeout", "6"] if name == "a wait" else []
    found = doctor(shop, *limit)

    assert seen in found[about]["seen"]
    assert found[about]["state"] == "bad"
    assert found["snapshot"]["state"] == "good"


def test_an_application_that_connects_when_it_is_imported_is_kept_from_it(shop):
    shop.write("shop/db.py", f"{shop.read('shop/db.py')}\nengine.connect()\n")

    found = doctor(shop)

    assert found["engine"]["state"] == "bad"
    assert "connect in a function that a test or a fixture calls" in found["engine"]["hint"]
    assert not (shop.root / "shop.db").exists()


def test_a_conftest_that_fails_is_a_line(shop):
    shop.write("conftest.py", "import nothing_of_that_name\n")

    found = doctor(shop)

    assert found["pytest"]["state"] == "bad"
    assert "No module named 'nothing_of_that_name'" in found["pytest"]["seen"]
    assert found["engine, sessionmaker"]["seen"] == "not looked at without pytest"


def test_a_variable_that_is_not_set(shop):
    url = 'import os\nTOKEN = os.environ["SHOP_TOKEN"]\nURL = "sqlite:///shop.db"\n'
    shop.write("shop/settings.py", url)

    found = doctor(shop)
    (line,) = re.findall(r"conftest.py: (.*)$", found["engine"]["hint"])
    shop.write("conftest.py", f"import os\n{line}\n")

    assert "shop/settings.py line 2: the variable SHOP_TOKEN is not set" in found["engine"]["seen"]
    assert "the variable SHOP_TOKEN" not in str(doctor(shop)["engine"])


def test_a_variable_of_environment_is_set_in_tests(shop):
    shop.write("shop/settings.py", 'import os\nURL = os.environ["SHOP_URL"]\n')

    found = doctor(shop)["engine"]

    assert found["state"] == "good"
    assert ", to what SHOP_URL says, " in found["seen"]


def test_an_engine_that_is_not_of_the_variable_is_doubtful(shop):
    shop.write("shop/settings.py", 'URL = "sqlite:///test.db"\n')

    found = doctor(shop)["engine"]

    assert found["state"] == "doubtful"
    assert "to 'test.db', and not to what SHOP_URL says (environment)" in found["seen"]
    assert found["hint"].endswith("its database is from the variable SHOP_URL")


def test_a_conftest_has_its_effect(shop):
    shop.write("shop/settings.py", 'import os\nURL = os.environ["SHOP_URL"]\n')
    shop.write("conftest.py", "import os\nos.environ['SHOP_URL'] = 'sqlite:///shop.db'\n")

    assert doctor(shop)["engine"]["state"] == "good"


def test_options_of_pytest_do_no_harm(shop):
    text = shop.read("pyproject.toml")
    shop.write("pyproject.toml", f'{text}addopts = ["-n", "2", "--strict-markers"]\n')

    assert doctor(shop)["engine"]["state"] == "good"


@pytest.mark.parametrize(("name", "version"), [("SQLAlchemy", "1.4.54"), ("pytest", "7.4.0")])
def test_a_version_that_is_too_old_is_named(real_starts, shop, tmp_path, name, version):
    folder = tmp_path / f"old/{name}-{version}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    shop.variables["PYTHONPATH"] = str(folder.parent)

    found = doctor(shop)

    assert found[name]["state"] == "bad"
    assert found[name]["seen"].startswith(f"{version} is not supported: ")
    assert found[name]["hint"].startswith(f'pip install "{name}>=')
    assert found["the rest"]["seen"] == "not looked at with these versions"


def test_further_databases_have_lines_of_their_own(shop):
    text = shop.read("pyproject.toml")
    more = '[tool.alembic-snapshot.databases.log]\nconfig = "alembic.ini"\nengine = "shop.db:log"\n'
    shop.write("pyproject.toml", f"{text}\n{more}")

    found = doctor(shop)

    assert found["default: engine"]["state"] == "good"
    assert found["log: engine"]["state"] == "bad"
    assert found["log: scripts"]["state"] == "good"


class TestPostgreSQL:
    """Where databases are on a server."""

    @pytest.fixture
    def shop(self, folder, postgres) -> Folder:
        """A project whose databases are on the private server."""
        folder.shape()
        folder.variables["SNAPSHOT_POSTGRES_URL"] = postgres.url
        folder.write("pyproject.toml", '[tool.alembic-snapshot]\nbackend = "postgresql"\n')
        folder.write("shop/settings.py", 'import os\nURL = os.environ["SHOP_URL"]\n')
        folder.write(".env.example", "SHOP_URL=postgresql+psycopg://localhost/shop\n")
        folder.init()
        return folder

    def test_all_is_well_after_init(self, shop):
        found = doctor(shop)

        assert states(found) == {"good"}
        assert "may create databases" in found["server"]["seen"]
        assert "postgresql+psycopg" in found["engine"]["seen"]

    def test_a_private_server_that_asyncpg_itself_can_not_reach_is_a_line(
        self, shop, postgres_folder
    ):
        if shutil.which("unshare") is None or subprocess.run(["unshare", "-n", "true"]).returncode:
            pytest.skip("no network can be taken away from a process here")
        del shop.variables["SNAPSHOT_POSTGRES_URL"]
        shop.variables["ALEMBIC_SNAPSHOT_POSTGRES_DIR"] = str(postgres_folder / "alone")

        done = shop.command("doctor", "--json", before=("unshare", "-n"))

        found = {one["about"]: one for one in json.loads(done.stdout)["findings"]}
        assert found["asyncpg"]["state"] == "doubtful"
        assert "one by one" in found["asyncpg"]["hint"]
        assert found["server"]["state"] == "good"

    def test_an_extension_that_the_server_lacks_is_named(self, shop):
        shop.write("migrations/versions/0002_more.py", "revision, down_revision = '2', '0001'\n"
                   "def upgrade():\n    op.execute('CREATE EXTENSION IF NOT EXISTS nonesuch')\n"
                   "    op.execute('create extension plpgsql')\n")  # fmt: skip

        found = doctor(shop)

        assert found["extensions"]["state"] == "bad"
        assert "the server has no nonesuch, which revisions create" in found["extensions"]["seen"]

    def test_a_server_that_is_not_there_is_a_line(self, shop):
        shop.variables["SNAPSHOT_POSTGRES_URL"] = "postgresql://nobody@localhost:1/"

        found = doctor(shop)

        assert found["server"]["state"] == "bad"
        assert "no PostgreSQL server at localhost:1" in found["server"]["seen"]
        assert found["engine"]["state"] == "good"
