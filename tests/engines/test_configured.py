"""What the configuration names as engine and factory is right, or no test that asks runs."""

from __future__ import annotations

import sqlite3

import pytest

ASKING = """
import pytest
from alembic_snapshot import EngineError  # noqa: F401
from pytest_alembic_snapshot import clone_fixture

shared = clone_fixture("class")

def write():
    from sqlalchemy import text
    from shop import db
    with db.engine.begin() as connection:
        connection.execute(text("CREATE TABLE IF NOT EXISTS rows (id INTEGER)"))
        connection.execute(text("INSERT INTO rows DEFAULT VALUES"))

def test_session(db_session):
    write()

def test_clone(db_clone):
    write()

def test_engine(db_engine):
    write()

def test_snapshot(db_snapshot):
    write()

@pytest.mark.db_clone
def test_marker():
    write()

@pytest.mark.db_clone(empty=True)
def test_marker_for_an_empty_one():
    write()

def test_clones(db_clones):
    db_clones["default"]
    write()

class TestShared:
    def test_it(self, shared):
        write()

def test_async_engine(async_db_engine):
    write()

@pytest.mark.asyncio
async def test_async_session(async_db_session):
    write()

def test_not_asking():
    pass
"""
REAL = """
import contextlib
from pathlib import Path
from sqlalchemy import create_engine
from sqlalchemy.orm import Session, sessionmaker
from shop.models import Base

REAL = Path(__file__).parents[1] / "real.db"
engine = create_engine(f"sqlite:///{REAL}")
SessionLocal = sessionmaker(engine)
other = create_engine(f"sqlite:///{REAL.with_name('other.db')}")

def make():
    return engine

def make_for(name):
    return engine

async def make_async():
    return engine

def get_db():
    with Session(engine) as session:
        yield session

get_context = contextlib.contextmanager(get_db)

async def get_async_db():
    yield session

get_async_context = contextlib.asynccontextmanager(get_async_db)

class Unit:
    def __enter__(self):
        return session
    def __exit__(self, *_):
        pass
    __aenter__, __aexit__ = __enter__, __exit__

class Broken:
    @property
    def engine(self):
        raise RuntimeError("Working outside of application context")

broken = Broken()
unmade = None
Elsewhere = sessionmaker(other)
third = create_engine(f"sqlite:///{REAL.with_name('third.db')}")
InTwoPlaces = sessionmaker(other, binds={Base: third})
Unbound = sessionmaker()
session = Session(engine)
postgres = create_engine("postgresql+psycopg://localhost/shop")

def fails():
    raise KeyError("SHOP_URL")

def gives_a_number():
    return 1

def adds_wrongly():
    return 1 + "1"
"""
MISTAKES = {
    "a typo": ("shop.db:engin", None, "*did you mean 'engine'?"),
    "renamed": ("shop.db:database", None, "*has no attribute 'database'"),
    "the module's name": ("shop.dbs:engine", None, "*can't import 'shop.dbs:engine': No module *"),
    "a package that is not there": ("nope:engine", None, "*can't import 'nope:engine': No module*"),
    "a module that raises": ("shop.raises:engine", None, "*shop/raises.py line 1: ValueError: no*"),
    "a module that exits": ("shop.exits:engine", None, "*shop/exits.py line 2: SystemExit: bye"),
    "a dependency": ("shop.needs:engine", None, "*shop/needs.py line 1: No module named 'nothing'"),
    "a property that raises": ("shop.db:broken.engine", None, "*can't be had at shop/db.py line *"),
    "nothing yet": ("shop.db:unmade", None, "*is None: nothing has made it yet"),
    "a function not called": ("shop.db:make", None, '*write engine = "shop.db:make()" if it *'),
    "a function with arguments": ("shop.db:make_for()", None, "*can't be called: *argument*"),
    "a call of no function": ("shop.db:engine()", None, "*can't be called: *not callable*"),
    "a function that raises": ("shop.db:fails()", None, "*shop/db.py line *: KeyError: 'SHOP_URL'"),
    "a mistake inside": ("shop.db:adds_wrongly()", None, "*can't be had at shop/db.py line *"),
    "an async function": ("shop.db:make_async()", None, "*an async function can't be called here*"),
    "the factory": ("shop.db:SessionLocal", None, "*is sessionmaker, not an engine"),
    "a session": ("shop.db:session", None, "*is Session, not an engine"),
    "a module": ("os:path", None, "*is module, not an engine"),
    "another dialect": ("shop.db:postgres", None, "*speaks postgresql, but the snapshot is a *"),
    "another dialect's URL": ("postgresql://localhost/x", None, "*speaks postgresql, but *"),
    "a slash too few": ("sqlite://shop.db", None, "*is no URL that works: Invalid SQLite URL*"),
    "no URL": ("sqlite:/shop://db", None, "*is no URL that works*"),
    "another driver": ("sqlite+nothing:///x", None, "*is no URL that works*"),
    "the factory's name": ("shop.db:engine", "shop.db:Session_", "*did you mean 'Session'?"),
    "another engine's": ("shop.db:engine", "shop.db:Elsewhere", "*go to 'other.db', and those of*"),
    "others'": ("shop.db:engine", "shop.db:InTwoPlaces", "*go to 'other.db', and those of*"),
    "unbound": ("shop.db:engine", "shop.db:Unbound", "*are bound to no engine"),
    "an unbound class": ("shop.db:engine", "sqlalchemy.orm:Session", "*are bound to no engine"),
    "an engine": ("shop.db:engine", "shop.db:engine", "*is Engine, not a session factory"),
    "no factory": ("shop.db:engine", "shop.db:session", "*is Session, not a session factory"),
    "a generator": ("shop.db:engine", "shop.db:get_db", "*makes a generator, not a session"),
    "an async generator": ("shop.db:engine", "shop.db:get_async_db", "*makes a generator, not a *"),
    "a coroutine": ("shop.db:engine", "shop.db:make_async", "*makes a coroutine, of an async fun*"),
    "a context": ("shop.db:engine", "shop.db:get_context", "*makes a context manager, not a *"),
    "an async one": ("shop.db:engine", "shop.db:get_async_context", "*makes a context manager, *"),
    "its own": ("shop.db:engine", "shop.db:Unit", "*makes Unit, not a session"),
    "a number": ("shop.db:engine", "shop.db:gives_a_number", "*makes int, not a session"),
    "raises": ("shop.db:engine", "shop.db:fails", "*can't make a session: KeyError*"),
    "the factory alone, unbound": (None, "shop.db:Unbound", "*are bound to no engine"),
    "the factory alone": (None, "shop.db:postgres_sessions", "*can't import*"),
}


@pytest.fixture
def named(shop):
    """The shop, with an engine and a factory by these names."""

    def configure(engine, factory):
        shop.replace("pyproject.toml", 'engine = "shop.db:engine"\n', "")
        shop.replace("pyproject.toml", 'sessionmaker = "shop.db:SessionLocal"\n', "")
        if engine:
            shop.configure(f'engine = "{engine}"')
        if factory:
            shop.configure(f'sessionmaker = "{factory}"')
        shop.write("shop/db.py", REAL)
        shop.write("shop/raises.py", 'raise ValueError("no")\n')
        shop.write("shop/exits.py", 'import sys\nsys.exit("bye")\n')
        shop.write("shop/needs.py", "import nothing\n")
        return shop

    return configure


def rows(root):
    """How many rows are in each file that is not a clone."""
    found = {}
    for path in root.glob("*.db"):
        with sqlite3.connect(path) as connection:
            tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        connection.close()
        found[path.name] = tables[0]
    return found


@pytest.mark.parametrize(("engine", "factory", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_fails_each_test_that_asks_and_no_other(named, engine, factory, message):
    sample = named(engine, factory)

    result = sample.run(test_it=ASKING)

    result.assert_outcomes(errors=9, failed=1, passed=1)
    result.stdout.fnmatch_lines([message])
    assert result.stdout.str().count("\nEngineError: ") == 10
    assert rows(sample.root) == {}


RIGHT = """
import contextlib
from pathlib import Path
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import (
    AsyncSession, async_scoped_session, async_sessionmaker, create_async_engine)
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from shop.models import Base

REAL = Path(__file__).parents[1] / "real.db"
URL = f"sqlite:///{REAL}"
engine = create_engine(URL)
again = create_engine(URL)
async_engine = create_async_engine(f"sqlite+aiosqlite:///{REAL}")
SessionLocal = sessionmaker(engine)
Again = sessionmaker(again)
Scoped = scoped_session(SessionLocal)
Async = async_sessionmaker(async_engine)
AsyncScoped = async_scoped_session(Async, scopefunc=lambda: 1)
ByMapper = sessionmaker(binds={Base: engine})

class Mine(Session):
    def __init__(self):
        super().__init__(engine)

class OnlyInside(Session):
    inside = False
    def get_bind(self, *arguments, **options):
        if not self.inside:
            raise RuntimeError("Working outside of application context")
        return engine

Inside = scoped_session(sessionmaker(class_=OnlyInside))
made = []

def make_session():
    return Session(engine)

def cached():
    if not made:
        made.append(create_engine(URL))
    return made[0]

def fresh():
    return create_engine(URL)

class App:
    def __init__(self):
        made.append(self)
        self.extensions = {}
        self.database = fresh()
        self.sessions = sessionmaker(self.database)

def create_app():
    return App()
"""
RIGHTS = [
    ("shop.db:engine", "shop.db:SessionLocal"),
    ("shop.db:engine", "shop.db:Again"),
    ("shop.db:engine", "shop.db:Scoped"),
    ("shop.db:engine", "shop.db:Async"),
    ("shop.db:async_engine", "shop.db:AsyncScoped"),
    ("shop.db:async_engine", "shop.db:SessionLocal"),
    ("shop.db:engine", "shop.db:ByMapper"),
    ("shop.db:engine", "shop.db:Mine"),
    ("shop.db:engine", "shop.db:make_session"),
    ("shop.db:engine", "shop.db:Inside"),
    ("shop.db:URL", "shop.db:SessionLocal"),
    ("sqlite:///real.db", "shop.db:SessionLocal"),
    ("sqlite:///real.db", None),
    ("shop.db:cached()", "shop.db:SessionLocal"),
    ("shop.db:fresh()", "shop.db:Again"),
    ("shop.db:create_app().database", "shop.db:create_app().sessions"),
    (None, "shop.db:SessionLocal"),
    (None, "shop.db:Async"),
    (None, "shop.db:create_app().sessions"),
]


@pytest.mark.parametrize(("engine", "factory"), RIGHTS)
def test_whatever_makes_engines_and_sessions_can_be_named(named, engine, factory):
    sample = named(engine, factory)
    sample.write("shop/db.py", RIGHT)

    result = sample.run(
        test_it="""
        import pytest
        from shop.models import Customer
        from sqlalchemy import select

        @pytest.fixture(autouse=True)
        def inside(monkeypatch, request):
            from shop import db
            monkeypatch.setattr(db.OnlyInside, "inside", request.node.name == "test_session[1]")

        def names(connection):
            return connection.execute(select(Customer.name)).scalars().all()

        @pytest.mark.parametrize("time", [1, 2])
        def test_session(db_session, db_clone, time):
            from shop import db
            if time == 2 and isinstance(db_session, db.OnlyInside):
                db.OnlyInside.inside = True
            assert names(db_session) == ["the house"]
            assert names(db.SessionLocal()) == ["the house"]
            with db.fresh().connect() as connection:
                assert names(connection) == ["the house"]
            assert [x for x in db.made if isinstance(x, db.App)][1:] == []

        def test_engine(db_engine):
            with db_engine.connect() as connection:
                assert names(connection) == ["the house"]

        @pytest.mark.asyncio
        async def test_async(async_db_session):
            result = await async_db_session.execute(select(Customer.name))
            assert result.scalars().all() == ["the house"]

        def test_not_asking():
            from shop import db
            with pytest.raises(Exception, match="did not ask for a database"):
                names(db.SessionLocal())
        """
    )

    result.assert_outcomes(passed=5)
    assert rows(sample.root) == {}


def test_a_session_on_a_database_of_another_kind_is_left_alone(named):
    result = named("shop.db:engine", None).run(
        "-p",
        "no:randomly",
        test_it="""
        import sqlite3
        from sqlalchemy import create_engine
        from sqlalchemy.orm import Session

        # Whatever the driver is: it does not connect.
        session = Session(create_engine("mysql://localhost/shop", module=sqlite3))

        def test_it(db_clone):
            session.begin()

        def test_that_it_is_as_it_was():
            assert session.in_transaction()
        """,
    )

    result.assert_outcomes(passed=2)


def test_a_session_that_turns_out_to_go_elsewhere_is_refused(named):
    sample = named("shop.db:engine", "shop.db:Inside")
    sample.write("shop/db.py", RIGHT)
    sample.replace("shop/db.py", "        return engine\n", "        return elsewhere\n")
    with open(sample.root / "shop/db.py", "a") as file:
        file.write('elsewhere = create_engine("sqlite:///elsewhere.db")\n')

    result = sample.run(
        test_it="""
        from shop import db
        from sqlalchemy import text

        def test_it(db_session):
            db.OnlyInside.inside = True
            db_session.execute(text("CREATE TABLE rows (id INTEGER)"))
        """
    )

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*EngineError: *'shop.db:Inside' went to another database*"])
    assert rows(sample.root) == {"elsewhere.db": 0}


@pytest.mark.parametrize(
    "line",
    ['engine = "shop.db:"', 'engine = "shop.db:make(1)"', 'migrate = "shop.db:make()"',
     'seeds = ["shop.seed:demo()"]', 'engine = "shop.db.make()"', 'engine = "shop:a..b"'],
)  # fmt: skip
def test_a_reference_that_is_none_is_an_error_of_the_configuration(named, line):
    sample = named(None, None)
    sample.configure(line)

    result = sample.run(test_it="def test_it(db_clone):\n    pass\n")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["ConfigError: *", "hint: *call*"])
