"""A revision that fails or is interrupted leaves nothing of itself, on either database."""

import gc
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, event
from sqlalchemy.exc import OperationalError

from .conftest import REVISIONS, Migrated, stopped


class DiskFull(OperationalError):
    """What a driver may say at any statement."""

    def __init__(self) -> None:
        super().__init__("a statement", {}, Exception("database or disk is full"))


by_error = pytest.mark.parametrize("error", [KeyboardInterrupt, DiskFull])
# Each cuts off every fourth revision, and runs the others.
PARTS = 4
by_part = pytest.mark.parametrize("part", range(PARTS))


class Cut:
    """Raises an error after the n-th thing that changes a database; a COMMIT is one."""

    def __init__(self, error: type[BaseException], after: int) -> None:
        self.error = error
        self.left = after

    def executed(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        # SQLAlchemy's reflection goes on after some errors of its questions.
        if not statement.lstrip().startswith(("SELECT", "PRAGMA")):
            self.count()

    def count(self, *_: Any) -> None:
        self.left -= 1
        if self.left == 0:
            raise self.error


@contextmanager
def cut(engine: Engine, error: type[BaseException], after: int) -> Iterator[Cut]:
    made = Cut(error, after)
    event.listen(engine, "after_cursor_execute", made.executed)
    event.listen(engine, "commit", made.count)
    yield made
    event.remove(engine, "after_cursor_execute", made.executed)
    event.remove(engine, "commit", made.count)


def cut_off_everywhere(
    database: Migrated, deed: Callable[[str], None], to: str, error: type[BaseException]
) -> None:
    """Do something to its end, after it was cut off in every place, and left nothing there."""
    before = database.state()
    gc.freeze()
    for place in range(1, 1000):
        with cut(database.engine, error, place) as scissors:
            is_done = whether_done(deed, to, error)
        # sqlite3 closes a connection when nobody holds its cursors, and tracebacks do.
        gc.collect()
        if is_done or (database.is_at(to) and scissors.left <= 0):
            break
        assert database.state() == before, (to, place)
    gc.unfreeze()
    # Something was done, and its version noted.
    assert is_done or place > 2


def whether_done(deed: Callable[[str], None], to: str, error: type[BaseException]) -> bool:
    try:
        deed(to)
    except BaseException as raised:
        # Where a table is being copied, Alembic drops the copy first, and may fail in that.
        if not isinstance(raised, error) and not isinstance(raised.__context__, error):
            raise
        return False
    return True


@by_part
@by_error
def test_an_upgrade_that_is_cut_off_anywhere_leaves_nothing_of_its_revision(
    database: Migrated, error: type[BaseException], part: int
) -> None:
    for number, revision in enumerate(REVISIONS):
        if number % PARTS == part:
            cut_off_everywhere(database, database.upgrade, revision, error)
        else:
            database.upgrade(revision)
        database.fill(f"row-{number}")
    came_to = database.shape(), database.rows()

    database.downgrade("base")
    for number, revision in enumerate(REVISIONS):
        database.upgrade(revision)
        database.fill(f"row-{number}")

    assert (database.shape(), database.rows()) == came_to


@by_part
def test_a_downgrade_that_is_cut_off_anywhere_leaves_nothing_of_its_revision(
    database: Migrated, part: int
) -> None:
    for number, revision in enumerate(REVISIONS):
        database.upgrade(revision)
        database.fill(f"row-{number}")

    for number, revision in enumerate([*REVISIONS[-2::-1], "base"]):
        if number % PARTS == part:
            cut_off_everywhere(database, database.downgrade, revision, KeyboardInterrupt)
        else:
            database.downgrade(revision)

    assert database.shape() == {}


# Migrates, and waits for its parent after a number of statements.
WAITING = """
import signal
import sys
from alembic.config import main
from sqlalchemy import Engine, event

# A shell's background job ignores it, and so do all that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
left = int(sys.argv[1])

@event.listens_for(Engine, "after_cursor_execute")
def count(*_):
    global left
    left -= 1
    if left == 0:
        print("here", flush=True)
        sys.stdin.read()

main(["upgrade", "head"])
"""


@pytest.mark.parametrize(("number", "place"), [(signal.SIGINT, 60), (signal.SIGKILL, 100)])
def test_a_process_that_dies_while_it_migrates_is_no_obstacle_to_the_next(
    database: Migrated, number: signal.Signals, place: int
) -> None:
    database.upgrade()
    came_to = database.shape(), database.rows()
    database.downgrade("base")
    with stopped(database.engine, WAITING, str(place)) as process:
        process.send_signal(number)
        process.wait()
    assert process.returncode != 0

    database.upgrade()

    assert (database.shape(), database.rows()) == came_to
