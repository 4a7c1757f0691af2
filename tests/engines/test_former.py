"""An engine that was the configured one, and is it no more, still leads to the test's clone."""

from __future__ import annotations

import pytest

# Imported here, and not only in fixtures: pytester forgets what is imported while it is in use.
from alembic_snapshot.postgres.private import acquire  # noqa: F401

HEAD = """
    import importlib
    import itertools
    import os
    import pytest
    from sqlalchemy import create_engine, func, make_url, select
    from alembic_snapshot import DatabaseNotRequested
    from shop import db
    from shop.models import Customer

    NUMBERS = itertools.count()
    # Nobody is there: what goes to it fails.
    OTHER = (
        "postgresql+psycopg://nobody@localhost:1/other"
        if os.environ.get("ALEMBIC_SNAPSHOT_BACKEND") == "postgresql"
        else "sqlite:////nowhere/other.db"
    )

    def write(factory):
        with factory() as session:
            session.add(Customer(name=f"Ada {next(NUMBERS)}"))
            session.commit()

    def count(factory):
        with factory() as session:
            return session.scalar(select(func.count()).select_from(Customer))
"""
WAYS = {
    "reloaded": """
        def change(url):
            os.environ["SHOP_URL"] = url
            importlib.reload(db)
    """,
    "bound anew": """
        def change(url):
            db.engine = create_engine(url)
            db.SessionLocal = db.sessionmaker(db.engine)
    """,
    "made anew by a factory": """
        def change(url):
            db.init(url)
    """,
}
FACTORY = """
    class State:
        engine = None

    state = State()

    def init(url):
        global SessionLocal
        state.engine = create_engine(url)
        SessionLocal = sessionmaker(state.engine)

    init(os.environ.get("SHOP_URL") or f"sqlite:///{REAL}")
"""
TESTS = """
    URL = db.SessionLocal.kw["bind"].url.render_as_string(hide_password=False)

    def test_of_a_session_on_the_older_engine(db_session):
        older = db.SessionLocal
        change(OTHER)
        write(db.SessionLocal)
        write(older)
        assert count(older) == count(db.SessionLocal) == 3
        assert db_session.query(Customer).count() == 3

    def test_that_begins_with_another_engine(db_session):
        change(URL)
        write(db.SessionLocal)
        assert db_session.query(Customer).count() == 2

    def test_of_two_older_engines(db_clone):
        first = db.SessionLocal
        change(OTHER)
        write(first)
        second = db.SessionLocal
        write(second)
        change(URL)
        write(db.SessionLocal)
        assert {count(one) for one in (first, second, db.SessionLocal)} == {4}

    def test_of_a_pool_that_was_used_before(db_clone):
        before = db.SessionLocal
        assert count(before) == 1
        change(OTHER)
        write(before)
        assert count(db.SessionLocal) == 2

    OLDER = []

    def test_that_keeps_one(db_clone):
        OLDER.append(db.SessionLocal)
        change(URL)
        write(OLDER[0])
        assert count(db.SessionLocal) == 2

    def test_of_one_that_was_kept(db_clone):
        assert count(OLDER[0]) == count(db.SessionLocal) == 1

    def test_that_asks_for_no_database():
        with pytest.raises(DatabaseNotRequested, match="did not ask for a database"):
            count(OLDER[0])
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def shop(request, new_sample, monkeypatch):
    """A shop on files, or on the private server."""
    if request.param == "postgresql":
        request.getfixturevalue("postgres")
        monkeypatch.setenv("ALEMBIC_SNAPSHOT_BACKEND", "postgresql")
    sample = new_sample("shop")
    sample.configure('environment = { SHOP_URL = "{url}" }')
    return sample


@pytest.mark.parametrize("clones", ["fresh", "reset"])
@pytest.mark.parametrize("way", WAYS)
def test_it_leads_to_the_clone(shop, way, clones):
    if way == "made anew by a factory":
        db = (shop.root / "shop" / "db.py").read_text().partition("engine = ")[0]
        shop.write("shop/db.py", db)
        path = shop.root / "shop" / "db.py"
        path.write_text(path.read_text() + "\n" + "\n".join(x[4:] for x in FACTORY.splitlines()))
        shop.replace("pyproject.toml", '"shop.db:engine"', '"shop.db:state.engine"')
    tests = HEAD + WAYS[way].replace("\n    ", "\n") + TESTS

    result = shop.run("-p", "no:randomly", f"--snapshot-clones={clones}", test_it=tests)

    result.assert_outcomes(passed=7)
    assert not (shop.root / "real.db").exists()


def test_what_is_another_databases_engine_by_now_leads_to_that_ones_clone(new_sample):
    shop = new_sample("shop")
    shop.replace(
        "pyproject.toml",
        "[tool.pytest",
        '[tool.alembic-snapshot.databases.second]\nconfig = "alembic.ini"\n'
        'engine = "shop.db:second"\n\n[tool.pytest',
    )
    shop.replace(
        "shop/db.py",
        "SessionLocal =",
        'second = create_engine("sqlite:///second.db")\nSessionLocal =',
    )

    result = shop.run(
        "-p",
        "no:randomly",
        test_it="""
        from sqlalchemy import create_engine, text
        from shop import db

        def test_it(db_clones, db_clone):
            other = db_clones["second"]
            first, db.engine = db.engine, create_engine("sqlite:///third.db")
            db.second = first
            with first.connect() as connection:
                file = connection.scalar(text("SELECT file FROM pragma_database_list"))
            assert file == str(other.path)
        """,
    )

    result.assert_outcomes(passed=1)
