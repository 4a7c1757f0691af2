"""Whatever opens the application's database lands on the clone, or is refused."""

from __future__ import annotations

import sqlite3

import pytest

from alembic_snapshot.engines.known import Known

# Engines in a module that does not import the configured one, by how they spell the same file.
WORKER = """
import os
from pathlib import Path
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

ROOT = Path(__file__).parents[1]
(ROOT / "linked").symlink_to(ROOT) if not (ROOT / "linked").is_symlink() else None
SPELLINGS = {
    "absolute": f"sqlite:///{ROOT}/real.db",
    "relative": "sqlite:///real.db",
    "with dots": "sqlite:///./shop/../real.db",
    "URI": f"sqlite:///file:{ROOT}/real.db?uri=true",
    "relative URI": "sqlite:///file:real.db?mode=rwc&uri=true",
    "link": f"sqlite:///{ROOT}/linked/real.db",
    "driver": f"sqlite+pysqlite:///{ROOT}/real.db",
    "async": f"sqlite+aiosqlite:///{ROOT}/real.db",
}

def count(spelling, name="Ada"):
    url = SPELLINGS[spelling]
    if "aiosqlite" in url:
        import asyncio
        return asyncio.run(async_count(url))
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            connection.execute(text(f"INSERT INTO customers (name) VALUES ('{name}')"))
            return connection.scalar(text("SELECT count(*) FROM customers"))
    finally:
        engine.dispose()

async def async_count(url):
    engine = create_async_engine(url)
    try:
        async with engine.begin() as connection:
            await connection.execute(text("INSERT INTO customers (name) VALUES ('Ada')"))
            return await connection.scalar(text("SELECT count(*) FROM customers"))
    finally:
        await engine.dispose()
"""
BOTH = """
import pytest
{imports}
from alembic_snapshot import DatabaseNotRequested
from shop.worker import SPELLINGS, count

@pytest.mark.parametrize("spelling", SPELLINGS)
def test_asking(db_clone, spelling):
    assert count(spelling) == 2

@pytest.mark.parametrize("spelling", SPELLINGS)
def test_not_asking(spelling):
    with pytest.raises(DatabaseNotRequested, match="did not ask for a database"):
        count(spelling)
"""
ORDERS = {
    "the other module alone": "",
    "the configured module first": "import shop.db",
    "the other module first": "import shop.worker, shop.db",
}


@pytest.fixture
def worker(shop):
    """The shop, with a worker that makes engines of its own."""
    shop.write("shop/worker.py", WORKER)
    return shop


def rows(root):
    """How many tables are in each file that is not a clone."""
    found = {}
    for path in root.glob("**/*.db"):
        if any(name in str(path) for name in ("runpytest", "linked", ".alembic-snapshot")):
            continue
        connection = sqlite3.connect(path)
        (count,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        connection.close()
        found[path.name] = count
    return found


@pytest.mark.parametrize("imports", ORDERS.values(), ids=ORDERS)
def test_another_modules_engine_lands_on_the_clone(worker, imports):
    result = worker.run(test_it=BOTH.format(imports=imports))

    result.assert_outcomes(passed=16)
    assert rows(worker.root) == {}


@pytest.mark.parametrize("url", ["sqlite:///real.db", "sqlite+aiosqlite:///./real.db"])
def test_so_it_does_where_a_url_is_configured(worker, url):
    worker.replace("pyproject.toml", 'engine = "shop.db:engine"', f'engine = "{url}"')
    worker.replace("pyproject.toml", 'sessionmaker = "shop.db:SessionLocal"\n', "")

    result = worker.run(test_it=BOTH.format(imports=""))

    result.assert_outcomes(passed=16)
    assert rows(worker.root) == {}


def test_so_it_does_in_another_working_directory(worker):
    result = worker.run(
        test_it="""
        import os
        import pytest
        from shop.worker import count

        @pytest.fixture
        def elsewhere(tmp_path, monkeypatch):
            monkeypatch.chdir(tmp_path)

        @pytest.mark.parametrize("spelling", ["absolute", "URI", "link", "async"])
        def test_asking(elsewhere, db_clone, spelling):
            assert count(spelling) == 2

        @pytest.mark.parametrize("spelling", ["absolute", "URI", "link", "async"])
        def test_not_asking(elsewhere, spelling):
            with pytest.raises(Exception, match="did not ask for a database"):
                count(spelling)
        """
    )

    result.assert_outcomes(passed=8)
    assert rows(worker.root) == {}


def test_a_relative_url_means_the_projects_file_from_a_folder_below(worker, monkeypatch):
    worker.replace("pyproject.toml", 'sessionmaker = "shop.db:SessionLocal"\n', "")
    worker.write("shop/db.py", "from sqlalchemy import create_engine\n"
                 'engine = create_engine("sqlite:///real.db")\n')  # fmt: skip
    worker.write("tests/test_it.py", BOTH.format(imports=""))
    monkeypatch.chdir(worker.root / "tests")

    result = worker.run("--rootdir", "..", "-c", "../pyproject.toml", "test_it.py")

    result.assert_outcomes(passed=16)
    assert rows(worker.root) == {}


LEGACY = """
from sqlalchemy import create_engine, text

def write(name):
    engine = create_engine(f"sqlite:///{name}.db")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE customers (id INTEGER)"))
    engine.dispose()
"""
REFUSED = """
import pytest
from alembic_snapshot import DatabaseNotRequested, EngineError
from shop.legacy import write

@pytest.mark.parametrize("name", {names})
def test_asking(db_clone, name):
    with pytest.raises(EngineError, match=f"line 5 connects to '{{name}}.db' .* test's clone") as e:
        write(name)
    assert f'write engine = "sqlite:///{{name}}.db" in [tool.alembic-snapshot]' in e.value.hint

@pytest.mark.parametrize("name", {names})
def test_not_asking(name):
    with pytest.raises(DatabaseNotRequested, match=f"'{{name}}.db' .* did not ask for a database"):
        write(name)
"""


@pytest.fixture
def legacy(shop):
    """The shop, whose migrations are for other files than its engine's."""
    shop.replace("alembic.ini", "sqlite:///real.db", "sqlite:///%(here)s/named.db")
    with open(shop.root / "migrations/env.py", "a") as file:
        file.write(
            '\nimport sqlalchemy as sa\nsa.create_engine("sqlite:///opened.db").connect().close()\n'
        )
    shop.write("shop/legacy.py", LEGACY)
    return shop


@pytest.mark.parametrize("engine", ["", 'engine = "shop.db:engine"\n'], ids=["none", "another"])
def test_what_the_migrations_are_for_is_refused(legacy, engine):
    legacy.replace("pyproject.toml", 'engine = "shop.db:engine"\n', engine)
    legacy.replace("pyproject.toml", 'sessionmaker = "shop.db:SessionLocal"\n', "")

    result = legacy.run(test_it=REFUSED.format(names=["named", "opened"]))

    result.assert_outcomes(passed=4)
    assert rows(legacy.root) == {}


def test_what_env_py_opened_is_known_from_the_store_too(legacy, own_store):
    asking = "def test_asking(db_clone):\n    db_clone.path\n"
    legacy.run(test_it=asking).assert_outcomes(passed=1)

    result = legacy.run(
        test_it="""
        from shop.legacy import write

        def test_not_asking():
            write("opened")
        """
    )

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["E*DatabaseNotRequested: shop/legacy.py line 5 connects to 'opened.db' (what env.py *"]
    )
    assert rows(legacy.root) == {}


def test_a_database_of_the_migrations_is_refused_when_modules_are_imported(legacy):
    legacy.write("shop/eager.py", 'from shop.legacy import write\n\nwrite("named")\n')

    result = legacy.run(test_it="import shop.eager\n\ndef test_nothing():\n    pass\n")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*line 5 connects to 'named.db' (sqlalchemy.url of alembic.ini)*"])
    assert rows(legacy.root) == {}


@pytest.mark.parametrize("engine", ["shop.db:engin", "nope:engine", "shop.raises:engine"])
def test_where_the_engine_is_not_known_every_real_file_is_refused(shop, engine):
    shop.replace("pyproject.toml", '"shop.db:engine"', f'"{engine}"')
    shop.write("shop/raises.py", "1 / 0\n")
    shop.write("shop/legacy.py", LEGACY)

    result = shop.run(
        test_it="""
        import pytest
        from alembic_snapshot import EngineError
        from shop.legacy import write
        from sqlalchemy import create_engine

        def test_a_real_file():
            with pytest.raises(EngineError, match="line 5 connects to 'any.db', and whether it is"):
                write("any")

        def test_one_of_the_test(tmp_path):
            write(tmp_path / "any")
            memory = create_engine("sqlite://")
            memory.connect().close()
            memory.dispose()
        """
    )

    result.assert_outcomes(passed=2)
    assert rows(shop.root) == {}


def test_a_module_that_connects_while_it_makes_the_engine_is_refused(shop):
    shop.write(
        "shop/db.py",
        """
        from sqlalchemy import create_engine

        def make():
            made = create_engine("sqlite:///any.db")
            made.connect().close()
            return made

        engine = make()
        """,
    )

    result = shop.run(test_it="import shop.db\n\ndef test_nothing():\n    pass\n")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*EngineError: shop/db.py line 5 connects to 'any.db', and *"])
    assert rows(shop.root) == {}


def test_threads_that_are_the_first_to_connect_find_the_engine(worker):
    result = worker.run(
        test_it="""
        from concurrent.futures import ThreadPoolExecutor
        from shop.worker import count

        def test_it(db_clone):
            with ThreadPoolExecutor(4) as pool:
                spellings = ["absolute", "relative", "URI", "link"] * 2
                counts = list(pool.map(count, spellings, "abcdefgh"))
            assert sorted(counts) == list(range(2, 10))
        """
    )

    result.assert_outcomes(passed=1)
    assert rows(worker.root) == {}


def test_a_run_without_a_database_imports_nothing_of_it(shop):
    result = shop.run(
        test_it="""
        import sys

        def test_it():
            assert not {"sqlalchemy", "alembic", "shop.db"} & set(sys.modules)
            assert "alembic_snapshot.plugin.database" not in sys.modules
        """
    )

    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*alembic-snapshot: *clone*")


STRAY = """
import asyncio
import pytest
from pathlib import Path
from pytest_alembic_snapshot import clone_fixture
from shop import orders
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session

FILE = Path(__file__).parent / "instance" / "blog.db"
FILE.parent.mkdir(exist_ok=True)
file = create_engine(f"sqlite:///{FILE}")
memory = create_engine("sqlite://")
shared = clone_fixture("class")

def use(engine):
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))

async def use_async():
    engine = create_async_engine(f"sqlite+aiosqlite:///{FILE}")
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
    await engine.dispose()

def test_stray_file(db_session):
    use(file)

def test_stray_file_again(db_session):
    use(file)

def test_stray_memory(db_engine):
    use(memory)

@pytest.mark.db_clone
def test_stray_async():
    asyncio.run(use_async())

@pytest.mark.asyncio
async def test_stray_in_a_loop(async_db_session):
    await use_async()

class TestStrayShared:
    def test_it(self, shared):
        use(file)

class TestShared:
    def test_stranger(self, shared):
        use(file)

    def test_clone(self, shared):
        orders.count()

@pytest.fixture(scope="session")
def held():
    with file.connect() as connection:
        yield connection

def test_stray_held(held, db_session):
    with Session(held) as session:
        session.execute(text("SELECT 1"))

def test_held_and_not_used(held, db_session):
    pass

def test_both(db_clone):
    use(file)
    orders.count()

def test_the_path(db_clone):
    assert db_clone.path.exists()
    use(file)

def test_the_url(db_clone):
    clone = create_engine(db_clone.url)
    use(clone)
    clone.dispose()
    use(memory)

def test_a_child(db_clone):
    assert db_clone.environ
    use(file)

def test_nothing(db_session):
    pass

def test_not_asking():
    use(file)
    use(memory)
"""


@pytest.mark.parametrize("clones", ["fresh", "reset", "reset --snapshot-reset=rewind"])
def test_a_test_that_opened_another_database_and_not_its_clone_fails(shop, clones):
    shop.configure('environment = { SHOP_URL = "{url}" }')
    result = shop.run(*f"--snapshot-clones={clones}".split(), test_it=STRAY)

    result.assert_outcomes(failed=6, passed=10, errors=1)
    text = result.stdout.str()
    assert "test_it.py::test_stray_file asked for a database and did not use it: test_it.py" in text
    assert 'write engine = "sqlite:///instance/blog.db" in [tool.alembic-snapshot]' in text
    assert "opened a database in memory" in text
    assert "the tests that share a clone asked for a database and did not use it" in text


def test_a_hint_names_no_file_of_one_run(shop):
    result = shop.run(
        test_it="""
        from sqlalchemy import create_engine

        def test_it(db_session, tmp_path):
            create_engine(f"sqlite:///{tmp_path}/x.db").connect().close()
        """
    )

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*did not use it: test_it.py line 4 opened *x.db'", "*engine: the database is in a temp*"]
    )
    assert 'engine = "sqlite:' not in result.stdout.str()


def test_a_failing_test_says_so_too_with_the_line_that_was_first(shop):
    result = shop.run(
        test_it="""
        from sqlalchemy import create_engine, text

        def test_it(db_session):
            create_engine("sqlite://").connect().close()
            with create_engine("sqlite://").connect() as connection:
                connection.execute(text("SELECT * FROM customers"))
        """
    )

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*did not use it: test_it.py line 4 opened a database in memory*"])


def test_with_the_guard_off_each_refusal_is_a_warning(legacy):
    legacy.configure('guard = "off"')

    result = legacy.run(
        "-W",
        "always::pytest_alembic_snapshot.UnguardedDatabaseWarning",
        test_it="""
        import pytest
        from shop import orders
        from shop.legacy import write
        from pytest_alembic_snapshot import UnguardedDatabaseWarning

        def test_known(db_clone):
            with pytest.warns(UnguardedDatabaseWarning, match="connects to 'named.db'"):
                write("named")
            with pytest.warns(UnguardedDatabaseWarning, match="attaches 'other.db'"):
                with orders.SessionLocal() as session:
                    session.connection().exec_driver_sql("ATTACH 'other.db' AS other")

        def test_not_asking():
            with pytest.warns(UnguardedDatabaseWarning, match="shop.db:engine, but .* did not ask"):
                with orders.SessionLocal() as session:
                    session.connection()

        def test_stray(db_clone):
            write("stray")
        """,
    )

    result.assert_outcomes(passed=3, warnings=1)
    result.stdout.fnmatch_lines(["*UnguardedDatabaseWarning: *::test_stray asked for a database*"])


def test_without_an_engine_the_summary_says_what_is_isolated(shop):
    shop.replace("pyproject.toml", 'engine = "shop.db:engine"\n', "")
    shop.replace("pyproject.toml", 'sessionmaker = "shop.db:SessionLocal"\n', "")
    tests = """
        import pytest
        from sqlalchemy import create_engine, text

        @pytest.fixture
        def engine(db_clone):
            engine = create_engine(db_clone.url)
            yield engine
            engine.dispose()

        def test_it(engine):
            with engine.connect() as connection:
                assert connection.scalar(text("SELECT name FROM customers")) == "the house"
    """

    result = shop.run(test_it=tests)

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["alembic-snapshot: only the fixtures are isolated: *engine*"])
    quiet = shop.run("-q")
    quiet.stdout.fnmatch_lines(["alembic-snapshot: only the fixtures are isolated: *engine*"])
    shop.configure('engine = "shop.db:engine"')
    shop.run().stdout.no_fnmatch_line("*only the fixtures*")


CREATORS = """
import sqlite3
import aiosqlite
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import QueuePool

def by_engine():
    engine = create_engine("sqlite://", creator=lambda: sqlite3.connect("real.db"))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE IF NOT EXISTS stray (id INTEGER)"))

def by_pool():
    connection = QueuePool(lambda: sqlite3.connect("real.db")).connect()
    connection.cursor().execute("CREATE TABLE IF NOT EXISTS stray (id INTEGER)")

def by_async_engine():
    import asyncio

    async def main():
        made = create_async_engine(
            "sqlite+aiosqlite://", async_creator=lambda: aiosqlite.connect("real.db")
        )
        async with made.begin() as connection:
            await connection.execute(text("CREATE TABLE IF NOT EXISTS stray (id INTEGER)"))
        await made.dispose()

    asyncio.run(main())

WAYS = [by_engine, by_pool, by_async_engine]
"""


@pytest.mark.parametrize("asks", ["", "db_clone"])
def test_a_creator_of_a_module_that_does_not_import_the_configured_one_is_refused(shop, asks):
    shop.write("shop/creators.py", CREATORS)

    result = shop.run(
        test_it=f"""
        import gc
        import pytest
        from shop.creators import WAYS

        @pytest.mark.parametrize("way", WAYS)
        def test_stray({", ".join(filter(None, [asks, "way"]))}):
            with pytest.raises(Exception, match="through a creator"):
                way()
            gc.collect()
        """
    )

    result.assert_outcomes(passed=3)
    assert rows(shop.root) == {"real.db": 0}


@pytest.mark.parametrize(
    ("line", "known"),
    [
        ("", []),
        ("sqlalchemy.url =", []),
        ("sqlalchemy.url = driver://user:pass@localhost/dbname", []),
        ("sqlalchemy.url = no URL at all", []),
        ("sqlalchemy.url = sqlite://", []),
        (
            "sqlalchemy.url = postgresql://localhost/shop",
            ["the PostgreSQL database 'shop' on localhost:5432"],
        ),
        ("sqlalchemy.url = sqlite:///%(here)s/its.db", ["'its.db'"]),
    ],
)
@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
def test_the_settings_name_a_database_if_they_name_one_of_a_kind_that_is_known(
    project, monkeypatch, backend, line, known
):
    monkeypatch.setenv("ALEMBIC_SNAPSHOT_BACKEND", backend)
    text = "[alembic]\nscript_location = %(here)s/migrations\n"
    project.write("alembic.ini", f"{text}{line}\n")

    places = Known(project.load(), built=list).places()

    assert [place.text(project.root) for place in places] == known
