"""A database of a server as a file: its schema as statements, its rows as binary ``COPY``.

The file is a zip archive without compression::

    schema.json  what makes the schema before the rows are there, and after; what to verify
    rows/0, …    the rows of one table each, as ``COPY … TO STDOUT`` gives them

Types that a database has itself have other numbers elsewhere, and ``COPY`` writes those into an
array. Tables with columns of such types have their rows as text.
"""

from __future__ import annotations

import contextlib
import json
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from alembic_snapshot.errors import StoreError
from alembic_snapshot.postgres import pg_dump
from alembic_snapshot.postgres.databases import settings
from alembic_snapshot.postgres.schema import read_schema
from alembic_snapshot.postgres.server import said
from alembic_snapshot.postgres.statements import NotCarried, carried

if TYPE_CHECKING:
    import psycopg

    from alembic_snapshot.postgres.database import ServerDatabase

FORMAT = 1
FORMATS = ("binary", "text")
# What a session sets in which rows are written or read, so that text says the same everywhere.
SESSION = {
    "search_path": "",
    "client_encoding": "UTF8",
    "datestyle": "ISO, MDY",
    "intervalstyle": "postgres",
    "timezone": "UTC",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "row_security": "off",
    "check_function_bodies": "off",
    "xmloption": "content",
    "default_tablespace": "",
    "client_min_messages": "error",
}
_PART = 1 << 20
_SCHEMA = "schema.json"
_OWN = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
_NOT_AN_EXTENSIONS = (
    "NOT EXISTS (SELECT 1 FROM pg_depend e WHERE e.objid = c.oid "
    "AND e.classid = 'pg_class'::regclass AND e.deptype = 'e')"
)
# Numbers of types below this are the same on every server; those of reg* are written as numbers.
_PORTABLE = (
    "coalesce(bool_and((a.atttypid < 16384 AND t.typname !~ '^_?reg') OR t.typtype = 'e'), true)"
)
_TABLES = (
    "SELECT n.nspname, c.relname, coalesce(array_agg(a.attname::text ORDER BY a.attnum) "
    f"FILTER (WHERE a.attgenerated = ''), '{{}}'), {_PORTABLE} "
    "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped "
    "LEFT JOIN pg_type t ON t.oid = a.atttypid "
    f"WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND {_OWN} AND {_NOT_AN_EXTENSIONS} "
    "GROUP BY c.oid, n.nspname, c.relname ORDER BY c.oid"
)
_RELATIONS = (
    "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    f"WHERE c.relkind = %s AND c.relpersistence <> 't' AND {_OWN} AND {_NOT_AN_EXTENSIONS} "
    "AND (c.relkind <> 'm' OR c.relispopulated) ORDER BY c.oid"
)
_COMPUTED = (
    "SELECT n.nspname, c.relname, array_agg(a.attname::text ORDER BY a.attname) FROM pg_class c "
    "JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid "
    "AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = 's' "
    f"WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND {_OWN} AND {_NOT_AN_EXTENSIONS} "
    "GROUP BY c.oid, n.nspname, c.relname ORDER BY 1, 2"
)
_LOCALE = (
    "SELECT pg_encoding_to_char(encoding), "
    "coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale', datcollate), "
    "coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale', datctype) "
    "FROM pg_database d WHERE datname = current_database()"
)
# What no file brings to another server, by a query that finds one of it.
_ELSEWHERE = {
    "large objects": "SELECT 1 FROM pg_largeobject_metadata LIMIT 1",
    "foreign servers": "SELECT 1 FROM pg_foreign_server LIMIT 1",
    "an extension with rows of its own": "SELECT 1 FROM pg_extension "
    "WHERE extconfig IS NOT NULL LIMIT 1",
    "prepared transactions": "SELECT 1 FROM pg_prepared_xacts "
    "WHERE database = current_database() LIMIT 1",
}


@dataclass(frozen=True)
class Table:
    """A table's rows: in which columns they are written, in which format, and how many."""

    schema: str
    name: str
    columns: list[str]
    format: str
    rows: int


@dataclass(frozen=True)
class Contents:
    """What is in an archive beside rows.

    ``before`` and ``after`` are statements, ``sequences`` have schema, name, value and whether it
    was called; ``views`` are the materialized ones, with the number and a hash of their rows;
    ``computed`` are the tables with generated columns that are stored, with a hash of these;
    ``facts`` is the schema as :func:`~alembic_snapshot.postgres.schema.read_schema` reads it.
    """

    version: int
    locale: list[str]
    settings: list[str]
    before: list[str]
    after: list[str]
    tables: list[Table]
    sequences: list[tuple[str, str, int, bool]]
    views: list[tuple[str, str, int, str]]
    computed: list[list[str]]
    facts: list[str]
    format: int = FORMAT


def write(database: ServerDatabase, path: Path) -> None:
    """Write a database that nobody writes to into a file.

    Raises:
        StoreError: it has what a file can't bring to another server, or it can't be written.
    """
    try:
        with database.server.connect(database.name) as connection:
            prepare(connection)
            with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
                contents = _contents(database, connection, archive)
                archive.writestr(_entry(_SCHEMA), json.dumps(asdict(contents), indent=1))
    except NotCarried as error:
        raise StoreError(
            f"a file can't carry it: it has {error}", hint="it is built on each machine"
        ) from None
    except (OSError, ValueError) as error:
        raise StoreError(f"can't write {path}: {error}", hint="is there room?") from error


def prepare(connection: psycopg.Connection[Any]) -> None:
    """Have a session write and read as every other one that does."""
    for name, value in SESSION.items():
        connection.execute("SELECT set_config(%s, %s, false)", (name, value))


def locale(connection: psycopg.Connection[Any]) -> list[str]:
    """The encoding, the collation and the character types of a connection's database."""
    row = connection.execute(_LOCALE).fetchone()
    assert row is not None
    return list(row)


def relations(connection: psycopg.Connection[Any], kind: str) -> list[list[str]]:
    """The tables (``r``), sequences (``S``) or filled materialized views (``m``), with schemas."""
    return [list(row) for row in connection.execute(_RELATIONS, (kind,)).fetchall()]


def facts(connection: psycopg.Connection[Any]) -> list[str]:
    """A database's schema in a form that can be compared."""
    with connection.cursor() as cursor:
        return sorted(read_schema(cursor).others)


def counted_view(
    connection: psycopg.Connection[Any], schema: str, name: str
) -> tuple[str, str, int, str]:
    """A materialized view with the number of its rows, and a hash in which their order is none."""
    from psycopg import sql

    query = sql.SQL("SELECT count(*), coalesce(sum(hashtextextended(v::text, 0)), 0) FROM {} v")
    row = connection.execute(query.format(sql.Identifier(schema, name))).fetchone()
    assert row is not None
    return schema, name, row[0], str(row[1])


def computed(connection: psycopg.Connection[Any]) -> list[list[str]]:
    """The tables with generated columns that are stored, and a hash of what these hold.

    They are computed anew where rows are put in, maybe by functions that were others before.
    """
    from psycopg import sql

    found = []
    for schema, name, columns in connection.execute(_COMPUTED).fetchall():
        query = sql.SQL(
            "SELECT coalesce(sum(hashtextextended(ROW({})::text, 0)::numeric), 0)::text "
            "FROM ONLY {}"
        ).format(sql.SQL(", ").join(map(sql.Identifier, columns)), sql.Identifier(schema, name))
        for (hashed,) in connection.execute(query):
            found.append([str(schema), str(name), str(hashed)])
    return found


def _contents(
    database: ServerDatabase, connection: psycopg.Connection[Any], archive: zipfile.ZipFile
) -> Contents:
    """What is in a database; its rows are in the archive then.

    Raises:
        NotCarried: there is something that can't be.
    """
    for what, query in _ELSEWHERE.items():
        if connection.execute(query).fetchone():
            raise NotCarried(what)
    own_settings = settings(connection, database.name)
    if any(role is not None for role, _ in own_settings):
        raise NotCarried("settings of a role in the database")
    row = connection.execute("SELECT current_user").fetchone()
    assert row is not None
    before, after = pg_dump.sections(database.server, database.name)
    return Contents(
        version=database.server.facts.version,
        locale=locale(connection),
        settings=[setting for _, setting in own_settings],
        before=carried(before, row[0]),
        after=carried(after, row[0]),
        tables=list(_copied(connection, archive)),
        sequences=list(_sequences(connection)),
        views=[
            counted_view(connection, schema, name) for schema, name in relations(connection, "m")
        ],
        computed=computed(connection),
        facts=facts(connection),
    )


def _copied(connection: psycopg.Connection[Any], archive: zipfile.ZipFile) -> Iterator[Table]:
    for index, found in enumerate(connection.execute(_TABLES).fetchall()):
        schema, name, columns, is_portable = found
        table = Table(schema, name, columns, FORMATS[not is_portable], 0)
        with _readable(), contextlib.ExitStack() as stack:
            cursor = stack.enter_context(connection.cursor())
            member = stack.enter_context(
                archive.open(_entry(rows_of(index)), "w", force_zip64=True)
            )
            with cursor.copy(copying(table, "TO STDOUT")) as copy:
                for part in copy:
                    member.write(part)
            yield Table(schema, name, columns, table.format, cursor.rowcount)


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    """Have it said that there are rows which our role may not read, or which policies hide."""
    import psycopg

    try:
        yield
    except psycopg.errors.InsufficientPrivilege as error:
        raise NotCarried(f"rows that can't be read: {said(error)}") from error


def copying(table: Table, direction: str) -> Any:
    """The statement that copies a table's rows ``TO STDOUT`` or ``FROM STDIN``."""
    from psycopg import sql

    columns = sql.SQL(", ").join(map(sql.Identifier, table.columns))
    listed = sql.SQL(" ({})").format(columns) if table.columns else sql.SQL("")
    which = sql.Identifier(table.schema, table.name)
    how = sql.SQL(f" {direction} (FORMAT {FORMATS[FORMATS.index(table.format)]})")
    return sql.SQL("COPY {}").format(which) + listed + how


def _sequences(connection: psycopg.Connection[Any]) -> Iterator[tuple[str, str, int, bool]]:
    from psycopg import sql

    queries = [
        sql.SQL("SELECT {}, {}, last_value, is_called FROM {}").format(
            sql.Literal(schema), sql.Literal(name), sql.Identifier(schema, name)
        )
        for schema, name in relations(connection, "S")
    ]
    for query in queries:
        for schema, name, value, is_called in connection.execute(query):
            yield str(schema), str(name), value, is_called


def rows_of(index: int) -> str:
    """The name in the archive of the rows of the table with this index."""
    return f"rows/{index}"


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """An archive, to read what is in it. No name in it is a path anywhere.

    Raises:
        StoreError: it is none.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            yield Archive(archive, _read(archive))
    except StoreError:
        raise
    except _DAMAGED as error:
        raise StoreError(
            f"it is no archive of a database: {error}", hint="the snapshot is built instead"
        ) from error


class Archive:
    """An archive that is open: ``contents``, and the rows of its tables."""

    def __init__(self, archive: zipfile.ZipFile, contents: Contents):
        self._archive = archive
        self.contents = contents

    def rows(self, index: int) -> Iterator[bytes]:
        """The rows of the table with this index, in parts."""
        with _member(self._archive, rows_of(index)) as member:
            while part := member.read(_PART):
                yield part


# What is raised by reading what is no archive, or one that is damaged.
_DAMAGED = (
    zipfile.BadZipFile,
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
    NotImplementedError,
    RecursionError,
    EOFError,
)


def _member(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
        raise ValueError(f"{name} is compressed or encrypted")
    return archive.open(info)


def _read(archive: zipfile.ZipFile) -> Contents:
    with _member(archive, _SCHEMA) as member:
        record = json.loads(member.read())
    if record["format"] != FORMAT:
        raise ValueError(f"its format is {record['format']!r}, not {FORMAT}")
    contents = Contents(**{**record, "tables": [Table(**table) for table in record["tables"]]})
    texts = [contents.locale, contents.settings, contents.before, contents.after, contents.facts]
    texts += contents.computed
    texts += [[table.schema, table.name, table.format, *table.columns] for table in contents.tables]
    if not all(isinstance(text, str) for part in texts for text in part):
        raise ValueError("it has something else than text in it")
    numbers = [contents.version, *(table.rows for table in contents.tables)]
    if not all(isinstance(number, int) for number in numbers):
        raise ValueError("a number in it is none")
    return contents


def _entry(name: str) -> zipfile.ZipInfo:
    """A member that says nothing of when it was written."""
    return zipfile.ZipInfo(name)
