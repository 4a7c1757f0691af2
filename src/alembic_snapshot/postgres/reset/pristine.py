"""What a clone of a snapshot is like before any test: its files, its rows, its sequences.

Clones are copies by the file: what is known of one is known of all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from alembic_snapshot.postgres.reset.changes import File, Relation
from alembic_snapshot.postgres.reset.keeping import FIRST_NORMAL, what_may_keep

if TYPE_CHECKING:
    import psycopg

# Bytes of rows that are kept in memory. A table with more of them is not put back once its rows
# were changed: to copy the database's files is quicker by then.
MOST_BYTES = 16 * 1024 * 1024
_HEAP = 2
_TABLES = f"""
    SELECT c.oid, format('%I.%I', nspname, relname), relpersistence = 'u',
        pg_table_size(c.oid), pg_relation_size(c.oid) = 0,
        coalesce(nullif(c.reltablespace, 0), dattablespace)::bigint,
        pg_relation_filenode(c.oid)::bigint, c.reltoastrelid,
        EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.oid AND tgenabled IN ('A', 'R'))
        OR EXISTS (SELECT FROM pg_rewrite WHERE ev_class = c.oid AND ev_enabled IN ('A', 'R')),
        (SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
        WHERE attrelid = c.oid AND attgenerated = 's' AND NOT attisdropped)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_database d ON d.datname = current_database()
    WHERE c.oid >= {FIRST_NORMAL} AND relkind = 'r' AND relam = {_HEAP}
    AND relpersistence IN ('p', 'u') AND nspname NOT IN ('pg_catalog', 'information_schema')
    ORDER BY pg_relation_size(c.oid), c.oid
"""
_PARTS = """
    SELECT c.oid, c.relkind = 'i', coalesce(i.indrelid, c.oid),
        coalesce(nullif(c.reltablespace, 0), dattablespace)::bigint,
        pg_relation_filenode(c.oid)::bigint
    FROM pg_class c LEFT JOIN pg_index i ON i.indexrelid = c.oid
    JOIN pg_database d ON d.datname = current_database()
    WHERE c.relkind = 'i' AND i.indrelid = ANY(%(owners)s) OR c.oid = ANY(%(toasts)s)
"""
_SEQUENCES = f"""
    SELECT c.oid, format('%I.%I', nspname, relname), relpersistence = 'u',
        coalesce(nullif(c.reltablespace, 0), dattablespace)::bigint,
        pg_relation_filenode(c.oid)::bigint
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_database d ON d.datname = current_database()
    WHERE c.oid >= {FIRST_NORMAL} AND relkind = 'S' ORDER BY c.oid
"""
_AT_ONCE = 100


@dataclass
class Table:
    """A table as it was: its name, quoted, its size, and its rows as binary COPY has them.

    ``rows`` is empty if there are none, and None if they are not kept. ``obstacle`` is why its rows
    can't be put back. ``computed`` names the columns that are generated and stored, which no COPY
    has: the server computes them anew, with functions that may have been others. ``values`` are
    theirs.
    """

    name: str
    size: int
    is_unlogged: bool
    rows: bytes | None
    obstacle: str | None = None
    computed: str | None = None
    values: bytes = b""


@dataclass
class Sequence:
    """A sequence as it was; ``is_ahead`` says that some values of it would not be logged."""

    name: str
    is_unlogged: bool
    value: int
    is_called: bool
    is_ahead: bool


@dataclass
class Pristine:
    """What a snapshot's clone is like. ``obstacle`` is why none of them can be put back.

    ``keeping`` are the server's functions that may keep something in the session of whoever calls
    them. ``may_keep`` says that something in the snapshot may do so.
    """

    relations: dict[File, Relation] = field(default_factory=dict)
    tables: dict[int, Table] = field(default_factory=dict)
    sequences: dict[int, Sequence] = field(default_factory=dict)
    keeping: frozenset[str] = frozenset()
    may_keep: bool = True
    obstacle: str | None = None

    @property
    def unlogged_tables(self) -> set[int]:
        """Those of which the log tells nothing."""
        return {oid for oid, table in self.tables.items() if table.is_unlogged}

    @property
    def unlogged_sequences(self) -> set[int]:
        """Those of which the log tells nothing."""
        return {oid for oid, sequence in self.sequences.items() if sequence.is_unlogged}


def describe(connection: psycopg.Connection[Any]) -> Pristine:
    """What there is in a clone that no test has used yet."""
    found = Pristine()
    row = connection.execute(
        "SELECT EXISTS (SELECT FROM pg_event_trigger WHERE evtevent = 'login')"
    ).fetchone()
    if row and row[0]:
        # It has been told of our own connection.
        found.obstacle = "an event trigger of the snapshot's is called by every connection"
    found.keeping, found.may_keep = what_may_keep(connection)
    toasts = _describe_tables(connection, found)
    _describe_parts(connection, found, toasts)
    _describe_sequences(connection, found)
    return found


def read_rows(connection: psycopg.Connection[Any], table: Table) -> tuple[bytes, bytes]:
    """A table's rows in their order, as binary COPY has them, and what is computed of them."""
    rows = _copied(connection, table.name)
    if table.computed is None:
        return rows, b""
    return rows, _copied(connection, f"(SELECT {table.computed} FROM ONLY {table.name})")


def _copied(connection: psycopg.Connection[Any], what: str) -> bytes:
    with connection.cursor().copy(f"COPY {what} TO STDOUT (FORMAT binary)") as copy:
        return b"".join(bytes(part) for part in copy)


def _describe_tables(connection: psycopg.Connection[Any], found: Pristine) -> dict[int, int]:
    toasts: dict[int, int] = {}
    room = MOST_BYTES
    for row in connection.execute(_TABLES).fetchall():
        oid, name, is_unlogged, size, is_empty, tablespace, file, toast, is_watched, computed = row
        table = found.tables[oid] = Table(name, size, is_unlogged, b"", computed=computed)
        found.relations[tablespace, file] = Relation("table", oid)
        if toast:
            toasts[toast] = oid
        if is_watched:
            table.obstacle = f"table {name} has a trigger or a rule that can't be kept quiet"
        if not is_empty:
            table.rows, table.values = _kept(connection, table, room)
            room -= len(table.rows or b"") + len(table.values)
    return toasts


def _kept(
    connection: psycopg.Connection[Any], table: Table, room: int
) -> tuple[bytes | None, bytes]:
    import psycopg

    if table.size > room:
        return None, b""
    try:
        return read_rows(connection, table)
    except psycopg.Error:
        # A type that has no binary form.
        return None, b""


def _describe_parts(
    connection: psycopg.Connection[Any], found: Pristine, toasts: dict[int, int]
) -> None:
    owners = [*found.tables, *toasts]
    rows = connection.execute(_PARTS, {"owners": owners, "toasts": list(toasts)}).fetchall()
    for _, is_index, whose, tablespace, file in rows:
        kind = "index" if is_index else "toast"
        found.relations[tablespace, file] = Relation(kind, toasts.get(whose, whose))


def _describe_sequences(connection: psycopg.Connection[Any], found: Pristine) -> None:
    rows = connection.execute(_SEQUENCES).fetchall()
    for begin in range(0, len(rows), _AT_ONCE):
        some = rows[begin : begin + _AT_ONCE]
        query = " UNION ALL ".join(
            f"SELECT {oid}, last_value, is_called, log_cnt FROM {name}" for oid, name, *_ in some
        )
        states = {oid: state for oid, *state in connection.execute(query).fetchall()}
        for oid, name, is_unlogged, tablespace, file in some:
            value, is_called, ahead = states[oid]
            found.sequences[oid] = Sequence(name, is_unlogged, value, is_called, ahead != 0)
            found.relations[tablespace, file] = Relation("sequence", oid)
