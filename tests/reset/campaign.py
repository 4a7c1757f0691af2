"""Random work on a database that is put back, and the proof after each round that it was.

Connections live from round to round, with whatever they have cached; so does a child process,
until it is killed in the middle of something. What a round did is in the message of a failure,
and the seed repeats it.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alembic_snapshot.sqlite.reusable import Reusable

Connection = sqlite3.Connection
# Where the file change counter is, twice: all that may differ from the snapshot.
_COUNTERS = (slice(24, 28), slice(92, 96))
_SCHEMA = """
    PRAGMA synchronous=OFF;
    PRAGMA page_size={page_size};
    PRAGMA auto_vacuum={auto_vacuum};
    CREATE TABLE plain (id INTEGER PRIMARY KEY, name TEXT, amount REAL);
    CREATE INDEX plain_name ON plain (name);
    CREATE TABLE keyed (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;
    CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE);
    CREATE TABLE log (id INTEGER PRIMARY KEY, what TEXT);
    CREATE TRIGGER plain_log AFTER INSERT ON plain
        BEGIN INSERT INTO log (what) VALUES ('inserted ' || new.id); END;
    CREATE VIEW names AS SELECT name FROM plain UNION SELECT name FROM counted;
    CREATE VIRTUAL TABLE words USING fts5 (word);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 150)
        INSERT INTO plain (name, amount) SELECT 'name ' || i, i / 3.0 FROM n;
    INSERT INTO keyed SELECT name, zeroblob(id) FROM plain;
    INSERT INTO counted (name) SELECT name FROM plain WHERE id < 40;
    INSERT INTO words SELECT name FROM plain WHERE id < 40;
    DELETE FROM counted WHERE id > 30;
    DELETE FROM plain WHERE id % 10 = 0;
    ANALYZE;
"""


class Difference(AssertionError):
    """A round after which the database was not what its snapshot is."""


class Campaign:
    """Rounds of random work on one database after another.

    ``counts`` has how often the content was put back, how often nothing had to be done, and for
    which reasons a fresh file was needed instead.
    """

    def __init__(
        self, folder: Path, seed: int, reusable: Callable[[Path, Path], Reusable] = Reusable
    ):
        self.random = random.Random(seed)
        self.seed = seed
        self.counts: Counter[str] = Counter()
        self.connections: list[Connection] = []
        self.cursors: list[sqlite3.Cursor] = []
        self.child: Child | None = None
        self._folder = folder
        self._reusable = reusable
        self._files = 0
        self._done: list[str] = []
        self.snapshot = folder / f"snapshot-{seed}.db"
        _make_snapshot(self.snapshot, self.random)
        self._hash = _hash(self.snapshot)
        with contextlib.closing(sqlite3.connect(self.snapshot)) as pure:
            self._expected = content(pure)
        self._start()

    def run(self, rounds: int) -> None:
        """So many rounds.

        Raises:
            Difference: the database was not its snapshot's content after one of them.
        """
        for number in range(rounds):
            try:
                self._round()
            except (sqlite3.Error, Difference) as error:
                where = f"seed {self.seed}, round {number}, after {', '.join(self._done)}"
                raise Difference(f"{where}: {error}") from error

    def close(self) -> None:
        """End the child, close and delete everything."""
        self._finish()
        self.snapshot.unlink()

    @property
    def path(self) -> Path:
        """The database that is worked on."""
        return self._file.path

    def connect(self) -> Connection:
        """One more connection, with settings of its own."""
        made = sqlite3.connect(self.path, isolation_level=None, timeout=0, check_same_thread=False)
        made.execute("PRAGMA synchronous=OFF")
        if self.random.random() < 0.3:
            made.execute("PRAGMA cache_size=5")
        if self.random.random() < 0.3:
            made.execute("PRAGMA mmap_size=1000000")
        return made

    def _round(self) -> None:
        self._done.clear()
        for _ in range(self.random.randint(0, 4)):
            action = self.random.choices(list(ACTIONS), list(ACTIONS.values()))[0]
            self._done.append(action.__name__)
            # A locked database and a missing table are part of the game.
            with contextlib.suppress(sqlite3.Error):
                action(self, self.random.choice(self.connections))
        if self.random.random() < 0.8:
            self._come_to_rest()
        before = self._file.rewrites
        reason = self._file.put_back()
        if reason:
            self.counts[reason.partition(" (")[0]] += 1
            self._finish()
            self._start()
        else:
            self.counts["put back" if self._file.rewrites > before else "nothing to do"] += 1
        self._verify()

    def _come_to_rest(self) -> None:
        """What the end of a test does: cursors are dropped, transactions rolled back."""
        self.cursors.clear()
        for connection in self.connections:
            connection.rollback()

    def _verify(self) -> None:
        # To open and close the file drops this process's locks on it; there are none at this time.
        wanted, found = (_without_counters(path) for path in (self.snapshot, self.path))
        if wanted != found:
            pairs = enumerate(zip(wanted, found, strict=False))
            places = [index for index, (one, other) in pairs if one != other]
            raise Difference(
                f"{len(found)} bytes instead of {len(wanted)}, different at {places[:5]}"
            )
        # Not all of them: what an idle connection has cached may be several rounds old.
        for connection in self.random.sample(self.connections, 2):
            seen = content(connection)
            if seen != self._expected:
                names = [name for name in self._expected if seen.get(name) != self._expected[name]]
                raise Difference(f"a connection sees something else in {names}")
            if self.random.random() < 0.02:
                (verdict,) = connection.execute("PRAGMA integrity_check").fetchone()
                if verdict != "ok":
                    raise Difference(f"a connection finds the file damaged: {verdict}")

    def _start(self) -> None:
        self._files += 1
        path = self._folder / f"clone-{self.seed}-{self._files}.db"
        self._file = self._reusable(self.snapshot, path)
        self.connections = [self.connect() for _ in range(3)]

    def _finish(self) -> None:
        if self.child:
            self.child.kill()
            self.child = None
        self.cursors.clear()
        for connection in self.connections:
            connection.close()
        self._file.close()
        for leftover in self._folder.glob(f"{self.path.name}*"):
            leftover.unlink()
        if _hash(self.snapshot) != self._hash:
            raise Difference("the snapshot was written to")


def content(connection: Connection) -> dict[str, list[Any]]:
    """The schema and every table's rows, as a connection sees them."""
    names = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY name"
    tables = [row[0] for row in connection.execute(names)]
    schema = "SELECT type, name, tbl_name, rootpage, sql FROM sqlite_master"
    found = {"the schema": connection.execute(schema).fetchall()}
    for table in tables:
        found[table] = connection.execute(f'SELECT * FROM "{table}"').fetchall()
    found["a search"] = connection.execute(
        "SELECT rowid FROM words WHERE words MATCH 'name' ORDER BY rowid"
    ).fetchall()
    return found


class Child:
    """Another process with a connection of its own; ``ask`` waits for it, ``tell`` does not."""

    _PROGRAM = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=0)
for line in sys.stdin:
    try:
        connection.execute("PRAGMA synchronous=OFF")
        if line == "churn\\n":
            while True:
                connection.execute("INSERT INTO plain (name) VALUES (hex(randomblob(200)))")
        rows = connection.execute(line)
        if not line.startswith("SELECT"):
            rows.fetchall()
        else:
            rows.fetchone()
    except sqlite3.Error as error:
        pass
    print("done", flush=True)
"""

    def __init__(self, path: Path):
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-c", self._PROGRAM, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, statement: str) -> None:
        """Have a statement executed."""
        assert self._process.stdout
        self.tell(statement)
        self._process.stdout.readline()

    def tell(self, statement: str) -> None:
        """Have a statement executed without waiting for its end."""
        assert self._process.stdin
        self._process.stdin.write(statement + "\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        """SIGKILL, wherever it is."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                stream.close()


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
    connection.execute(
        campaign.random.choice(
            (
                "CREATE TABLE more (a, b)",
                "ALTER TABLE plain ADD COLUMN extra",
                "ALTER TABLE plain RENAME COLUMN amount TO sum",
                "DROP TABLE keyed",
                "DROP INDEX plain_name",
                "CREATE INDEX plain_amount ON plain (amount)",
                "DROP TRIGGER plain_log",
                "ALTER TABLE log RENAME TO journal",
            )
        )
    )
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
    campaign.connections.remove(connection)
    connection.close()
    campaign.connections.append(campaign.connect())


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


# How often each happens, relative to the others; processes are slow to start.
ACTIONS: dict[Callable[[Campaign, Connection], None], float] = {
    inserts: 20,
    deletes: 10,
    updates: 10,
    writes_and_rolls_back: 8,
    leaves_a_transaction: 3,
    leaves_a_cursor: 4,
    changes_the_schema: 3,
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
}


def _columns(connection: Connection, table: str) -> list[str]:
    return [column[0] for column in connection.execute(f"SELECT * FROM {table}").description]


def _make_snapshot(path: Path, chance: random.Random) -> None:
    settings = {"page_size": chance.choice((512, 1024, 4096)), "auto_vacuum": chance.randrange(3)}
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(_SCHEMA.format(**settings))


def _without_counters(path: Path) -> bytes:
    found = bytearray(path.read_bytes())
    for area in _COUNTERS:
        found[area] = bytes(4)
    return bytes(found)


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
