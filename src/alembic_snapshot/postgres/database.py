"""One database on a server as a target of migrations: created, copied, sealed, read, dropped."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from alembic_snapshot.database.target import SHOWN_PROBLEMS, SHOWN_ROWS, first_problems
from alembic_snapshot.errors import CloneError
from alembic_snapshot.postgres.databases import (
    CLONE,
    KEPT,
    SNAPSHOT,
    create,
    disconnect,
    drop,
    exists,
    spare_waiting,
)
from alembic_snapshot.postgres.server import Server, new_owner, said, without_password

if TYPE_CHECKING:
    import psycopg

    from alembic_snapshot.database.diff import Diff

_DRIVERS = {"": "psycopg", "async": "asyncpg"}
# What says where a connection goes, in the words of one driver or another.
_PLACE = (
    "database",
    "dbname",
    "host",
    "hostaddr",
    "passfile",
    "password",
    "port",
    "service",
    "servicefile",
    "user",
)
# Each foreign key's tables and columns, and what joins them: with the operators and the collations
# that it compares by, as PostgreSQL does when it validates one (RI_Initial_Check). A partition's
# are those of the table that it is a part of. One with PERIOD compares ranges by no operator.
_REFERENCES = """
SELECT conrelid::regclass::text, confrelid::regclass::text,
       ARRAY[CASE child.relkind WHEN 'p' THEN '' ELSE 'ONLY' END,
             CASE parent.relkind WHEN 'p' THEN '' ELSE 'ONLY' END],
       string_agg(quote_ident(f.attname), ', ' ORDER BY n),
       string_agg(format('f.%I', f.attname), ', ' ORDER BY n),
       string_agg(format('p.%I%s%s OPERATOR(%I.%s) f.%I%s',
                         p.attname,
                         CASE WHEN l.typtype <> 'p' THEN '::' || format_type(l.oid, -1) END,
                         ' COLLATE ' || NULLIF(p.attcollation, 0)::regcollation,
                         os.nspname, o.oprname,
                         f.attname,
                         CASE WHEN r.typtype <> 'p' THEN '::' || format_type(r.oid, -1) END),
                  ' AND ' ORDER BY n),
       string_agg(format('f.%I IS NOT NULL', f.attname),
                  CASE confmatchtype WHEN 'f' THEN ' OR ' ELSE ' AND ' END ORDER BY n)
FROM pg_constraint con
JOIN pg_class child ON child.oid = conrelid
JOIN pg_class parent ON parent.oid = confrelid
CROSS JOIN LATERAL unnest(conkey, confkey, conpfeqop) WITH ORDINALITY AS k (f, p, operator, n)
JOIN pg_attribute f ON f.attrelid = conrelid AND f.attnum = k.f
JOIN pg_attribute p ON p.attrelid = confrelid AND p.attnum = k.p
JOIN pg_operator o ON o.oid = k.operator
JOIN pg_namespace os ON os.oid = o.oprnamespace
JOIN pg_type l ON l.oid = o.oprleft
JOIN pg_type r ON r.oid = o.oprright
WHERE contype = 'f' AND convalidated AND conparentid = 0
  AND coalesce(to_jsonb(con) ->> 'conperiod', 'false') = 'false'
GROUP BY con.oid, child.oid, parent.oid
ORDER BY conrelid::regclass::text, conname
"""
_OUTSIDE = "nspname !~ '^pg_' AND nspname <> 'information_schema'"


@dataclass(frozen=True)
class ServerDatabase:
    """A database on a PostgreSQL server."""

    server: Server
    name: str

    def __str__(self) -> str:
        return f"database {self.name} on {self.server}"

    @property
    def file(self) -> None:
        """None: it is on a server."""

    @property
    def opening(self) -> str:
        """The command that opens it. A private server ends with its run, and is started."""
        if self.server.is_private:
            return f"alembic-snapshot psql {self.name}"
        # The password stays out of reports: psql asks for it, or finds it in ~/.pgpass.
        from sqlalchemy import make_url

        url = make_url(self.url()).set(drivername="postgresql")
        return f"psql {shlex.quote(without_password(url))}"

    def url(self, driver: str = "") -> str:
        """The SQLAlchemy URL, for psycopg or ``driver``; ``async`` is asyncpg."""
        return self.server.address(self.name, _DRIVERS.get(driver, driver))

    def rewrite_connect_args(self, dialect: Any, cargs: list[Any], cparams: dict[str, Any]) -> None:
        """Make the arguments of a dialect's connection lead here; its other options stay."""
        from sqlalchemy import make_url

        place, arguments = dialect.create_connect_args(make_url(self.url(dialect.driver)))
        for name in _PLACE:
            cparams.pop(name, None)
        cargs[:] = place
        cparams.update(arguments)

    def places(self) -> dict[str, str]:
        """Its URLs, its name, and the parts of the server's address."""
        urls = {"url": self.url(), "async_url": self.url("async")}
        return {**urls, "path": self.name, "database": self.name, **self.server.parts()}

    def to_job(self) -> dict[str, Any]:
        """The JSON from which the builder's process finds it."""
        return {
            "kind": "postgresql",
            "name": self.name,
            "server": self.server.url,
            "private": self.server.is_private,
        }

    def is_there(self) -> bool:
        """Whether there is such a database."""
        with self.server.connect() as connection:
            return exists(connection, self.name)

    def has_unlogged(self) -> bool:
        """Whether something is in it that a crash of the server empties."""
        with self.server.connect(self.name) as connection:
            row = connection.execute(
                "SELECT EXISTS (SELECT FROM pg_class WHERE relpersistence = 'u')"
            ).fetchone()
        return bool(row and row[0])

    def has_writer(self) -> bool:
        """Whether somebody has a transaction open in which something was written."""
        query = "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND backend_xid IS NOT NULL"
        with self.server.connect() as connection:
            return connection.execute(query, (self.name,)).fetchone() is not None

    def start(self, source: ServerDatabase | None) -> None:
        """Make it anew: a copy of another, whose connections are ended, or an empty database."""
        with self.server.connect() as connection:
            drop(connection, self.name)
            if source:
                disconnect(connection, source.name)
            create(connection, self.server, self.name, source.name if source else None)

    def save(self, name: str) -> None:
        """Copy it to another name; connections to it are ended."""
        ServerDatabase(self.server, name).start(self)

    def seal(self) -> None:
        """Make it compact; nobody else may be connected."""
        with self.server.connect() as connection:
            disconnect(connection, self.name)
        with self.server.connect(self.name) as connection:
            connection.execute("VACUUM (FULL, ANALYZE)")
        self.connect_once()

    def connect_once(self) -> None:
        """Be the first to connect, who writes down what all others then read."""
        with self.server.connect(self.name) as connection:
            connection.execute("SELECT count(*) FROM pg_class")

    def heads(self, table: str, schema: str | None = None) -> list[str]:
        """The revisions in the version table, which may be in any schema unless one is given."""
        from psycopg import sql

        with self.server.connect(self.name) as connection:
            schemas = connection.execute(
                "SELECT nspname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace "
                f"WHERE relname = %s AND relkind IN ('r', 'p') AND {_OUTSIDE} "
                "AND (%s::text IS NULL OR nspname = %s)",
                (table, schema, schema),
            ).fetchall()
            revisions: list[str] = []
            for (schema,) in schemas:
                query = sql.SQL("SELECT version_num FROM {}").format(sql.Identifier(schema, table))
                revisions += [row[0] for row in connection.execute(query)]
            return sorted(revisions)

    def tables(self) -> list[str]:
        """The tables outside the system's schemas, each with its schema unless that is public."""
        with self.server.connect(self.name) as connection:
            rows = connection.execute(
                "SELECT CASE nspname WHEN 'public' THEN relname ELSE nspname || '.' || relname END "
                "FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace "
                f"WHERE relkind IN ('r', 'p') AND {_OUTSIDE} ORDER BY 1"
            )
            return [row[0] for row in rows]

    def problems(self) -> dict[str, Any]:
        """Constraints never validated, invalid indexes, and rows that refer to none.

        One that is not enforced is never validated, and says nothing of the rows.
        Where the rows can't be read, ``integrity_error`` says so.
        """
        with self.server.connect(self.name) as connection:
            rows = connection.execute(
                "SELECT contype, conname, CASE WHEN conrelid = 0 THEN 'domain ' || "
                "contypid::regtype ELSE conrelid::regclass::text END FROM pg_constraint c "
                "WHERE NOT convalidated AND coalesce(to_jsonb(c) ->> 'conenforced', 'true') = "
                "'true' ORDER BY 2"
            ).fetchall()
            indexes = connection.execute(
                "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid ORDER BY 1"
            ).fetchall()
            orphans = _orphans(connection)
        lines: dict[str, Any] = {
            kind: [
                f"constraint {name} of {table} is not validated"
                for contype, name, table in rows
                if (_text(contype) == "f") == (kind == "foreign_keys")
            ]
            for kind in ("integrity", "foreign_keys")
        }
        lines["integrity"] += [f"index {name} is not valid" for (name,) in indexes]
        if isinstance(orphans, str):
            return {**lines, "integrity_error": orphans}
        lines["foreign_keys"] += first_problems(orphans)
        return lines

    def size(self) -> int:
        """Bytes."""
        with self.server.connect() as connection:
            row = connection.execute("SELECT pg_database_size(%s)", (self.name,)).fetchone()
        return int(row[0]) if row else 0

    def content_hash(self) -> str:
        """Nothing: nobody can connect to a sealed database."""
        return ""

    def remove(self) -> None:
        """End its connections and drop it, if it is there."""
        with self.server.connect() as connection:
            drop(connection, self.name)

    def diff(self, before: ServerDatabase | None, limit: int = SHOWN_ROWS) -> Diff:
        """How it differs from another on the same server, or from an empty database.

        Raises:
            CloneError: they can't be compared.
            ServerError: the server can't be reached.
        """
        import psycopg

        from alembic_snapshot.postgres.diff import compare

        try:
            with readable(before, self) as here, readable(self, before or self) as there:
                return compare(here, there, limit)
        except psycopg.Error as error:
            raise CloneError(
                f"can't compare {self}: {said(error)}",
                hint="does somebody still hold a lock in it?",
            ) from error


@contextlib.contextmanager
def readable(
    database: ServerDatabase | None, other: ServerDatabase
) -> Iterator[psycopg.Connection[Any]]:
    """A connection to a database; nobody can connect to a snapshot, but to a copy of it.

    The copy can be compared with ``other``.
    """
    if database is not None and not _is_closed(database, other.server):
        with other.server.connect(database.name) as connection:
            yield connection
        return
    with copied(database, other) as connection:
        yield connection


@contextlib.contextmanager
def copied(
    database: ServerDatabase | None, other: ServerDatabase
) -> Iterator[psycopg.Connection[Any]]:
    """A connection to a copy of a database, or to an empty one; it is dropped at the end.

    It has what ``other`` was given by us, which so is no difference between them.
    """
    server = other.server
    with server.connect() as own:
        copy = ServerDatabase(server, f"{CLONE}{new_owner(own)}_copied")
        copy.start(database)
        try:
            if other.name.startswith((CLONE, KEPT)):
                spare_waiting(own, server, copy.name)
            with server.connect(copy.name) as connection:
                yield connection
        finally:
            copy.remove()


def _orphans(connection: psycopg.Connection[Any]) -> list[str] | str:
    """The rows that refer to none, a line each; or why that can't be known.

    They were put in while triggers were off, for otherwise PostgreSQL itself sees to it.
    """
    import psycopg

    lines: list[str] = []
    for child, parent, only, names, values, missing, given in connection.execute(_REFERENCES):
        query = (
            f"SELECT concat_ws(', ', {values}) FROM {only[0]} {child} f LEFT JOIN {only[1]} "
            f"{parent} p ON {missing} WHERE p.tableoid IS NULL AND ({given}) "
            f"ORDER BY 1 LIMIT {SHOWN_PROBLEMS + 1 - len(lines)}"
        )
        try:
            found = connection.execute(query).fetchall()
        except psycopg.Error as error:
            return f"the rows of {child} that refer to {parent} can't be read: {said(error)}"
        lines += [
            f"{child} ({names}) = ({key}) refers to a row of {parent} that is not there"
            for (key,) in found
        ]
    return lines


def _is_closed(database: ServerDatabase, server: Server) -> bool:
    """Whether nobody can connect: it is a snapshot or a checkpoint."""
    if not database.name.startswith(CLONE):
        return database.name.startswith(SNAPSHOT)
    with server.connect() as own:
        query = "SELECT NOT datallowconn FROM pg_database WHERE datname = %s"
        row = own.execute(query, (database.name,)).fetchone()
    return bool(row and row[0])


def _text(value: Any) -> str:
    # "char" arrives as bytes or text.
    return value.decode() if isinstance(value, bytes) else str(value)
