"""A variable that has the database's URL becomes a line of the table, however it is spelled."""

from __future__ import annotations

import os
import re
import textwrap
from importlib.util import find_spec

import pytest

from alembic_snapshot.discover.layout import find_layout
from alembic_snapshot.discover.proposal import propose

from .spellings import PLACES, WAYS, files

LIBRARIES = ("decouple", "dynaconf", "environ", "environs", "prettyconf", "pydantic_settings")


def installed(way):
    """Whether the library that a way needs is there; what is proposed needs none."""
    names = re.findall(r"^(?:from|import) (\w+)", WAYS[way].above, re.MULTILINE)
    return all(find_spec(name) for name in names if name in LIBRARIES)


# Each way once, in another place each time; all of them where cases are run by the thousand.
PAIRS = [
    (way, place)
    for row, way in enumerate(filter(installed, WAYS))
    for column, place in enumerate(PLACES)
    if "ORACLE_CASES" in os.environ or (row % 4 == 0 and row // 4 % len(PLACES) == column)
]


@pytest.fixture
def project(folder):
    """Write a project of a way and a place."""

    def write(way, place):
        folder.shape()
        (folder.root / "shop/db.py").unlink()
        for name, text in files(way, place).items():
            folder.write(name, text)
        return folder

    return write


def lines(folder):
    return {line.key: line for line in propose(find_layout(folder.root), {}).lines}


@pytest.mark.parametrize("way", WAYS)
def test_the_variable_is_proposed_wherever_it_is_read(project, way):
    found = {place: lines(project(way, place)).get("environment") for place in PLACES}

    wanted = dict.fromkeys(PLACES, WAYS[way].variables)
    assert {place: line and line.value for place, line in found.items()} == wanted
    assert all("the URL is read in" in line.reason for line in found.values())


@pytest.mark.parametrize(("way", "place"), PAIRS)
def test_with_it_a_build_warns_of_nothing_and_the_developers_database_is_left_alone(
    project, way, place
):
    folder = project(way, place)
    for name in ("app.db", "shop.db"):
        (folder.root / name).write_bytes(b"the developer's")

    first = folder.init()
    again = folder.command("build")

    assert "built the snapshot" in first.stderr
    assert "warning" not in first.stderr + again.stderr
    for name in ("app.db", "shop.db"):
        assert (folder.root / name).read_bytes() == b"the developer's"
    assert {path.name for path in folder.root.glob("*.db")} == {"app.db", "shop.db"}


BESIDE = {
    "another argument": """
        import os
        from sqlalchemy import create_engine
        engine = create_engine("sqlite:///app.db", echo=bool(os.getenv("SHOP_ECHO")))
    """,
    "another entry": """
        import os
        from sqlalchemy import create_engine
        SETTINGS = {"key": os.getenv("SHOP_KEY"), "url": "sqlite:///app.db"}
        engine = create_engine(SETTINGS["url"])
    """,
    "another field": """
        import os
        from dataclasses import dataclass
        from sqlalchemy import create_engine
        @dataclass
        class Settings:
            key: str
            url: str
        settings = Settings(os.getenv("SHOP_KEY"), "sqlite:///app.db")
        engine = create_engine(settings.url)
    """,
    "another object": """
        import os
        from types import SimpleNamespace
        from sqlalchemy import create_engine
        other = SimpleNamespace(url=os.getenv("SHOP_OTHER"))
        settings = SimpleNamespace(url="sqlite:///app.db")
        engine = create_engine(settings.url)
    """,
    "another call": """
        import os
        from sqlalchemy import create_engine
        def given(name, default):
            return os.environ.get(name, default)
        KEY = given("SHOP_KEY", "")
        def chosen(value):
            return value
        engine = create_engine(chosen("sqlite:///app.db"))
    """,
    "no reader": """
        from sqlalchemy import create_engine
        class Store:
            def get(self, name, default):
                return default
        store = Store()
        engine = create_engine(store.get("SHOP_URL", "sqlite:///app.db"))
    """,
}


@pytest.mark.parametrize("default", ['"SHOP_URL"', '"SHOP_URL", "sqlite:///shop.db"'])
def test_a_variable_that_the_application_alone_reads_is_for_child_processes(folder, default):
    folder.shape()
    engine = f"engine = create_engine(os.environ.get({default}))"
    folder.write("shop/db.py", f"import os\nfrom sqlalchemy import create_engine\n{engine}\n")

    line = lines(folder)["environment"]

    assert line.value == {"SHOP_URL": "{url}"}
    assert line.reason == "the URL is read in shop/db.py line 3"


@pytest.mark.parametrize("case", BESIDE)
def test_a_variable_that_is_not_the_url_is_not_proposed(project, case):
    folder = project("environ.get", "the application's engine")
    folder.write("shop/db.py", BESIDE[case])

    assert "environment" not in lines(folder)


READ = 'os.environ["SHOP_VALUE"]'
# Ways of an engine's URL through classes and functions of the project's own.
WAYS_TO_AN_ENGINE = {
    "a parameter of __init__": """
        class Database:
            def __init__(self, url):
                self.engine = create_engine(url)
        db = Database(READ)
    """,
    "a keyword": """
        class Database:
            def __init__(self, *, echo=False, url=""):
                self.engine = create_engine(url, echo=echo)
        db = Database(url=READ)
    """,
    "an attribute": """
        class Database:
            def __init__(self, url):
                self._url = url
                self.engine = self.make()
            def make(self):
                return create_engine(self._url)
        db = Database(READ)
    """,
    "a dataclass's field": """
        from dataclasses import dataclass
        @dataclass
        class Database:
            url: str
            def make(self):
                return create_engine(self.url)
        db = Database(READ)
        engine = db.make()
    """,
    "a method's parameter": """
        class Database:
            def open(self, url):
                self.engine = create_engine(url)
                return self.engine
        db = Database()
        engine = db.open(READ)
    """,
    "a class method's parameter": """
        class Database:
            @classmethod
            def open(cls, url):
                return create_engine(url)
        engine = Database.open(READ)
    """,
    "a function's parameter": """
        def make(url):
            return create_engine(url)
        engine = make(READ)
    """,
    "a name between": """
        class Database:
            def __init__(self, url):
                self.engine = create_engine(url)
        VALUE = READ
        db = Database(VALUE)
    """,
}


def needed(folder, text, name="SHOP_VALUE"):
    """What is proposed to be set before the application with that text is imported."""
    folder.shape()
    above = (
        "import os\nfrom sqlalchemy import create_engine\nfrom sqlalchemy.orm import sessionmaker\n"
    )
    text = textwrap.dedent(text).replace("READ", READ).replace("SHOP_VALUE", name)
    folder.write("shop/db.py", above + text)
    folder.write("shop/models.py", f"import shop.db\n{folder.read('shop/models.py')}")
    return propose(find_layout(folder.root), {}).variables


@pytest.mark.parametrize("way", WAYS_TO_AN_ENGINE)
def test_a_variable_that_comes_to_an_engine_is_given_a_url(folder, way):
    variables = needed(folder, WAYS_TO_AN_ENGINE[way])

    assert variables == {"SHOP_VALUE": "sqlite:///test.db"}


@pytest.mark.parametrize("way", ["a parameter of __init__", "a dataclass's field"])
def test_with_it_the_tests_of_such_an_application_run(folder, way):
    needed(folder, WAYS_TO_AN_ENGINE[way], name="DATABASE_URL")
    said = folder.init().stdout
    (line,) = re.findall(r"os\.environ\.setdefault\(.*\)", said)
    folder.write("conftest.py", f"import os\n{line}\n")
    folder.write("tests/test_it.py", "def test_it(db_session):\n    assert db_session.bind\n")

    done = folder.pytest()

    assert done.returncode == 0, done.stdout
    assert "\u2717" not in folder.command("doctor").stdout


NAMES = {
    "DATABASE_URL": "sqlite:///test.db",
    "SQLALCHEMY_DATABASE_URI": "sqlite:///test.db",
    "SHOP_DB_DSN": "sqlite:///test.db",
    "DATABASE_URL_SHOP": "sqlite:///test.db",
    "SHOP_URL": "sqlite:///test.db",
    "REDIS_URL": "redis://localhost",
    "REDIS_DATABASE_URL": "redis://localhost",
    "CELERY_BROKER_URL": "amqp://localhost",
    "SENTRY_DSN": "https://key@localhost/1",
    "API_BASE_URL": "http://localhost",
    "SECRET_KEY": "test",
    "CURL_PATH": "test",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_variable_of_which_nothing_is_known_is_given_what_its_name_says(folder, name):
    text = "VALUE = open_somehow = READ\nengine = create_engine('sqlite:///app.db')\n"

    assert needed(folder, text, name) == {name: NAMES[name]}


ENGINE = "engine = create_engine(value)\n"
DONE_WITHOUT = {
    "if there": 'value = READ if "SHOP_VALUE" in os.environ else "sqlite:///app.db"',
    "unless missing": 'value = "sqlite:///app.db" if "SHOP_VALUE" not in os.environ else READ',
    "in its keys": 'value = READ if "SHOP_VALUE" in os.environ.keys() else "sqlite:///app.db"',
    "if get": 'value = READ if os.environ.get("SHOP_VALUE") else "sqlite:///app.db"',
    "if getenv": 'value = READ if os.getenv("SHOP_VALUE") is not None else "sqlite:///app.db"',
    "and": 'value = "SHOP_VALUE" in os.environ and READ or "sqlite:///app.db"',
    "or": 'value = "SHOP_VALUE" not in os.environ or READ',
    "if statement": 'value = "sqlite:///app.db"\nif "SHOP_VALUE" in os.environ:\n    value = READ',
    "else statement": 'if "SHOP_VALUE" not in os.environ:\n    value = "sqlite:///app.db"\n'
    "else:\n    value = READ",
    "a name": 'has = "SHOP_VALUE" in os.environ\nvalue = READ if has else "sqlite:///app.db"',
    "a name of the variable": 'KEY = "SHOP_VALUE"\nvalue = os.environ[KEY] if KEY in os.environ '
    'else "sqlite:///app.db"',
    "KeyError": 'try:\n    value = READ\nexcept KeyError:\n    value = "sqlite:///app.db"',
    "any error": 'try:\n    value = READ\nexcept:\n    value = "sqlite:///app.db"',
    "one of several": "try:\n    value = READ\nexcept (KeyError, ValueError):\n"
    '    value = "sqlite:///app.db"',
    "suppress": "from contextlib import suppress\n"
    'value = "sqlite:///app.db"\nwith suppress(KeyError):\n    value = READ',
    "set before": 'os.environ["SHOP_VALUE"] = "sqlite:///app.db"\nvalue = READ',
    "setdefault before": 'os.environ.setdefault("SHOP_VALUE", "sqlite:///app.db")\nvalue = READ',
    "get": 'value = os.environ.get("SHOP_VALUE", "sqlite:///app.db")',
    "get or": 'value = os.environ.get("SHOP_VALUE") or "sqlite:///app.db"',
}  # fmt: skip
NEEDED = {
    "another variable": 'value = READ if "OTHER" in os.environ else "sqlite:///app.db"',
    "the other branch raises": 'if "SHOP_VALUE" in os.environ:\n    value = READ\nelse:\n'
    '    raise RuntimeError("set it")',
    "an error after a look": 'if "SHOP_VALUE" not in os.environ:\n    raise SystemExit\n'
    "value = READ",
    "another error": "try:\n    value = READ\nexcept ValueError:\n"
    '    value = "sqlite:///app.db"',
    "raised again": 'try:\n    value = READ\nexcept KeyError:\n    raise SystemExit("set it")',
    "exits": "import sys\ntry:\n    value = READ\nexcept KeyError:\n    sys.exit(1)",
    "in the condition": 'value = "sqlite:///app.db" if READ == "x" else "sqlite:///b.db"',
    "after a try": 'try:\n    x = 1\nexcept KeyError:\n    value = ""\nelse:\n    value = READ',
    "set afterwards": 'value = READ\nos.environ["SHOP_VALUE"] = "x"',
    "both": 'value = READ if "SHOP_VALUE" in os.environ else ""\nvalue = READ',
}  # fmt: skip


@pytest.mark.parametrize("case", DONE_WITHOUT)
def test_a_variable_that_may_be_missing_is_not_asked_for(folder, case):
    assert needed(folder, f"{DONE_WITHOUT[case]}\n{ENGINE}") == {}


@pytest.mark.parametrize("case", NEEDED)
def test_one_that_may_not_is(folder, case):
    assert list(needed(folder, f"{NEEDED[case]}\n{ENGINE}")) == ["SHOP_VALUE"]
