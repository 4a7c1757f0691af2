"""A SQLite schema as text that is read in one query.

The order of columns and the spelling of statements don't count: a column that a downgrade puts
back comes last, and batch mode writes tables anew.
"""

from __future__ import annotations

import functools
import sqlite3
import warnings
from collections.abc import Collection
from typing import Any

from alembic_snapshot.database.schema import Schema

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
            lines |= _reflected(inspector, table) | _indexes(driver, table)
    engine.dispose()
    return frozenset(lines)


def _reflected(inspector: Any, table: str) -> set[str]:
    lines = {f"table {table}"}
    for column in inspector.get_columns(table):
        null = "" if column["nullable"] else " not null"
        default = f" default {column['default']}" if column.get("default") is not None else ""
        lines.add(f"column {table}.{column['name']} {column['type']}{null}{default}")
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
            'SELECT name, "desc" FROM pragma_index_xinfo(?) WHERE key', (name,)
        ).fetchall()
        if origin != "c":
            continue
        if partial or None in (column for column, _ in columns):
            query = "SELECT sql FROM sqlite_master WHERE name = ?"
            lines.add(_one_line(driver.execute(query, (name,)).fetchone()[0]))
        else:
            listed = _listed([column + " desc" * descends for column, descends in columns])
            lines.add(f"{'unique ' * unique}index {name} on {table} ({listed})")
    return lines


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _listed(names: list[str]) -> str:
    return ", ".join(names)


def _name(constraint: Any) -> str:
    return f" {constraint['name']}" if constraint.get("name") else ""
