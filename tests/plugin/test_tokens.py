"""The token of a failing test's database: in its report, in JUnit's file, and what comes of it."""

from __future__ import annotations

import re
import shutil
import sqlite3
from contextlib import closing
from xml.etree import ElementTree

import pytest

from alembic_snapshot.cli.opening import open_token
from alembic_snapshot.project.config import load_project
from alembic_snapshot.tokens.token import read_argument

FAILING = """
from shop.models import Customer

def test_writes(db_session):
    db_session.add(Customer(name="Ada"))
    db_session.commit()
    assert False
"""
CUSTOMERS = "SELECT id, name FROM customers ORDER BY id"


def tokens_in(result):
    return re.findall(r"alembic-snapshot open (\S+)", str(result.stdout))


def opened(sample, token):
    """What comes of a token in another folder with another store."""
    elsewhere = sample.root.parent / f"{sample.root.name}-elsewhere"
    shutil.copytree(sample.root, elsewhere, ignore=shutil.ignore_patterns("runpytest*", "*.db"))
    project = load_project(elsewhere, store=elsewhere / "other-store")
    return open_token(project, read_argument(token), None, 5, lambda _: None)


def rows_of(opened):
    target = opened.target
    if target.file is not None:
        with closing(sqlite3.connect(target.path)) as connection:
            return connection.execute(CUSTOMERS).fetchall()
    with target.server.connect(target.name) as connection:
        return connection.execute(CUSTOMERS).fetchall()


def test_the_report_has_a_token_that_gives_the_database_elsewhere(shop, mode):
    result = shop.run("--junitxml=junit.xml", mode=mode, test_it=FAILING)

    (token,) = tokens_in(result)
    assert len([line for line in result.outlines if "asnap1_" in line]) == 1
    made = opened(shop, token)
    assert made.reasons == []
    assert [name for _, name in rows_of(made)][-1] == "Ada"
    properties = ElementTree.parse(shop.root / "junit.xml").findall(".//property")
    assert [(one.get("name"), one.get("value")) for one in properties] == [
        ("alembic_snapshot_token", token)
    ]


def test_a_test_on_a_server_has_one_too(on_server):
    sample = on_server("shop", "SHOP_URL")

    result = sample.run(test_it=FAILING)

    (token,) = tokens_in(result)
    assert [name for _, name in rows_of(opened(sample, token))][-1] == "Ada"


@pytest.mark.parametrize("clones", ["fresh", "reset"])
def test_a_server_that_waits_for_its_disk_has_tokens_too(on_server, patient, clones):
    sample = on_server("shop", "SHOP_URL")

    result = sample.run(f"--snapshot-clones={clones}", test_it=FAILING)

    assert "no token" not in str(result.stdout)
    assert len(tokens_in(result)) == 1


def test_a_green_test_has_none_and_makes_none(shop):
    text = FAILING.replace("assert False", "pass") + (
        "\n\ndef test_nothing_of_tokens_was_imported():\n"
        "    import sys\n"
        "    assert 'alembic_snapshot.sqlite.changeset' not in sys.modules\n"
    )

    # With a fake file system, everything that may be needed under it is imported before.
    options = ("-p", "no:randomly", "-p", "no:fakefs")
    result = shop.run("--junitxml=junit.xml", *options, test_it=text)

    result.assert_outcomes(passed=2)
    assert "asnap" not in (shop.root / "junit.xml").read_text()


@pytest.mark.parametrize("way", ["option", "table"])
def test_they_can_be_switched_off(shop, way):
    if way == "table":
        shop.configure('tokens = "off"')
    options = ["--snapshot-tokens=off"] if way == "option" else []

    result = shop.run("--junitxml=junit.xml", *options, test_it=FAILING)

    result.stdout.fnmatch_lines(["*customers: 1 added"])
    assert "token" not in str(result.stdout)
    assert "asnap" not in (shop.root / "junit.xml").read_text()


def test_what_is_too_large_for_a_line_is_a_file_beside_the_database(shop):
    text = FAILING.replace(
        "    db_session.commit()",
        "    import random\n"
        "    for n in range(1500):\n"
        "        db_session.add(Customer(name=str(random.random())))\n"
        "    db_session.commit()",
    )

    result = shop.run("--junitxml=junit.xml", test_it=text)

    (file,) = tokens_in(result)
    assert file == f"{shop.kept()[0]}.token"
    assert len(rows_of(opened(shop, file))) > 1500
    (found,) = ElementTree.parse(shop.root / "junit.xml").findall(".//property")
    assert (found.get("name"), found.get("value")) == ("alembic_snapshot_token_file", file)
    # The next run deletes it with its database.
    shop.run(test_it=FAILING)
    assert [one.name for one in shop.kept()[0].parent.iterdir()] == ["test_it.py_test_writes.db"]


def test_a_file_that_can_lie_nowhere_is_said(shop):
    text = FAILING.replace(
        'name="Ada"', 'name="".join(map(chr, __import__("random").sample(range(9999), 9000)))'
    ).replace("    db_session.commit()", "    db_session.commit()")

    result = shop.run("--snapshot-keep=none", test_it=text)

    result.stdout.fnmatch_lines(["no token: it has * kB, and no database is kept *"])


def test_what_can_not_travel_is_said_in_one_line(shop):
    text = """
        from sqlalchemy import text

        def test_makes_a_virtual_table(db_session):
            db_session.execute(text("CREATE VIRTUAL TABLE words USING fts5(word)"))
            db_session.commit()
            assert False
    """

    result = shop.run("--junitxml=junit.xml", test_it=text)

    result.stdout.fnmatch_lines(["no token: the test made or changed the virtual table words"])
    assert "property" not in (shop.root / "junit.xml").read_text()


WANTED = """
import pytest
from sqlalchemy import text
from pytest_alembic_snapshot import checkpoint_fixture
from shop.models import Customer

@checkpoint_fixture("module")
def ada(db_session):
    db_session.add(Customer(id=77, name="Ada"))
    db_session.commit()

def write(session):
    session.execute(text("INSERT INTO customers (id, name) VALUES (78, 'Bob')"))
    session.commit()
    assert False

def test_checkpoint(ada, db_session):
    write(db_session)

@pytest.mark.db_clone(layer="demo")
def test_layer(db_session):
    write(db_session)

@pytest.mark.db_clone(empty=True)
def test_empty(db_session):
    db_session.execute(text("CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT)"))
    write(db_session)
"""


@pytest.mark.parametrize(
    ("test", "names"),
    [("checkpoint", ["Ada", "Bob"]), ("layer", ["Bob"]), ("empty", ["Bob"])],
)
def test_what_a_test_began_with_comes_along(shop, test, names):
    result = shop.run("-k", test, test_it=WANTED)

    (token,) = tokens_in(result)
    made = opened(shop, token)
    assert made.reasons == []
    assert [name for _, name in rows_of(made)][-len(names) :] == names


def test_a_database_that_is_put_back_has_a_token(shop):
    text = FAILING + FAILING.replace("test_writes", "test_again").replace("Ada", "Eve")

    result = shop.run("--snapshot-clones=reset", "-p", "no:randomly", test_it=text)

    assert len(tokens_in(result)) == 2
    assert [name for _, name in rows_of(opened(shop, tokens_in(result)[1]))][-1] == "Eve"
