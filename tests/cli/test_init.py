"""From a project without a table to a passing test, whatever shape it has."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tomllib

import pytest

from .conftest import Folder
from .shapes import ENGINES, LAYOUTS, URLS, Shape

SHAPES = [
    Shape(layout, engine, list(URLS)[(row + column) % len(URLS)])
    for row, layout in enumerate(LAYOUTS)
    for column, engine in enumerate(ENGINES)
]


def _first(shapes: list[Shape]) -> list[Shape]:
    """As few as have every layout, engine and way; the others are for a longer run."""
    kept: list[Shape] = []
    missing = {*LAYOUTS, *ENGINES, *URLS}
    while missing:
        best = max(shapes, key=lambda one: len(missing & _parts(one)))
        kept.append(best)
        missing -= _parts(best)
    return kept


def _parts(shape: Shape) -> set[str]:
    return {shape.layout, shape.engine, shape.url}


# All of them where generated cases are run by the thousand.
CASES = SHAPES if "ORACLE_CASES" in os.environ else _first(SHAPES)


def table(folder: Folder) -> dict:
    return tomllib.loads(folder.read("pyproject.toml"))["tool"]["alembic-snapshot"]


def refused(done) -> tuple[str, str]:
    """The error and the hint of a command that refused."""
    assert done.returncode == 2, done.stdout + done.stderr
    error, hint = done.stderr.splitlines()[-2:]
    assert error.startswith("error: ")
    assert hint.startswith("hint: ")
    return error, hint


@pytest.mark.parametrize("shape", CASES, ids=str)
def test_init_then_the_test_that_it_shows_then_nothing_is_left(folder, shape):
    shape.write(folder.root)
    subprocess.run(["git", "init", "-q", str(folder.root)], check=True)
    before = folder.files()

    shown = folder.init()
    test = folder.save_test(shown.stdout)
    ran = folder.pytest()
    examined = folder.command("doctor")

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert examined.returncode == 0, examined.stdout
    assert "✗" not in examined.stdout
    assert "1 passed" in ran.stdout
    assert "1 clone" in ran.stdout
    assert "warning" not in shown.stderr + ran.stdout
    added = folder.files() - before - {test.relative_to(folder.root).as_posix()}
    assert added == {"pyproject.toml", ".gitignore"}
    assert folder.read(".gitignore") == "/.alembic-snapshot/\n"


def test_nothing_of_the_project_is_imported_for_the_proposal(folder):
    folder.shape()
    for path in folder.root.rglob("*.py"):
        path.write_text(f"{path.read_text()}\nraise SystemExit('imported')\n")

    shown = folder.command("init", "--print")

    assert shown.returncode == 0, shown.stderr
    assert 'engine = "shop.db:engine"' in shown.stdout
    assert not (folder.root / "pyproject.toml").exists()
    assert not list(folder.root.rglob("__pycache__"))


def test_what_it_prints_is_the_table_that_it_writes(folder):
    folder.shape(layout="src", url="secret")

    printed = folder.command("init", "--print").stdout
    folder.init()

    assert tomllib.loads(printed) == tomllib.loads(folder.read("pyproject.toml"))
    assert printed.splitlines()[0] == "# pyproject.toml"
    assert all("  # " in line for line in printed.splitlines() if line.startswith(("engine", "py")))


def test_each_line_has_its_reason(folder):
    folder.shape(layout="src", url="variable")

    printed = folder.command("init", "--print").stdout

    assert "# made in src/shop/db.py line 6" in printed
    assert "# shop is in src" not in printed  # prepend_sys_path has it
    assert "# the URL is read in migrations/env.py line 14" in printed
    assert 'pythonpath = ["src"]  # where tests find shop' in printed


def test_run_again_it_proposes_what_is_missing_and_leaves_the_rest(folder):
    folder.shape(url="secret")
    folder.init()
    whole = table(folder)
    text = folder.read("pyproject.toml")
    changed = text.replace('"shop.db:SessionLocal"', '"shop.db:SessionLocal"  # ours')
    lines = [line for line in changed.splitlines(True) if not line.startswith("environment")]
    folder.write("pyproject.toml", "".join(lines))

    folder.init()
    again = folder.init()

    assert table(folder) == whole
    assert '"shop.db:SessionLocal"  # ours\n' in folder.read("pyproject.toml")
    assert "# nothing is missing here" in again.stdout
    assert "wrote" not in again.stderr
    assert "reused the snapshot" in again.stderr


KEPT = """# ours
[project]
name = "shop"   # a name
version = "1"

[tool.pytest.ini_options]
addopts = ["-q"]  # less

# what ruff is told

[tool.ruff]
line-length   = 99
"""


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_everything_else_in_the_file_stays_as_it_is(folder, end):
    folder.shape()
    (folder.root / "pyproject.toml").write_bytes(KEPT.replace("\n", end).encode())

    folder.init()

    after = folder.read("pyproject.toml")
    assert after.count("\n") == after.count(end)
    added = {'pythonpath = ["."]', 'engine = "shop.db:engine"', "[tool.alembic-snapshot]"}
    added |= {'sessionmaker = "shop.db:SessionLocal"', 'environment = { SHOP_URL = "{url}" }', ""}
    left = [line for line in after.splitlines() if line not in added]
    assert left == [line for line in KEPT.splitlines() if line]
    assert 'addopts = ["-q"]  # less\npythonpath' in after.replace("\r", "")


REPORTS = """
from sqlalchemy import create_engine
from sqlalchemy.orm import sessionmaker

engine = create_engine("sqlite:///reports.db")
Session = sessionmaker(engine)
"""


def test_several_engines_are_named_and_none_is_chosen(folder):
    folder.shape()
    folder.write("shop/reports.py", REPORTS)

    shown = folder.command("init", "--print")

    assert shown.returncode == 0
    assert "engine =" not in shown.stdout
    line = "# engine is left out: 2 candidates: shop.db:engine (shop/db.py line 6), shop.reports"
    assert line in shown.stdout
    assert "# sessionmaker is left out: none is made on the engine" in shown.stdout


def test_several_databases_of_one_env_py_are_told(folder):
    folder.shape()
    folder.write("alembic.ini", folder.read("alembic.ini") + "databases = one, two\n")

    shown = folder.command("init", "--print").stdout

    assert "# env.py migrates several databases (one, two), and a snapshot is one" in shown


def test_where_nothing_can_be_known_it_does_not_say_that_nothing_is_missing(folder):
    folder.shape()
    (folder.root / "shop/db.py").unlink()

    shown = folder.command("init", "--print").stdout

    assert "nothing is missing" not in shown
    assert "# there is nothing to add" in shown
    assert "# engine is left out: no create_engine(), create_async_engine() or SQLAl" in shown


def test_a_function_that_gives_the_same_engine_is_no_other_one(folder):
    folder.shape()
    folder.write("shop/db.py", """
        from sqlalchemy import create_engine
        from elsewhere import url

        def make():
            return create_engine(url())

        engine = make()

        def get_engine():
            return engine
    """)  # fmt: skip

    shown = folder.command("init", "--print").stdout
    folder.write("shop/more.py", "from sqlalchemy import create_engine\n"
                 "def reports():\n    return create_engine('sqlite:///reports.db')\n")  # fmt: skip
    more = folder.command("init", "--print").stdout

    assert 'engine = "shop.db:engine"' in shown
    assert "# engine is left out: 2 candidates: shop.db:engine" in more
    assert "shop.more:reports()" in more


def test_of_several_engines_the_one_that_env_py_imports_is_the_one(folder):
    folder.shape(url="settings")
    folder.write("shop/reports.py", REPORTS)
    env = folder.read("migrations/env.py")
    folder.write("migrations/env.py", f"import shop.db\n{env}")

    shown = folder.command("init", "--print").stdout

    assert 'engine = "shop.db:engine"' in shown
    assert "of several, the one that env.py imports" in shown


def test_two_configurations_of_alembic_are_named_and_none_is_chosen(folder):
    for name in ("one", "two"):
        Shape("flat", "object", "option", name).write(folder.root / name)

    error, hint = refused(folder.command("init", "--yes"))
    followed = folder.command(
        *hint.removeprefix("hint: choose one: alembic-snapshot ").split(), "-y"
    )

    folder.save_test(followed.stdout)

    assert "several configurations of Alembic: one/alembic.ini, two/alembic.ini" in error
    assert "run pytest in one;" in followed.stdout
    assert "1 passed" in folder._run("pytest", cwd=folder.root / "one").stdout
    assert followed.returncode == 0, followed.stderr
    assert (folder.root / "one/pyproject.toml").exists()
    assert not (folder.root / "pyproject.toml").exists()


def test_where_there_is_no_alembic_the_hint_leads_to_one(folder):
    folder.write("shop/__init__.py", "")

    error, hint = refused(folder.command("init", "--yes"))
    followed = folder._run("alembic", "init", "migrations")

    assert "no configuration of Alembic" in error
    assert "`alembic init migrations`" in hint
    assert followed.returncode == 0
    assert folder.command("init", "--print").returncode == 0
    assert not (folder.root / "pyproject.toml").exists()


BAD = {
    "no TOML": ("[tool.alembic-snapshot\n", "is not TOML"),
    "no text": (b"\xff\xfe[", "is not UTF-8"),
    "an unknown key": ("[tool.alembic-snapshot]\nengin = 'a:b'\n", "unknown key 'engin'"),
    "no table": ("tool.alembic-snapshot = 3\n", "is 3, no table"),
    "no place": ("tool = { ruff = {} }\n", "without changing what stands there"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_is_wrong_is_one_error_and_nothing_is_written(folder, name):
    text, message = BAD[name]
    folder.shape()
    path = folder.root / "pyproject.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    before = path.read_bytes()

    error, _ = refused(folder.command("init", "--yes"))

    assert message in error
    assert path.read_bytes() == before
    assert not (folder.root / ".alembic-snapshot").exists()


@pytest.mark.parametrize("kind", ["a folder", "a pipe"])
def test_what_is_no_file_is_one_error(folder, kind):
    folder.shape()
    path = folder.root / "pyproject.toml"
    path.mkdir() if kind == "a folder" else os.mkfifo(path)

    error, _ = refused(folder.command("init", "--yes"))

    assert "it is no file" in error


def test_a_link_stays_a_link(folder):
    folder.shape()
    shared = folder.write("shared.toml", "[project]\nname = 'shop'\nversion = '1'\n")
    (folder.root / "pyproject.toml").symlink_to(shared)

    folder.init()

    assert (folder.root / "pyproject.toml").is_symlink()
    assert "[tool.alembic-snapshot]" in shared.read_text()


def test_a_file_that_does_not_parse_is_told(folder):
    folder.shape()
    folder.write("shop/broken.py", "from sqlalchemy import create_engine\nengine = (\n")

    shown = folder.init().stdout

    assert "# shop/broken.py does not parse, line 2: '(' was never closed: not looked at" in shown
    assert table(folder)["engine"] == "shop.db:engine"


def test_modules_that_import_in_circles_end(folder):
    folder.shape()
    for one, other in (("a", "b"), ("b", "a")):
        folder.write(f"shop/{one}.py", f"from shop.{other} import get, Kind, URL, settings\n")
    folder.write("shop/db.py", """
        from sqlalchemy import create_engine
        from shop.a import get, Kind, URL, settings

        first = get()
        second = Kind()
        third = URL or settings.url
        fourth = fourth = first
        engine = create_engine(URL or get() or Kind().url or settings.url or third)
    """)  # fmt: skip

    shown = folder.command("init", "--print")

    assert shown.returncode == 0, shown.stderr
    assert 'engine = "shop.db:engine"' in shown.stdout


def test_a_url_that_is_changed_again_and_again_is_followed_to_where_it_began(folder):
    folder.shape()
    changes = "\n".join(f"URL = URL.replace('{n}', '') or URL" for n in range(40))
    folder.write("shop/settings.py", f"import os\nURL = os.environ['SHOP_URL']\n{changes}\n")
    env = folder.read("migrations/env.py")
    folder.write("migrations/env.py", f"{env}\nfrom shop.settings import URL\n"
                 "config.set_main_option('sqlalchemy.url', URL)\n")  # fmt: skip

    shown = folder.command("init", "--print").stdout

    assert 'environment = { SHOP_URL = "{url}" }' in shown


def test_a_name_that_is_given_one_engine_or_another_is_one_name(folder):
    folder.shape()
    folder.write("shop/db.py", """
        from sqlalchemy import create_engine
        from elsewhere import is_fast, url

        if is_fast:
            engine = create_engine(url("fast"), pool_size=9)
        else:
            engine = create_engine(url("slow"))
    """)  # fmt: skip

    shown = folder.command("init", "--print").stdout

    assert 'engine = "shop.db:engine"  # made in shop/db.py line 5\n' in shown


def test_a_name_that_is_given_one_factory_and_then_another_on_it(folder):
    folder.shape()
    folder.write("shop/db.py", """
        from sqlalchemy import create_engine
        from sqlalchemy.orm import scoped_session, sessionmaker
        from shop.settings import URL

        def make():
            return create_engine(URL)

        engine = make()
        Session = sessionmaker(bind=engine)
        Session = scoped_session(Session)
    """)  # fmt: skip

    folder.save_test(folder.init().stdout)

    assert table(folder)["sessionmaker"] == "shop.db:Session"
    assert "1 passed" in folder.pytest().stdout


def test_engines_of_tests_and_of_other_environments_do_not_count(folder):
    folder.shape()
    folder.write("tests/helpers.py", REPORTS)
    folder.write("conftest.py", REPORTS)
    folder.write("env/lib/thing.py", REPORTS)
    folder.write("env/pyvenv.cfg", "")

    shown = folder.command("init", "--print").stdout

    assert 'engine = "shop.db:engine"' in shown
    assert "left out" not in shown


def test_a_section_of_another_name_is_proposed_and_of_several_none(folder):
    folder.shape()
    ini = folder.read("alembic.ini")
    folder.write("alembic.ini", ini.replace("[alembic]", "[shop]"))
    one = folder.command("init", "--print").stdout
    folder.write(
        "alembic.ini", ini.replace("[alembic]", "[shop]") + ini.replace("alembic]", "log]")
    )

    error, hint = refused(folder.command("init", "--yes"))
    folder.write("pyproject.toml", '[tool.alembic-snapshot]\nsection = "shop"\n')
    followed = folder.init()

    assert 'section = "shop"' in one
    assert "alembic.ini has several sections with scripts: shop, log" in error
    assert 'write section = "shop" below [tool.alembic-snapshot]' in hint
    assert "built the snapshot" in followed.stderr


def test_a_read_only_file_is_left_alone_until_it_is_made_writable(folder):
    folder.shape()
    path = folder.write("pyproject.toml", "[project]\nname = 'shop'\nversion = '1'\n")
    path.chmod(0o444)

    error, hint = refused(folder.command("init", "--yes"))
    before = path.read_text()
    path.chmod(0o640)
    folder.init()

    assert "pyproject.toml is read-only" in error
    assert "make it writable" in hint
    assert "alembic-snapshot" not in before
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_it_asks_nobody_where_there_is_no_terminal(folder):
    folder.shape()

    error, hint = refused(folder.command("init"))

    assert "no terminal" in error
    assert "--yes writes without asking" in hint
    assert not (folder.root / "pyproject.toml").exists()


@pytest.mark.parametrize(("answer", "status"), [("n\n", 1), ("y\n", 0), ("\n", 0)])
def test_on_a_terminal_it_asks_and_writes_if_the_answer_is_yes(folder, answer, status):
    folder.shape()
    above, below = os.openpty()
    started = subprocess.Popen(
        [sys.executable, "-P", "-m", "alembic_snapshot", "init"],
        cwd=folder.root,
        stdin=below,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(below)
    os.write(above, answer.encode())
    _, said = started.communicate(timeout=120)
    os.close(above)

    assert started.returncode == status, said
    assert "Write this to pyproject.toml? [Y/n]" in said
    assert ("nothing was written" in said) is (status == 1)
    assert (folder.root / "pyproject.toml").exists() is (status == 0)


@pytest.mark.parametrize("name", ["with a space", "Bücher & mehr", "100% (neu)"])
def test_folders_have_whatever_names_they_have(tmp_path, name):
    folder = Folder(tmp_path / name / "project")
    folder.shape(layout="src", url="x")

    folder.save_test(folder.init().stdout)

    assert "1 passed" in folder.pytest().stdout


def test_packages_have_whatever_names_they_have(folder):
    Shape("backend", "object", "settings", "bücher").write(folder.root)

    folder.save_test(folder.init().stdout)

    assert table(folder)["engine"] == "bücher.db:engine"
    assert "1 passed" in folder.pytest().stdout


def test_pytest_that_is_configured_elsewhere_is_left_alone_and_told(folder):
    folder.shape()
    folder.write("pytest.ini", "[pytest]\naddopts = -q\n")

    shown = folder.init()
    folder.save_test(shown.stdout)
    before = folder.pytest()
    folder.write("pytest.ini", "[pytest]\naddopts = -q\npythonpath = .\n")

    assert (
        "1. in pytest.ini, below [pytest]: pythonpath = . (where tests find shop)" in shown.stdout
    )
    assert "pytest" not in tomllib.loads(folder.read("pyproject.toml"))["tool"]
    assert before.returncode != 0
    assert folder.pytest().returncode == 0


def test_a_build_that_fails_is_told_with_what_was_written(folder):
    folder.shape()
    folder.write("migrations/versions/0001_orders.py", "revision, down_revision = '1', None\n"
                 "def upgrade():\n    1 / 0\n")  # fmt: skip

    error, _ = refused(done := folder.command("init", "--yes"))

    assert "wrote pyproject.toml" in done.stderr
    assert "ZeroDivisionError" in error
    assert table(folder)["engine"] == "shop.db:engine"


def test_the_store_is_not_added_where_git_ignores_it_already(folder):
    folder.shape()
    subprocess.run(["git", "init", "-q", str(folder.root)], check=True)
    folder.write(".gitignore", "/*\n!/shop")

    done = folder.init()

    assert folder.read(".gitignore") == "/*\n!/shop"
    assert ".gitignore" not in done.stderr


def test_a_line_is_added_below_one_that_does_not_end(folder):
    folder.shape()
    subprocess.run(["git", "init", "-q", str(folder.root)], check=True)
    folder.write(".gitignore", "*.pyc")

    folder.init()

    assert folder.read(".gitignore") == "*.pyc\n/.alembic-snapshot/\n"


def test_another_kind_of_database_is_refused(folder):
    folder.shape()
    folder.write("shop/settings.py", 'URL = "mysql+pymysql://localhost/shop"\n')

    error, hint = refused(folder.command("init", "--yes"))
    folder.write("pyproject.toml", '[tool.alembic-snapshot]\nbackend = "sqlite"\n')

    assert "the URL in shop/db.py line 6 is MySQL's, which is not supported" in error
    assert 'backend = "sqlite"' in hint
    assert folder.command("init", "--print").returncode == 0


def test_a_url_of_postgresql_says_what_kind_of_database_it_is(folder):
    folder.shape()
    folder.write("shop/settings.py", 'import os\nURL = os.environ["SHOP_URL"]\n')
    folder.write(".env.example", "SHOP_URL=postgresql+psycopg://localhost/shop\n")

    shown = folder.command("init", "--print").stdout

    assert 'backend = "postgresql"' in shown
    assert 'environment = { SHOP_URL = "{url}" }' in shown


@pytest.mark.parametrize("engine", ["object", "async"])
def test_what_the_application_needs_to_be_imported_is_shown_too(folder, engine):
    folder.shape(engine=engine, url="settings")
    needs = "import os\nURL = os.environ['SHOP_URL']\nKEY = os.environ['SHOP_KEY']\n"
    folder.write("shop/settings.py", needs)

    shown = folder.init()
    before = folder.command("doctor")
    folder.save_test(shown.stdout)

    assert "the application needs SHOP_URL, SHOP_KEY when it is imported" in shown.stdout
    assert before.returncode == 1
    assert folder.command("doctor").returncode == 0
    assert "1 passed" in folder.pytest().stdout


@pytest.fixture
def flask(folder):
    """A project of Flask-Migrate's shape, whose application a function makes."""
    folder.shape()
    (folder.root / "alembic.ini").rename(folder.root / "migrations/alembic.ini")
    folder.write("migrations/alembic.ini", "[alembic]\n")
    env = "from flask import current_app\nurl = current_app.extensions['migrate'].db.engine.url\n"
    folder.write("migrations/env.py", env)
    folder.write("shop/db.py", "from flask_sqlalchemy import SQLAlchemy\ndb = SQLAlchemy()\n")
    folder.write("shop/app.py", FACTORY)
    return folder


FACTORY = """
from flask import Flask

def create_app():
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite:///shop.db"
    return app
"""


def test_of_flask_migrates_project_the_context_is_proposed(flask):
    shown = flask.command("init", "--print").stdout

    assert 'config = "migrations/alembic.ini"' in shown
    assert 'engine = "sqlite:///instance/shop.db"' in shown
    assert 'context = "shop.app:create_app().app_context()"' in shown
    assert "migrations/env.py line 2 asks for current_app; made in shop/app.py line 3" in shown


SEVERAL = """
class Config:
    DEBUG = False


class Dev(Config):
    SQLALCHEMY_DATABASE_URI = "sqlite:///dev.db"


class Test(Config):
    SQLALCHEMY_DATABASE_URI = {url!r}
"""
BY_OBJECT = """
from flask import Flask

from shop.config import Dev

def create_app(config=Dev):
    app = Flask(__name__)
    app.config.from_object(config)
    return app
"""


@pytest.mark.parametrize(
    ("url", "line", "backend"),
    [
        ("sqlite:///test.db", "sqlite:///instance/test.db", None),
        ("sqlite:////srv/test.db", "sqlite:////srv/test.db", None),
        ("postgresql://localhost/test", "postgresql://localhost/test",
         "# backend is left out: there are URLs of SQLite and of PostgreSQL"),
    ],
)  # fmt: skip
def test_of_several_configurations_init_says_which_engines_there_are(flask, url, line, backend):
    flask.write("shop/config.py", SEVERAL.format(url=url))
    flask.write("shop/app.py", BY_OBJECT)

    shown = flask.command("init", "--print").stdout

    (left_out,) = [one for one in shown.splitlines() if one.startswith("# engine is left out")]
    assert "2 URLs; write the line of the one that the application has in tests: " in left_out
    assert 'engine = "sqlite:///instance/dev.db" (shop/config.py line ' in left_out
    assert f'engine = "{line}" (shop/config.py line ' in left_out
    told = [one for one in shown.splitlines() if one.startswith("# backend is left out")]
    assert bool(told) is (backend is not None)
    assert all(one.startswith(str(backend)) for one in told)


APPLICATIONS = {
    "an object": ("from flask import Flask\napp = Flask(__name__)\n", "shop.app:app"),
    "an object of a function's": (
        FACTORY + "app = create_app()\n", "shop.app:create_app()"),
    "a class of the project": (
        "import flask\nclass Shop(flask.Flask): ...\nsite = Shop('shop')\n", "shop.app:site"),
    "of a function with a default": (
        "from flask import Flask\ndef make(settings=None) -> Flask: ...\n", "shop.app:make()"),
    "of another's function": (
        "from shop.made import create_app\napplication = create_app()\n",
        "shop.made:create_app()"),
    "several, one with the known name": (
        FACTORY + FACTORY.replace("create_app", "other"), "shop.app:create_app()"),
    "as FLASK_APP says": (FACTORY, "shop.made:create_app()"),
}  # fmt: skip


@pytest.mark.parametrize("case", APPLICATIONS)
def test_the_application_is_found_whatever_makes_it(flask, case):
    text, name = APPLICATIONS[case]
    flask.write("shop/app.py", text)
    if "made" in name:
        flask.write("shop/made.py", FACTORY)
    if "FLASK_APP" in case:
        flask.write(".flaskenv", "FLASK_APP=shop.made:create_app\n")

    shown = flask.command("init", "--print").stdout

    assert f'context = "{name}.app_context()"' in shown


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no application was found: write a function that makes it"),
        (FACTORY.replace("()", "(settings)"), "shop.app:create_app (create_app() needs arguments)"),
        (FACTORY.replace("create_app", "one") + FACTORY.replace("create_app", "two"),
         "2 candidates: shop.app:one (line 3), shop.app:two (line 10)"),
    ],
)  # fmt: skip
def test_an_application_that_can_not_be_told_is_left_out_with_the_reason(flask, text, why):
    flask.write("shop/app.py", text)

    shown = flask.command("init", "--print").stdout

    assert "# context is left out: migrations/env.py line 2 asks for Flask's current_app" in shown
    assert why in shown
