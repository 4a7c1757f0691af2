"""Objects of a schema that came from elsewhere, as statements that make or drop them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from alembic_snapshot.errors import CommandError
from alembic_snapshot.tokens.changeset import SchemaObject

NO = "the token can't be applied: "
HINT = "nothing of it is left; where is the token from?"
_IDENTIFIER = r'(?:[a-z_][a-z0-9_$]*|"(?:[^"\0]|"")+")'
_NAME = re.compile(rf"({_IDENTIFIER})\.({_IDENTIFIER})")
_INTEGERS = ("smallint", "integer", "bigint")


def texts(one: SchemaObject) -> list[str]:
    """The parts of a definition that are SQL."""
    if one.kind == "table":
        return [part for row in _columns(one) for part in (row[1], row[3]) if part is not None]
    if one.kind == "constraint":
        return [constraint(one)[1]]
    return [one.definition] if one.kind in ("index", "view") else []


def statement(one: SchemaObject) -> Any:
    """The statement that makes an object.

    Raises:
        CommandError: its definition is none.
    """
    makers: dict[str, Callable[[SchemaObject], Any]] = {
        "type": _type_statement,
        "sequence": _sequence_statement,
        "table": _table_statement,
        "constraint": _constraint_statement,
        "index": _index_statement,
        "view": _view_statement,
    }
    try:
        return makers[one.kind](one)
    except (ValueError, TypeError, RecursionError) as error:
        raise CommandError(
            f"{NO}the {one.kind} {one.name!r} has no definition",
            hint=HINT,
        ) from error


def drop(one: SchemaObject) -> Any:
    from psycopg import sql

    if one.kind == "constraint":
        return sql.SQL("ALTER TABLE {} DROP CONSTRAINT IF EXISTS {} CASCADE").format(
            as_sql(one.table), sql.Identifier(constraint(one)[0])
        )
    return sql.SQL("DROP {} IF EXISTS {} CASCADE").format(
        sql.SQL(one.kind.upper()), as_sql(one.name)
    )


def _type_statement(one: SchemaObject) -> Any:
    from psycopg import sql

    labels = json.loads(one.definition)
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise ValueError
    listed = sql.SQL(", ").join(map(sql.Literal, labels))
    return sql.SQL("CREATE TYPE {} AS ENUM ({})").format(as_sql(one.name), listed)


def _sequence_statement(one: SchemaObject) -> Any:
    from psycopg import sql

    kind, start, step, least, most, cache, cycles, _, _ = json.loads(one.definition)
    if kind not in _INTEGERS or not all(type(n) is int for n in (start, step, least, most, cache)):
        raise ValueError
    return sql.SQL(
        "CREATE SEQUENCE {} AS {} START {} INCREMENT {} MINVALUE {} MAXVALUE {} CACHE {} {}"
    ).format(
        as_sql(one.name),
        sql.SQL(kind),
        *map(sql.Literal, (start, step, least, most, cache)),
        sql.SQL("CYCLE" if cycles is True else ""),
    )


def _columns(one: SchemaObject) -> list[Any]:
    rows = json.loads(one.definition)
    for name, kind, is_needed, default, identity, generated in rows:
        texts = isinstance(name, str) and isinstance(kind, str) and isinstance(is_needed, bool)
        if not texts or not isinstance(default, str | None):
            raise ValueError
        if identity not in ("", "a", "d") or generated not in ("", "s", "v"):
            raise ValueError
    return list(rows)


def _table_statement(one: SchemaObject) -> Any:
    from psycopg import sql

    columns = []
    for name, kind, is_needed, default, identity, generated in _columns(one):
        parts = [sql.Identifier(name), sql.SQL(kind)]
        if identity:
            way = "ALWAYS" if identity == "a" else "BY DEFAULT"
            parts.append(sql.SQL(f"GENERATED {way} AS IDENTITY"))
        elif generated:
            way = "STORED" if generated == "s" else "VIRTUAL"
            parts.append(sql.SQL(f"GENERATED ALWAYS AS ({default}) {way}"))
        elif default is not None:
            parts.append(sql.SQL(f"DEFAULT {default}"))
        parts.append(sql.SQL("NOT NULL" if is_needed else ""))
        columns.append(sql.SQL(" ").join(parts))
    return sql.SQL("CREATE TABLE {} ({})").format(as_sql(one.name), sql.SQL(", ").join(columns))


def constraint(one: SchemaObject) -> tuple[str, str]:
    name, definition = json.loads(one.definition)
    if not isinstance(name, str) or not isinstance(definition, str):
        raise ValueError
    return name, definition


def _constraint_statement(one: SchemaObject) -> Any:
    from psycopg import sql

    name, definition = constraint(one)
    if not re.match(r"(?:PRIMARY KEY|UNIQUE|CHECK|FOREIGN KEY|EXCLUDE)\b", definition):
        raise ValueError
    return sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} {}").format(
        as_sql(one.table), sql.Identifier(name), sql.SQL(definition)
    )


def _index_statement(one: SchemaObject) -> Any:
    from psycopg import sql

    if not re.match(rf"CREATE (?:UNIQUE )?INDEX {_IDENTIFIER} ON ", one.definition):
        raise ValueError
    return sql.SQL(one.definition)


def _view_statement(one: SchemaObject) -> Any:
    from psycopg import sql

    return sql.SQL("CREATE VIEW {} AS {}").format(as_sql(one.name), sql.SQL(one.definition))


def as_sql(text: str) -> Any:
    """A name with its schema as SQL, whatever it is the name of."""
    from psycopg import sql

    return sql.SQL(known(text))


def known(text: str) -> str:
    if _NAME.fullmatch(text) is None:
        raise CommandError(f"{NO}{text!r} is no name", hint=HINT)
    return text
