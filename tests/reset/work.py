"""What may happen to a database in a round of the campaign, and how often."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from .others import Child, Difference, Reader

if TYPE_CHECKING:
    from .campaign import Campaign

Connection = sqlite3.Connection


def bytes_of(file: int) -> bytes:
    """What an open file holds; it stays open, and so do this process's locks on it."""
    return os.pread(file, os.fstat(file).st_size, 0)


def inserts(campaign: Campaign, connection: Connection) -> None:
    number = campaign.random.choice((1, 3, 300))
    rows = [(f"new {i} {campaign.random.random()}",) for i in range(number)]
    connection.executemany("INSERT INTO plain (name) VALUES (?)", rows)
    connection.executemany("INSERT INTO counted (name) VALUES (?)", rows[:2])
    connection.executemany("INSERT INTO words VALUES (?)", rows[:2])


def deletes(campaign: Campaign, connection: Connection) -> None:
    table = campaign.random.choice(("plain", "keyed", "counted", "log", "words"))
    connection.execute(f"DELETE FROM {table} WHERE rowid % 3 = 0" if table != "keyed" else
                       "DELETE FROM keyed WHERE length(value) % 2")  # fmt: skip


def updates(_campaign: Campaign, connection: Connection) -> None:
    connection.execute("UPDATE plain SET name = name || '!', amount = -amount WHERE id % 7 = 1")
    connection.execute("UPDATE keyed SET value = randomblob(700) WHERE key LIKE '%5'")


def writes_and_rolls_back(_campaign: Campaign, connection: Connection) -> None:
    connection.execute("BEGIN")
    connection.execute("SAVEPOINT inner_one")
    connection.execute("UPDATE plain SET name = hex(randomblob(400))")
    connection.execute("ROLLBACK TO inner_one")
    connection.execute("DELETE FROM keyed")
    connection.execute("ROLLBACK")


def leaves_a_transaction(campaign: Campaign, connection: Connection) -> None:
    connection.execute(campaign.random.choice(("BEGIN", "BEGIN IMMEDIATE", "BEGIN EXCLUSIVE")))
    connection.execute("INSERT INTO keyed VALUES (hex(randomblob(9)), randomblob(3000))")


def leaves_a_cursor(campaign: Campaign, connection: Connection) -> None:
    cursor = connection.execute("SELECT * FROM plain ORDER BY id")
    cursor.fetchone()
    campaign.cursors.append(cursor)


def changes_the_schema(campaign: Campaign, connection: Connection) -> None:
    # What happens to the columns that are looked at comes as often as all the rest.
    columns = (
        "ALTER TABLE plain ADD COLUMN extra",
        "ALTER TABLE plain RENAME COLUMN amount TO sum",
    )
    connection.execute(
        campaign.random.choice(
            (
                *columns * 3,
                "CREATE TABLE more (a, b)",
                "DROP TABLE keyed",
                "DROP INDEX plain_name",
                "CREATE INDEX plain_amount ON plain (amount)",
                "DROP TRIGGER plain_log",
                "ALTER TABLE log RENAME TO journal",
            )
        )
    )
    if loses_the_locks.__name__ in campaign.done:
        return  # another process may have left WAL mode then, without anybody else's knowing
    if any(each.in_transaction for each in campaign.connections):
        # Whoever has not committed yet, or reads an older state, rightly sees something else.
        return
    # In WAL mode an open cursor reads an older state too, although no transaction was begun.
    readers = [cursor.connection for cursor in campaign.cursors]
    with contextlib.closing(sqlite3.connect(campaign.path, timeout=0)) as newest:
        for each in (one for one in campaign.connections if one not in readers):
            seen, true = (_columns(one, "plain") for one in (each, newest))
            if seen != true:
                raise Difference(f"a connection sees the columns {seen} and not {true}")


def vacuums(_campaign: Campaign, connection: Connection) -> None:
    connection.execute("VACUUM")


def maintains(campaign: Campaign, connection: Connection) -> None:
    statements = ("ANALYZE", "REINDEX", "PRAGMA incremental_vacuum", "PRAGMA optimize")
    connection.execute(campaign.random.choice(statements)).fetchall()


def sets_what_the_header_has(campaign: Campaign, connection: Connection) -> None:
    name = campaign.random.choice(("user_version", "application_id", "default_cache_size"))
    connection.execute(f"PRAGMA {name}={campaign.random.randint(1, 99)}")


def switches_the_journal(campaign: Campaign, connection: Connection) -> None:
    mode = campaign.random.choice(("delete", "truncate", "persist", "memory", "off"))
    if mode == "off":
        campaign.without_journal.append(connection)
    elif connection in campaign.without_journal:
        campaign.without_journal.remove(connection)
    connection.execute(f"PRAGMA journal_mode={mode}").fetchall()


def goes_into_wal(campaign: Campaign, connection: Connection) -> None:
    connection.execute("PRAGMA journal_mode=WAL").fetchall()
    inserts(campaign, connection)
    if campaign.random.random() < 0.5:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    if campaign.random.random() < 0.5:
        connection.execute("PRAGMA journal_mode=DELETE").fetchall()


def locks_for_good(campaign: Campaign, connection: Connection) -> None:
    connection.execute("PRAGMA locking_mode=EXCLUSIVE").fetchall()
    inserts(campaign, connection)
    if campaign.random.random() < 0.8:
        connection.execute("PRAGMA locking_mode=NORMAL").fetchall()
        connection.execute("SELECT * FROM log").fetchall()


def reconnects(campaign: Campaign, connection: Connection) -> None:
    campaign.connections.append(campaign.connect())
    campaign.connections.remove(connection)
    connection.close()


def writes_in_threads(campaign: Campaign, _connection: Connection) -> None:
    def work(connection: Connection) -> None:
        with contextlib.suppress(sqlite3.Error):
            for number in range(5):
                connection.execute("INSERT INTO log (what) VALUES (?)", (f"thread {number}",))

    threads = [threading.Thread(target=work, args=(each,)) for each in campaign.connections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def restores_a_backup(_campaign: Campaign, connection: Connection) -> None:
    # A backup waits for ever where it can't get in.
    connection.execute("BEGIN EXCLUSIVE")
    connection.execute("ROLLBACK")
    with contextlib.closing(sqlite3.connect(":memory:")) as other:
        other.execute("CREATE TABLE plain (id INTEGER PRIMARY KEY, wrong)")
        other.backup(connection)


def has_a_child_write(campaign: Campaign, _connection: Connection) -> None:
    child = campaign.child = campaign.child or Child(campaign.path)
    child.ask(
        campaign.random.choice(
            (
                "INSERT INTO plain (name) VALUES ('of the child')",
                "DELETE FROM keyed WHERE length(value) > 9",
                "UPDATE counted SET name = name || '?'",
                "SELECT * FROM log",
                "ALTER TABLE plain ADD COLUMN extra",
                "PRAGMA journal_mode=memory",
            )
        )
    )


def has_a_child_stay_inside(campaign: Campaign, _connection: Connection) -> None:
    child = campaign.child = campaign.child or Child(campaign.path)
    child.ask("BEGIN IMMEDIATE")
    child.ask("DELETE FROM plain")
    if campaign.random.random() < 0.5:
        child.ask("ROLLBACK")


def kills_a_child(campaign: Campaign, _connection: Connection) -> None:
    child = campaign.child = campaign.child or Child(campaign.path)
    child.ask(f"PRAGMA journal_mode={campaign.random.choice(('delete', 'memory', 'off'))}")
    child.tell("churn")
    time.sleep(campaign.random.random() / 200)
    child.kill()
    campaign.child = None


def reads_in_a_thread_meanwhile(campaign: Campaign, _connection: Connection) -> None:
    if loses_the_locks.__name__ in campaign.done:
        return
    campaign.readers.append(Reader(campaign.connect()))


def has_a_child_read_meanwhile(campaign: Campaign, _connection: Connection) -> None:
    if loses_the_locks.__name__ in campaign.done:
        return
    child = Child(campaign.path)
    campaign.readers.append(child)
    child.ask("read")


def checkpoints(campaign: Campaign, connection: Connection) -> None:
    inserts(campaign, connection)
    kind = campaign.random.choice(("PASSIVE", "FULL", "RESTART", "TRUNCATE"))
    connection.execute(f"PRAGMA wal_checkpoint({kind})").fetchall()


def reads_the_file_alone(campaign: Campaign, connection: Connection) -> None:
    connection.execute("BEGIN")
    leaves_a_cursor(campaign, connection)
    inserts(campaign, campaign.random.choice(campaign.connections))


def fills_several_blocks_of_the_index(_campaign: Campaign, connection: Connection) -> None:
    connection.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300) "
        "INSERT INTO log (what) SELECT hex(randomblob(4000)) FROM n"
    )


def spills_and_rolls_back(campaign: Campaign, connection: Connection) -> None:
    connection.execute("PRAGMA cache_size=5")
    connection.execute("BEGIN")
    fills_several_blocks_of_the_index(campaign, connection)
    if campaign.random.random() < 0.8:
        connection.execute("ROLLBACK")


def has_a_child_checkpoint(campaign: Campaign, _connection: Connection) -> None:
    child = campaign.child = campaign.child or Child(campaign.path)
    child.ask("INSERT INTO plain (name) VALUES ('of the child')")
    child.ask("PRAGMA wal_checkpoint(TRUNCATE)")


def loses_the_locks(campaign: Campaign, connection: Connection) -> None:
    # Without them, who comes next truncates what a reader has mapped: that ends its process.
    campaign.stop_readers()
    inserts(campaign, connection)
    for end in campaign.random.choice((("",), ("-shm",), ("", "-shm"))):
        with contextlib.suppress(FileNotFoundError):
            Path(f"{campaign.path}{end}").read_bytes()
    has_a_child_checkpoint(campaign, connection)
    if campaign.random.random() < 0.5:
        with contextlib.closing(sqlite3.connect(campaign.path, timeout=0)) as another:
            another.execute("DELETE FROM plain")


def writes_to_the_log_alone(campaign: Campaign, _connection: Connection) -> None:
    """As a process that is killed after its last frame, and before it says so in the index."""
    if len(campaign.done) > 1:
        return  # there is something in the log already
    copy = campaign.path.with_name("killed.db")
    copy.write_bytes(bytes_of(campaign.raw))
    with contextlib.closing(sqlite3.connect(copy)) as connection:
        connection.execute("DELETE FROM plain")
        connection.commit()
        written = Path(f"{copy}-wal").read_bytes()
    copy.unlink()
    with open(f"{campaign.path}-wal", "r+b") as log:
        log.write(written)


# How often each happens, relative to the others; processes are slow to start.
ACTIONS: dict[Callable[[Campaign, Connection], None], float] = {
    inserts: 20,
    deletes: 10,
    updates: 10,
    writes_and_rolls_back: 8,
    leaves_a_transaction: 3,
    leaves_a_cursor: 4,
    changes_the_schema: 6,
    vacuums: 1,
    maintains: 3,
    sets_what_the_header_has: 3,
    switches_the_journal: 3,
    goes_into_wal: 1,
    locks_for_good: 2,
    reconnects: 4,
    writes_in_threads: 2,
    restores_a_backup: 0.5,
    has_a_child_write: 3,
    has_a_child_stay_inside: 1,
    kills_a_child: 0.5,
    reads_in_a_thread_meanwhile: 3,
    has_a_child_read_meanwhile: 1,
}
# What happens besides where there is a log.
LOG_ACTIONS: dict[Callable[[Campaign, Connection], None], float] = {
    checkpoints: 3,
    reads_the_file_alone: 2,
    fills_several_blocks_of_the_index: 0.3,
    spills_and_rolls_back: 1,
    has_a_child_checkpoint: 1,
    loses_the_locks: 0.5,
    writes_to_the_log_alone: 2,
}


def _columns(connection: Connection, table: str) -> list[str]:
    return [column[0] for column in connection.execute(f"SELECT * FROM {table}").description]
