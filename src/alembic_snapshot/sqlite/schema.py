"""A SQLite schema as text that is read in one query.

The order of columns and the spelling of statements don't count: a column that a downgrade puts
back comes last, and batch mode writes tables anew.
"""

from __future__ import annotations

import contextlib
import functools
import sqlite3
import warnings
from collections.abc import Collection
from typing import Any

from alembic_snapshot.database.schema import Schema
from alembic_snapshot.sqlite.sql import quoted

_QUERY = (
    "SELECT type, name, tbl_name, sql FROM sqlite_master "
    "WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY type DESC, name"
)


def read_schema(cursor: Any, ignored: Collection[str]) -> Schema:
    """The schema that a DBAPI cursor's connection sees; the tables ``ignored`` are left out."""
    cursor.execute(_QUERY)
    tables: dict[str, tuple[str, ...]] = {}
    others = set()
    for kind, name, table, statement in cursor.fetchall():
        if kind in ("table", "index"):
            if table not in ignored:
                tables[table] = (*tables.get(table, ()), statement)
        else:
            others.add(f"{kind} {name}: {_one_line(statement)}")
    return Schema(frozenset(others), tables, table_facts)


@functools.lru_cache(maxsize=256)
def table_facts(table: str, statements: tuple[str, ...]) -> frozenset[str]:
    """The lines of a table: SQLAlchemy reflects it from a database in memory.

    A statement that needs something of the application's connections (a function in an index, a
    module of virtual tables) fails there, and is compared by its text.
    """
    from sqlalchemy import create_engine, inspect

    lines: set[str] = set()
    engine = create_engine("sqlite://")
    with engine.connect() as connection, warnings.catch_warnings(action="ignore"):
        driver: Any = connection.connection.driver_connection
        for statement in statements:
            try:
                driver.execute(statement)
            except sqlite3.Error:
                lines.add(_one_line(statement))
        inspector = inspect(connection)
        if inspector.has_table(table):
            lines |= _reflected(inspector, table, statements[0]) | _indexes(driver, table)
            # Last: it makes indexes of its own.
            lines |= _unreflected(driver, table)
    engine.dispose()
    return frozenset(lines)


def _reflected(inspector: Any, table: str, statement: str) -> set[str]:
    lines = {f"table {table}"}
    for column in inspector.get_columns(table):
        null = "" if column["nullable"] else " not null"
        default = f" default {column['default']}" if column.get("default") is not None else ""
        computed = column.get("computed") or {}
        # Of the short spelling SQLAlchemy does not tell the expression.
        expression = (computed.get("sqltext") or statement) if computed else ""
        made = f" as ({_one_line(expression)})" if expression else ""
        stored = " stored" if computed.get("persisted") else ""
        named = f"column {table}.{column['name']} {column['type']}"
        lines.add(f"{named}{null}{default}{made}{stored}")
    key = inspector.get_pk_constraint(table)
    lines.add(f"primary key of {table}: {_listed(key['constrained_columns'])}")
    for foreign in inspector.get_foreign_keys(table):
        target = f"{foreign['referred_table']} ({_listed(foreign['referred_columns'])})"
        options = "".join(f" {k} {v}" for k, v in sorted(foreign.get("options", {}).items()))
        columns = _listed(foreign["constrained_columns"])
        lines.add(f"foreign key{_name(foreign)} of {table} ({columns}) to {target}{options}")
    for unique in inspector.get_unique_constraints(table):
        lines.add(f"unique{_name(unique)} of {table} ({_listed(unique['column_names'])})")
    for check in inspector.get_check_constraints(table):
        lines.add(f"check{_name(check)} of {table}: {_one_line(check['sqltext'])}")
    return lines


def _indexes(driver: sqlite3.Connection, table: str) -> set[str]:
    """The indexes, a line each. One on expressions or with a condition is its statement."""
    lines = set()
    rows = driver.execute(
        'SELECT name, "unique", partial, origin FROM pragma_index_list(?)', (table,)
    )
    for name, unique, partial, origin in rows.fetchall():
        columns = driver.execute(
            'SELECT name, "desc", coll FROM pragma_index_xinfo(?) WHERE key', (name,)
        ).fetchall()
        if origin != "c":
            continue
        if partial or None in (column for column, *_ in columns):
            query = "SELECT sql FROM sqlite_master WHERE name = ?"
            lines.add(_one_line(driver.execute(query, (name,)).fetchone()[0]))
        else:
            listed = _listed(
                [f"{column}{_collated(coll)}{' desc' * down}" for column, down, coll in columns]
            )
            lines.add(f"{'unique ' * unique}index {name} on {table} ({listed})")
    return lines


def _unreflected(driver: sqlite3.Connection, table: str) -> set[str]:
    """What SQLAlchemy does not reflect: whether types are enforced, and columns' collations."""
    lines = set()
    # SQLite 3.37 is the first that has it, and strict tables.
    with contextlib.suppress(sqlite3.Error):
        if driver.execute("SELECT strict FROM pragma_table_list(?)", (table,)).fetchone()[0]:
            lines.add(f"table {table} is strict")
    names = driver.execute("SELECT name FROM pragma_table_xinfo(?)", (table,)).fetchall()
    for number, (name,) in enumerate(names):
        index = f"alembic_snapshot_{number}"
        try:
            # No statement tells a column's collation; that of an index on it is the same.
            driver.execute(f"CREATE INDEX {index} ON {quoted(table)} ({quoted(name)})")
            query = "SELECT coll FROM pragma_index_xinfo(?) WHERE key"
            collation = _collated(driver.execute(query, (index,)).fetchone()[0])
        except sqlite3.Error as error:
            collation = f": {error}"
        if collation:
            lines.add(f"column {table}.{name}{collation}")
    return lines


def _collated(name: str) -> str:
    return "" if name == "BINARY" else f" collate {name}"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _listed(names: list[str]) -> str:
    return ", ".join(names)


def _name(constraint: Any) -> str:
    return f" {constraint['name']}" if constraint.get("name") else ""
