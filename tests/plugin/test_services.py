"""A database that the application names by a service of libpq's is known as what it is."""

from __future__ import annotations

import pytest

# Several names of one database, and one of another; each test writes by one of them.
TESTS = """
import pytest
from sqlalchemy import NullPool, create_engine, text

from alembic_snapshot import DatabaseNotRequested
from shop import db

SPELLED = {{name: "postgresql+psycopg://{address}&dbname=" + name for name in ("shop", "legacy")}}
SERVED = {{name: "postgresql+psycopg:///?service=" + name for name in ("shop", "legacy")}}

def insert(url, who):
    with create_engine(url, poolclass=NullPool).begin() as connection:
        connection.execute(text("INSERT INTO kv VALUES (:who)"), {{"who": who}})

def test_its_database_is_the_clone_however_it_is_named(db_clone):
    with db.engine.connect() as connection:
        own = connection.execute(text("SELECT current_database()")).scalar()
    assert own.startswith("alembic_clone")
    for url in (SPELLED["shop"], SERVED["shop"]):
        with create_engine(url, poolclass=NullPool).connect() as connection:
            assert connection.execute(text("SELECT current_database()")).scalar() == own

def test_another_service_is_another_database(db_clone):
    db.engine.connect().close()
    insert(SERVED["legacy"], "test")
    insert(SPELLED["legacy"], "test")

@pytest.mark.parametrize("url", [SPELLED["shop"], SERVED["shop"]])
def test_without_asking(url):
    with pytest.raises(DatabaseNotRequested):
        insert(url, "test")
"""
UNKNOWN = """
from sqlalchemy import text
from shop import db

def test_other_name(db_clone):
    with db.engine.connect() as connection:
        name = connection.execute(text("SELECT current_database()")).scalar()
    assert name.startswith("alembic_clone")
"""


@pytest.fixture
def developers(new_sample, postgres, monkeypatch, tmp_path):
    """A shop whose developer has services, and what is in the table of each database."""
    with postgres.connect() as connection:
        for name in ("shop", "legacy"):
            connection.execute(f"CREATE DATABASE {name}")
    for name in ("shop", "legacy"):
        with postgres.connect(name) as connection:
            connection.execute("CREATE TABLE kv (who text)")
            connection.execute("INSERT INTO kv VALUES ('real')")
    parts = postgres.parts()
    given = "".join(f"{name}={value}\n" for name, value in parts.items() if value)
    services = "".join(f"[{name}]\n{given}dbname={name}\n" for name in ("shop", "legacy"))
    (tmp_path / "services").write_text(services)
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    monkeypatch.setenv("ALEMBIC_SNAPSHOT_BACKEND", "postgresql")
    sample = new_sample("shop")
    monkeypatch.delenv("SHOP_URL", raising=False)
    address = "/?" + "&".join(f"{name}={value}" for name, value in parts.items() if value)
    sample.write("test_it.py", TESTS.format(address=address))

    def rows(name):
        with postgres.connect(name) as connection:
            return [who for (who,) in connection.execute("SELECT who FROM kv")]

    return sample, rows


SERVICE = "postgresql+psycopg:///?service=shop"


@pytest.mark.parametrize(
    ("url", "variable"),
    [(SERVICE, None), ("postgresql+psycopg://", "shop")],
)
def test_no_test_writes_to_the_engines_by_another_name(developers, monkeypatch, url, variable):
    sample, rows = developers
    if variable:
        monkeypatch.setenv("PGSERVICE", variable)
    sample.replace("shop/db.py", 'f"sqlite:///{REAL}"', repr(url))

    result = sample.run()

    result.assert_outcomes(passed=4)
    assert rows("shop") == ["real"]
    assert rows("legacy") == ["real", "test", "test"]


def test_no_test_writes_to_what_a_variable_names(developers, monkeypatch):
    sample, rows = developers
    monkeypatch.setenv("SHOP_URL", SERVICE)
    sample.configure('environment = { SHOP_URL = "{url}" }')

    result = sample.run()

    result.assert_outcomes(passed=4)
    assert rows("shop") == ["real"]


def test_no_test_writes_to_what_alembics_settings_name(developers):
    sample, rows = developers
    for line in ('engine = "shop.db:engine"', 'sessionmaker = "shop.db:SessionLocal"'):
        sample.replace("pyproject.toml", line, "")
    sample.replace("alembic.ini", "sqlite:///real.db", SERVICE)

    result = sample.run("-k", "without_asking")

    result.assert_outcomes(passed=2, deselected=2)
    assert rows("shop") == ["real"]


def test_a_service_that_nobody_knows_is_said_and_the_engine_is_pointed(developers, monkeypatch):
    sample, rows = developers
    sample.replace("shop/db.py", 'f"sqlite:///{REAL}"', repr(SERVICE))
    monkeypatch.setenv("PGSERVICEFILE", str(sample.root / "nothing"))
    sample.replace("pyproject.toml", 'filterwarnings = ["error"]', "")

    result = sample.run("-k", "other_name", test_other_name=UNKNOWN)

    result.assert_outcomes(passed=1, deselected=4, warnings=1)
    result.stdout.fnmatch_lines(
        ["*shop.db:engine leads to the PostgreSQL database of service 'shop', which is not known*"]
    )
    assert rows("shop") == ["real"]
