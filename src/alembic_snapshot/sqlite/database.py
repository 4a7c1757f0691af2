"""A SQLite database: sealed into a snapshot, looked into, written over. No SQLAlchemy in here."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from alembic_snapshot.database.target import SHOWN_PROBLEMS, SHOWN_ROWS, first_problems
from alembic_snapshot.errors import StoreError
from alembic_snapshot.key.libraries import library_versions, numbers
from alembic_snapshot.sqlite import files
from alembic_snapshot.sqlite.clauses import is_virtual
from alembic_snapshot.sqlite.sql import ROW_NUMBERS, quoted, readable
from alembic_snapshot.sqlite.stand_ins import is_missing

if TYPE_CHECKING:
    from alembic_snapshot.database.diff import Diff

SUFFIX = ".db"
# Every empty table or index is a page: small pages make an empty schema six to eight times
# smaller to copy. With much data in it, larger pages are quicker to read.
_SMALL_PAGE, _LARGE_PAGE = 512, 4096
_LARGE_DATABASE = 64 * 1024 * 1024
# Seconds for which a connection that is in a transaction is waited for.
_PATIENCE = 5.0
# Executes a statement, and gives its rows.
Rows = Callable[[str], Sequence[Any]]


@dataclass(frozen=True)
class DatabaseFile:
    """A SQLite file as a target of migrations."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        """Its path."""
        return str(self.path)

    @property
    def file(self) -> Path:
        """Itself."""
        return self.path

    @property
    def opening(self) -> str:
        """The command that opens it."""
        return f"sqlite3 {shlex.quote(str(self.path))}"

    def url(self, driver: str = "") -> str:
        """The SQLAlchemy URL, for the default driver or ``driver``; ``async`` is aiosqlite."""
        return url(self.path, "aiosqlite" if driver == "async" else driver)

    def places(self) -> dict[str, str]:
        """Its URLs, and its path."""
        return {"url": self.url(), "async_url": self.url("async"), "path": self.name}

    def to_job(self) -> dict[str, Any]:
        """The JSON from which the builder's process finds it."""
        return {"kind": "sqlite", "name": str(self.path)}

    def is_there(self) -> bool:
        """Whether there is a file."""
        return self.path.exists()

    def start(self, source: DatabaseFile | None) -> None:
        """Make it anew: a writable copy of another, or nothing, which is an empty database."""
        files.remove(self.path)
        if source is not None:
            files.copy(source.path, self.path)
            os.chmod(self.path, 0o600)

    def save(self, name: str) -> None:
        """Copy it to another path, as it is while it may be open."""
        backup(self.path, Path(name))

    def seal(self) -> None:
        """As :func:`seal`."""
        seal(self.path)

    def heads(self, table: str, schema: str | None = None) -> list[str]:
        """As :func:`heads`; a file has one schema."""
        del schema
        return heads(self.path, table)

    def tables(self) -> list[str]:
        """As :func:`tables`."""
        return tables(self.path)

    def problems(self) -> dict[str, Any]:
        """As :func:`problems`."""
        return problems(self.path)

    def size(self) -> int:
        """Bytes."""
        return os.stat(self.path).st_size

    def content_hash(self) -> str:
        """As :func:`content_hash`."""
        return content_hash(self.path)

    def remove(self) -> None:
        """Delete it and its side files."""
        files.remove(self.path)

    def diff(self, before: DatabaseFile | None, limit: int = SHOWN_ROWS) -> Diff:
        """As :func:`alembic_snapshot.sqlite.diff.compare`."""
        from alembic_snapshot.sqlite.diff import compare

        return compare(before.path if before else None, self.path, limit)


def url(path: Path, driver: str = "") -> str:
    """The SQLAlchemy URL of a database file, for the default driver or ``driver``."""
    return f"sqlite{'+' + driver if driver else ''}:///{in_url(str(path))}"


def in_url(name: str) -> str:
    """A file's name, or a URI, as a URL of SQLAlchemy spells it.

    From 2.1 on SQLAlchemy takes ``%40`` there for ``@``. Before, it takes each character as it is.
    """
    if "%" not in name and "?" not in name:
        return name
    if numbers(library_versions()["SQLAlchemy"]) < (2, 1):
        return name
    return name.replace("%", "%25").replace("?", "%3F")


def immutable(path: Path) -> str:
    """The URI that opens a sealed database read-only, without locks, and for root too."""
    return f"{readable(path)}&immutable=1"


@contextlib.contextmanager
def read_only(path: Path) -> Iterator[sqlite3.Connection]:
    """A raw read-only connection, closed at the end."""
    connection = sqlite3.connect(readable(path), uri=True)
    try:
        yield connection
    finally:
        connection.close()


@contextlib.contextmanager
def query_only(path: Path) -> Iterator[sqlite3.Connection]:
    """A raw connection that writes nothing, to a file of ours, on which SQLite verifies CHECKs.

    It may write as far as SQLite knows: for a file that can't be written, CHECKs are not compiled.
    """
    uri = f"file:{quote(str(path))}?mode=rw"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None)
    try:
        connection.execute("PRAGMA query_only=ON")
        yield connection
    finally:
        connection.close()


def seal(path: Path) -> None:
    """Make the database one checkpointed, compact file outside WAL mode, safely on the disk.

    Nobody else may have it open.

    Raises:
        StoreError: it is damaged, somebody has it open, or the disk is full.
    """
    try:
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            (mode,) = connection.execute("PRAGMA journal_mode=DELETE").fetchone()
            if mode != "delete":
                raise StoreError(
                    f"{path} can't leave journal mode {mode}",
                    hint="something still has the database open",
                )
            if is_plain(path):
                compact(lambda sql: connection.execute(sql).fetchall(), path)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise StoreError(f"can't seal {path}: {error}", hint=_hint(error)) from error
    _sync(path)


def compact(rows: Rows, path: Path) -> None:
    """Write a database anew without free pages, and with pages of the size that fits it.

    One stays as it is whose rows would get other numbers. ``rows`` executes a statement on a
    connection that has whatever SQL the schema uses.
    """
    large = os.path.getsize(path) > _LARGE_DATABASE
    wanted = _LARGE_PAGE if large else _SMALL_PAGE
    ((page_size,),) = rows("PRAGMA page_size")
    ((free,),) = rows("PRAGMA freelist_count")
    if (free or page_size != wanted) and not _would_renumber(rows):
        rows("PRAGMA temp_store=MEMORY")
        rows(f"PRAGMA page_size={wanted}")
        rows("VACUUM")


def _would_renumber(rows: Rows) -> bool:
    """Whether VACUUM gives rows other numbers, by which a table or an index of words knows them.

    It does where nothing else tells them: neither a column nor an index, which is copied with them.
    """
    tables = (
        "SELECT name, sql FROM sqlite_master WHERE type = 'table' "
        "AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
    )
    for name, statement in rows(tables):
        # What a virtual table is made with may not be here.
        if is_virtual(statement) or rows(f"PRAGMA index_list({quoted(name)})"):
            continue
        columns = rows(f"PRAGMA table_xinfo({quoted(name)})")
        if any(column[5] for column in columns):
            continue
        taken = {column[1].lower() for column in columns}
        number = next((one for one in ROW_NUMBERS if one not in taken), None)
        if number is None:
            return True
        query = f"SELECT count(*), min({number}), max({number}) FROM {quoted(name)}"
        ((count, first, last),) = rows(query)
        if count and (first, last) != (1, count):
            return True
    return False


def is_plain(path: Path) -> bool:
    """Whether a database's schema uses nothing that only the application's connections have."""
    query = (
        "SELECT sql FROM sqlite_master WHERE type IN ('table', 'index') AND sql IS NOT NULL "
        "AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY type DESC"
    )
    with read_only(path) as connection:
        statements = [sql for (sql,) in connection.execute(query)]
    with contextlib.closing(sqlite3.connect(":memory:")) as memory:
        for statement in statements:
            try:
                memory.execute(statement)
            except sqlite3.Error as error:
                # The tables that a virtual one makes for itself are there already.
                if is_missing(error):
                    return False
    return True


def problems(path: Path) -> dict[str, Any]:
    """What is wrong inside a database: ``integrity`` and ``foreign_keys``, a line for each.

    It is the caller's own, and not published yet. Where it can't be told, as where only the
    application's own connections can, ``integrity_error`` says so.
    """
    with query_only(path) as connection:
        try:
            return problems_by(lambda sql: connection.execute(sql).fetchall())
        except sqlite3.OperationalError as error:
            lacks = ": the application's own SQL is not here" if is_missing(error) else ""
            return unknown_problems(f"{error}{lacks}")


def problems_by(rows: Rows) -> dict[str, Any]:
    """As :func:`problems`, on a connection that has whatever SQL the schema uses."""
    # The application may have switched them off for its connections.
    rows("PRAGMA ignore_check_constraints=OFF")
    enough = SHOWN_PROBLEMS + 1
    found = [str(line) for (line,) in rows(f"PRAGMA integrity_check({enough})")]
    orphans = [
        f"{table} row {rowid} refers to a row of {parent} that is not there"
        for table, rowid, parent, _ in rows("PRAGMA foreign_key_check")[:enough]
    ]
    return {
        "integrity": [] if found == ["ok"] else first_problems(found),
        "foreign_keys": first_problems(orphans),
    }


def unknown_problems(reason: str) -> dict[str, Any]:
    """As :func:`problems`, of a database that could not be looked at."""
    return {"integrity": [], "foreign_keys": [], "integrity_error": reason}


def content_hash(path: Path) -> str:
    """The SHA-256 of the file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checkpoint(path: Path) -> None:
    """Move a closed database's log into its file, so that the file alone has everything."""
    with contextlib.suppress(sqlite3.Error):
        connection = sqlite3.connect(path, isolation_level=None, timeout=1)
        try:
            # The mode can't change while somebody else, as a thread of the test's, is connected.
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            connection.execute("PRAGMA journal_mode=DELETE").fetchone()
        finally:
            connection.close()


def backup(source: Path, target: Path) -> None:
    """Copy a database that may be open elsewhere, log included.

    Raises:
        sqlite3.OperationalError: somebody writes to it, and goes on.
    """
    with (
        contextlib.closing(sqlite3.connect(source, timeout=0)) as original,
        contextlib.closing(sqlite3.connect(target, timeout=0)) as copied,
    ):
        _copy_pages(original, copied, source)


def has_writer(path: Path) -> bool:
    """Whether somebody has a transaction open in which something was written."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        connection.execute("ROLLBACK")
        return False


def put_back(source: Path | None, target: Path) -> None:
    """Write one database's content into another file, whose open connections then see it.

    Both have the same page size. Without a source it is that of an empty database.

    Raises:
        sqlite3.OperationalError: somebody is in the middle of a transaction, and stays there.
    """
    with (
        contextlib.closing(sqlite3.connect(source or ":memory:", timeout=0)) as original,
        contextlib.closing(sqlite3.connect(target, timeout=0)) as overwritten,
    ):
        _copy_pages(original, overwritten, target)


def _copy_pages(source: sqlite3.Connection, target: sqlite3.Connection, shared: Path) -> None:
    """Make one database the other, which takes as long as it takes once nobody locks ``shared``."""
    deadline = time.monotonic() + _PATIENCE

    def give_up(status: int, _left: int, _total: int) -> None:
        if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) and time.monotonic() > deadline:
            raise sqlite3.OperationalError(f"{shared} stays locked: a connection is in use")

    source.backup(target, progress=give_up, sleep=0.01)


def disable_fsync(connection: Any) -> None:
    """Let a connection, sync or async, not wait for the disk: its database is thrown away anyway.

    What other connections see, and what a rollback undoes, stays the same.
    """
    # With the autocommit attribute of Python 3.12, a connection may be in a transaction at once,
    # and there the pragma is refused.
    always_in_transaction = getattr(connection, "autocommit", None) is False
    if always_in_transaction:
        connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous=OFF")
    cursor.close()
    if always_in_transaction:
        connection.autocommit = False


def opened_file(connection: Any) -> str:
    """The file that a connection has open, sync or async; "" in memory."""
    cursor = connection.cursor()
    try:
        cursor.execute("PRAGMA database_list")
        return next((row[2] or "" for row in cursor.fetchall() if row[1] == "main"), "")
    finally:
        cursor.close()


def heads(path: Path, table: str = "alembic_version") -> list[str]:
    """The revisions in a database's version table; none if there is no such table."""
    with read_only(path) as connection:
        has_table = connection.execute(
            "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)
        ).fetchone()
        if not has_table:
            return []
        rows = connection.execute(f"SELECT version_num FROM {quoted(table)} ORDER BY 1")
        return [revision for (revision,) in rows]


def tables(path: Path) -> list[str]:
    """The names of a database's tables, without SQLite's own."""
    with read_only(path) as connection:
        rows = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' "
            "AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
        )
        return [name for (name,) in rows]


def _hint(error: sqlite3.Error) -> str:
    code = getattr(error, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_FULL:
        return "make room on the disk"
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return "something still has the database open"
    return "see what SQLite says of it; a build anew makes another database"


def _sync(path: Path) -> None:
    with open(path, "rb+") as file:
        os.fsync(file.fileno())
