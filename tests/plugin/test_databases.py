"""Several engines, several databases, and applications without an importable engine."""

from __future__ import annotations

import pytest


@pytest.fixture
def with_events(shop, add_events):
    """The shop with a second database, for events, and migrations of its own."""
    add_events(shop)
    shop.write(
        "shop/events.py",
        """
        from sqlalchemy import create_engine, text

        engine = create_engine("sqlite:///events.db")

        def add():
            with engine.begin() as connection:
                connection.execute(text("INSERT INTO events DEFAULT VALUES"))

        def count():
            with engine.connect() as connection:
                return connection.scalar(text("SELECT count(*) FROM events"))
        """,
    )
    return shop


def test_what_is_found_in_a_database_is_listed_by_a_command_that_names_it(with_events):
    rows = "".join(f"op.execute('insert into c values ({n})');" for n in range(30))
    sql = "op.execute('create table p (i integer primary key)');"
    sql += "op.execute('create table c (i integer references p)');" + rows
    with_events.replace(
        "events/versions/e1.py", "    op.create_table", f"    {sql}\n    op.create_table"
    )

    result = with_events.run(
        test_it="""
        from shop import events

        def test_it(db_clones):
            assert db_clones["events"] and events.count() == 0
        """
    )

    (told,) = [line for line in result.outlines if " more: " in line]
    assert told.endswith("more: `alembic-snapshot status --database events` lists them")


BOTH = """
def test_shop(db_clone):
    pass

def test_events(db_clones):
    db_clones["events"]
"""


def test_what_checks_found_says_in_which_database(with_events):
    with_events.replace("shop/models.py", "    item:", "    price: Mapped[int]\n    item:")
    unchecked = "events: drift: not checked, because env.py gives no target_metadata*"

    warned = with_events.run("-p", "no:randomly", test_it=BOTH)
    with_events.replace("pyproject.toml", "databases.events]", 'databases.events]\ndrift = "error"')
    with_events.configure('drift = "error"')
    failed = with_events.run("-p", "no:randomly", test_it=BOTH)

    begin = "alembic-snapshot: warning: "
    lines = [f"{begin}default: drift: add column orders.price", f"{begin}{unchecked}"]
    warned.assert_outcomes(passed=2)
    warned.stdout.fnmatch_lines(lines, consecutive=True)
    failed.assert_outcomes(errors=1, failed=1)
    failed.stdout.fnmatch_lines(
        ["*CheckError: default: the models differ from the migrated schema:", f"*{unchecked}"]
    )


@pytest.mark.usefixtures("own_store")
def test_what_was_never_built_is_not_explained_by_the_other_database(with_events):
    with_events.run(test_it="def test_it(db_clone):\n    pass\n")

    result = with_events.run(test_it="def test_it(db_clones):\n    assert db_clones['events']\n")

    result.stdout.fnmatch_lines(["*built (the store has no snapshot of this database); 0 clones*"])


def test_the_clones_have_the_names_of_the_databases(with_events):
    result = with_events.run(
        test_it="""
        def test_it(db_clones):
            assert list(db_clones) == ["default", "events"]
            assert "events" in db_clones
            assert "event" not in db_clones
            assert len(db_clones) == 2
        """
    )

    result.assert_outcomes(passed=1)


def test_each_database_of_a_project_has_clones_of_its_own(with_events, mode):
    result = with_events.run(
        "-p",
        "no:randomly",
        mode=mode,
        test_it="""
        import pytest
        from shop import events, orders

        @pytest.mark.parametrize("time", [1, 2])
        def test_both(db_clones, time):
            assert db_clones["events"] is db_clones["events"]
            assert db_clones["default"].path != db_clones["events"].path
            assert (events.count(), orders.count()) == (0, 1)
            events.add()
            orders.add_customer("Ada")
            assert (events.count(), orders.count()) == (1, 2)

        def test_only_the_first(db_session):
            assert orders.count() == 1
            with pytest.raises(Exception, match=r'take db_clones, and use db_clones\\["events"\\]'):
                events.count()

        def test_unknown(db_clones):
            db_clones["unknown"]

        def test_failing(db_clones):
            db_clones["events"]
            events.add()
            assert 0
        """,
    )

    result.assert_outcomes(passed=3, failed=2)
    result.stdout.fnmatch_lines(
        ["ConfigError: no database 'unknown' in *", "hint: the configured ones: events"]
    )
    result.stdout.fnmatch_lines(["database events: *kept-databases*", "events: 1 added"])
    assert not list(with_events.root.glob("*.db"))


FACTORY = """
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session
from shop.models import Customer

def make_app():
    engine = create_engine({url!r})
    def names():
        with Session(engine) as session:
            return [name for (name,) in session.query(Customer.name)]
    return names

@pytest.mark.parametrize("time", [1, 2])
def test_session_and_application(db_session, time):
    assert make_app()() == ["the house"]
    db_session.add(Customer(name="Ada"))
    db_session.commit()
    assert make_app()() == ["the house", "Ada"]

def test_own_engine(db_engine):
    with db_engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM customers")) == 1

def test_not_asking():
    with pytest.raises(Exception, match="did not ask for a database"):
        make_app()()

@pytest.mark.asyncio
async def test_async(async_db_session, async_db_engine):
    async_db_session.add(Customer(name="Ada"))
    await async_db_session.commit()
    assert make_app()() == ["the house", "Ada"]
"""


@pytest.mark.parametrize("url", ["sqlite:///real.db", "sqlite://"])
def test_an_engine_can_be_given_as_the_url_that_a_factory_uses(shop, url):
    shop.replace("pyproject.toml", 'engine = "shop.db:engine"', f'engine = "{url}"')
    shop.replace("pyproject.toml", 'sessionmaker = "shop.db:SessionLocal"\n', "")

    result = shop.run(test_it=FACTORY.format(url=url))

    result.assert_outcomes(passed=5)
    assert not (shop.root / "real.db").exists()


def test_a_project_may_have_no_engine_at_all(shop):
    shop.replace("pyproject.toml", 'engine = "shop.db:engine"\n', "")
    shop.replace("pyproject.toml", 'sessionmaker = "shop.db:SessionLocal"\n', "")

    result = shop.run(
        test_it="""
        import sqlite3
        import pytest
        from sqlalchemy import create_engine, text
        from shop.models import Customer

        def test_session(db_session):
            assert db_session.get(Customer, 1).name == "the house"

        @pytest.mark.asyncio
        async def test_async_session(async_db_session):
            assert (await async_db_session.get(Customer, 1)).name == "the house"

        def test_raw(db_clone):
            connection = sqlite3.connect(db_clone.path)
            assert connection.execute("SELECT name FROM customers").fetchall() == [("the house",)]
            connection.close()

        def test_other_engines_are_left_alone(tmp_path):
            engine = create_engine(f"sqlite:///{tmp_path / 'x.db'}")
            with engine.connect() as connection:
                assert connection.scalar(text("SELECT 1")) == 1
            engine.dispose()
        """
    )

    result.assert_outcomes(passed=4)


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        ("shop.db:nothing", "EngineError: can't import 'shop.db:nothing': *"),
        ("shop.nowhere:engine", "EngineError: can't import 'shop.nowhere:engine': *"),
        ("shop.db:SessionLocal", "EngineError: engine 'shop.db:SessionLocal' is *, not an engine"),
    ],
)
def test_a_wrong_engine_is_named(shop, engine, message):
    shop.replace("pyproject.toml", '"shop.db:engine"', f'"{engine}"')

    result = shop.run(test_it="def test_it(db_engine):\n    pass\n")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([message])


@pytest.mark.parametrize("is_right", [True, False])
def test_a_child_process_is_led_to_each_of_them(with_events, monkeypatch, is_right):
    path = with_events.root / "events.db"
    monkeypatch.setenv("SHOP_URL", "sqlite:///developers.db")
    monkeypatch.setenv("EVENTS_URL", f"sqlite:///{path}")
    with_events.configure('environment = { SHOP_URL = "{url}" }')
    with_events.replace("shop/events.py", '"sqlite:///events.db"', 'os.environ["EVENTS_URL"]')
    with_events.replace("shop/events.py", "from sqlalchemy", "import os\n\nfrom sqlalchemy")
    name = "EVENTS_URL" if is_right else "EVENT_URL"
    with open(with_events.root / "pyproject.toml", "a") as file:
        file.write(f'environment = {{ {name} = "{{url}}" }}\n')

    result = with_events.run(
        test_it="""
        import subprocess
        import sys

        from shop import events, orders

        CODE = "import sys; sys.path.insert(0, '.'); from shop import events, orders; "
        CODE += "events.add(); orders.add_customer('Ada')"

        def test_both(db_clone, db_clones):
            environ = {**db_clone.environ, **db_clones["events"].environ}
            subprocess.run([sys.executable, "-c", CODE], env=environ, check=True)
            assert (events.count(), orders.count()) == (1, 2)

        def test_the_other_way_round(db_clone, db_clones):
            environ = {**db_clones["events"].environ, **db_clone.environ}
            subprocess.run([sys.executable, "-c", CODE], env=environ, check=True)
            assert (events.count(), orders.count()) == (1, 2)
        """
    )

    assert not path.exists()
    assert not (with_events.root / "developers.db").exists()
    result.assert_outcomes(passed=2 if is_right else 0, failed=0 if is_right else 2)
    if not is_right:
        entry = 'write EVENTS_URL = "{url}" in environment'
        table = "[[]tool.alembic-snapshot.databases.events]"
        result.stdout.fnmatch_lines([f"*hint: {entry} below {table}; it does not read EVENT_URL"])
