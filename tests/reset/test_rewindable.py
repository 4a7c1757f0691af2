"""One file whose log is emptied: what is the same afterwards, and when it is refused."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from alembic_snapshot.errors import CloneError
from alembic_snapshot.plugin.marker import CloneOptions
from alembic_snapshot.plugin.reset import Reset
from alembic_snapshot.plugin.summary import Tally
from alembic_snapshot.sqlite.clone import FileClones
from alembic_snapshot.sqlite.reset.clones import LastingFiles
from alembic_snapshot.sqlite.reset.interface import obstacle
from alembic_snapshot.sqlite.reset.rewind import Rewindable

IN_USE = "the database can't be locked, something still uses it"
INSERT = "INSERT INTO t (a) VALUES (3)"


@pytest.fixture
def snapshot(tmp_path):
    path = tmp_path / "snapshot.db"
    connection = sqlite3.connect(path)
    connection.executescript(
        "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, a);INSERT INTO t (a) VALUES (1), (2)"
    )
    connection.close()
    return path


@pytest.fixture
def file(snapshot, tmp_path):
    made = Rewindable(snapshot, tmp_path / "clone.db")
    yield made
    made.close()


def rows(connection):
    return [row[0] for row in connection.execute("SELECT a FROM t")]


def in_another_process(path, statements):
    program = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=0)"
    )
    program += "".join(f"; print(c.execute({statement!r}).fetchall())" for statement in statements)
    command = [sys.executable, "-S", "-c", program, path]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\n")


def test_open_connections_see_the_snapshot_again(file, connect):
    writer, reader = connect(), connect()
    writer.execute(INSERT)
    assert rows(reader) == [1, 2, 3]

    assert file.put_back() is None

    assert rows(reader) == rows(writer) == [1, 2]
    writer.execute("INSERT INTO t (a) VALUES ('next')")
    assert reader.execute("SELECT * FROM t").fetchall()[-1] == (3, "next")
    assert file.resets == 1


def test_what_nobody_wrote_to_is_not_counted(file, connect):
    rows(connect())

    assert file.put_back() is None
    assert file.resets == 0
    assert not file.had_log


def test_a_log_without_an_index_is_emptied(file, connect):
    connect()
    os.pwrite(file._log, b"\1" * 8, 0)

    assert file.put_back() is None

    assert os.pread(file._log, 32, 0) == bytes(32)
    assert file.resets == 0


def test_the_beginning_of_the_index_is_what_it_was(file, connect):
    connection = connect()
    connection.execute(INSERT)

    assert file.put_back() is None

    found = os.pread(file._index, 136, 0)
    assert found[:100] + found[128:] == file._empty[:100] + file._empty[128:]
    assert len(file._empty) == 136
    assert os.pread(file._log, 32, 0) == bytes(32)


def test_whoever_was_in_the_way_can_go_on(file, connect):
    connection = connect()
    connection.execute("BEGIN IMMEDIATE")
    assert file.put_back() == IN_USE
    connection.execute("COMMIT")

    connection.execute(INSERT)

    assert file.put_back() is None
    connection.execute(INSERT)
    assert rows(connection) == [1, 2, 3]


def test_its_connections_leave_checkpoints_to_nobody(file, connect):
    connection = connect(file.connection_factory)

    assert connection.execute("PRAGMA wal_autocheckpoint").fetchall() == [(0,)]


def test_what_is_nothing_to_the_guard_leaves_it_there(file, connect):
    connection = connect(file.connection_factory)
    for statement in ("PRAGMA foreign_keys=ON", "PRAGMA journal_mode", "PRAGMA locking_mode"):
        connection.execute(statement).fetchall()

    assert file.put_back() is None


def test_a_closed_file_is_let_go_of(snapshot, tmp_path):
    file = Rewindable(snapshot, tmp_path / "clone.db")

    file.close()

    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        file._guard.execute("SELECT 1")
    for one in (file._file, file._log, file._index):
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(one)
    file.remove()
    assert [path.name for path in tmp_path.iterdir()] == ["snapshot.db"]


def with_byte(content, byte, value):
    return content[:byte] + bytes([value]) + content[byte + 1 :]


# "The WAL-Index File Format": the header twice, then how far checkpoints came, then read marks.
VERSION = "SQLite's wal-index is of another version"
NOT_EMPTY = "SQLite's wal-index is not that of an empty log"


def test_which_bytes_of_an_index_are_as_they_are_known(file):
    empty, strange = file._empty, {}
    for byte in range(136):
        file._empty = with_byte(empty, byte, empty[byte] ^ 1)
        strange[byte] = file._strangeness()

    assert [byte for byte in strange if strange[byte] == VERSION] == [*range(4)]
    assert [byte for byte in strange if strange[byte] == NOT_EMPTY] == [*range(4, 96)]


def test_an_index_of_a_log_with_something_in_it_is_strange(file):
    empty = file._empty
    for byte in range(16, 20):
        file._empty = with_byte(with_byte(empty, byte, 1), byte + 48, 1)
        assert file._strangeness() == NOT_EMPTY


def test_an_index_that_is_cut_off_is_strange(file):
    file._empty = file._empty[:-1]

    assert file._strangeness() == VERSION


def test_which_bytes_say_that_a_checkpoint_was_begun(file):
    index, log = bytes(136), bytes(32)

    assert not file._was_checkpointed(index, b"")
    assert [b for b in range(136) if file._was_checkpointed(with_byte(index, b, 1), log)] == [
        *range(96, 100),
        *range(128, 132),
    ]
    assert [b for b in range(32) if file._was_checkpointed(index, with_byte(log, b, 1))] == [
        *range(12, 16)
    ]


def test_the_headers_of_an_index_have_to_be_the_same(file):
    for byte in range(96):
        index = with_byte(file._empty, byte, file._empty[byte] ^ 1)
        assert file._obstacle(index, bytes(32)) == "a process ended while it wrote"


def test_it_is_put_back_by_whichever_thread_ends_a_test(file, connect):
    connect().execute(INSERT)

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(file.put_back).result() is None

    assert rows(connect()) == [1, 2]


def test_the_file_itself_is_never_written_to(file, connect):
    made, original = connect(), os.open(file.path, os.O_RDONLY)
    before = os.pread(original, 10**6, 0)

    made.execute("INSERT INTO t (a) VALUES (zeroblob(999999))")
    made.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    assert in_another_process(file.path, ["PRAGMA wal_checkpoint(TRUNCATE)"])[0].startswith("[(1,")
    assert file.put_back() is None

    assert os.pread(original, 10**6, 0) == before
    made.close()
    os.close(original)


def test_a_process_that_comes_later_sees_the_snapshot_and_leaves_the_log(file, connect):
    connection = connect()
    connection.execute(INSERT)
    assert file.put_back() is None

    assert in_another_process(file.path, ["SELECT count(*) FROM t", INSERT])[0] == "[(2,)]"

    assert rows(connection) == [1, 2, 3]
    assert file.put_back() is None
    assert rows(connection) == [1, 2]


@pytest.mark.parametrize("statement", ["CREATE TABLE u (a)", "DROP TABLE t", "VACUUM"])
def test_a_changed_schema_is_refused(file, connect, statement):
    connect().execute(statement)

    assert file.put_back() == "the schema changed"


@pytest.mark.parametrize("left", ["BEGIN IMMEDIATE", "SELECT * FROM t"])
@pytest.mark.parametrize("before", ["SELECT 1", INSERT])
def test_a_database_that_somebody_is_inside_of_is_refused(file, connect, before, left):
    connection, other = connect(), connect()
    connection.execute(before).fetchall()
    cursor = other.execute(left)

    assert file.put_back() == IN_USE

    cursor.close()


def test_a_process_that_is_inside_is_noticed_too(file):
    program = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]);"
        "r = c.execute('SELECT * FROM t'); r.fetchone(); print('in', flush=True); sys.stdin.read()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", program, file.path], **pipes) as child:
        assert child.stdout.readline() == b"in\n"

        reason = file.put_back()

        child.communicate()
    # The first of those who read the file alone is whoever the system names.
    assert reason in (IN_USE, "the locks of this process are gone")


@pytest.mark.parametrize("end", ["", "-shm"])
def test_locks_that_the_test_took_away_are_noticed_before_they_matter(file, connect, end):
    connect().execute(INSERT)
    Path(f"{file.path}{end}").read_bytes()  # closing it drops this process's locks (POSIX)
    in_another_process(file.path, [INSERT, "PRAGMA wal_checkpoint(TRUNCATE)"])

    assert file.put_back() == "the locks of this process are gone"


@pytest.mark.parametrize("end", ["", "-shm"])
def test_locks_that_the_test_took_away_are_noticed_although_nothing_came_of_it(file, connect, end):
    connect().execute(INSERT)
    Path(f"{file.path}{end}").read_bytes()

    assert file.put_back() == "the locks of this process are gone"


def test_a_write_to_the_file_is_noticed(file):
    os.utime(file.path)

    assert file.put_back() == "a checkpoint was begun"


def test_a_half_written_index_is_noticed(file, connect):
    connect()
    os.pwrite(file._index, b"torn", 8)

    assert file.put_back() == "a process ended while it wrote"


def test_after_a_fork_nothing_is_put_back(file):
    child = os.fork()
    if child == 0:
        os._exit(0 if file.put_back() == "the test's process forked" else 1)

    assert os.waitpid(child, 0)[1] == 0
    assert file.put_back() == "the test's process forked"


def test_a_file_that_was_moved_is_refused(file):
    file.path.rename(file.path.with_name("elsewhere.db"))

    assert file.put_back() == "the file was moved, linked or deleted"


@pytest.mark.parametrize("end", ["", "-wal", "-shm"])
def test_a_file_that_has_a_second_name_is_refused(file, end):
    path = Path(f"{file.path}{end}")
    os.link(path, path.with_name("second"))

    assert file.put_back() == "the file was moved, linked or deleted"


@pytest.mark.parametrize("end", ["-wal", "-shm"])
def test_a_file_whose_log_is_gone_is_refused(file, end):
    Path(f"{file.path}{end}").unlink()

    assert file.put_back() == "the file was moved, linked or deleted"


def test_another_file_in_its_place_is_refused(file, snapshot):
    file.path.rename(file.path.with_name("elsewhere.db"))
    file.path.write_bytes(snapshot.read_bytes())

    assert file.put_back() == "the file was moved, linked or deleted"


@pytest.mark.parametrize(
    ("statement", "result"),
    [
        ("PRAGMA journal_mode=MEMORY", [("memory",)]),
        ("PRAGMA main.journal_mode = 'delete'", [("delete",)]),
        ("PRAGMA locking_mode=EXCLUSIVE", [("exclusive",)]),
    ],
)
@pytest.mark.parametrize("through", ["connection", "cursor", "script"])
def test_what_a_guard_would_be_in_the_way_of_takes_it_away(
    file, connect, statement, result, through
):
    connection = connect(file.connection_factory)
    if through == "script":
        connection.executescript(f"SELECT 1; {statement}")
    else:
        executing = connection if through == "connection" else connection.cursor()
        assert executing.execute(statement).fetchall() == result

    connection.execute(INSERT)

    assert rows(connection) == [1, 2, 3]
    assert file.put_back().startswith("a connection sets its own journal")


def test_a_connection_that_asks_for_the_log_has_it_already(file, connect):
    connection = connect(file.connection_factory)

    assert connection.execute("PRAGMA journal_mode=WAL").fetchall() == [("wal",)]
    connection.execute(INSERT)

    assert file.put_back() is None
    assert connection.execute("PRAGMA journal_mode").fetchall() == [("wal",)]


def test_an_exposed_file_is_one_like_any_other(file):
    file.expose("told")
    file.expose("told again")

    with open(file.path, "rb") as raw:
        assert raw.read(20)[18:20] == b"\x01\x01"
    assert not list(file.path.parent.glob("*-wal"))
    assert file.put_back() == "told"


def test_the_self_test_finds_that_it_works_here_and_leaves_nothing(tmp_path):
    assert obstacle(tmp_path, Rewindable) is None
    assert list(tmp_path.iterdir()) == []


class OnALaterSQLite(Rewindable):
    def _strangeness(self):
        self._empty = (3007001).to_bytes(4, sys.byteorder) + self._empty[4:]
        return super()._strangeness()


def test_another_version_of_the_index_is_refused(tmp_path, snapshot):
    with pytest.raises(CloneError) as caught:
        OnALaterSQLite(snapshot, tmp_path / "clone.db")
    assert str(caught.value) == (
        f"{tmp_path / 'clone.db'} can't be rewound: {VERSION}\nhint: use reset"
    )
    assert "of another version" in obstacle(tmp_path, OnALaterSQLite)


def test_a_system_without_locks_of_open_files_is_refused(tmp_path, snapshot, monkeypatch):
    monkeypatch.delattr("fcntl.F_OFD_SETLK")
    message = "locks of open files are needed, which Linux has"

    assert obstacle(tmp_path, Rewindable) == f"the self-test failed: {message}"
    with pytest.raises(CloneError) as caught:
        Rewindable(snapshot, tmp_path / "clone.db")
    assert str(caught.value) == f"{message}\nhint: use reset"


def test_a_child_process_exposes_nothing(file):
    child = os.fork()
    if child == 0:
        file.expose("told")
        os._exit(0 if file._exposed is None else 1)

    assert os.waitpid(child, 0)[1] == 0


class Interrupted(Rewindable):
    now = False

    def _restore_index(self):
        if self.now:
            raise KeyboardInterrupt
        super()._restore_index()


def test_a_file_whose_going_back_was_interrupted_is_not_lent_again(tmp_path, snapshot):
    redirect = SimpleNamespace(
        point=lambda clone: None,
        resume=lambda clone: None,
        rest=lambda: [],
        release=lambda: [],
        was_used=True,
        was_told=False,
        is_elsewhere=False,
        unknown=None,
    )
    source = FileClones(lambda: tmp_path, "default", lambda _: None)
    strategy = Reset(redirect, source, LastingFiles(source, Interrupted), Tally())
    migrated = SimpleNamespace(path=snapshot, entry=object())
    clone = strategy.begin(migrated, CloneOptions())
    clone.make()
    file, strategy.lasting.now = strategy.lasting, True
    connection = sqlite3.connect(clone.place, isolation_level=None)
    connection.execute(INSERT)

    strategy.end(clone)
    with pytest.raises(KeyboardInterrupt):
        strategy.dispose(clone, None)

    assert strategy.begin(migrated, CloneOptions()).place != clone.place
    connection.close()
    assert not file.path.exists()


# The bytes that a writer, a checkpoint, a recovery and five readers lock ("WAL-mode File Format").
@pytest.mark.parametrize("byte", range(120, 128))
def test_each_lock_of_another_process_is_respected(file, connect, byte):
    connect().execute(INSERT)
    program = (
        "import fcntl, sys; index = open(sys.argv[1] + '-shm', 'r+b');"
        f"fcntl.lockf(index, fcntl.LOCK_SH, 1, {byte}); print('in', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-S", "-c", program, file.path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout.readline() == "in\n"

        assert file.put_back() == IN_USE

        other.communicate("")


def test_nobody_else_can_take_the_lock_that_keeps_the_file_as_it_is(file):
    index = os.open(f"{file.path}-shm", os.O_RDWR)
    program = f"import fcntl; fcntl.lockf({index}, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 123)"

    done = subprocess.run(
        [sys.executable, "-S", "-c", program], pass_fds=[index], capture_output=True, text=True
    )

    assert "BlockingIOError" in done.stderr
    assert file.put_back() is None
    os.close(index)
