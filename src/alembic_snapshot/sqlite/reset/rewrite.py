"""A clone that is put back to its snapshot's content while connections to it stay open.

To SQLite it looks as if another process had written to the file, by its own rules: everybody else
is locked out, the bytes are overwritten, and the file change counter becomes a value that no
connection has seen, so that each drops what it has cached ("Database File Format", 1.3.6 and
1.3.7; "File Locking And Concurrency"). That holds for every journal mode but WAL. Anything that
does not fit is detected, and is a reason to start from a fresh file at a new path.
"""

from __future__ import annotations

import mmap
import os
import sqlite3
from pathlib import Path

from alembic_snapshot.database.lasting import forks
from alembic_snapshot.sqlite import files
from alembic_snapshot.sqlite.reset.connections import Watched
from alembic_snapshot.sqlite.reset.interface import UNTOUCHED

_HEADER = 100
_COUNTER, _VERSION_VALID_FOR = slice(24, 28), slice(92, 96)
# Magic, page size, read and write versions (WAL or not), reserved space, payload fractions.
_LAYOUT = slice(0, 24)
_VERSIONS, _WAL = slice(18, 20), b"\2\2"
# Schema cookie, schema format; text encoding.
_SCHEMA = (slice(40, 48), slice(56, 60))
_CHUNK = 32_768
# The system's own, whatever a test puts in its place.
_open = open


class Reusable:
    """A file with a snapshot's content, and the means to give it that content again.

    It is made at once; nobody may have had ``path`` open before. ``resets`` counts how often
    the content had to be put back.
    """

    connection_factory = Watched
    is_guarded = False

    def __init__(self, snapshot: Path, path: Path):
        self.path = path
        self.resets = 0
        self.had_log = False
        self._snapshot = _mapped(snapshot)
        files.copy(snapshot, path)
        # One descriptor for the whole life of the file: closing any other would take away the
        # locks that SQLite's connections in this process hold on it (POSIX, fcntl).
        self._file = os.open(path, os.O_RDWR)
        self._inode = os.fstat(self._file).st_ino
        self._header = self._snapshot[:_HEADER]
        self._mark()
        self._process, self._forks = os.getpid(), forks()
        self._guard = sqlite3.connect(path, timeout=0, check_same_thread=False)

    def put_back(self) -> str | None:
        """Give the file the snapshot's content again, byte for byte but for the change counter.

        Nothing is written if nothing was. What stays as it was is each open connection's own
        state: TEMP tables, attached databases, PRAGMAs, functions.

        Returns:
            None, or the reason why it can't be done; then :meth:`close` is what is left.
        """
        if self._process != os.getpid() or self._forks != forks():
            return "the test's process forked"
        try:
            self._guard.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as error:
            return f"the database can't be locked, something still uses it ({error})"
        try:
            return self._rewrite()
        finally:
            self._guard.execute("ROLLBACK")

    def expose(self, why: str) -> None:
        """Nothing is in the way of whoever comes to it past ``connection_factory``."""

    def close(self) -> None:
        """Let go of the file; the connections to it should be closed by now."""
        self._guard.close()
        os.close(self._file)
        self._snapshot = b""

    def remove(self) -> None:
        """Delete the file."""
        files.remove(self.path)

    def _rewrite(self) -> str | None:
        status = os.fstat(self._file)
        if status.st_nlink != 1 or not self._is_in_place():
            return "the file was moved, linked or deleted"
        if self._is_untouched(status):
            return None
        header, size = os.pread(self._file, _HEADER, 0), len(self._snapshot)
        reason = self._obstacle(header)
        if reason:
            return reason
        self._header = self._next_header(header)
        self._resize(size)
        self._overwrite()
        os.pwrite(self._file, self._header, 0)
        self._mark()
        self.resets += 1
        return None

    def _obstacle(self, header: bytes) -> str | None:
        self.had_log = header[_VERSIONS] == _WAL
        if len(header) < _HEADER or header[_LAYOUT] != self._header[_LAYOUT]:
            return "the journal mode became WAL, or the page size changed"
        if any(header[part] != self._header[part] for part in _SCHEMA):
            return "the schema changed"
        if _number(header) < _number(self._header):
            return "the file's change counter went backwards"
        return None

    def _next_header(self, header: bytes) -> bytes:
        """The snapshot's header with a change counter higher than any before."""
        counter = (_number(header) + 1).to_bytes(4, "big")
        made = bytearray(self._snapshot[:_HEADER])
        made[_COUNTER] = made[_VERSION_VALID_FOR] = counter
        return bytes(made)

    def _overwrite(self) -> None:
        """Write the parts that differ: reading is cheaper than what writing costs later."""
        for start in range(0, len(self._snapshot), _CHUNK):
            wanted = self._snapshot[start : start + _CHUNK]
            if os.pread(self._file, _CHUNK, start) != wanted:
                os.pwrite(self._file, wanted, start)

    def _resize(self, size: int) -> None:
        os.ftruncate(self._file, size)

    def _is_untouched(self, status: os.stat_result) -> bool:
        return status.st_mtime_ns == UNTOUCHED

    def _mark(self) -> None:
        os.utime(self._file, ns=(UNTOUCHED, UNTOUCHED))

    def _is_in_place(self) -> bool:
        try:
            return os.stat(self.path).st_ino == self._inode
        except OSError:
            return False


def _mapped(path: Path) -> mmap.mmap | bytes:
    with _open(path, "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _number(header: bytes) -> int:
    return int.from_bytes(header[_COUNTER], "big")
