"""A child process with a clone's environment opens the clone, or the test is told."""

from __future__ import annotations

import hashlib
import sqlite3

import pytest

READERS = {
    "module": """
        URL = os.environ.get("SHOP_DATABASE_URL", f"sqlite:///{REAL}")
        engine = create_engine(URL)
        """,
    "function": """
        def url():
            if os.getenv("SHOP_MODE"):
                return "sqlite://"
            return os.getenv("SHOP_DATABASE_URL") or f"sqlite:///{REAL}"

        engine = create_engine(url())
        """,
    "settings": """
        class Settings:
            def __init__(self):
                known = {name.lower(): value for name, value in os.environ.items()}
                self.url = known.get("shop_database_url", f"sqlite:///{REAL}")

        engine = create_engine(Settings().url)
        """,
    "path": """
        engine = create_engine(f"sqlite:///{os.environ.get('SHOP_DATABASE_URL', REAL)}")
        """,
    "pydantic": """
        from pydantic_settings import BaseSettings

        class Settings(BaseSettings):
            database_url: str = f"sqlite:///{REAL}"
            model_config = {"env_prefix": "shop_"}

        engine = create_engine(Settings().database_url)
        """,
}
LINES = {
    "right": 'environment = { SHOP_DATABASE_URL = "{url}" }',
    "none": "",
    "misspelt": 'environment = { SHOP_DATABSE_URL = "{url}" }',
}
TEST = """
    import os
    import subprocess
    import sys

    from shop import orders

    PATH = "import sys; sys.path.insert(0, '.'); "
    CODE = PATH + "from shop import orders; orders.add_customer('Ada')"

    def test_child(db_clone):
        subprocess.run([sys.executable, "-c", CODE], env=db_clone.environ, check=True)
        assert orders.names() == ["Ada", "the house"]
    """


def write_engine(shop, text):
    body = f"""
        import os
        from pathlib import Path

        from sqlalchemy import create_engine
        from sqlalchemy.orm import sessionmaker

        REAL = Path(__file__).parents[1] / "real.db"
        {text.strip()}
        SessionLocal = sessionmaker(engine)
        """
    shop.write("shop/db.py", body)


@pytest.fixture
def developers(shop):
    """The developer's own database, and the digest of what is in it."""
    path = shop.root / "real.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT)")
    connection.close()

    def digest():
        return hashlib.sha256(path.read_bytes()).hexdigest()

    return path, digest


@pytest.mark.parametrize(
    ("line", "shell"),
    [("right", "set"), *((line, shell) for line in ("none", "misspelt") for shell in ("set", ""))],
)
@pytest.mark.parametrize("reader", READERS)
def test_a_child_never_writes_into_the_developers_database(
    shop, developers, monkeypatch, reader, line, shell
):
    path, digest = developers
    write_engine(shop, READERS[reader])
    text = LINES[line].replace("{url}", "{path}" if reader == "path" else "{url}")
    if text:
        shop.configure(text)
    if shell == "set":
        value = str(path) if reader == "path" else f"sqlite:///{path}"
        monkeypatch.setenv("SHOP_DATABASE_URL", value)
    before = digest()

    result = shop.run(test_it=TEST)

    assert digest() == before
    if line == "right":
        result.assert_outcomes(passed=1)
        result.stdout.no_fnmatch_line("*warning: where a child*")
        return
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*CloneError: shop.db:engine leads to 'real.db' in a child process with the clone's*"]
    )
    entry = f'SHOP_DATABASE_URL = "{{{"path" if reader == "path" else "url"}}}"'
    # Which name is not there a dictionary of all variables does not tell.
    if reader != "settings" or shell == "set":
        result.stdout.fnmatch_lines([f"*hint: *{entry}*"])


# Ways to a URL that no variable changes, and where it is from in words.
WITHOUT_VARIABLE = {
    "literal": ('engine = create_engine(f"sqlite:///{REAL}")', "a literal"),
    "ini file": (
        """
        from configparser import ConfigParser

        settings = ConfigParser()
        settings.read(REAL.parent / "settings.ini")
        engine = create_engine(settings["db"]["url"])
        """,
        "a literal, or from settings.ini",
    ),
    "object": (
        """
        class Settings:
            url = f"sqlite:///{REAL}"

        engine = create_engine(Settings.url)
        """,
        "a literal",
    ),
}


@pytest.mark.parametrize("line", ["none", "misspelt"])
@pytest.mark.parametrize("way", WITHOUT_VARIABLE)
def test_where_no_variable_is_read_the_hint_says_so_and_can_be_followed(
    shop, developers, way, line
):
    text, source = WITHOUT_VARIABLE[way]
    write_engine(shop, text)
    shop.write("settings.ini", f"[db]\nurl = sqlite:///{developers[0]}\n")
    if LINES[line]:
        shop.configure(LINES[line])

    first = shop.run(test_it=TEST)

    first.assert_outcomes(failed=1)
    hint = next(one for one in first.outlines if "hint: the application asks for no" in one)
    assert f"its URL is {source}; let it ask for one first" in hint
    name = "SHOP_DATABSE_URL" if LINES[line] else "DATABASE_URL"
    assert f'os.environ.get("{name}", …)' in hint
    if not LINES[line]:
        shop.configure(hint.partition("and write ")[2].partition(" below")[0])
    write_engine(shop, f'engine = create_engine(os.environ.get("{name}", f"sqlite:///{{REAL}}"))')
    shop.run(test_it=TEST).assert_outcomes(passed=1)


def test_what_the_error_says_is_what_has_to_be_done(shop, developers):
    _, digest = developers
    write_engine(shop, READERS["pydantic"])
    before = digest()
    told = shop.run(test_it=TEST).stdout.str()
    line = told.partition("hint: write ")[2].partition(" below [tool.alembic-snapshot]")[0]

    shop.configure(line)
    shop.run(test_it=TEST).assert_outcomes(passed=1)

    assert digest() == before


@pytest.mark.parametrize(
    ("engine", "reason"),
    [
        ('engine = "sqlite:///real.db"', "engine is a URL*"),
        ("", "no engine is configured"),
        ('engine = "shop.db:engine"', "*it connects to * when it is imported"),
    ],
)
def test_where_it_can_not_be_known_that_is_said_once(shop, engine, reason):
    shop.replace("pyproject.toml", 'engine = "shop.db:engine"', engine)
    shop.replace("pyproject.toml", 'sessionmaker = "shop.db:SessionLocal"', "")
    if "shop.db" in engine:
        shop.write(
            "conftest.py",
            """
            import shop.db
            """,
        )
        write_engine(
            shop,
            """
        engine = create_engine(f"sqlite:///{REAL}")
        if "PYTEST_VERSION" not in os.environ or "child" in str(__import__("sys").argv):
            import sqlite3
            sqlite3.connect(REAL)
            """,
        )

    result = shop.run(
        test_it="""
        def test_one(db_clone):
            assert db_clone.environ["DATABASE_URL"] == db_clone.url

        def test_two(db_clone):
            assert db_clone.environ["DATABASE_URL"] == db_clone.url
        """
    )

    result.assert_outcomes(passed=2)
    said = f"*warning: where a child process with the clone's environ goes can't be known: {reason}"
    result.stdout.fnmatch_lines([said])
    assert result.stdout.str().count("warning: where a child") == 1


def test_what_a_test_sets_itself_is_looked_at_again(shop, developers):
    _, digest = developers
    write_engine(shop, READERS["module"])
    before = digest()

    result = shop.run(
        test_it="""
        import pytest
        from alembic_snapshot.errors import CloneError

        def test_set(db_clone, monkeypatch):
            monkeypatch.setenv("SHOP_DATABASE_URL", db_clone.url)
            assert db_clone.environ

        def test_not_set(db_clone):
            for _ in range(2):
                with pytest.raises(CloneError):
                    db_clone.environ

        def test_set_again(db_clone, monkeypatch):
            monkeypatch.setenv("SHOP_DATABASE_URL", db_clone.url)
            assert db_clone.environ
        """
    )

    result.assert_outcomes(passed=3)
    assert digest() == before


def test_with_the_guard_off_it_is_a_warning(shop, developers):
    write_engine(shop, READERS["module"])
    shop.configure('guard = "off"')

    result = shop.run(
        test_it="""
        import pytest
        from pytest_alembic_snapshot import UnguardedDatabaseWarning

        def test_warned(db_clone):
            with pytest.warns(UnguardedDatabaseWarning, match="leads to 'real.db' in a child"):
                assert db_clone.environ
        """
    )

    result.assert_outcomes(passed=1)


@pytest.mark.parametrize("is_right", [True, False])
def test_an_asynchronous_engine_on_postgresql(on_server, monkeypatch, is_right):
    monkeypatch.setenv("NOTES_URL", "postgresql+asyncpg://localhost:1/notes")
    notes = on_server("notes", "NOTES_URL" if is_right else "NOTES_URI", "{async_url}")

    result = notes.run("test_it.py", test_it="def test_it(db_clone): assert db_clone.environ")

    result.assert_outcomes(passed=int(is_right), failed=int(not is_right))
    result.stdout.no_fnmatch_line("*warning: where a child*")
    if not is_right:
        result.stdout.fnmatch_lines(
            [
                "*leads to the PostgreSQL database 'notes' on localhost:1 in a child process*",
                '*hint: write NOTES_URL = "{async_url}" in environment below *; it does not read *',
            ]
        )
