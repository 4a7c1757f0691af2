"""A variable that has the database's URL becomes a line of the table, however it is spelled."""

from __future__ import annotations

import os
import re
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
