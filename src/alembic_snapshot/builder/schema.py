"""A SQLite schema as a set of facts that can be compared: names, types, keys, constraints.

The order of columns and the spelling of statements don't count: a column that a downgrade puts
back comes last, and batch mode writes tables anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import Connection


class SchemaReader:
    """Reads one database's schema again and again; only tables that changed are inspected anew."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], frozenset[str]] = {}

    def facts(self, connection: Connection, ignored: str) -> frozenset[str]:
        """Every fact about the schema, a phrase each; the table ``ignored`` is left out."""
        found: set[str] = set()
        for table, statements in self._statements(connection).items():
            if table == ignored:
                continue
            key = (table, *statements)
            if key not in self._known:
                self._known[key] = frozenset(_table_facts(connection, table))
            found |= self._known[key]
        rows = connection.exec_driver_sql(
            "SELECT type || ' ' || name || ': ' || sql FROM sqlite_master "
            "WHERE type IN ('view', 'trigger')"
        )
        return frozenset(found | {" ".join(row[0].split()) for row in rows})

    def _statements(self, connection: Connection) -> dict[str, list[str]]:
        rows = connection.exec_driver_sql(
            "SELECT tbl_name, coalesce(sql, name) FROM sqlite_master "
            "WHERE type IN ('table', 'index') AND tbl_name NOT LIKE 'sqlite\\_%' ESCAPE '\\' "
            "ORDER BY tbl_name, type, name"
        )
        found: dict[str, list[str]] = {}
        for table, statement in rows:
            found.setdefault(table, []).append(statement)
        return found


def differences(expected: frozenset[str], found: frozenset[str]) -> list[str]:
    """What is there and should not be, and what is missing, a line each."""
    left = [f"left behind: {fact}" for fact in sorted(found - expected)]
    return left + [f"missing: {fact}" for fact in sorted(expected - found)]


def _table_facts(connection: Connection, table: str) -> set[str]:
    from sqlalchemy import inspect

    inspector = inspect(connection)
    inspector.clear_cache()
    facts = {f"table {table}"}
    for column in inspector.get_columns(table):
        null = "" if column["nullable"] else " not null"
        default = f" default {column['default']}" if column.get("default") is not None else ""
        facts.add(f"column {table}.{column['name']} {column['type']}{null}{default}")
    key = inspector.get_pk_constraint(table)
    facts.add(f"primary key of {table}: {_listed(key['constrained_columns'])}")
    for foreign in inspector.get_foreign_keys(table):
        target = f"{foreign['referred_table']} ({_listed(foreign['referred_columns'])})"
        options = "".join(f" {k} {v}" for k, v in sorted(foreign.get("options", {}).items()))
        columns = _listed(foreign["constrained_columns"])
        facts.add(f"foreign key{_name(foreign)} of {table} ({columns}) to {target}{options}")
    for unique in inspector.get_unique_constraints(table):
        facts.add(f"unique{_name(unique)} of {table} ({_listed(unique['column_names'])})")
    for check in inspector.get_check_constraints(table):
        facts.add(f"check{_name(check)} of {table}: {' '.join(check['sqltext'].split())}")
    for index in inspector.get_indexes(table):
        unique_index = "unique index" if index["unique"] else "index"
        columns = _listed([str(name) for name in index["column_names"]])
        facts.add(f"{unique_index} {index['name']} on {table} ({columns})")
    return facts


def _listed(names: list[str]) -> str:
    return ", ".join(names)


def _name(constraint: Any) -> str:
    return f" {constraint['name']}" if constraint.get("name") else ""
