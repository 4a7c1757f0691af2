"""How a database is looked into, sealed, copied and deleted as a file."""

from __future__ import annotations

import os
import re
import sqlite3
import stat
import sys
from contextlib import closing

import pytest
from sqlalchemy import make_url

from alembic_snapshot.errors import CloneError, StoreError
from alembic_snapshot.sqlite import database as databases
from alembic_snapshot.sqlite import files
from alembic_snapshot.sqlite.database import DatabaseFile

LARGE = 64 * 1024 * 1024
# How a table may be made whose rows have numbers.
TABLES = [
    "a text, b)",
    "a text, b any) strict",
    "a text, b, rowid text)",
    "a text, b, c as (a || b) stored)",
    "a text, b, check (a != 'x'))",
    "a text unique, b)",
    "a text unique on conflict replace, b)",
    "a text primary key, b)",
    "a text, b, id integer primary key)",
    "a text, b, id integer primary key desc)",
]


def made(path, *statements):
    """A database in which these statements have run."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a b.db"


class TestAsATarget:
    def test_it_is_named_by_its_path(self, path):
        target = DatabaseFile(path)

        assert str(target) == target.name == str(path)
        assert target.file == path
        assert target.opening == f"sqlite3 '{path}'"
        assert target.to_job() == {"kind": "sqlite", "name": str(path)}
        assert target.places() == {
            "url": f"sqlite:///{path}",
            "async_url": f"sqlite+aiosqlite:///{path}",
            "path": str(path),
        }
        assert target.url("pysqlite") == f"sqlite+pysqlite:///{path}"

    @pytest.mark.parametrize("name", ["a.db", "a%41.db", "a?b.db", "a%3Fb?.db", "a@b#c.db"])
    def test_its_url_leads_to_it(self, tmp_path, name):
        assert make_url(databases.url(tmp_path / name)).database == str(tmp_path / name)

    def test_it_starts_as_nothing_or_as_a_writable_copy(self, path, tmp_path):
        source = made(tmp_path / "source.db", "create table t (a)")
        source.chmod(0o444)
        target = DatabaseFile(path)

        target.start(DatabaseFile(source))
        assert target.is_there()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert target.tables() == ["t"]
        target.start(None)
        assert not target.is_there()

    def test_it_is_copied_while_it_is_open_and_removed_with_what_is_beside_it(self, path, tmp_path):
        target, copy = DatabaseFile(path), tmp_path / "copy.db"
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("pragma journal_mode=wal")
            connection.execute("create table t (a)")
            target.save(str(copy))
            for side in files.side_files(path):
                side.touch()

        target.remove()

        assert [file.name for file in tmp_path.iterdir()] == ["copy.db"]
        assert DatabaseFile(copy).tables() == ["t"]
        assert DatabaseFile(copy).size() == copy.stat().st_size


class TestLookingIntoIt:
    def test_finds_its_tables_in_order_without_sqlite_s_own(self, path):
        made(
            path,
            "create table b (id integer primary key autoincrement)",
            "create table sqliteish (a)",
            "create table a (a)",
            "create index i on a (a)",
            "create view v as select 1",
        )

        assert databases.tables(path) == ["a", "b", "sqliteish"]

    def test_finds_its_revisions_in_order_in_a_table_of_any_name(self, path):
        made(
            path,
            'create table "its ""own""" (version_num)',
            'insert into "its ""own""" values (\'b\'), (\'a\')',
            "create view alembic_version as select 'c' as version_num",
        )

        assert databases.heads(path, 'its "own"') == ["a", "b"]
        assert DatabaseFile(path).heads('its "own"', "main") == ["a", "b"]
        assert databases.heads(path) == []
        assert databases.heads(path, "none") == []

    def test_writes_nothing(self, path):
        made(path, "create table t (a)")
        refuses = pytest.raises(sqlite3.OperationalError, match="readonly")
        with databases.read_only(path) as connection, refuses:
            connection.execute("insert into t values (1)")
        with pytest.raises(sqlite3.ProgrammingError):
            connection.execute("select 1")

    def test_of_a_sealed_one_needs_no_locks(self, path):
        made(path, "create table t (a)")
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("begin exclusive")

        with closing(sqlite3.connect(databases.immutable(path), uri=True)) as connection:
            assert connection.execute("select count(*) from t").fetchone() == (0,)
        holder.close()


class TestItsProblems:
    def test_are_none_in_a_sound_one(self, path):
        made(path, "create table t (a)")

        assert databases.problems(path) == {"integrity": [], "foreign_keys": []}

    def test_are_rows_that_refer_to_nothing_at_most_twenty(self, path):
        made(
            path,
            "create table u (id integer primary key)",
            "create table t (id integer primary key, u_id references u)",
            *(f"insert into t values ({number}, 7)" for number in range(1, 23)),
        )

        assert databases.problems(path) == {
            "integrity": [],
            "foreign_keys": [
                *(f"t row {n} refers to a row of u that is not there" for n in range(1, 21)),
                "and more",
            ],
        }

    @pytest.mark.parametrize(
        "check",
        ["a integer check (a > 0)", "a, check (a is not -1)", "a, b as (a + 1) check (b <> 0)",
         "a check (json_valid(a) and a > 0)", "a check (a >= 0), check (typeof(a) = 'text')"],
    )  # fmt: skip
    def test_are_rows_that_break_a_check_and_were_not_stopped(self, path, check):
        made(
            path,
            f"create table t ({check})",
            "pragma ignore_check_constraints=1",
            "insert into t (a) values (-1)",
        )
        before = path.read_bytes()

        found = databases.problems(path)

        assert found == {"integrity": ["CHECK constraint failed in t"], "foreign_keys": []}
        assert path.read_bytes() == before

    def test_are_unknown_where_a_check_can_not_be_evaluated(self, path):
        made(
            path,
            "create table t (a check (json_extract(a, '$.b') > 0))",
            "pragma ignore_check_constraints=1",
            "insert into t values ('{')",
        )

        assert databases.problems(path)["integrity_error"] == "malformed JSON"

    def test_are_what_sqlite_says_of_a_damaged_one(self):
        asked = []

        def rows(sql):
            asked.append(sql)
            pages = [("page 2 is never used",), ("page 3 is never used",)]
            return pages if "integrity" in sql else []

        assert databases.problems_by(rows) == {
            "integrity": ["page 2 is never used", "page 3 is never used"],
            "foreign_keys": [],
        }
        assert asked[-2:] == ["PRAGMA integrity_check(21)", "PRAGMA foreign_key_check"]

    @pytest.mark.parametrize(("count", "more"), [(20, []), (21, ["and more"]), (30, ["and more"])])
    def test_are_twenty_of_a_kind_and_a_word_for_the_rest(self, count, more):
        asked = {"integrity": [(f"page {n}",) for n in range(count)]}
        asked["foreign"] = [("c", n, "p", 0) for n in range(count)]

        found = databases.problems_by(
            lambda sql: next((rows for word, rows in asked.items() if f"{word}_" in sql), [])
        )

        assert found["integrity"] == [*(f"page {n}" for n in range(20)), *more]
        assert len(found["foreign_keys"]) == 20 + len(more)
        assert found["foreign_keys"][20:] == more

    def test_are_unknown_where_only_the_application_could_tell(self, path):
        with closing(sqlite3.connect(path)) as connection:
            connection.create_function("own", 1, lambda a: a, deterministic=True)
            connection.execute("create table t (a)")
            connection.execute("insert into t values (1)")
            connection.execute("create index i on t (own(a))")
            connection.commit()

        found = databases.problems(path)

        assert found.pop("integrity_error").endswith(": the application's own SQL is not here")
        assert found == {"integrity": [], "foreign_keys": []}

    def test_are_an_error_where_it_can_not_be_opened(self, tmp_path):
        with pytest.raises(sqlite3.OperationalError, match="unable to open"):
            databases.problems(tmp_path / "nowhere" / "a.db")


class TestAPlainSchema:
    @pytest.mark.parametrize(
        "statements",
        [
            [],
            ["create table t (id integer primary key autoincrement, a unique)"],
            ["create table t (a)", "create index i on t (abs(a))"],
            ["create view v as select own(1)"],
            ["create virtual table f using fts5(a)"],
        ],
    )
    def test_needs_nothing_of_the_application(self, path, statements):
        made(path, *statements)

        assert databases.is_plain(path)

    @pytest.mark.parametrize(
        "statement",
        ["create index i on t (own(a))", "create table u (a, b as (own(a)))",
         "create table u (a collate own primary key)"],
    )  # fmt: skip
    def test_is_none_that_needs_its_functions_or_collations(self, path, statement):
        with closing(sqlite3.connect(path)) as connection:
            connection.create_function("own", 1, lambda a: a, deterministic=True)
            connection.create_collation("own", lambda a, b: (a > b) - (a < b))
            connection.execute("create table t (a)")
            connection.execute(statement)
            connection.commit()

        assert not databases.is_plain(path)


class TestSealing:
    def test_makes_it_one_compact_file_outside_wal_mode(self, path):
        made(
            path, "pragma journal_mode=wal", "create table t (a)", "create table u (a)",
            "insert into u values (zeroblob(100000))", "drop table u",
        )  # fmt: skip

        DatabaseFile(path).seal()

        assert [file.name for file in path.parent.iterdir()] == [path.name]
        with databases.read_only(path) as connection:
            told = [
                connection.execute(f"pragma {name}").fetchone()[0]
                for name in ("journal_mode", "page_size", "freelist_count")
            ]
        assert told == ["delete", 512, 0]

    @pytest.mark.parametrize(
        ("size", "page_size", "free", "written"),
        [
            (LARGE, 512, 0, None),
            (LARGE, 512, 1, 512),
            (LARGE, 4096, 0, 512),
            (LARGE + 1, 4096, 0, None),
            (LARGE + 1, 4096, 1, 4096),
            (LARGE + 1, 512, 0, 4096),
        ],
    )
    def test_writes_it_anew_only_for_free_pages_or_pages_of_another_size(
        self, path, size, page_size, free, written
    ):
        with open(path, "wb") as file:
            file.truncate(size)
        asked = []

        def rows(sql):
            if sql.startswith("SELECT"):
                # It has no tables.
                return []
            asked.append(sql)
            return [(page_size if sql == "PRAGMA page_size" else free,)]

        databases.compact(rows, path)

        anew = ["PRAGMA temp_store=MEMORY", f"PRAGMA page_size={written}", "VACUUM"]
        assert asked == [
            "PRAGMA page_size", "PRAGMA freelist_count", *(anew if written else [])
        ]  # fmt: skip

    @pytest.mark.parametrize("table", TABLES)
    def test_leaves_rows_the_numbers_by_which_others_know_them(self, path, table):
        made(
            path,
            f"create table t ({table}",
            "insert into t (a, b) values ('a', 'apple'), ('b', 'banana'), ('c', 'cherry')",
            "delete from t where a = 'a'",
            "create table u (id integer primary key, a blob)",
            "insert into u (a) values (zeroblob(9000))",
            "delete from u",
        )
        query = "select _rowid_, a from t order by a"
        with databases.read_only(path) as connection:
            before = connection.execute(query).fetchall()

        databases.seal(path)

        with databases.read_only(path) as connection:
            assert connection.execute(query).fetchall() == before

    def test_leaves_an_index_of_words_right(self, path):
        made(
            path,
            "create table t (a, b)",
            "insert into t values ('a', 'apple'), ('b', 'banana'), ('c', 'cherry')",
            "delete from t where a = 'a'",
            "create virtual table words using fts5(b, content='t')",
            "insert into words(words) values ('rebuild')",
        )

        databases.seal(path)

        with databases.read_only(path) as connection:
            query = "select a from t where rowid in (select rowid from words where words match ?)"
            assert connection.execute(query, ["cherry"]).fetchall() == [("c",)]

    @pytest.mark.parametrize(
        ("table", "is_compact"),
        [
            ("create table t (a)", True),
            ("create table t (a unique)", True),
            ("create table t (a, rowid)", True),
            ("create table t (a, rowid, oid, _rowid_)", False),
        ],
    )
    def test_takes_free_pages_out_where_numbers_stay(self, path, table, is_compact):
        made(
            path,
            table,
            "insert into t (a) values (1), (2), (zeroblob(9000))",
            "update t set a = 3 where typeof(a) = 'blob'",
        )

        databases.seal(path)

        with databases.read_only(path) as connection:
            assert (connection.execute("pragma freelist_count").fetchone() == (0,)) is is_compact

    def test_needs_no_tokenizer_of_the_applications(self, path):
        made(path, "create virtual table w using fts5(a)", "pragma writable_schema=on")
        made(
            path,
            "pragma writable_schema=on",
            "update sqlite_master set sql = replace(sql, '(a)', '(a, tokenize=own)') "
            "where name = 'w'",
        )

        databases.seal(path)

    def test_of_what_is_no_database_is_an_error(self, path):
        path.write_bytes(b"something else" * 100)

        with pytest.raises(StoreError) as failed:
            databases.seal(path)

        assert failed.value.message == f"can't seal {path}: file is not a database"
        assert failed.value.hint == (
            "see what SQLite says of it; a build anew makes another database"
        )

    @pytest.mark.parametrize(
        ("code", "hint"),
        [
            (sqlite3.SQLITE_FULL, "make room on the disk"),
            (sqlite3.SQLITE_BUSY, "something still has the database open"),
            (sqlite3.SQLITE_LOCKED, "something still has the database open"),
        ],
    )
    def test_hints_at_what_keeps_it_from_that(self, code, hint):
        error = sqlite3.OperationalError("why")
        error.sqlite_errorcode = code

        assert databases._hint(error) == hint

    def test_waits_for_the_disk(self, path, monkeypatch):
        made(path, "create table t (a)")
        synced = []
        real = os.fsync

        def fsync(descriptor):
            synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
            real(descriptor)

        monkeypatch.setattr(os, "fsync", fsync)
        databases.seal(path)

        assert synced == [os.path.realpath(path)]


class TestWhileItIsOpen:
    def test_a_writer_is_one_that_has_begun_to_write(self, path):
        made(path, "create table t (a)")
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("begin")
            connection.execute("select * from t").fetchall()
            assert not databases.has_writer(path)
            connection.execute("insert into t values (1)")
            assert databases.has_writer(path)
            connection.execute("rollback")
            assert not databases.has_writer(path)

    def test_open_connections_see_what_was_put_back(self, path, tmp_path):
        source = made(tmp_path / "source.db", "create table s (a)")
        made(path, "create table t (a)")
        with closing(sqlite3.connect(path)) as connection:
            query = "select name from sqlite_master"
            assert connection.execute(query).fetchall() == [("t",)]
            databases.put_back(source, path)
            assert connection.execute(query).fetchall() == [("s",)]
            databases.put_back(None, path)
            assert connection.execute(query).fetchall() == []

    def test_nothing_is_put_back_under_a_transaction(self, path, tmp_path, monkeypatch):
        monkeypatch.setattr(databases, "_PATIENCE", 0.05)
        source = made(tmp_path / "source.db", "create table s (a)")
        made(path, "create table t (a)")
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("begin immediate")
            said = re.escape(f"{path} stays locked: a connection is in use")
            with pytest.raises(sqlite3.OperationalError, match=f"^{said}$"):
                databases.put_back(source, path)
            connection.execute("insert into t values (1)")
            connection.execute("commit")

        assert databases.tables(path) == ["t"]

    def test_what_is_locked_is_no_reason_to_wait_for_ever(self, path, tmp_path, monkeypatch):
        monkeypatch.setattr(databases, "_PATIENCE", 0.05)
        made(path, "create table t (a)")
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("begin exclusive")
            said = re.escape(f"{path} stays locked: a connection is in use")
            with pytest.raises(sqlite3.OperationalError, match=f"^{said}$"):
                databases.backup(path, tmp_path / "copy.db")

    @pytest.mark.parametrize("way", ["backup", "put_back"])
    def test_what_takes_long_is_done_all_the_same(self, path, tmp_path, monkeypatch, way):
        monkeypatch.setattr(databases, "_PATIENCE", -1.0)
        made(path, "create table t (a)")
        target = made(tmp_path / "target.db", "create table u (a)")

        getattr(databases, way)(path, target)

        assert databases.tables(target) == ["t"]

    def test_a_log_is_moved_into_the_file_unless_it_is_in_the_way(self, path, tmp_path):
        made(path, "create table t (a)")
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("pragma journal_mode=wal")
        connection.execute("create table u (a)")
        databases.checkpoint(path)
        alone = tmp_path / "alone.db"
        alone.write_bytes(path.read_bytes())
        connection.close()
        databases.checkpoint(path)

        assert databases.tables(alone) == ["t", "u"]
        with databases.read_only(path) as closed:
            assert closed.execute("pragma journal_mode").fetchone() == ("delete",)
        databases.checkpoint(tmp_path / "nowhere" / "a.db")

    def test_its_file_is_told_by_its_connection(self, path, tmp_path):
        made(path)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("attach ? as other", (str(tmp_path / "other.db"),))
            assert databases.opened_file(connection) == os.path.realpath(path)
        with closing(sqlite3.connect(":memory:")) as connection:
            connection.execute("attach ? as other", (str(tmp_path / "other.db"),))
            assert databases.opened_file(connection) == ""


class AlwaysInTransaction:
    """A connection as Python 3.12 has it, with the attribute of PEP 249's extension."""

    def __init__(self, autocommit):
        self.autocommit = autocommit
        self.done = []

    def cursor(self):
        return self

    def execute(self, sql):
        self.done.append((sql, self.autocommit))

    def close(self):
        self.done.append("close")


@pytest.mark.parametrize(("before", "meanwhile"), [(False, True), (True, True), (-1, -1)])
def test_a_connection_that_is_always_in_a_transaction_is_let_out_of_it(before, meanwhile):
    connection = AlwaysInTransaction(before)

    databases.disable_fsync(connection)

    assert connection.done == [("PRAGMA synchronous=OFF", meanwhile), "close"]
    assert connection.autocommit is before or connection.autocommit == -1


def test_no_connection_waits_for_the_disk(path):
    with closing(sqlite3.connect(path)) as connection:
        databases.disable_fsync(connection)

        assert connection.execute("pragma synchronous").fetchone() == (0,)


@pytest.fixture
def source(tmp_path):
    """A file of more than one part, whose content tells each place in it."""
    path = tmp_path / "source.db"
    path.write_bytes(b"".join(number.to_bytes(4, "big") for number in range(300_000)))
    return path


class TestACopy:
    @pytest.mark.parametrize("platform", ["linux", "darwin"])
    @pytest.mark.parametrize("content", [None, b""])
    def test_has_every_byte_and_nothing_else(self, path, source, monkeypatch, platform, content):
        monkeypatch.setattr(sys, "platform", platform)
        if content is not None:
            source.write_bytes(content)
        path.write_bytes(b"x" * 2_000_000)

        files.copy(source, path)

        assert path.read_bytes() == source.read_bytes()

    def test_is_whole_however_much_is_sent_at_once(self, path, source, monkeypatch):
        source.write_bytes(source.read_bytes()[:50_000])
        monkeypatch.setattr(files, "_without_reflink", {str(path.parent)})
        real_send, real_write = files._Real.sendfile, files._Real.write

        def send(copied, original, offset, count):
            return real_send(copied, original, offset, min(count, 999))

        def write(copied, part):
            return real_write(copied, part[:999])

        monkeypatch.setattr(files._Real, "sendfile", staticmethod(send))
        monkeypatch.setattr(files._Real, "write", staticmethod(write))
        files.copy(source, path)
        assert path.read_bytes() == source.read_bytes()

        monkeypatch.setattr(sys, "platform", "darwin")
        files.copy(source, path)
        assert path.read_bytes() == source.read_bytes()

    def test_has_the_mode_that_the_umask_leaves_and_leaves_nothing_open(self, path, source):
        before = len(os.listdir("/proc/self/fd"))
        umask = os.umask(0o027)
        try:
            files.copy(source, path)
        finally:
            os.umask(umask)

        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        assert len(os.listdir("/proc/self/fd")) == before

    def test_of_what_is_not_there_is_that_error(self, path, tmp_path):
        gone = tmp_path / "gone.db"

        with pytest.raises(FileNotFoundError) as failed:
            files.copy(gone, path)

        assert failed.value.filename == str(gone)

    def test_to_where_nothing_can_be_is_an_error(self, tmp_path, source):
        target = tmp_path / "nowhere" / "a.db"

        with pytest.raises(CloneError) as failed:
            files.copy(source, target)

        assert failed.value.message == (
            f"can't copy the snapshot to {target}: No such file or directory"
        )
        assert failed.value.hint == "may this user write there?"

    def test_shares_its_blocks_where_the_system_can(self, path, source, monkeypatch):
        asked = []
        monkeypatch.setattr(files._Real, "ioctl", staticmethod(lambda *given: asked.append(given)))
        monkeypatch.setattr(files, "_without_reflink", set())

        files.copy(source, path)

        ((_, request, _),) = asked
        assert request == 0x40049409
        assert path.read_bytes() == b""

    def test_is_not_asked_to_share_again_where_that_was_refused(self, path, source, monkeypatch):
        asked = []

        def refused(*given):
            asked.append(given)
            raise OSError(95, "Operation not supported")

        monkeypatch.setattr(files._Real, "ioctl", staticmethod(refused))
        monkeypatch.setattr(files, "_without_reflink", set())
        files.copy(source, path)
        files.copy(source, path)

        assert len(asked) == 1
        assert path.read_bytes() == source.read_bytes()


class TestAReplacement:
    def test_is_refused_where_it_would_be_in_the_way(self, tmp_path, source):
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        link = tmp_path / "link.db"
        link.symlink_to(source)
        nowhere = tmp_path / "nowhere"
        for target, message, hint in (
            (tmp_path, f"{tmp_path} is a folder", "give the path of a file"),
            (nowhere / "a.db", f"there is no folder {nowhere}", "make it first"),
            (pipe, f"{pipe} is no regular file", "give the path of a file"),
            (source, f"{source} is the snapshot itself", "give another path"),
            (link, f"{link} is the snapshot itself", "give another path"),
        ):
            with pytest.raises(CloneError) as failed:
                files.replace(source, target)
            assert (failed.value.message, failed.value.hint) == (message, hint)

    def test_leaves_what_was_there_if_it_fails(self, path, source, monkeypatch):
        path.write_bytes(b"before")

        def broken(_source, _target):
            raise OSError(30, "Read-only file system")

        monkeypatch.setattr(os, "replace", broken)
        with pytest.raises(CloneError) as failed:
            files.replace(source, path)

        assert failed.value.message == (
            f"can't put a copy of the snapshot at {path}: Read-only file system"
        )
        assert failed.value.hint == "give another path"
        assert path.read_bytes() == b"before"
        assert sorted(file.name for file in path.parent.iterdir()) == [path.name, source.name]

    def test_may_be_named_from_the_folder_that_one_is_in(self, tmp_path, source, monkeypatch):
        monkeypatch.chdir(tmp_path)

        files.replace(source, type(source)("out.db"))

        assert (tmp_path / "out.db").read_bytes() == source.read_bytes()


def test_what_is_not_there_is_removed_all_the_same(path, source):
    files.remove(path)
    files.remove(source / "below a file")

    assert source.exists()
