"""What a database on a server has, object by object, and hashes of it.

Names are quoted and have their schema, ``public.orders``. Connections are given settings with which
the same is spelled the same on every server.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from alembic_snapshot.postgres.schema import read_schema
from alembic_snapshot.tokens.changeset import (
    TABLE_HASH,
    WHOLE_HASH,
    Fingerprint,
    SchemaObject,
    hash_of,
)

if TYPE_CHECKING:
    import psycopg

_SETTINGS = {
    "search_path": "",
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "timezone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "row_security": "off",
    "lock_timeout": "500ms",
    "statement_timeout": "60s",
}
# What is written anew when a database is made, and is the same in each copy of it by the file.
_IDENTITY = (
    "SELECT md5(string_agg(concat_ws(' ', oid, relfilenode, relfrozenxid, relminmxid, xmin), ',' "
    "ORDER BY oid)) FROM pg_class"
)
_OUTSIDE = (
    "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND NOT EXISTS (SELECT 1 FROM "
    "pg_depend e WHERE e.objid = c.oid AND e.classid = 'pg_class'::regclass AND e.deptype = 'e')"
)
_COLUMNS = (
    "SELECT format('%I.%I', n.nspname, c.relname), a.attname::text, "
    "format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid), "
    "a.attidentity::text, a.attgenerated::text FROM pg_class c "
    "JOIN pg_namespace n ON n.oid = c.relnamespace "
    "LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped "
    "LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum "
    "WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' "
    "ORDER BY 1, a.attnum"
)
_KEYS = (
    "SELECT format('%I.%I', n.nspname, c.relname), a.attname::text FROM pg_index i "
    "JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace "
    "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY(i.indkey) "
    "WHERE i.indisprimary AND c.relkind = 'r' ORDER BY 1, a.attnum"
)
_CONSTRAINTS = (
    "SELECT format('%I.%I', n.nspname, c.relname), k.conname::text, pg_get_constraintdef(k.oid) "
    "FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid "
    "JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE k.contype IN ('p', 'u', 'c', 'f', 'x') AND k.coninhcount = 0 AND k.conparentid = 0 "
    f"AND c.relkind IN ('r', 'p') AND {_OUTSIDE}"
)
_INDEXES = (
    "SELECT format('%I.%I', n.nspname, i.relname), format('%I.%I', n.nspname, c.relname), "
    "pg_get_indexdef(x.indexrelid) FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid "
    "JOIN pg_class c ON c.oid = x.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE NOT EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conindid = x.indexrelid "
    f"AND k.contype IN ('p', 'u', 'x')) AND NOT i.relispartition AND {_OUTSIDE}"
)
_SEQUENCES = (
    "SELECT format('%I.%I', n.nspname, c.relname), s.seqtypid::regtype::text, s.seqstart, "
    "s.seqincrement, s.seqmin, s.seqmax, s.seqcache, s.seqcycle, "
    "(SELECT format('%I.%I', m.nspname, t.relname) FROM pg_depend d JOIN pg_class t "
    "ON t.oid = d.refobjid JOIN pg_namespace m ON m.oid = t.relnamespace WHERE d.objid = c.oid "
    "AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0), "
    "(SELECT a.attname::text FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid "
    "AND a.attnum = d.refobjsubid WHERE d.objid = c.oid AND d.classid = 'pg_class'::regclass "
    "AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0), "
    "EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid "
    "AND d.classid = 'pg_class'::regclass AND d.deptype = 'i') "
    "FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid "
    f"JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {_OUTSIDE} ORDER BY 1"
)
_VIEWS = (
    "SELECT format('%I.%I', n.nspname, c.relname), pg_get_viewdef(c.oid) FROM pg_class c "
    f"JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'v' AND {_OUTSIDE}"
)
_ENUMS = (
    "SELECT format('%I.%I', n.nspname, c.typname), array_agg(e.enumlabel::text ORDER BY "
    "e.enumsortorder) FROM pg_type c JOIN pg_namespace n ON n.oid = c.typnamespace "
    "JOIN pg_enum e ON e.enumtypid = c.oid WHERE n.nspname !~ '^pg_' GROUP BY 1"
)


class Table(NamedTuple):
    """A table's stored columns, those of its primary key first; ``key`` of them identify a row."""

    name: str
    columns: tuple[str, ...]
    key: int


def identity(connection: psycopg.Connection[Any]) -> str:
    """What a copy that nobody has used yet has in common with the others of one database.

    A snapshot that is built again has its name again, and other rows or files.
    """
    row = connection.execute(_IDENTITY).fetchone()
    assert row is not None
    return str(row[0])


def spell_alike(connection: psycopg.Connection[Any]) -> None:
    """Have values and definitions spelled the same on every server."""
    for name, value in _SETTINGS.items():
        connection.execute("SELECT set_config(%s, %s, false)", (name, value))


def tables(connection: psycopg.Connection[Any]) -> dict[str, Table]:
    """The tables that have rows of their own."""
    columns: dict[str, list[str]] = {}
    for table, name, _, _, _, _, generated in connection.execute(_COLUMNS):
        stored = columns.setdefault(table, [])
        if name is not None and not generated:
            stored.append(name)
    keys: dict[str, list[str]] = {}
    for table, name in connection.execute(_KEYS):
        keys.setdefault(table, []).append(name)
    found = {}
    for table, names in columns.items():
        key = keys.get(table, [])
        rest = [name for name in names if name not in key]
        found[table] = Table(table, (*key, *rest), len(key) or len(rest))
    return found


def objects(connection: psycopg.Connection[Any]) -> dict[tuple[str, str], SchemaObject]:
    """What a token can carry of a schema, by kind and name."""
    ask = connection.execute
    found: list[SchemaObject] = []
    columns: dict[str, list[Any]] = {}
    for table, *column in ask(_COLUMNS):
        columns.setdefault(table, []).extend([column] if column[0] is not None else [])
    found += [SchemaObject("table", t, t, json.dumps(every)) for t, every in columns.items()]
    for table, name, definition in ask(_CONSTRAINTS):
        text = json.dumps([name, definition])
        found.append(SchemaObject("constraint", f"{table}.{name}", table, text))
    found += [SchemaObject("index", name, table, text) for name, table, text in ask(_INDEXES)]
    for name, *parts, is_identity in ask(_SEQUENCES):
        if not is_identity:
            found.append(SchemaObject("sequence", name, parts[7] or "", json.dumps(parts)))
    for name, definition in ask(_VIEWS):
        found.append(SchemaObject("view", name, "", definition.strip().removesuffix(";")))
    found += [SchemaObject("type", name, "", json.dumps(labels)) for name, labels in ask(_ENUMS)]
    return {(one.kind, one.name): one for one in found}


def counters(connection: psycopg.Connection[Any]) -> dict[str, tuple[int, bool]]:
    """The values of all sequences."""
    from psycopg import sql

    found = {}
    for name, *_ in connection.execute(_SEQUENCES).fetchall():
        query = sql.SQL("SELECT last_value, is_called FROM {}").format(sql.SQL(name))
        found[name] = connection.execute(query).fetchone()
    return {name: (int(row[0]), bool(row[1])) for name, row in found.items() if row}


def sums(connection: psycopg.Connection[Any], names: Mapping[str, Table]) -> dict[str, str]:
    """A short hash of the rows of each table that has some, in any order."""
    from psycopg import sql

    found = {}
    for name in names:
        query = sql.SQL(
            "SELECT count(*), sum(('x' || substr(m, 1, 15))::bit(60)::bigint::numeric)::text, "
            "sum(('x' || substr(m, 16, 15))::bit(60)::bigint::numeric)::text "
            "FROM (SELECT md5(t::text) AS m FROM ONLY {} AS t) AS rows"
        ).format(sql.SQL(name))
        row = connection.execute(query).fetchone()
        if row and row[0]:
            found[name] = hash_of(row)[:TABLE_HASH]
    return found


def fingerprint(connection: psycopg.Connection[Any]) -> Fingerprint:
    """The hash of a database's schema, rows and counters."""
    rows = sums(connection, tables(connection))
    facts = sorted(read_schema(connection.cursor()).others)
    values = [
        part for name, value in sorted(counters(connection).items()) for part in (name, *value)
    ]
    of_rows = [part for pair in sorted(rows.items()) for part in pair]
    whole = hash_of([*facts, None, *of_rows, None, *values])
    return Fingerprint(whole[:WHOLE_HASH], rows)
