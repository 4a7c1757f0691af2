"""An engine with a URI of SQLite's leads to the clone, whatever the URI says of its own file."""

from __future__ import annotations

import pytest

APPLICATION = """
from sqlalchemy import create_engine, event
from sqlalchemy.orm import sessionmaker

engine = create_engine("sqlite:///{url}"{options})
SessionLocal = sessionmaker(engine)
{more}
"""
READS = """
import threading
import pytest
from shop import orders
from alembic_snapshot import DatabaseNotRequested

def test_not_asking():
    with pytest.raises(DatabaseNotRequested, match="did not ask for a database"):
        orders.names()

@pytest.mark.parametrize("time", range(2))
def test_reading(db_clone, time):
    assert orders.names() == ["the house"]
"""
WRITES = """
@pytest.mark.parametrize("time", range(2))
def test_writing(db_session, time):
    for name in ("Ada", "Eve"):
        thread = threading.Thread(target=orders.add_customer, args=(name,))
        thread.start()
        thread.join()
    assert orders.names() == ["Ada", "Eve", "the house"]
"""
LISTENER = """
@event.listens_for(engine, "do_connect")
def choose(dialect, record, cargs, cparams):
    cargs[0] = "file:m1?mode=memory&cache=shared"
"""
NAMED = "file:m1?mode=memory&cache=shared"
POINTED = {
    "in memory with a name, shared": (f"{NAMED}&uri=true", ""),
    "in memory with a name": ("file:m1?mode=memory&uri=true", ""),
    "in memory without a name": ("file:?mode=memory&cache=shared&uri=1", ""),
    "in memory by its name": ("file::memory:?cache=shared&uri=true", ""),
    "in memory by its VFS": ("file:/m1?vfs=memdb&uri=yes", ""),
    "no URI, whatever connect_args say": (NAMED, ', connect_args={"uri": True}'),
    "a file": ("file:real.db?mode=rwc&uri=true", ""),
    "a file that is shared": ("file:real.db?cache=shared&uri=true", ""),
    "a file that nobody writes to": ("file:real.db?immutable=1&uri=true", ""),
    "a file without locks": ("file:real.db?nolock=1&uri=true", ""),
    "a file with other locks": ("file:real.db?vfs=unix-dotfile&uri=true", ""),
}
# SQLAlchemy 2.1 warns of `mode=memory`, and of options where there is no uri=true.
QUIET = ("-W", "ignore::sqlalchemy.exc.SADeprecationWarning", "-W", "ignore:Query string")
RESET = ("in memory with a name, shared", "a file with other locks")


def run(shop, url, *arguments, test_it, options="", more=""):
    shop.write("shop/db.py", APPLICATION.format(url=url, options=options, more=more))
    return shop.run(*QUIET, *arguments, test_it=test_it)


@pytest.mark.parametrize(("url", "options"), POINTED.values(), ids=POINTED)
def test_it_leads_to_the_clone(shop, url, options):
    result = run(shop, url, options=options, test_it=READS + WRITES)

    result.assert_outcomes(passed=5)
    assert {path.name for path in shop.root.glob("*m1*")} == set()


@pytest.mark.parametrize("way", ["rewrite", "rewind"])
@pytest.mark.parametrize("case", RESET)
def test_so_it_does_where_the_clone_is_put_back(shop, case, way):
    arguments = ("--snapshot-clones=reset", f"--snapshot-reset={way}")

    result = run(shop, POINTED[case][0], *arguments, test_it=READS + WRITES)

    result.assert_outcomes(passed=5)


@pytest.mark.parametrize("driver", ["sqlite", "sqlite+aiosqlite"])
def test_a_uri_in_memory_that_is_configured_means_every_engine_in_memory(shop, driver):
    url = f"{driver}:///{NAMED}&uri=true"
    shop.replace("pyproject.toml", 'engine = "shop.db:engine"', f'engine = "{url}"')
    shop.replace("pyproject.toml", 'sessionmaker = "shop.db:SessionLocal"\n', "")

    # No warning of SQLAlchemy's comes from engines of ours.
    shop.write("shop/db.py", APPLICATION.format(url=":memory:", options="", more=""))
    result = shop.run(test_it=READS + WRITES)

    result.assert_outcomes(passed=5)


def test_a_file_that_is_configured_as_a_uri_starts_from_the_projects_root(shop):
    url = "sqlite:///file:data/real.db?mode=rwc&uri=true"
    shop.replace("pyproject.toml", 'engine = "shop.db:engine"', f'engine = "{url}"')
    shop.replace("pyproject.toml", 'sessionmaker = "shop.db:SessionLocal"\n', "")
    chdir = "import os\nos.makedirs('elsewhere', exist_ok=True)\nos.chdir('elsewhere')\n"

    result = run(shop, f"{shop.root}/data/real.db", test_it=chdir + READS)

    result.assert_outcomes(passed=3)


def test_a_reader_stays_one(shop):
    writing = """
def test_writing(db_clone):
    with pytest.raises(Exception, match="attempt to write a readonly database"):
        orders.add_customer("Ada")
"""

    result = run(shop, "file:real.db?mode=ro&uri=true", test_it=READS + writing)

    result.assert_outcomes(passed=4)


@pytest.mark.parametrize("option", ["vfs=zip", "v%66s=zip"])
def test_another_vfs_is_refused_with_its_name(shop, option):
    result = run(shop, f"file:real.db?mode=rw&{option}&uri=true", test_it=READS)

    result.assert_outcomes(passed=1, errors=2)
    result.stdout.fnmatch_lines(
        [
            "*EngineError: shop.db:engine opens its database with vfs=zip, and a clone is a plain "
            "SQLite file",
            "*hint: give the application a URL without vfs when it is tested, by a variable that "
            "environment names",
        ]
    )


def test_a_listener_that_puts_a_uri_into_the_arguments_is_told(shop):
    options = ', connect_args={"uri": True}'

    result = run(shop, "", options=options, more=LISTENER, test_it=READS.replace("range(2)", "[1]"))

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["*went to memory and not to the test's*", "*a do_connect listener*"]
    )
