"""What a test puts in the place of the system, or beside its clone, does not reach us."""

from __future__ import annotations

import pytest

FAKES = """
import builtins
import os
import socket
import time
from pathlib import Path

import pytest
from shop import db, models


def write(name="Ada"):
    with db.SessionLocal.begin() as session:
        assert session.query(models.Customer).count() == 1
        session.add(models.Customer(name=name))


def test_a_fake_file_system_before(fs, db_session):
    write()
    Path("/made").write_text("x")
    assert os.listdir("/") != []
    assert not Path(db.__file__).exists()


def test_a_fake_file_system_after(db_session, fs):
    write()


def test_a_fake_file_system_fails(fs, db_session):
    write("kept")
    raise AssertionError


@pytest.fixture
def early():
    time_machine = pytest.importorskip("time_machine")
    with time_machine.travel(0, tick=False):
        yield


def test_another_time(early, db_session):
    write()


@pytest.mark.parametrize("module, name", [
    (builtins, "open"), (os.path, "exists"), (os, "stat"), (os, "unlink"), (os, "listdir"),
    (os.path, "samefile"), (time, "sleep"), (time, "perf_counter"),
    (socket, "socket"),
])
def test_a_function_of_the_system(db_session, module, name):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, name, None)
        write()


def test_a_folder_beside_the_clone(db_clone):
    write()
    (db_clone.path.parent / "attachments" / "of").mkdir(parents=True)
    (db_clone.path.parent / "attachments" / "of" / "them.txt").write_text("x")
"""
URIS = """
import pytest
from shop import models
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

REAL = __import__("shop.db").db.REAL
INSERT = text("INSERT INTO customers (name) VALUES ('Ada')")


def of(options):
    return create_engine(f"sqlite:///file:{REAL}?{options}&uri=true")


def count(engine):
    with engine.connect() as connection:
        return connection.execute(text("SELECT count(*) FROM customers")).scalar()


@pytest.mark.parametrize("options", ["mode=ro", "mode=ro&immutable=1", "cache=private&mode=ro"])
def test_a_reader_stays_a_reader_and_sees_what_is_written(db_clone, options):
    reader, writer = of(options), of("mode=rw")
    with writer.begin() as connection:
        connection.execute(INSERT)
    assert count(reader) == 2
    with pytest.raises(OperationalError, match="readonly"), reader.begin() as connection:
        connection.execute(INSERT)


@pytest.mark.parametrize("options", ["mode=rwc", "cache=shared", "nolock=0&timeout=7"])
def test_others_write_to_the_clone(db_clone, options):
    assert count(of(options)) == 1
    with of(options).begin() as connection:
        connection.execute(INSERT)
    assert count(of("mode=ro")) == 2


@pytest.mark.db_clone(readonly=True)
def test_the_snapshot_itself_is_read_only_for_all(db_clone):
    with pytest.raises(OperationalError, match="readonly"), of("mode=rw").begin() as connection:
        connection.execute(INSERT)
"""


@pytest.mark.parametrize("clones", ["fresh", "reset"])
def test_fakes_of_files_times_and_sockets_do_not_reach_a_clone(shop, clones):
    pytest.importorskip("pyfakefs")
    shop.configure(f'clones = "{clones}"')

    result = shop.run(test_fakes=FAKES)

    result.assert_outcomes(passed=13, failed=1)
    result.stdout.fnmatch_lines(["*FAILED*test_a_fake_file_system_fails*"])
    result.stdout.fnmatch_lines(["customers: 1 added", "  + id=2, name='kept' ← *write"])
    result.stdout.no_fnmatch_line("*INTERNALERROR*")
    (kept,) = shop.kept()
    assert kept.stat().st_size > 0
    # Nothing else stays of a run, whatever was made beside the clones.
    assert not list(shop.temporary.glob("databases*"))


def test_a_fake_file_system_may_be_there_before_the_first_clone(shop):
    pytest.importorskip("pyfakefs")

    result = shop.run("-k", "a_fake_file_system_fails", test_fakes=FAKES)

    result.assert_outcomes(failed=1, deselected=13)
    result.stdout.fnmatch_lines(["customers: 1 added", "  + id=2, name='kept' ← *write"])
    result.stdout.fnmatch_lines(["open it on any machine: *"])


def test_a_token_that_is_too_long_lies_beside_the_database_in_spite_of_a_fake_file_system(shop):
    pytest.importorskip("pyfakefs")

    result = shop.run(
        test_long="""
        import os
        from shop import orders

        def test_it(fs, db_session):
            orders.add_customer(os.urandom(20_000).hex())
            assert 0

        def test_next(fs, db_session):
            orders.add_customer("Ada")
            assert 0
        """
    )

    result.assert_outcomes(failed=2)
    result.stdout.no_fnmatch_line("no token*")
    assert sorted(len(list(path.parent.iterdir())) for path in shop.kept()) == [1, 2]


def test_what_a_uri_says_beside_the_file_stays(shop):
    result = shop.run(test_uris=URIS)

    result.assert_outcomes(passed=7)
