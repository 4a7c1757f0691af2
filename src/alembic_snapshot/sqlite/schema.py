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
from alembic_snapshot.sqlite import catalog, clauses
from alembic_snapshot.sqlite.clauses import Definition, definition, is_virtual
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
    settings = {f"PRAGMA {name}": _setting(cursor, name) for name in catalog.SETTINGS}
    return Schema(frozenset(others), tables, table_facts, settings)


def _setting(cursor: Any, name: str) -> str:
    cursor.execute(f"PRAGMA {name}")
    return str(cursor.fetchone()[0])


@functools.lru_cache(maxsize=256)
def table_facts(table: str, written: tuple[str, ...]) -> frozenset[str]:
    """The lines of a table: SQLAlchemy reflects it from a database in memory.

    A statement that needs something of the application's connections (a function in an index, a
    module of virtual tables) fails there, and is compared by its text.
    """
    from sqlalchemy import create_engine, inspect

    lines: set[str] = set()
    engine = create_engine("sqlite://")
    with engine.connect() as connection, warnings.catch_warnings(action="ignore"):
        driver: Any = connection.connection.driver_connection
        for statement in written:
            try:
                if not is_virtual(statement):
                    driver.execute(statement)
                    continue
            except sqlite3.Error:
                pass
            lines.add(_one_line(statement))
        inspector = inspect(connection)
        if inspector.has_table(table):
            defined = definition(written[0])
            lines |= _reflected(inspector, table, defined) | _indexes(driver, table)
            lines |= _constraints(driver, table, defined)
            # Last: it makes indexes of its own.
            lines |= _collations(driver, table)
    engine.dispose()
    return frozenset(lines)


def _reflected(inspector: Any, table: str, defined: Definition) -> set[str]:
    lines = {f"table {table}"}
    made = {
        one.column: f" as ({clauses.expression(one)})"
        for one in defined.constraints
        if clauses.is_generated(one)
    }
    for column in inspector.get_columns(table):
        name = column["name"]
        null = "" if column["nullable"] else " not null"
        default = f" default {column['default']}" if column.get("default") is not None else ""
        stored = " stored" if (column.get("computed") or {}).get("persisted") else ""
        named = f"column {table}.{name} {_type(inspector, column, defined.types.get(name, ''))}"
        lines.add(f"{named}{null}{default}{made.get(name, '')}{stored}")
    return lines


def _type(inspector: Any, column: Any, written: str) -> str:
    """A column's type as SQLAlchemy spells it, or as it is written if SQLAlchemy has none such."""
    written = written.upper()
    is_known = not written or written.partition("(")[0] in inspector.dialect.ischema_names
    return str(column["type"]) if is_known else written


def _constraints(driver: sqlite3.Connection, table: str, defined: Definition) -> set[str]:
    lines = {line for one in defined.constraints if (line := clauses.told(table, one))}
    lines |= {f"table {table} is {option.lower()}" for option in defined.options}
    keys = [one for one in defined.constraints if one.kind == "PRIMARY"]
    indexes = driver.execute("SELECT origin FROM pragma_index_list(?)", (table,)).fetchall()
    if keys and ("pk",) in indexes and "WITHOUT ROWID" not in defined.options:
        # Such a key is no number of the row's: it is given to no row by itself.
        lines.add(f"primary key of {table} is an index")
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


def _collations(driver: sqlite3.Connection, table: str) -> set[str]:
    """The columns' collations, which SQLAlchemy does not reflect."""
    lines = set()
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
