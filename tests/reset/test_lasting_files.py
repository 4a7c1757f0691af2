"""Files that are put back: whether that works here, which way is taken, and who is told of them."""

from __future__ import annotations

import sqlite3
from types import SimpleNamespace

import pytest

from alembic_snapshot.errors import CloneError
from alembic_snapshot.sqlite.clone import FileClones
from alembic_snapshot.sqlite.reset.clones import LARGE, LastingFiles
from alembic_snapshot.sqlite.reset.connections import Watched
from alembic_snapshot.sqlite.reset.interface import UNTOUCHED, obstacle
from alembic_snapshot.sqlite.reset.rewrite import Reusable

FAILED = "the self-test failed: {}"


class Refuses(Reusable):
    def put_back(self):
        return "it refuses"


class DoesNothing(Reusable):
    """It forgets the second test's rows."""

    count = 0

    def put_back(self):
        self.count += 1
        return super().put_back() if self.count != 2 else None


class NoticesNoCursor(Reusable):
    """It says that all is well while a connection reads."""

    def put_back(self):
        super().put_back()
        return None


class NoticesWriters(Reusable):
    """It notices a cursor only after a test that wrote."""

    def put_back(self):
        if self._is_untouched(self.path.stat()):
            return None
        return super().put_back()


class CanNotBeMade(Reusable):
    def __init__(self, snapshot, path):
        raise CloneError("not here", hint="none")


class HasNoDisk(Reusable):
    def __init__(self, snapshot, path):
        raise OSError(28, "No space left on device")


class HasNoDriver(Reusable):
    def put_back(self):
        raise sqlite3.OperationalError("disk I/O error")


class TestTheSelfTest:
    @pytest.mark.parametrize(
        ("kind", "why"),
        [
            (Reusable, None),
            (Refuses, FAILED.format("it refuses")),
            (DoesNothing, FAILED.format("an open connection did not see that it was put back")),
            (NoticesNoCursor, FAILED.format("an open cursor was not noticed")),
            (NoticesWriters, FAILED.format("an open cursor was not noticed")),
            (CanNotBeMade, FAILED.format("not here")),
            (HasNoDisk, FAILED.format("[Errno 28] No space left on device")),
            (HasNoDriver, FAILED.format("disk I/O error")),
        ],
    )
    def test_says_why_it_does_not_work_and_leaves_nothing(self, tmp_path, kind, why):
        assert obstacle(tmp_path, kind) == why
        assert list(tmp_path.iterdir()) == []

    def test_lets_go_of_each_file(self, tmp_path):
        closed = []

        class Counted(Reusable):
            def close(self):
                closed.append(self.path.name)
                super().close()

        assert obstacle(tmp_path, Counted) is None
        assert closed == ["clone-0.db", "clone-1.db"]
        assert UNTOUCHED == 0


class Lender:
    def __init__(self):
        self.lasting, self.was_used, self.told = None, False, []

    def start(self, lasting):
        self.lasting = lasting

    def expose(self, why):
        self.told.append(why)


class Other(Reusable):
    """The way for large files."""


@pytest.fixture
def snapshot(tmp_path):
    path = tmp_path / "snapshot.db"
    connection = sqlite3.connect(path)
    connection.executescript("CREATE TABLE t (a); INSERT INTO t VALUES (1)")
    connection.close()
    return SimpleNamespace(path=path, entry=object())


@pytest.fixture
def lending(tmp_path):
    """Files with two ways to put them back, and who lends them."""
    seconds = []
    source = FileClones(lambda: tmp_path, "default", seconds.append)
    files = LastingFiles(source, Reusable, Other)
    files.seconds, files.lender = seconds, Lender()
    yield files
    if files.lender.lasting is not None:
        files.lender.lasting.close()


def lend(files, snapshot):
    clone = files.lend(snapshot, files.lender)
    clone.make()
    return clone


class TestAFile:
    def test_is_made_once_and_lent_again(self, lending, snapshot):
        first = lend(lending, snapshot)
        second = lending.lend(snapshot, lending.lender)

        assert first.place == second.place
        assert isinstance(lending.lender.lasting, Reusable)
        assert (first.made, second.made) == (True, False)
        lending.lender.was_used = True
        assert second.made
        lending.lender.was_used = False
        second.make()
        assert second.made
        assert len(lending.seconds) == 1
        assert (first.size, first.is_own_file) == (0, False)

    def test_begins_at_another_path_where_the_last_one_went(self, lending, snapshot):
        first = lend(lending, snapshot)
        lending.lender.lasting.close()
        lending.lender.lasting = None

        assert lend(lending, snapshot).place != first.place

    def test_is_exposed_to_who_asks_where_it_is(self, lending, snapshot):
        clone = lend(lending, snapshot)
        assert clone.address == str(clone.place)
        assert (clone.is_known, lending.lender.told) == (False, [])

        assert clone.path == clone.place

        assert clone.is_known
        assert lending.lender.told == ["a test was told where its file is"]

    @pytest.mark.parametrize(
        ("dbapi", "given", "told"),
        [
            (sqlite3, {}, []),
            (sqlite3, {"factory": Watched}, []),
            (sqlite3, {"factory": sqlite3.Connection}, ["a connection can't be watched"]),
            (SimpleNamespace(), {}, ["a connection can't be watched"]),
        ],
    )
    def test_has_connections_that_are_watched(self, lending, snapshot, dbapi, given, told):
        clone, arguments = lend(lending, snapshot), ["shop.db"]

        clone.rewrite_connect_args(SimpleNamespace(dbapi=dbapi), arguments, given)

        assert arguments == [str(clone.place)]
        assert lending.lender.told == told
        assert given.get("factory") is (None if dbapi is not sqlite3 else given["factory"])
        assert lending.connection_factory is Watched

    def test_has_watched_ones_before_it_is_made(self, lending):
        assert lending.connection_factory is Watched

    def test_can_be_put_back_here(self, lending, tmp_path):
        assert lending.obstacle() is None
        assert lending.close() is None


class TestTheWay:
    def made(self, lending, snapshot):
        lend(lending, snapshot)
        made = lending.lender.lasting
        made.close()
        lending.lender.lasting = None
        return made

    @pytest.mark.parametrize(("size", "kind"), [(LARGE - 1, Reusable), (LARGE, Other)])
    def test_is_another_one_from_a_million_bytes_on(self, lending, snapshot, size, kind):
        with open(snapshot.path, "r+b") as file:
            file.truncate(size)

        assert LARGE == 1_000_000
        assert type(self.made(lending, snapshot)) is kind

    def test_is_another_one_after_two_files_that_were_left_in_wal_mode(self, lending, snapshot):
        for _ in range(2):
            made = self.made(lending, snapshot)
            assert type(made) is Reusable
            made.had_log = True

        assert type(self.made(lending, snapshot)) is Other
        assert type(self.made(lending, snapshot)) is Other

    @pytest.mark.parametrize("what", ["no log", "put back before"])
    def test_stays_where_that_was_not_in_a_row(self, lending, snapshot, what):
        for number in range(5):
            made = self.made(lending, snapshot)
            assert type(made) is Reusable
            made.had_log = what == "put back before" or number % 2 == 0
            made.resets = 1 if what == "put back before" else 0

    def test_stays_where_the_other_one_does_not_work_and_that_is_said(self, tmp_path, snapshot):
        files = LastingFiles(FileClones(lambda: tmp_path, "x", None), Reusable, Refuses)
        files.lender = Lender()
        assert files.detour is None
        with open(snapshot.path, "r+b") as file:
            file.truncate(LARGE)

        assert type(self.made(files, snapshot)) is Reusable

        said = "files are rewritten and not rewound: the self-test failed: it refuses"
        assert files.detour == said
        files.detour = None
        assert type(self.made(files, snapshot)) is Reusable
        assert files.detour is None

    def test_is_one_where_there_is_no_other(self, tmp_path, snapshot):
        files = LastingFiles(FileClones(lambda: tmp_path, "x", None), Reusable)
        files.lender = Lender()
        with open(snapshot.path, "r+b") as file:
            file.truncate(LARGE)

        assert type(self.made(files, snapshot)) is Reusable
        assert files.detour is None
