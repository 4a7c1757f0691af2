"""A clone that is put back by emptying its write-ahead log: an experiment, for large snapshots.

The database is in WAL mode, and its file is never written to: a connection of ours, the guard,
began to read while the log was empty, and a checkpoint can't pass such a reader. So everything
that was written is in the log, and what it costs to empty that does not depend on any size: its
header becomes zeros, and the beginning of the wal-index what it was ("WAL-mode File Format" and
"The WAL-Index File Format" of SQLite's documentation). Everybody else is locked out meanwhile by
the wal-index's own locks. The next writer begins the log with a new random salt, so that neither
a connection's cache nor a recovery can take the old for the new.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import sqlite3
import struct
import sys
from pathlib import Path
from typing import Any

from alembic_snapshot.database.lasting import forks
from alembic_snapshot.errors import CloneError
from alembic_snapshot.sqlite import files
from alembic_snapshot.sqlite.reset.connections import Watched
from alembic_snapshot.sqlite.reset.interface import UNTOUCHED

# The log's header, and in it how often the log was begun anew after a checkpoint.
_NO_LOG, _BEGUN_AGAIN = bytes(32), slice(12, 16)
# The wal-index: its header twice, then how far checkpoints came or meant to, and the read marks.
_INDEX = 136
_FIRST, _SECOND = slice(0, 48), slice(48, 96)
_VERSION, _FRAMES = slice(0, 4), slice(16, 20)
_CHECKPOINTED, _ATTEMPTED = slice(96, 100), slice(128, 132)
_KNOWN_VERSION = (3007000).to_bytes(4, sys.byteorder)
_NONE = bytes(4)
# Bytes of the wal-index that are locked, as start and length: to write, checkpoint and recover;
# to read nothing but the database's file, as the guard does; to read at all.
_WORK, _GUARD, _READ, _ALL = (120, 3), (123, 1), (123, 5), (120, 8)
# Bytes of the database's file that each connection holds as long as it is open ("Database File
# Format", "The Lock-Byte Page").
_OPEN = (0x40000002, 510)
_FLOCK = struct.Struct("@hhqqi4x")
# What works on a database of one's own, and not beside the guard.
_UNFIT = re.compile(
    r"journal_mode\s*[=(]\s*['\"]?(?!wal)[a-z]|locking_mode\s*[=(]\s*['\"]?exclusive|"
    r"wal_checkpoint",
    re.IGNORECASE,
)


class Rewindable:
    """A file with a snapshot's content in WAL mode, and the means to empty its log.

    It is made at once; nobody may have had ``path`` open before. ``resets`` counts how often
    there was something in the log. Connections are of the class ``connection_factory``.

    Raises:
        CloneError: this system or this SQLite is not one that this is known to work with.
    """

    is_guarded = True

    def __init__(self, snapshot: Path, path: Path):
        if not hasattr(fcntl, "F_OFD_SETLK"):
            raise CloneError("locks of open files are needed, which Linux has", hint="use reset")
        self.path = path
        self.resets = 0
        self.had_log = False
        self.connection_factory = _watched_for(self)
        self._exposed: str | None = None
        self._process, self._forks = os.getpid(), forks()
        files.copy(snapshot, path)
        self._guard = sqlite3.connect(
            path, isolation_level=None, timeout=0, check_same_thread=False
        )
        self._ask("PRAGMA synchronous=OFF")
        if self._ask("PRAGMA journal_mode=WAL") != ("wal",):
            self._guard.close()
            raise CloneError(f"{path.parent} is no place for a write-ahead log", hint="use reset")
        self._schema = self._ask("PRAGMA schema_version")
        # Open as long as the file is: to close any descriptor of it or of the wal-index would take
        # away the locks that SQLite's connections in this process hold there (POSIX, fcntl).
        self._file, self._log, self._index = (
            os.open(f"{path}{end}", os.O_RDWR) for end in ("", "-wal", "-shm")
        )
        self._inode = os.fstat(self._file).st_ino
        os.utime(self._file, ns=(UNTOUCHED, UNTOUCHED))
        self._empty = os.pread(self._index, _INDEX, 0)
        reason = self._strangeness() or self._start_guard()
        if reason:
            self.close()
            raise CloneError(f"{path} can't be rewound: {reason}", hint="use reset")

    def put_back(self) -> str | None:
        """Empty the log, so that everybody sees the snapshot's content again.

        What stays as it was is each open connection's own state: TEMP tables, attached databases,
        PRAGMAs, functions.

        Returns:
            None, or the reason why it can't be done; then :meth:`close` is what is left.
        """
        if self._process != os.getpid() or self._forks != forks():
            return "the test's process forked"
        if self._exposed:
            return self._exposed
        try:
            return self._rewind()
        except sqlite3.Error as error:
            return f"the log can't be read ({error})"
        finally:
            self._unlock(_ALL)

    def expose(self, why: str) -> None:
        """Make it a database like any other, which can't be put back any more.

        It stays in WAL mode as long as somebody else has it open.
        """
        if self._exposed or self._process != os.getpid():
            return
        self._exposed = why
        with contextlib.suppress(sqlite3.Error):
            self._ask("ROLLBACK")
            self._ask("PRAGMA journal_mode=DELETE")
        self._guard.close()

    def close(self) -> None:
        """Let go of the file; the connections to it should be closed by now."""
        self._guard.close()
        for file in (self._file, self._log, self._index):
            os.close(file)

    def remove(self) -> None:
        """Delete the file."""
        files.remove(self.path)

    def _rewind(self) -> str | None:
        if not self._lock(_WORK):
            return "the database can't be locked, something still uses it"
        if not self._is_guarded():
            return "the locks of this process are gone"
        self._ask("ROLLBACK")
        # Nobody can write now, and so both stay what they are until all is locked.
        index, log = os.pread(self._index, _INDEX, 0), os.pread(self._log, len(_NO_LOG), 0)
        reason = self._obstacle(index, log)
        if reason:
            return reason
        if not self._lock(_READ):
            return "the database can't be locked, something still uses it"
        self._empty_log(index, log)
        self._unlock(_READ)
        return self._start_guard()

    def _obstacle(self, index: bytes, log: bytes) -> str | None:
        if not self._is_in_place():
            return "the file was moved, linked or deleted"
        if index[_FIRST] != index[_SECOND]:
            return "a process ended while it wrote"
        if self._was_checkpointed(index, log):
            return "a checkpoint was begun"
        if index[_FIRST] != self._empty[_FIRST] and self._is_schema_changed():
            return "the schema changed"
        return None

    def _empty_log(self, index: bytes, log: bytes) -> None:
        if index[_FIRST] != self._empty[_FIRST]:
            self.resets += 1
        # A process that was killed may have written to the log alone.
        if log.strip(b"\0"):
            self._clear_header()
        self._restore_index()

    def _clear_header(self) -> None:
        os.pwrite(self._log, _NO_LOG, 0)

    def _restore_index(self) -> None:
        os.pwrite(self._index, self._empty, 0)

    def _start_guard(self) -> str | None:
        self._ask("BEGIN")
        self._ask("PRAGMA schema_version")
        return None if self._is_guarded() else "the guard does not read the file alone"

    def _is_guarded(self) -> bool:
        """Whether the locks that keep others from writing to the file are there, and are ours.

        Whoever opens and closes it, or the wal-index, in this process takes them away.
        """
        held = (self._holder(self._index, _GUARD), self._holder(self._file, _OPEN))
        return held == (self._process, self._process)

    def _strangeness(self) -> str | None:
        """What is not as it is documented about the index of an empty log."""
        index = self._empty
        if len(index) != _INDEX or index[_VERSION] != _KNOWN_VERSION:
            return "SQLite's wal-index is of another version"
        if index[_FIRST] != index[_SECOND] or index[_FRAMES] != _NONE:
            return "SQLite's wal-index is not that of an empty log"
        return None

    def _is_in_place(self) -> bool:
        try:
            status = os.stat(self.path)
        except OSError:
            return False
        links = {status.st_nlink, *(os.fstat(file).st_nlink for file in (self._log, self._index))}
        return status.st_ino == self._inode and links == {1}

    def _was_checkpointed(self, index: bytes, log: bytes) -> bool:
        marks = (index[_CHECKPOINTED], index[_ATTEMPTED], log[_BEGUN_AGAIN] or _NONE)
        return os.fstat(self._file).st_mtime_ns != UNTOUCHED or any(mark != _NONE for mark in marks)

    def _is_schema_changed(self) -> bool:
        return bool(self._ask("PRAGMA schema_version") != self._schema)

    def _ask(self, statement: str) -> Any:
        return self._guard.execute(statement).fetchone()

    def _lock(self, area: tuple[int, int]) -> bool:
        """Lock out whoever uses the area, this process's connections too; False if somebody does.

        Locks that belong to an open file, and not to a process, conflict with those that SQLite
        takes (fcntl(2), "Open file description locks").
        """
        try:
            _locking(self._index, fcntl.F_OFD_SETLK, fcntl.F_WRLCK, area)
        except (BlockingIOError, PermissionError):
            return False
        return True

    def _unlock(self, area: tuple[int, int]) -> None:
        _locking(self._index, fcntl.F_OFD_SETLK, fcntl.F_UNLCK, area)

    def _holder(self, file: int, area: tuple[int, int]) -> int | None:
        """The process that keeps us from locking an area, or one of them."""
        kind, *_, process = _locking(file, fcntl.F_OFD_GETLK, fcntl.F_WRLCK, area)
        return None if kind == fcntl.F_UNLCK else process


def _locking(file: int, command: int, kind: int, area: tuple[int, int]) -> tuple[int, ...]:
    return _FLOCK.unpack(fcntl.fcntl(file, command, _FLOCK.pack(kind, os.SEEK_SET, *area, 0)))


def _watched_for(file: Rewindable) -> type[Watched]:
    """Connections that take the guard away before what it would be in the way of."""

    class Lent(Watched):
        def __init__(self, *arguments: Any, **options: Any):
            super().__init__(*arguments, **options)
            # At a thousand pages and more, each commit would prepare one that the guard refuses.
            sqlite3.Connection.cursor(self).execute("PRAGMA wal_autocheckpoint=0").fetchall()

        def before_statement(self, statement: str) -> None:
            if _UNFIT.search(statement):
                file.expose("a connection sets its own journal or locking mode, or checkpoints")

    return Lent
