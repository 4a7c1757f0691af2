"""``init`` takes no engine for the application's that is a test's, or one of several."""

from __future__ import annotations

import re
import textwrap

import pytest

from alembic_snapshot.discover.layout import find_layout
from alembic_snapshot.discover.proposal import propose

MADE = "from sqlalchemy import create_engine\n"
# Where an engine stands that is a test's.
OF_TESTS = {
    "tests.py": f"{MADE}engine = create_engine('sqlite:///other.db')\n",
    "shop/test.py": f"{MADE}engine = create_engine('sqlite:///other.db')\n",
    "shop/app_tests.py": f"{MADE}engine = create_engine('sqlite:///other.db')\n",
    "shop/more.py": f"{MADE}test_engine = create_engine('sqlite:///other.db')\n",
    "shop/makers.py": f"{MADE}def make_test_engine():\n    return create_engine('sqlite:///a.db')\n",
}
# How the settings of tests are called.
TEST_CLASSES = ["TestConfig", "ConfigForTests", "Testing", "TestingSettings", "test_config"]
READ = "'sqlite:///shop.db'"
UNREAD = "compute(os.path.dirname(__file__))"


def proposal(folder):
    return propose(find_layout(folder.root), {})


def value(found, key):
    return next((line.value for line in found.lines if line.key == key), None)


@pytest.mark.parametrize("name", OF_TESTS)
def test_an_engine_of_tests_is_none_of_the_application(folder, name):
    folder.shape()
    folder.write(name, OF_TESTS[name])

    found = proposal(folder)

    assert value(found, "engine") == "shop.db:engine"
    assert "of several" not in str(found.lines)
    assert "candidates" not in str([*found.left_out, *found.lines])


def flask(folder, config, more):
    """A project of Flask-SQLAlchemy's shape."""
    folder.shape()
    folder.write("shop/db.py", "from flask_sqlalchemy import SQLAlchemy\ndb = SQLAlchemy()\n")
    folder.write("config.py", f"import os\nfrom elsewhere import compute\n\n{config}\n{more}")
    return proposal(folder)


@pytest.mark.parametrize("name", TEST_CLASSES)
def test_a_url_of_a_class_for_tests_is_not_the_applications(folder, name):
    config = "class Config:\n    SQLALCHEMY_DATABASE_URI = os.environ['SHOP']\n"
    test = f"class {name}:\n    SQLALCHEMY_DATABASE_URI = 'sqlite://'\n"

    found = flask(folder, config, test)

    assert value(found, "engine") is None
    assert "there is 1 URL, a test's; write the line" in dict(found.left_out)["engine"]


@pytest.mark.parametrize("name", ["TestimonialConfig", "LatestConfig", "Contest"])
def test_a_class_whose_name_only_looks_like_it_is_the_applications(folder, name):
    config = f"class {name}:\n    SQLALCHEMY_DATABASE_URI = {READ}\n"

    assert "shop.db" in value(flask(folder, config, ""), "engine")


@pytest.mark.parametrize("name", ["Other", "Production"])
@pytest.mark.parametrize("read", [READ, "'sqlite://'"])
def test_a_url_that_cannot_be_read_is_another_one(folder, name, read):
    config = f"class Config:\n    SQLALCHEMY_DATABASE_URI = {UNREAD}\n"
    other = f"class {name}:\n    SQLALCHEMY_DATABASE_URI = {read}\n"

    found = flask(folder, config, other)

    assert value(found, "engine") is None
    (why,) = [why for key, why in found.left_out if key == "engine"]
    assert "there is 1 URL, and one that can't be read (config.py line 5)" in why


def test_an_engine_that_a_function_makes_for_what_env_py_imports_is_another_one(folder):
    folder.shape()
    folder.write(
        "shop/db.py",
        """
        from sqlalchemy import create_engine
        from sqlalchemy.orm import sessionmaker
        from shop.settings import URL

        def make():
            return sessionmaker(create_engine(URL))

        Session = make()
        engine = Session.kw["bind"]
        """,
    )
    folder.write("shop/commands.py", f"{MADE}engine = create_engine('sqlite:///other.db')\n")
    env = folder.read("migrations/env.py")
    folder.write("migrations/env.py", f"from shop.db import engine\n{env}")

    found = proposal(folder)

    assert value(found, "engine") is None
    told = dict(found.left_out)
    assert "a function makes the one that env.py imports (shop/db.py line 6)" in told["engine"]
    assert "shop.commands:engine (shop/commands.py line 2) is another one" in told["engine"]
    assert told["sessionmaker"].startswith("it is made in a function (shop/db.py line 6)")


SETTINGS = """
from typing import Annotated, Literal
from pydantic import AnyHttpUrl, EmailStr, Field, PostgresDsn, PositiveInt
from pydantic_settings import BaseSettings, SettingsConfigDict

class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_file="../settings.env")
    DATABASE_URL: PostgresDsn
    ADMIN: EmailStr
    FLAG: Annotated[bool, Field(description="x")]
    COUNT: PositiveInt
    KIND: Literal["a", "b"]
    HOST: AnyHttpUrl
    NAMES: list[str]
    OFF: Annotated[bool, Field(default=True)]
    SECRET: str

settings = Settings()
URL = str(settings.DATABASE_URL)
"""


@pytest.mark.parametrize("file", [None, "settings.env", ".env"])
def test_a_settings_class_gets_values_that_it_takes(folder, file):
    folder.root = folder.root / "backend"
    folder.shape()
    folder.write("shop/settings.py", SETTINGS)
    env = folder.read("migrations/env.py")
    folder.write("migrations/env.py", f"from shop.db import engine\n{env}")
    if file is not None:
        (folder.root.parent / ".git").mkdir()
        names = ("ADMIN", "FLAG", "COUNT", "KIND", "HOST", "NAMES", "SECRET")
        folder.write(f"../{file}", "".join(f"{name}=x\n" for name in names))

    found = proposal(folder)

    assert value(found, "backend") == "postgresql"
    wanted = {"DATABASE_URL": "{url}"}
    if file is None:
        wanted |= {
            "ADMIN": "test@example.com",
            "FLAG": "true",
            "COUNT": "1",
            "KIND": "a",
            "HOST": "http://localhost",
            "NAMES": "[]",
            "SECRET": "test",
        }
    assert value(found, "environment") == wanted


# Ways to make an engine late or at import, and its name in the table; without one it is a URL.
LATE = {
    "a function's": (
        """
        _engine = None

        def get_engine():
            global _engine
            if _engine is None:
                _engine = create_engine(URL)
            return _engine
        """,
        "shop.db:get_engine()",
    ),
    "another function's": (
        """
        _engine = None

        def _make():
            global _engine
            _engine = create_engine(URL)

        def get_engine(echo=False):
            if _engine is None:
                _make()
            return _engine
        """,
        "shop.db:get_engine()",
    ),
    "nobody's at import": (
        """
        engine = None

        def start():
            global engine
            engine = create_engine(URL)

        def get_engine():
            return engine
        """,
        None,
    ),
    "the command line's": (
        """
        engine = None

        def start():
            global engine
            engine = create_engine(URL)

        if __name__ == "__main__":
            start()
        """,
        None,
    ),
    "at import": (
        """
        engine = None

        def _make():
            global engine
            engine = create_engine(URL)

        def start():
            _make()

        start()
        """,
        "shop.db:engine",
    ),
    "a method's": (
        """
        class Database:
            def __init__(self):
                self._engine = None

            def get(self):
                if self._engine is None:
                    self._engine = create_engine(URL)
                return self._engine

        database = Database()
        """,
        "shop.db:database.get()",
    ),
    "a property's": (
        """
        class Database:
            _engine = None

            def _open(self):
                self._engine = create_engine(URL)

            @property
            def engine(self):
                if not self._engine:
                    self._open()
                return self._engine

        database = Database()
        """,
        "shop.db:database.engine",
    ),
    "a manager's": (
        """
        class Manager:
            def __init__(self):
                self._engine = None

            def init(self, url):
                self._engine = create_engine(url)

        manager = Manager()
        """,
        None,
    ),
    "a method's that __init__ calls": (
        """
        class Database:
            def __init__(self):
                self._open()

            def _open(self):
                self.engine = create_engine(URL)

        database = Database()
        """,
        "shop.db:database.engine",
    ),
}


@pytest.mark.parametrize("how", LATE)
def test_an_engine_is_named_by_what_has_made_it_when_it_is_asked_for(folder, how):
    text, expected = LATE[how]
    folder.shape()
    folder.write("shop/db.py", f"{MADE}URL = 'sqlite:///shop.db'\n{textwrap.dedent(text)}")

    found = proposal(folder)

    if how == "a manager's":
        # Nor is its URL known.
        assert value(found, "engine") is None
    else:
        assert value(found, "engine") == (expected or "sqlite:///shop.db")
        folder.save_test(folder.init().stdout)
        assert "1 passed" in folder.pytest().stdout


def test_an_engine_that_is_not_made_yet_is_said_to_be_so(folder):
    folder.shape()
    text, _ = LATE["a function's"]
    folder.write("shop/db.py", f"{MADE}URL = 'sqlite:///shop.db'\n{textwrap.dedent(text)}")
    folder.write(
        "pyproject.toml",
        """
        [tool.alembic-snapshot]
        engine = "shop.db:_engine"

        [tool.pytest.ini_options]
        pythonpath = ["."]
        """,
    )
    folder.write("tests/test_it.py", "def test_it(db_session): ...\n")

    told = folder.pytest().stdout

    assert "engine 'shop.db:_engine' is None: nothing has made it yet" in told
    assert "name the function that makes it, as in module:get_engine(), or give its URL" in told


FACTORY = """
    import os
    from flask import Flask
    from flask_sqlalchemy import SQLAlchemy

    db = SQLAlchemy()
    here = os.path.abspath(os.path.dirname(__file__))

    class Config:
        SQLALCHEMY_DATABASE_URI = os.environ.get("SHOP_URL") or "sqlite:///" + os.path.join(
            here, "app.db")

    class TestConfig(Config):
        TESTING = True
        {more}

    def create_app(config=Config):
        app = Flask(__name__)
        app.config.from_object(config)
        db.init_app(app)
        return app
"""


@pytest.mark.parametrize(
    "more", ["", "SQLALCHEMY_DATABASE_URI = 'sqlite://'"], ids=["a variable", "in memory"]
)
def test_the_hint_for_an_engine_of_a_factory_works_when_it_is_typed(folder, more):
    folder.shape()
    folder.write("shop/web.py", textwrap.dedent(FACTORY).replace("{more}", more))
    (folder.root / "shop/db.py").unlink()
    folder.write("tests/test_it.py", """
        from shop.web import TestConfig, create_app, db

        def test_it(db_clone):
            with create_app(TestConfig).app_context():
                assert db.session.execute(db.text("SELECT 1")).scalar() == 1
                db.session.remove()
    """)  # fmt: skip
    table = '[tool.alembic-snapshot]\nenvironment = { SHOP_URL = "{url}" }\n'
    folder.write("pyproject.toml", f'{table}\n[tool.pytest.ini_options]\npythonpath = ["."]\n')

    told = folder.pytest().stdout
    (url,) = set(re.findall(r"where a function makes it .*?['\"](sqlite://.*?)['\"]", told))
    folder.write("pyproject.toml", folder.read("pyproject.toml").replace(
        "environment", f'engine = "{url}"\nenvironment'))  # fmt: skip

    assert "1 failed" in told
    assert "1 passed" in folder.pytest().stdout


def test_an_engine_of_a_factory_that_a_variable_leads_is_any_url(folder):
    folder.shape()
    folder.write("shop/web.py", textwrap.dedent(FACTORY).replace("{more}", ""))
    (folder.root / "shop/db.py").unlink()
    folder.write("migrations/env.py", """
        from alembic import context
        from flask import current_app

        with current_app.extensions["sqlalchemy"].engine.connect() as connection:
            context.configure(connection=connection)
            with context.begin_transaction():
                context.run_migrations()
    """)  # fmt: skip

    done = folder.init()

    assert re.search('engine = "sqlite:///app.db" +# any URL: .* makes it of SHOP_URL', done.stdout)
    folder.write("tests/test_it.py", """
        from shop.web import TestConfig, create_app, db

        def test_it(db_clone):
            with create_app(TestConfig).app_context():
                assert db.session.execute(db.text("SELECT version_num FROM alembic_version")).all()
                db.session.remove()
    """)  # fmt: skip
    assert "1 passed" in folder.pytest().stdout
