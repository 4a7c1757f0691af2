"""One file that is put back: what is the same afterwards, and when it is refused."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from alembic_snapshot.sqlite.reset.interface import obstacle
from alembic_snapshot.sqlite.reset.rewrite import Reusable

from .campaign import content


@pytest.fixture
def snapshot(tmp_path):
    path = tmp_path / "snapshot.db"
    connection = sqlite3.connect(path)
    connection.executescript(
        "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, a);"
        "CREATE VIRTUAL TABLE words USING fts5 (word);"
        "INSERT INTO t (a) VALUES (1), (2); INSERT INTO words VALUES ('one')"
    )
    connection.close()
    return path


@pytest.fixture
def file(snapshot, tmp_path):
    made = Reusable(snapshot, tmp_path / "clone.db")
    yield made
    made.close()


def rows(connection):
    return connection.execute("SELECT id, a FROM t").fetchall()


def test_open_connections_see_the_snapshot_again(file, connect):
    writer, reader = connect(), connect()
    writer.execute("INSERT INTO t (a) VALUES (3)")
    assert len(rows(reader)) == 3

    assert file.put_back() is None

    assert file.resets == 1
    assert rows(reader) == rows(writer) == [(1, 1), (2, 2)]
    writer.execute("INSERT INTO t (a) VALUES ('next')")
    assert rows(reader)[-1] == (3, "next")


def test_it_is_put_back_by_whichever_thread_ends_a_test(file, connect):
    connect().execute("INSERT INTO t (a) VALUES (3)")

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(file.put_back).result() is None

    assert rows(connect()) == [(1, 1), (2, 2)]


def test_the_bytes_are_the_snapshots_but_for_the_change_counter(file, connect, snapshot):
    connect().executescript("INSERT INTO t (a) VALUES (zeroblob(99999)); PRAGMA user_version=7")

    assert file.put_back() is None

    wanted, found = snapshot.read_bytes(), file.path.read_bytes()
    assert len(wanted) == len(found)
    different = {i for i, pair in enumerate(zip(wanted, found, strict=True)) if len({*pair}) > 1}
    assert different <= {*range(24, 28), *range(92, 96)}
    assert found[24:28] == found[92:96] > wanted[24:28]


def test_the_counter_is_one_more_than_what_the_test_left(file, connect):
    connect().execute("INSERT INTO t (a) VALUES (3)")
    left = int.from_bytes(file.path.read_bytes()[24:28], "big")

    file.put_back()

    assert int.from_bytes(file.path.read_bytes()[24:28], "big") == left + 1


def test_each_page_is_put_back_and_the_file_ends_where_it_did(tmp_path):
    snapshot = tmp_path / "snapshot.db"
    with contextlib.closing(sqlite3.connect(snapshot)) as connection:
        connection.executescript(
            "PRAGMA auto_vacuum = FULL; CREATE TABLE t (a); INSERT INTO t VALUES (zeroblob(200000))"
        )
    wanted = snapshot.read_bytes()
    file = Reusable(snapshot, tmp_path / "clone.db")
    for more in (0, 5000):
        with open(file.path, "r+b") as raw:
            raw.seek(4096)
            raw.write(b"\xff" * (len(wanted) - 4096 + more))
        assert file.put_back() is None
        assert file.path.read_bytes()[100:] == wanted[100:]
    with contextlib.closing(sqlite3.connect(file.path)) as connection:
        connection.execute("DELETE FROM t")
        connection.commit()
    assert file.path.stat().st_size < len(wanted)

    assert file.put_back() is None

    assert file.path.read_bytes()[100:] == wanted[100:]
    assert file.resets == 3
    file.close()


LAYOUT = "the journal mode became WAL, or the page size changed"
BACKWARDS = "the file's change counter went backwards"
# "Database File Format", 1.3: what has to be the same, by the bytes of the header.
OBSTACLES = {
    **dict.fromkeys(range(24), LAYOUT),
    **dict.fromkeys((*range(40, 48), *range(56, 60)), "the schema changed"),
}


def test_which_bytes_of_the_header_have_to_be_the_same(file):
    header, found = file.path.read_bytes()[:100], {}
    for byte in [n for n in range(100) if n not in range(24, 28)]:
        changed = bytearray(header)
        changed[byte] ^= 0x40
        if why := file._obstacle(bytes(changed)):
            found[byte] = why
        assert not file.had_log

    assert found == OBSTACLES


@pytest.mark.parametrize(("change", "why"), [(-1, BACKWARDS), (0, None), (1, None), (257, None)])
def test_the_change_counter_may_not_go_backwards(file, connect, change, why):
    connect().execute("INSERT INTO t (a) VALUES (3)")
    assert file.put_back() is None
    header = bytearray(file.path.read_bytes()[:100])
    counter = int.from_bytes(header[24:28], "big")
    header[24:28] = (counter + change).to_bytes(4, "big")

    assert file._obstacle(bytes(header)) == why


def test_a_file_that_was_cut_off_in_its_header_is_refused(file):
    assert file._obstacle(file.path.read_bytes()[:99]) == LAYOUT


@pytest.mark.parametrize(
    ("versions", "had_log"), [((2, 2), True), ((1, 2), False), ((2, 1), False)]
)
def test_whether_there_was_a_log_is_known(file, versions, had_log):
    assert not file.had_log
    header = bytearray(file.path.read_bytes()[:100])
    header[18:20] = bytes(versions)

    file._obstacle(bytes(header))

    assert file.had_log is had_log


def test_a_file_that_nobody_wrote_to_is_not_written_to(file, connect):
    rows(connect())
    assert file.put_back() is None
    with open(file.path, "r+b") as raw:
        raw.seek(200)
        raw.write(b"not looked at")
    os.utime(file.path, ns=(0, 0))

    assert file.put_back() is None

    assert file.resets == 0
    assert file.path.read_bytes()[200:213] == b"not looked at"


def test_a_file_that_was_put_back_counts_as_one_that_nobody_wrote_to(file, connect):
    connection = connect()
    connection.execute("INSERT INTO t (a) VALUES (3)")

    assert [file.put_back() for _ in range(3)] == [None] * 3

    assert file.resets == 1
    assert file.path.stat().st_mtime_ns == 0


def test_a_write_whose_change_counter_was_lost_is_undone_too(file, connect, snapshot):
    connect()
    with open(file.path, "r+b") as raw:
        raw.seek(8192 + 10)
        raw.write(b"torn")

    assert file.put_back() is None

    assert file.path.read_bytes()[100:] == snapshot.read_bytes()[100:]


def test_what_a_test_deleted_from_the_end_of_the_file_comes_back(file, connect, snapshot):
    connection = connect()
    connection.execute("DELETE FROM t")
    connection.execute("DELETE FROM words")

    assert file.put_back() is None

    pure = sqlite3.connect(snapshot)
    assert content(connection) == content(pure)
    pure.close()


@pytest.mark.parametrize("statement", ["CREATE TABLE u (a)", "DROP TABLE words", "VACUUM"])
def test_a_changed_schema_is_refused(file, connect, statement):
    connect().execute(statement)

    assert file.put_back() == "the schema changed"


def test_a_database_in_wal_mode_is_refused(file, connect):
    connection = connect()
    connection.execute("PRAGMA journal_mode=WAL").fetchall()
    connection.execute("INSERT INTO t (a) VALUES (3)")

    assert file.put_back() == LAYOUT
    assert file.had_log


@pytest.mark.parametrize("left", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE", "SELECT * FROM t"])
def test_a_database_that_somebody_is_inside_of_is_refused_and_left_alone(file, connect, left):
    connection = connect()
    connection.execute("INSERT INTO t (a) VALUES (3)")
    cursor = connection.execute(left)
    before = file.path.stat().st_mtime_ns

    assert file.put_back() == (
        "the database can't be locked, something still uses it (database is locked)"
    )

    assert file.path.stat().st_mtime_ns == before
    cursor.close()


def test_locks_of_open_connections_survive_being_put_back(file, connect):
    first, second = connect(), connect()
    first.execute("INSERT INTO t (a) VALUES (3)")
    file.put_back()
    first.execute("BEGIN IMMEDIATE")
    program = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], timeout=0); "
        "c.execute('INSERT INTO t (a) VALUES (4)')"
    )

    other = subprocess.run([sys.executable, "-c", program, file.path], stderr=subprocess.PIPE)

    assert b"database is locked" in other.stderr
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        second.execute("BEGIN IMMEDIATE")


def test_a_child_killed_in_a_transaction_leaves_nothing(file, connect):
    program = (
        "import sqlite3, sys, time; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "c.execute('PRAGMA cache_size=1'); c.execute('BEGIN');"
        "c.executemany('INSERT INTO t (a) VALUES (zeroblob(9000))', [()] * 50);"
        "print('in', flush=True); time.sleep(60)"
    )
    connection = connect()
    child = subprocess.Popen([sys.executable, "-c", program, file.path], stdout=subprocess.PIPE)
    assert child.stdout.readline() == b"in\n"
    assert "something still uses it" in file.put_back()

    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()

    assert file.put_back() is None
    assert rows(connection) == [(1, 1), (2, 2)]


def test_after_a_fork_nothing_is_put_back(file):
    child = os.fork()
    if child == 0:
        os._exit(0 if file.put_back() == "the test's process forked" else 1)

    assert os.waitpid(child, 0)[1] == 0
    assert file.put_back() == "the test's process forked"


def test_nobody_is_waited_for_and_nobody_is_locked_out_afterwards(file, connect, snapshot):
    connection = connect()
    connection.execute("BEGIN IMMEDIATE")

    assert file._guard.execute("PRAGMA busy_timeout").fetchone() == (0,)
    assert file.put_back() is not None
    connection.execute("ROLLBACK")
    connection.execute("INSERT INTO t (a) VALUES (3)")
    assert file.put_back() is None
    connection.execute("INSERT INTO t (a) VALUES (3)")


def test_a_closed_file_is_let_go_of(snapshot, tmp_path):
    file = Reusable(snapshot, tmp_path / "clone.db")

    file.close()

    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        file._guard.execute("SELECT 1")
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(file._file)
    file.remove()
    assert not (tmp_path / "clone.db").exists()


def test_a_file_that_was_moved_or_replaced_is_refused(file, snapshot):
    file.path.rename(file.path.with_name("elsewhere.db"))
    assert file.put_back() == "the file was moved, linked or deleted"

    file.path.write_bytes(snapshot.read_bytes())
    assert file.put_back() == "the file was moved, linked or deleted"


def test_a_file_that_has_a_second_name_is_refused(file):
    os.link(file.path, file.path.with_name("second.db"))

    assert "linked" in file.put_back()


def test_the_counter_is_never_one_that_was_used_before(file, connect):
    connection, idle = connect(), connect()
    used = set()
    for number in range(5):
        for _ in range(number):
            connection.execute("INSERT INTO t (a) VALUES (3)")
        assert len(rows(idle)) == 2 + number
        used.add(file.path.read_bytes()[24:28])
        file.put_back()
        counter = file.path.read_bytes()[24:28]

        assert number == 0 or counter not in used
        used.add(counter)


def test_the_self_test_finds_that_it_works_here_and_leaves_nothing(tmp_path):
    assert obstacle(tmp_path, Reusable) is None
    assert list(tmp_path.iterdir()) == []


def test_the_self_test_says_why_it_does_not_work(tmp_path):
    folder = tmp_path / "missing"

    assert "self-test failed" in obstacle(folder, Reusable)


def test_the_time_of_the_last_change_is_what_it_goes_by(file, connect):
    connection = connect()
    assert file.path.stat().st_mtime_ns == 0

    connection.execute("INSERT INTO t (a) VALUES (3)")

    assert time.time() - file.path.stat().st_mtime < 60
