"""Which DDL makes something of the models: of their tables and columns, or of copies of these.

What is made so is as the models are, whatever they say: their drift can't show in it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.schema import SchemaItem
from sqlalchemy.sql.ddl import BaseDDLElement

# A column's attribute that has all columns which are copies of one, and that one.
_KIN = "_alembic_snapshot_kin"


def follow_copies() -> None:
    """Keep from now on which columns are copies of which; it can't be undone.

    A mixin's column is copied into each model, and a combined metadata has copies of all.
    """
    original: Any = SchemaItem._schema_item_copy

    def copying(item: Any, copied: Any) -> Any:
        if isinstance(item, sa.Column):
            kin = vars(item).setdefault(_KIN, [item])
            kin.append(copied)
            vars(copied)[_KIN] = kin
        return original(item, copied)

    SchemaItem._schema_item_copy = copying  # type: ignore[method-assign,assignment]


def hear_ddl(heard: Callable[[Any], None]) -> None:
    """Be told each statement of DDL that is compiled, whether it is an operation's or not."""
    original: Any = BaseDDLElement._compiler

    def compiler(statement: Any, *arguments: Any, **options: Any) -> Any:
        heard(statement)
        return original(statement, *arguments, **options)

    BaseDDLElement._compiler = compiler  # type: ignore[method-assign,assignment]


def makes_of(statement: Any, models: Iterable[sa.MetaData]) -> bool:
    """Whether a statement of DDL makes a table, or a part of one, of what is in these metadata."""
    return are_of(made_of(statement), models)


def made_of(statement: Any) -> list[sa.MetaData]:
    """The metadata of which a statement of DDL makes a table, or a part of one."""
    if type(statement).__name__.lstrip("_").startswith("Drop"):
        return []
    return [table.metadata for table in _origins(statement)]


def are_of(made: Iterable[sa.MetaData], models: Iterable[sa.MetaData]) -> bool:
    """Whether one of the metadata of which something was made is the models'."""
    return not set(map(id, made)).isdisjoint(map(id, models))


def _origins(statement: Any) -> Iterator[sa.Table]:
    """The tables that a statement of DDL spells, and those of which their columns are copies."""
    for item in _items(statement):
        for one in vars(item).get(_KIN, (item,)):
            table = one if isinstance(one, sa.Table) else getattr(one, "table", None)
            if isinstance(table, sa.Table):
                yield table


def _items(statement: Any) -> Iterator[sa.Table | sa.Column[Any]]:
    """The tables and columns that a statement of DDL spells."""
    for part in (getattr(statement, "element", None), getattr(statement, "column", None)):
        if isinstance(part, sa.Column):
            yield part
            continue
        table = part
        if not isinstance(part, sa.Table):
            # A constraint that has no table raises.
            with contextlib.suppress(sa.exc.InvalidRequestError):
                table = getattr(part, "table", None)
        if isinstance(table, sa.Table):
            yield from (table, *table.columns)
