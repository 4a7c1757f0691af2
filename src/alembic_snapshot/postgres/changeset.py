"""What a test did to its database on a server, and the same done to a copy elsewhere.

What is applied came from elsewhere. Values are parameters, names are looked up in the copy, and of
SQL only what :mod:`alembic_snapshot.tokens.safe_sql` lets through is run.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from alembic_snapshot.database.schema import named
from alembic_snapshot.errors import CommandError
from alembic_snapshot.postgres import catalog
from alembic_snapshot.postgres.database import ServerDatabase, copied
from alembic_snapshot.postgres.definitions import HINT, NO, as_sql, drop, known, statement, texts
from alembic_snapshot.postgres.schema import read_schema
from alembic_snapshot.postgres.server import said
from alembic_snapshot.postgres.uncarried import uncarried
from alembic_snapshot.tokens.changeset import (
    Changeset,
    Fingerprint,
    NotCarried,
    RowChanges,
    SchemaObject,
)
from alembic_snapshot.tokens.safe_sql import is_safe

if TYPE_CHECKING:
    import psycopg

_MOST_ROWS = 100_000
_ORDER = ("type", "sequence", "table", "constraint", "index", "view")
_DROPPED = ("view", "index", "constraint", "table", "sequence", "type")
Objects = Mapping[tuple[str, str], SchemaObject]
_befores: dict[tuple[str, str], Fingerprint] = {}


def capture(
    before: ServerDatabase | None, after: ServerDatabase
) -> tuple[Changeset, str, Fingerprint]:
    """What a test made of its database, with the hashes of what it was and is.

    It is done to a copy of the snapshot at once, so that a token is one that opens.

    Raises:
        NotCarried: there is something that can't travel.
        psycopg.Error: one of the databases can't be read.
    """
    with copied(before, after) as here, after.server.connect(after.name) as there:
        catalog.spell_alike(here)
        catalog.spell_alike(there)
        there.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        which = before.name if before else "", catalog.identity(here)
        if which not in _befores:
            _befores[which] = catalog.fingerprint(here)
        was, now = _befores[which], catalog.fingerprint(there)
        changes = _changes(here, there, was, now)
        if changes.created or changes.dropped or was.whole != now.whole:
            _try(here, there, changes, now)
        made_else, is_else = uncarried(here), uncarried(there)
        for reason in (*is_else, *made_else):
            if made_else.get(reason) != is_else.get(reason):
                raise NotCarried(reason)
        return changes, was.whole, now


def _try(here: Any, there: Any, changes: Changeset, now: Fingerprint) -> None:
    """Do to the copy of the snapshot what the test did to its database, and compare the two.

    Raises:
        NotCarried: they are not alike.
    """
    facts = [read_schema(one.cursor()).others for one in (here, there)]
    try:
        _apply(here, changes)
    except CommandError as error:
        said_of = error.message.removeprefix(NO)
        raise NotCarried(said_of) from error
    if catalog.fingerprint(here).whole != now.whole:
        # What it could not make is named, by the first fact of it.
        made = read_schema(here.cursor()).others
        missing = sorted((facts[1] - made) or (made - facts[1]))
        raise NotCarried(
            f"the test changed what a token does not carry: {named(missing[0])[:120]}"
            if missing
            else "its rows can't be put into a copy of the snapshot as they are"
        )


def fingerprint(database: ServerDatabase) -> Fingerprint:
    """The hash of a database's schema, rows and counters."""
    with database.server.connect(database.name) as connection:
        catalog.spell_alike(connection)
        return catalog.fingerprint(connection)


def apply(database: ServerDatabase, changes: Changeset) -> None:
    """Make in a copy of the snapshot what a test made of it, or leave the copy as it is.

    Raises:
        CommandError: the changes do not fit it, or are more than changes.
    """
    with database.server.connect(database.name) as connection:
        catalog.spell_alike(connection)
        _apply(connection, changes)


def _changes(here: Any, there: Any, was: Fingerprint, now: Fingerprint) -> Changeset:
    old, new = catalog.objects(here), catalog.objects(there)
    dropped = [key for key, one in old.items() if new.get(key) != one]
    created = [one for key, one in new.items() if old.get(key) != one]
    rows, count = {}, 0
    for name, table in catalog.tables(there).items():
        is_same_table = old.get(("table", name)) == new["table", name]
        if is_same_table and was.tables.get(name) == now.tables.get(name):
            continue
        added, removed = Counter(_rows(there, table)), Counter[Any]()
        if is_same_table:
            # One with another key than before has other columns first.
            removed = Counter(_rows(here, table))
            added, removed = added - removed, removed - added
        keys = [row[: table.key] for row in removed.elements()]
        rows[name] = RowChanges(table.columns, table.key, keys, list(added.elements()))
        count += len(keys) + added.total()
        if count > _MOST_ROWS:
            raise NotCarried(f"more than {_MOST_ROWS:,} rows differ")
    counted, before = catalog.counters(there), catalog.counters(here)
    counters = {
        name: value for name, value in counted.items() if created or before.get(name) != value
    }
    return Changeset(dropped, created, {n: r for n, r in rows.items() if r[2] or r[3]}, counters)


def _rows(connection: psycopg.Connection[Any], table: catalog.Table) -> list[tuple[Any, ...]]:
    from psycopg import sql

    listed = sql.SQL(", ").join(
        sql.SQL("{}::text").format(sql.Identifier(name)) for name in table.columns
    )
    query = sql.SQL("SELECT {} FROM ONLY {} LIMIT {}").format(
        listed, sql.SQL(table.name), sql.Literal(_MOST_ROWS + 1)
    )
    rows = connection.execute(query).fetchall()
    if len(rows) > _MOST_ROWS:
        raise NotCarried(f"{table.name} has more than {_MOST_ROWS:,} rows to compare")
    return rows


def _apply(connection: psycopg.Connection[Any], changes: Changeset) -> None:
    import psycopg

    try:
        with connection.transaction():
            _Applying(connection, changes).run()
    except psycopg.Error as error:
        raise CommandError(f"{NO}{said(error)}", hint=HINT) from error


class _Applying:
    """Changes that are being applied, in one transaction."""

    def __init__(self, connection: psycopg.Connection[Any], changes: Changeset):
        self._connection = connection
        self._changes = changes
        self._from_token = {(one.kind, one.name): one for one in changes.created}

    def run(self) -> None:
        """Apply them."""
        own = catalog.objects(self._connection)
        counted = catalog.counters(self._connection)
        keys = set(self._changes.dropped)
        final = {key: one for key, one in own.items() if key not in keys}
        for key, one in self._from_token.items():
            if key in final or key[0] not in _ORDER:
                self._refuse(f"it makes the {key[0]} {one.name!r}, which can't be made here")
        final |= self._from_token
        silenced = self._silence(own)
        for kind in _DROPPED:
            for key, one in own.items():
                if key[0] == kind and final.get(key) != one:
                    self._run(drop(one))
        for kind in _ORDER:
            if kind == "constraint":
                self._put_rows()
                for name in silenced:
                    self._run(f"ALTER TABLE IF EXISTS {known(name)} ENABLE TRIGGER USER")
            self._create(kind, final)
        self._own_sequences(final)
        self._count_on({**counted, **self._changes.counters})
        if self._from_token:
            there = catalog.objects(self._connection)
            for key, one in self._from_token.items():
                if there.get(key) != one:
                    self._refuse(f"its {one.kind} {one.name!r} became something else")
        if self._changes.settings:
            self._refuse("it has settings, which a database on a server has not")

    def _silence(self, own: Objects) -> list[str]:
        """Have no trigger and no foreign key do anything while rows are put in.

        A role that may not have that for all drops foreign keys instead, which come back at the
        end. Those tables are named whose triggers are to be switched on again.
        """
        import psycopg

        try:
            with self._connection.transaction():
                self._connection.execute("SET LOCAL session_replication_role = replica")
        except psycopg.errors.InsufficientPrivilege:
            silenced = [name for name in self._changes.rows if ("table", name) in own]
            for name in silenced:
                self._run(f"ALTER TABLE {known(name)} DISABLE TRIGGER USER")
            for (kind, _), one in own.items():
                if kind == "constraint" and json.loads(one.definition)[1].startswith("FOREIGN"):
                    self._run(drop(one))
            return silenced
        return []

    def _create(self, kind: str, final: Objects) -> None:
        """Make what is not there; what needs another comes after it."""
        import psycopg

        waiting = [
            one
            for key, one in final.items()
            if key[0] == kind and key not in catalog.objects(self._connection)
        ]
        waiting.sort(key=lambda one: '"FOREIGN' in one.definition)
        while waiting:
            later, last = [], None
            for one in waiting:
                made = statement(one)
                if (one.kind, one.name) in self._from_token:
                    self._refuse_acting(one)
                try:
                    with self._connection.transaction():
                        self._connection.execute(made)
                except psycopg.Error as error:
                    later.append(one)
                    last = error
            if last is not None and len(later) == len(waiting):
                raise last
            waiting = later

    def _put_rows(self) -> None:
        tables = catalog.tables(self._connection)
        for name, rows in self._changes.rows.items():
            table = tables.get(name)
            # A key that comes with the constraints is not there yet.
            if table is None or set(table.columns) != set(rows.columns) or not rows.columns:
                self._refuse(f"its table {name!r} is not there, or has other columns")
            self._put(name, rows)

    def _put(self, name: str, rows: RowChanges) -> None:
        from psycopg import sql

        for row in (*rows.removed, *rows.added):
            if not all(value is None or isinstance(value, str) for value in row):
                self._refuse(f"a value of {name!r} is no text")
        table, columns = sql.SQL(name), list(map(sql.Identifier, rows.columns))
        same = sql.SQL(" AND ").join(
            sql.SQL("{}::text IS NOT DISTINCT FROM %s").format(one) for one in columns[: rows.key]
        )
        if rows.key < len(rows.columns):
            same = sql.SQL(" AND ").join(
                sql.SQL("{} = %s").format(one) for one in columns[: rows.key]
            )
        one_row = sql.SQL(
            "DELETE FROM ONLY {} WHERE ctid = (SELECT ctid FROM ONLY {} WHERE {} LIMIT 1)"
        ).format(table, table, same)
        with self._connection.cursor() as cursor:
            if rows.removed:
                cursor.executemany(one_row, rows.removed)
            insert = sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE VALUES ({})").format(
                table,
                sql.SQL(", ").join(columns),
                sql.SQL(", ").join([sql.Placeholder()] * len(columns)),
            )
            if rows.added:
                cursor.executemany(insert, rows.added)

    def _own_sequences(self, final: Objects) -> None:
        from psycopg import sql

        for (kind, name), one in final.items():
            if kind != "sequence":
                continue
            *_, table, column = json.loads(one.definition)
            if table is not None:
                self._run(
                    sql.SQL("ALTER SEQUENCE {} OWNED BY {}.{}").format(
                        as_sql(name), as_sql(table), sql.Identifier(column)
                    )
                )

    def _count_on(self, counters: Mapping[str, tuple[int, bool]]) -> None:
        there = catalog.counters(self._connection)
        for name, (value, is_called) in counters.items():
            if name in there and there[name] != (value, is_called):
                self._connection.execute("SELECT setval(%s, %s, %s)", (name, value, is_called))
            elif name not in there and name in self._changes.counters:
                self._refuse(f"its sequence {name!r} is not there")

    def _refuse_acting(self, one: SchemaObject) -> None:
        """Refuse SQL of the token's that may do more than compute."""
        for text in texts(one):
            if not is_safe(text):
                self._refuse(
                    f"the {one.kind} {one.name} has SQL that a token does not carry: {text[:60]}"
                )

    def _run(self, statement: Any) -> None:
        self._connection.execute(statement)

    def _refuse(self, reason: str) -> None:
        raise CommandError(f"{NO}{reason}", hint=HINT)
