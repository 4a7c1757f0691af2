"""Nothing comes to the application's engines unheard, however SQLAlchemy is found and imported."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest

# Where SQLAlchemy is looked for, and not imported.
LOOKS = {
    "find_spec": 'importlib.util.find_spec("sqlalchemy")',
    "twice": 'importlib.util.find_spec("sqlalchemy"), importlib.util.find_spec("sqlalchemy")',
    "for an inner one": 'importlib.util.find_spec("sqlalchemy.orm")',
    "resources": 'importlib.util.find_spec("sqlalchemy").loader.get_filename("sqlalchemy")',
    "path_finder": 'importlib.machinery.PathFinder.find_spec("sqlalchemy")',
    "each finder": '[f.find_spec("sqlalchemy", None) for f in sys.meta_path]',
    "pkgutil": 'pkgutil.resolve_name("sys"), list(pkgutil.iter_modules())',
}
ALONE = """
def test_it():
    from shop import orders
    orders.add_customer("Ada")
"""


TABLES = """
import sqlite3

with sqlite3.connect("real.db") as connection:
    connection.execute("CREATE TABLE IF NOT EXISTS customers (id INTEGER PRIMARY KEY, name TEXT)")
connection.close()
"""


def rows(shop):
    connection = sqlite3.connect(shop.root / "real.db")
    with contextlib.closing(connection):
        return connection.execute("SELECT count(*) FROM customers").fetchone()[0]


def is_untouched(shop):
    return not (shop.root / "real.db").exists()


@pytest.mark.parametrize("where", ["conftest", "test_it"])
@pytest.mark.parametrize("look", LOOKS)
def test_whoever_looks_for_sqlalchemy_does_not_unguard_its_engines(shop, look, where):
    imports = "import importlib.machinery, importlib.util, pkgutil, sys\n"
    files = {"conftest": "", "test_it": ALONE}
    files[where] = f"{imports}{LOOKS[look]}\n{files[where]}"

    result = shop.run(**files)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*DatabaseNotRequested: shop/orders.py line 12 connects*"])
    assert is_untouched(shop)


# Imports it as no finder of ours hears, as a tracer's or a packer's may.
PAST = """
import importlib.machinery, sys

class Past:
    def find_spec(self, name, path=None, target=None):
        if name == "sqlalchemy":
            return importlib.machinery.PathFinder.find_spec(name, path, target)

sys.meta_path.insert(0, Past())
"""
ASKS = """
from shop import orders

def test_asking(db_clone):
    orders.add_customer("Ada")
    assert orders.names() == ["Ada", "the house"]

def test_not_asking():
    orders.add_customer("Ada")
"""


def test_what_was_imported_past_the_finders_before_the_tests_is_guarded(shop):
    result = shop.run(conftest=PAST, test_it=ASKS)

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*DatabaseNotRequested*test_not_asking did not ask*"])
    assert is_untouched(shop)


# How the modules that a test has imported come to be gone again, SQLAlchemy's with them.
STUBS = """
from unittest import mock

def test_first():
    with mock.patch.dict("sys.modules", {"boto3": mock.MagicMock()}):
        from shop import orders
"""
COPIES = {
    "stubs": STUBS,
    "stubs in a test that asks": STUBS.replace("test_first()", "test_first(db_clone)"),
    "popped": """
def test_first():
    import sys
    from shop import orders
    for name in list(sys.modules):
        if name.partition(".")[0] in ("sqlalchemy", "shop"):
            del sys.modules[name]
""",
    "a fixture": """
import pytest, sys

@pytest.fixture(autouse=True)
def modules():
    before = dict(sys.modules)
    yield
    sys.modules.clear()
    sys.modules.update(before)

def test_first():
    from shop import orders
""",
}
THEN = """
def test_not_asking():
    from shop import orders
    orders.add_customer("Ada")

def test_asking(db_clone):
    from shop import orders
    orders.add_customer("Ada")
    assert orders.names() == ["Ada", "the house"]

def test_a_session(db_session):
    from shop import orders
    from shop.models import Customer
    db_session.add(Customer(name="Ada"))
    db_session.commit()
    assert orders.count() == 2
"""


@pytest.mark.parametrize("copy", COPIES)
def test_another_copy_of_sqlalchemy_is_guarded_and_pointed_too(shop, copy):
    shop.write("conftest.py", TABLES)

    result = shop.run("-p", "no:randomly", test_first=COPIES[copy], test_then=THEN)

    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["*DatabaseNotRequested*test_not_asking did not ask*"])
    assert rows(shop) == 0


# Engines with a creator whose name is bound anew: none of them asks where to connect to.
CREATES = """
import sqlite3
from pathlib import Path
from sqlalchemy import create_engine
from sqlalchemy.orm import sessionmaker

engine = create_engine("sqlite://", creator=lambda: sqlite3.connect(Path("real.db").absolute()))
SessionLocal = sessionmaker(engine)
"""
MADE = {
    "nothing": "pass",
    "reloaded": "importlib.reload(db)",
    "taken away": "del sys.modules['shop.db'], shop.db",
    "assigned": "db.engine = create_engine('sqlite://', creator=db.engine.pool._creator); "
    "db.SessionLocal.configure(bind=db.engine)",
    "disposed of": "db.engine.dispose()",
}


@pytest.mark.parametrize("how", MADE)
@pytest.mark.parametrize("asking", ["", "db_clone"])
def test_a_creator_is_refused_whenever_its_engine_was_made(shop, how, asking):
    shop.write("conftest.py", TABLES)
    shop.write("shop/db.py", CREATES)
    test = f"""
        import importlib, sys
        import shop.db
        from sqlalchemy import create_engine, text
        from shop import db

        {MADE[how]}

        def test_it({asking}):
            from shop import db
            with db.engine.begin() as connection:
                connection.execute(text("INSERT INTO customers (name) VALUES ('Ada')"))
    """

    result = shop.run(test_it=test)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*EngineError: *connects to shop.db:engine through a creator*"])
    assert rows(shop) == 0


LATE = {
    "by the test": ALONE,
    "by a fixture": """
import pytest

@pytest.fixture
def orders():
    from shop import orders
    return orders

def test_it(orders):
    pass
""",
}


@pytest.mark.parametrize("who", LATE)
def test_a_test_that_imports_it_past_the_finders_does_not_pass(shop, who):
    # The tables are there: nothing else would fail it.
    shop.write("conftest.py", PAST)
    with contextlib.closing(sqlite3.connect(shop.root / "real.db")) as connection:
        connection.execute("CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT)")

    result = shop.run("-p", "no:randomly", test_it=LATE[who], test_next=ALONE)

    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        [
            f"*EngineError: SQLAlchemy was imported {who} in a way that nothing hears of*",
            "hint: import it in the conftest.py*",
            "*DatabaseNotRequested*test_next.py::test_it did not ask for a database",
        ]
    )


# A second SQLAlchemy, with engines that those who listen to the first one do not hear.
WORKER = """
from pathlib import Path

from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

engine = create_engine(f"sqlite:///{Path(__file__).parent / 'real.db'}")

def work():
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE worked (id INTEGER)"))

def work_in_a_session():
    with Session(engine) as session:
        session.execute(text("CREATE TABLE worked (id INTEGER)"))
        session.commit()
"""
ANEW = """
import sys
from unittest import mock

import pytest
import shop.orders

def take_out(*packages):
    for name in [name for name in sys.modules if name.partition(".")[0] in packages]:
        del sys.modules[name]

@pytest.fixture(params=["work", "work_in_a_session"])
def work(request):
    with mock.patch.dict(sys.modules):
        take_out(PACKAGES)
        import worker
        yield getattr(worker, request.param)

def test_not_asking(work):
    work()

def test_asking(db_clone, work):
    work()
    assert "table worked: not in the snapshot" in str(db_clone.diff())

def test_putting_it_back(db_session):
    assert shop.orders.names() == ["the house"]
    shop.orders.add_customer("Ada")
"""
# What is imported anew. The configured engine may be gone, too: its URL is known.
PACKAGES = ['"sqlalchemy", "worker"', '"sqlalchemy", "worker", "shop"']


@pytest.mark.parametrize("packages", PACKAGES)
def test_another_sqlalchemy_is_guarded_as_the_first_one_is(shop, packages):
    files = {"worker": WORKER, "test_it": ANEW.replace("PACKAGES", packages)}

    result = shop.run("-p", "no:randomly", **files)

    result.assert_outcomes(passed=3, failed=2)
    result.stdout.fnmatch_lines(["*DatabaseNotRequested: worker.py line * connects*"] * 2)
    assert is_untouched(shop)


def test_another_sqlalchemy_that_came_past_the_finders_fails_the_test(shop, real_starts):
    past = PAST.replace("sys.meta_path.insert(0, Past())", "")
    test = """
def test_it():
    sys.meta_path.insert(0, Past())
    del sys.modules["sqlalchemy"]
    import sqlalchemy
"""

    result = shop.run(test_it=f"{past}import shop.orders\n{test}")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*EngineError: SQLAlchemy was imported by the test in a way*"])


FAKES = {
    "nothing": "None",
    "a mock": "mock.MagicMock()",
    "an empty module": "types.ModuleType('sqlalchemy')",
}


@pytest.mark.parametrize("before", ["from shop import orders", ""], ids=["beside it", "before it"])
@pytest.mark.parametrize("fake", FAKES)
def test_what_only_has_its_name_is_no_sqlalchemy(shop, fake, before):
    test = f"""
        import sys, types
        from unittest import mock
        {before}

        def test_it(monkeypatch):
            monkeypatch.setitem(sys.modules, "sqlalchemy", {FAKES[fake]})

        def test_next(db_clone):
            from shop import orders
            orders.add_customer("Ada")
    """

    result = shop.run("-p", "no:randomly", test_it=test)

    result.assert_outcomes(passed=2)
    assert is_untouched(shop)


WRONG = {
    "unknown key": ("engine = ", "engin = ", "unknown key 'engin'"),
    "type": ('engine = "shop.db:engine"', "engine = 3", "engine"),
    "a backend": ("engine = ", 'backend = "oracle"\nengine = ', "backend"),
    "no such file": ('"alembic.ini"', '"alembik.ini"', "alembik.ini"),
    "a table's name": ("[tool.alembic-snapshot]", "[tool.alembic-snapsot]", "alembic-snap"),
}


IMPORTS = "from shop import orders\norders.add_customer('Ada')\n"
WHERE = {
    "a conftest.py": {"conftest": IMPORTS, "test_it": "def test_it(): pass"},
    "a conftest.py that catches": {
        "conftest": f"try:\n    {IMPORTS.splitlines()[0]}\nexcept Exception:\n    pass\n",
        "test_it": "def test_it(): pass",
    },
    "a module": {"test_it": f"{IMPORTS}def test_it(): pass"},
    "a test": {"test_it": ALONE},
}


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("wrong", WRONG)
def test_with_a_wrong_configuration_nobody_can_import_sqlalchemy(shop, wrong, where, mode):
    before, after, message = WRONG[wrong]
    shop.replace("pyproject.toml", before, after)

    result = shop.run(mode=mode, **WHERE[where])

    is_late = where == "a test" and mode != "n2" and "name" not in wrong
    lines, start = (result.stdout, "*ConfigError") if is_late else (result.stderr, "ERROR")
    assert result.ret == (pytest.ExitCode.TESTS_FAILED if is_late else pytest.ExitCode.USAGE_ERROR)
    lines.fnmatch_lines([f"{start}: *{message}*", "*hint: *"])
    assert "Traceback" not in result.stderr.str()
    assert is_untouched(shop)


# The version is that of the folder with the metadata, which is read when somebody imports it.
OLD = """
from alembic_snapshot.key.libraries import OLDEST

OLDEST["SQLAlchemy"] = "9.9"
"""
CATCHES = """
def test_it():
    try:
        from shop import orders
    except Exception:
        from shop import orders
    orders.add_customer("Ada")
"""


@pytest.mark.parametrize("test_it", [ALONE, CATCHES], ids=["alone", "catches"])
def test_a_version_that_is_too_old_fails_the_test_that_imports_it_and_the_next(shop, test_it):
    result = shop.run(
        "-p", "no:randomly", conftest=OLD, test_it=test_it, test_next="def test_it(): pass"
    )

    result.assert_outcomes(failed=1, errors=1)
    result.stdout.fnmatch_lines(["*ConfigError: SQLAlchemy * is not supported: 9.9 is the oldest*"])
    assert is_untouched(shop)


# An engine that is found only in a context, as Flask-SQLAlchemy's is; threads have none.
IN_A_CONTEXT = """
import contextvars
from sqlalchemy import create_engine

current = contextvars.ContextVar("current")
made = create_engine("sqlite:///real.db")

class Holder:
    @property
    def engine(self):
        return current.get()

holder = Holder()
"""
ELSEWHERE = {
    "a thread": "thread = threading.Thread(target=write); thread.start(); thread.join()",
    "an empty context": "contextvars.Context().run(write)",
    "a loop's thread": "asyncio.run(aside())",
    "no module": "del sys.modules['shop.db']; write()",
}


@pytest.mark.parametrize("where", ELSEWHERE)
@pytest.mark.parametrize("asking", [True, False])
def test_an_engine_that_is_not_there_at_the_moment_is_known_by_its_url(shop, where, asking):
    shop.write("conftest.py", TABLES)
    shop.write("shop/db.py", IN_A_CONTEXT)
    shop.replace("pyproject.toml", 'engine = "shop.db:engine"', 'engine = "shop.db:holder.engine"')
    shop.replace("pyproject.toml", 'sessionmaker = "shop.db:SessionLocal"\n', "")
    shop.replace("alembic.ini", "sqlalchemy.url = sqlite:///real.db", "sqlalchemy.url = sqlite://")
    test = f"""
        import asyncio, contextvars, sys, threading
        import pytest
        import shop.db
        from sqlalchemy import create_engine, text

        @pytest.fixture(autouse=True)
        def context(request):
            token = shop_db.current.set(shop_db.made)
            yield
            shop_db.current.reset(token)

        shop_db = shop.db
        done = []

        def write():
            engine = create_engine("sqlite:///real.db")
            try:
                with engine.begin() as connection:
                    connection.execute(text("INSERT INTO customers (name) VALUES ('Ada')"))
                done.append(True)
            except Exception:
                pass
            engine.dispose()

        async def aside():
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(None, write)

        def test_first(db_clone):
            with shop_db.holder.engine.connect() as connection:
                connection.execute(text("SELECT 1"))

        def test_it({"db_clone" if asking else ""}):
            {ELSEWHERE[where]}
            assert done == [True]
    """

    result = shop.run("-p", "no:randomly", test_it=test)

    result.assert_outcomes(passed=1 + asking, failed=1 - asking)
    assert rows(shop) == 0
