"""A SQLite file under construction."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import sqlalchemy as sa

from alembic_snapshot.database.schema import Schema
from alembic_snapshot.sqlite import database as databases
from alembic_snapshot.sqlite import files, schema
from alembic_snapshot.sqlite.database import DatabaseFile

if TYPE_CHECKING:
    from alembic_snapshot.builder.own_sql import OwnSql
    from alembic_snapshot.builder.server_guard import Refuse
    from alembic_snapshot.builder.target import OwnWork, Rows


# Pragmas that do something when they are asked for.
_ACTING = frozenset({
    "foreign_key_check", "incremental_vacuum", "integrity_check", "optimize", "quick_check",
    "shrink_memory", "wal_checkpoint",
})  # fmt: skip
# What is in the file, or decides how long something is done and how safely, and not what.
_NO_MATTER = frozenset({
    "analysis_limit", "application_id", "auto_vacuum", "automatic_index", "busy_timeout",
    "cache_size", "cache_spill", "cell_size_check", "checkpoint_fullfsync", "compile_options",
    "data_version", "default_cache_size", "encoding", "freelist_count", "fullfsync",
    "hard_heap_limit", "journal_mode", "journal_size_limit", "lock_status", "locking_mode",
    "max_page_count", "mmap_size", "module_list", "page_count", "page_size", "pragma_list",
    "schema_version", "secure_delete", "soft_heap_limit", "stats", "synchronous", "table_list",
    "temp_store", "threads", "user_version", "wal_autocheckpoint",
})  # fmt: skip


@dataclass(frozen=True)
class FileTarget:
    """A file, which can be copied at any moment: the migrations' connection is not in its way."""

    async_drivers: ClassVar[tuple[str, ...]] = ("aiosqlite", "greenlet")
    target: DatabaseFile

    @property
    def url(self) -> sa.URL:
        """Its URL, whatever characters its path has."""
        return sa.URL.create("sqlite", database=self.target.name)

    @property
    def backup(self) -> str:
        """The path of a copy of it."""
        return f"{self.target.name}.backup"

    def server_guard(self, refuse: Refuse) -> None:
        """Give none: it is on no server."""

    def listen(self) -> None:
        """Do nothing: all that is left in a connection can be asked for."""

    def prepare(self, own_work: OwnWork) -> None:
        """Make the first backup, and connections quick."""
        sa.event.listen(sa.Engine, "connect", _make_quick)
        self.keep(own_work)

    def keep(self, own_work: OwnWork) -> bool:
        """Make another backup."""
        path, backup = self.target.path, Path(self.backup)
        files.remove(backup)
        if any(side.exists() for side in files.side_files(path)):
            with own_work(self.backup):
                databases.backup(path, backup)
        else:
            path.touch()
            shutil.copyfile(path, backup)
        return True

    def put_back(self, own_work: OwnWork) -> None:
        """Write the backup into the same file: somebody may have it open."""
        with own_work(self.backup):
            databases.put_back(Path(self.backup), self.target.path)

    def finish(
        self,
        name: str,
        own_sql: OwnSql,
        own_work: OwnWork,
        close_idle: Callable[[], None],
    ) -> dict[str, Any] | None:
        """Make a file compact that can't be without the application's own SQL; its problems."""
        path = Path(name)
        with own_work(name):
            if not path.exists() or databases.is_plain(path):
                return None
            close_idle()
            try:
                problems: dict[str, Any] = own_sql.run(name, lambda one: _compacted(one, path))
            except Exception as error:
                told = str(getattr(error, "orig", None) or error)
                return databases.unknown_problems(f"{type(error).__name__}: {told}")
        return problems

    def save_within(self, connection: sa.Connection, name: str) -> bool:
        """Copy it with what is not committed yet; for an asynchronous driver that is committed."""
        pooled = connection.connection
        if isinstance(pooled.driver_connection, sqlite3.Connection):
            Path(name).write_bytes(pooled.driver_connection.serialize())
        else:
            pooled.commit()
            databases.backup(self.target.path, Path(name))
        return True

    def left_in_session(self, rows: Rows) -> Any:
        """Settings, attached databases, what is temporary, functions and collations."""
        names = [name for (name,) in rows("SELECT name FROM pragma_pragma_list ORDER BY name")]
        asked = [name for name in names if name not in _ACTING | _NO_MATTER]
        return (
            rows("SELECT type, name, sql FROM temp.sqlite_master"),
            {name: rows(f"PRAGMA {name}") for name in asked},
        )

    def read_schema(self, cursor: Any, version_tables: Collection[str]) -> Schema:
        """As :func:`alembic_snapshot.sqlite.schema.read_schema`."""
        return schema.read_schema(cursor, version_tables)


def _compacted(connection: sa.Connection, path: Path) -> dict[str, Any]:
    """The problems in a file, which is compact now."""

    def rows(sql: str) -> list[Any]:
        result = connection.exec_driver_sql(sql)
        return [tuple(row) for row in result] if result.returns_rows else []

    # Whoever is still connected keeps it from being written anew, which it can do without.
    with contextlib.suppress(sa.exc.DBAPIError):
        rows("PRAGMA journal_mode=DELETE")
        databases.compact(rows, path)
    return databases.problems_by(rows)


def _make_quick(connection: Any, _record: Any) -> None:
    with contextlib.closing(connection.cursor()) as cursor:
        # An empty schema is smaller with small pages; where there are tables it has no effect.
        cursor.execute("PRAGMA page_size=512")
        cursor.execute("PRAGMA journal_mode")
        if cursor.fetchone()[0] == "delete":
            cursor.execute("PRAGMA journal_mode=MEMORY")
