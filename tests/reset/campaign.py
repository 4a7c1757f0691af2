"""Random work on a database that is put back, and the proof after each round that it was.

Connections live from round to round, with whatever they have cached; so does a child process,
until it is killed in the middle of something. What a round did is in the message of a failure,
and the seed repeats it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

from alembic_snapshot.sqlite.reset.rewind import Rewindable
from alembic_snapshot.sqlite.reset.rewrite import Reusable

from .others import Child, Difference, Reader
from .work import ACTIONS, LOG_ACTIONS, bytes_of, kills_a_child, writes_to_the_log_alone

Connection = sqlite3.Connection
Clone = Reusable | Rewindable
# Where the file change counter is, twice: all that may differ from the snapshot, but for the
# version numbers that say that there is a log.
_COUNTERS, _VERSIONS = (slice(24, 28), slice(92, 96)), slice(18, 20)
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


class Campaign:
    """Rounds of random work on one database after another.

    ``counts`` has how often the content was put back, how often nothing had to be done, and for
    which reasons a fresh file was needed instead.
    """

    def __init__(self, folder: Path, seed: int, kind: type[Reusable] | type[Rewindable] = Reusable):
        self.random = random.Random(seed)
        self.seed = seed
        self.counts: Counter[str] = Counter()
        self.connections: list[Connection] = []
        self.without_journal: list[Connection] = []
        self.cursors: list[sqlite3.Cursor] = []
        self.child: Child | None = None
        self.readers: list[Reader | Child] = []
        self._folder = folder
        self._kind = kind
        self._has_log = issubclass(kind, Rewindable)
        self._actions = ACTIONS | (LOG_ACTIONS if self._has_log else {})
        self._files = 0
        self.done: list[str] = []
        self.snapshot = folder / f"snapshot-{seed}.db"
        _make_snapshot(self.snapshot, self.random)
        self._hash = _hash(self.snapshot)
        self._original = os.open(self.snapshot, os.O_RDONLY)
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
                where = f"seed {self.seed}, round {number}, after {', '.join(self.done)}"
                raise Difference(f"{where}: {error}") from error

    def close(self) -> None:
        """End the child, close and delete everything."""
        self._finish()
        os.close(self._original)
        self.snapshot.unlink()

    @property
    def path(self) -> Path:
        """The database that is worked on."""
        return self._file.path

    def connect(self) -> Connection:
        """One more connection, with settings of its own."""
        factory = sqlite3.Connection
        if self.random.random() < 0.3:
            factory = self._file.connection_factory
        made = sqlite3.connect(
            self.path, isolation_level=None, timeout=0, check_same_thread=False, factory=factory
        )
        try:
            made.execute("PRAGMA synchronous=OFF")
            if self.random.random() < 0.3:
                made.execute("PRAGMA cache_size=5")
            if self.random.random() < 0.3:
                made.execute("PRAGMA mmap_size=1000000")
        except sqlite3.Error:
            made.close()
            raise
        return made

    def _round(self) -> None:
        self.done.clear()
        for _ in range(self.random.randint(0, 4)):
            (action,) = self.random.choices(list(self._actions), list(self._actions.values()))
            self.done.append(action.__name__)
            # A locked database and a missing table are part of the game.
            with contextlib.suppress(sqlite3.Error):
                action(self, self.random.choice(self.connections))
        if self.random.random() < 0.8:
            self._come_to_rest()
        before = self._file.resets
        reason = self._file.put_back()
        self.stop_readers()
        if reason:
            self.counts[reason.partition(" (")[0]] += 1
            self._finish()
            self._start()
        else:
            self.counts["put back" if self._file.resets > before else "nothing to do"] += 1
        self._verify()

    def _come_to_rest(self) -> None:
        """What the end of a test does: cursors are dropped, transactions rolled back."""
        self.cursors.clear()
        for connection in self.connections:
            connection.rollback()

    def stop_readers(self) -> None:
        """End whoever reads meanwhile.

        Raises:
            Difference: one read what never was.
        """
        damage_is_known = self._may_have_damaged_the_file()
        while self.readers:
            self.readers.pop().kill(damage_is_known=damage_is_known)

    def _may_have_damaged_the_file(self) -> bool:
        """Whether the round's own work may have, by SQLite's rules, before it was put back.

        What is written without a journal in the file can't be rolled back, neither by a
        connection nor for a process that was killed ("PRAGMA journal_mode").
        """
        unsafe = any(each in self.without_journal for each in self.connections)
        return unsafe or kills_a_child.__name__ in self.done

    def _verify(self) -> None:
        varying = (*_COUNTERS, _VERSIONS) if self._has_log else _COUNTERS
        wanted, found = (_without(varying, file) for file in (self._original, self.raw))
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
        killed = not {kills_a_child.__name__, writes_to_the_log_alone.__name__}.isdisjoint(
            self.done
        )
        if self._has_log and (killed or self.random.random() < 0.1):
            self._recover()

    def _recover(self) -> None:
        """What whoever finds the file and its log alone makes of them is the snapshot too."""
        copy = self._folder / "recovered.db"
        copy.write_bytes(bytes_of(self.raw))
        # SQLite has no locks on the log, and so it may be opened and closed.
        with contextlib.suppress(FileNotFoundError):
            log = Path(f"{self.path}-wal").read_bytes()
            copy.with_name(f"{copy.name}-wal").write_bytes(log)
        with contextlib.closing(sqlite3.connect(copy)) as connection:
            if content(connection) != self._expected:
                raise Difference("the log is not empty for whoever recovers it")
        for leftover in self._folder.glob(f"{copy.name}*"):
            leftover.unlink()

    def _start(self) -> None:
        self._files += 1
        path = self._folder / f"clone-{self.seed}-{self._files}.db"
        self._file: Clone = self._kind(self.snapshot, path)
        # To close a descriptor drops this process's locks on the file: it stays open.
        self.raw = os.open(path, os.O_RDONLY)
        self.connections = [self.connect() for _ in range(3)]
        self.without_journal.clear()

    def _finish(self) -> None:
        self.stop_readers()
        if self.child:
            self.child.kill()
            self.child = None
        self.cursors.clear()
        for connection in self.connections:
            connection.close()
        self._file.close()
        os.close(self.raw)
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


def _make_snapshot(path: Path, chance: random.Random) -> None:
    settings = {"page_size": chance.choice((512, 1024, 4096)), "auto_vacuum": chance.randrange(3)}
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(_SCHEMA.format(**settings))


def _without(areas: tuple[slice, ...], file: int) -> bytes:
    found = bytearray(bytes_of(file))
    for area in areas:
        found[area] = bytes(area.stop - area.start)
    return bytes(found)


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
