"""What a test did to its SQLite file, and the same done to a copy of the snapshot elsewhere.

What is read here is the test's own file. What is applied came from elsewhere: every name is looked
up in the copy, every statement has to be the one that makes the object that it is said to make, and
an authorizer refuses whatever does more.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alembic_snapshot.errors import CommandError
from alembic_snapshot.sqlite import catalog
from alembic_snapshot.sqlite.database import is_plain
from alembic_snapshot.sqlite.files import copy, remove
from alembic_snapshot.sqlite.received import refuse_acting
from alembic_snapshot.sqlite.sql import quoted, readable
from alembic_snapshot.tokens.changeset import (
    Changeset,
    Fingerprint,
    NotCarried,
    RawText,
    RowChanges,
    SchemaObject,
)

# Rows that differ; more is no token, but would take long to find out.
_MOST_ROWS = 100_000
_BEGINNINGS = {
    "table": r"CREATE\s+TABLE\b",
    "index": r"CREATE\s+(?:UNIQUE\s+)?INDEX\b",
    "view": r"CREATE\s+VIEW\b",
    "trigger": r"CREATE\s+TRIGGER\b",
}
_HINT = "nothing of it is left; where is the token from?"
_LARGEST_VALUE = 16 * 1024 * 1024
_MOST_BYTES = 512 * 1024 * 1024
# Steps of SQLite's machine, in thousands, that one token may take.
_MOST_STEPS = 500_000
_ALLOWED = {
    sqlite3.SQLITE_CREATE_TABLE,
    sqlite3.SQLITE_CREATE_INDEX,
    sqlite3.SQLITE_CREATE_VIEW,
    sqlite3.SQLITE_CREATE_TRIGGER,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_REINDEX,
    sqlite3.SQLITE_FUNCTION,
}
# Where SQLite itself puts what is made.
_CATALOG = ("sqlite_master", catalog.COUNTERS)


def capture(before: Path | None, after: Path) -> tuple[Changeset, str, Fingerprint]:
    """What a test made of its file, with the hashes of what it was and is.

    It is done to a copy of the snapshot at once, so that a token is one that opens.

    Raises:
        NotCarried: there is something that can't travel.
        sqlite3.Error: one of the files can't be read.
    """
    for path in (before, after):
        if path is not None and os.stat(path).st_size and not is_plain(path):
            raise NotCarried("its schema uses functions or collations of the application's own")
    with catalog.reading(after) as connection:
        connection.execute("ATTACH ? AS before", (readable(before) if before else ":memory:",))
        connection.execute("BEGIN")
        old, new = catalog.objects(connection, "before"), catalog.objects(connection, "main")
        dropped = [(o.kind, o.name) for key, o in old.items() if new.get(key) != o]
        created = [one for key, one in new.items() if old.get(key) != one]
        for kind, name in [*dropped, *((o.kind, o.name) for o in created)]:
            if catalog.is_virtual(new.get((kind, name)) or old[kind, name]):
                raise NotCarried(f"the test made or changed the virtual table {name}")
        rows, same = _all_rows(connection, old, new)
        _refuse_virtual(connection, old, rows)
        settings = {
            name: value
            for name in catalog.SETTINGS
            if (value := catalog.pragma(connection, "main", name))
            != catalog.pragma(connection, "before", name)
        }
        counters = _counters(connection)
        was = catalog.known_fingerprint(connection, "before", before, old)
        now = catalog.fingerprint_by(
            connection, "main", new, {t: was.tables.get(t, "") for t in same}
        )
        changes = Changeset(dropped, created, rows, counters, settings)
    _try(before, after, changes, now)
    return changes, was.whole, now


def _try(before: Path | None, after: Path, changes: Changeset, wanted: Fingerprint) -> None:
    """Do it to a copy of the snapshot, which has to be what the test's database is then.

    Raises:
        NotCarried: it is not.
    """
    path = after.with_name(f"{after.stem}-travels.db")
    remove(path)
    try:
        if before is not None:
            copy(before, path)
        apply(path, changes)
        made = catalog.fingerprint(path)
    except CommandError as error:
        raise NotCarried(f"tried on a copy of the snapshot, {error.message}") from error
    finally:
        remove(path)
    if made.whole != wanted.whole:
        tables = sorted(dict(made.tables.items() ^ wanted.tables.items()))
        raise NotCarried(
            f"tried on a copy of the snapshot, {', '.join(tables) or 'the schema'} came out "
            "otherwise"
        )


def apply(path: Path, changes: Changeset) -> None:
    """Make in a copy of the snapshot what a test made of it, or leave the copy as it is.

    Raises:
        CommandError: the changes do not fit it, or are more than changes.
    """
    try:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            _limit(connection)
            connection.execute("BEGIN IMMEDIATE")
            _apply(connection, changes)
            connection.execute("COMMIT")
        if changes.created:
            refuse_acting(path)
    except (sqlite3.Error, sqlite3.Warning, OverflowError) as error:
        raise CommandError(f"the token can't be applied: {error}", hint=_HINT) from error


def _apply(connection: sqlite3.Connection, changes: Changeset) -> None:
    own = catalog.objects(connection, "main")
    counters = {name: value for name, (value, _) in changes.counters.items()}
    counters = counters or dict(catalog.counter_rows(connection, "main"))
    final = {key: one for key, one in own.items() if key not in set(changes.dropped)}
    from_token = {(one.kind, one.name): one for one in changes.created}
    for one in from_token.values():
        _refuse_other_statement(one)
        if (one.kind, one.name) in final:
            raise CommandError(
                f"the token makes the {one.kind} {one.name!r}, which is there", hint=_HINT
            )
    final |= from_token
    for key, one in own.items():
        # No trigger runs while rows are put in.
        if key[0] == "trigger" or final.get(key) != one:
            connection.execute(f"DROP {key[0].upper()} IF EXISTS {quoted(key[1])}")
    _create(connection, final, from_token, "table")
    for table, rows in changes.rows.items():
        if ("table", table) not in final or catalog.is_virtual(final["table", table]):
            raise CommandError(f"the token has rows of {table!r}, no table here", hint=_HINT)
        _put(connection, catalog.table_of(connection, "main", table), rows)
    for kind in ("index", "view", "trigger"):
        _create(connection, final, from_token, kind)
    _count_on(connection, counters)
    for name, value in changes.settings.items():
        if name not in catalog.SETTINGS:
            raise CommandError(f"the token sets {name!r}, which no test does", hint=_HINT)
        connection.execute(f"PRAGMA main.{name} = {int(value)}")


def _create(
    connection: sqlite3.Connection,
    final: Mapping[tuple[str, str], SchemaObject],
    from_token: Mapping[tuple[str, str], SchemaObject],
    kind: str,
) -> None:
    """Make the objects of a kind that are not there, those of the token under watch."""
    there = catalog.objects(connection, "main")
    for key, one in final.items():
        if key[0] != kind or key in there:
            continue
        connection.set_authorizer(_watch if key in from_token else None)
        try:
            connection.execute(one.definition)
        finally:
            connection.set_authorizer(None)
        if catalog.objects(connection, "main").get(key) != one:
            raise CommandError(
                f"the token's statement for the {kind} {one.name!r} makes something else",
                hint=_HINT,
            )


def _watch(action: int, first: str | None, second: str | None, *_: Any) -> int:
    """Allow what makes an object, and nothing that reads, writes or calls anything else."""
    if action in (sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE):
        return sqlite3.SQLITE_OK if first in _CATALOG else sqlite3.SQLITE_DENY
    if action == sqlite3.SQLITE_FUNCTION and second in ("load_extension", "fts3_tokenizer"):
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK if action in _ALLOWED else sqlite3.SQLITE_DENY


def _refuse_other_statement(one: SchemaObject) -> None:
    beginning = _BEGINNINGS.get(one.kind)
    if not beginning or not re.match(beginning, one.definition, re.IGNORECASE):
        raise CommandError(
            f"the token's statement for the {one.kind} {one.name!r} is none for that", hint=_HINT
        )
    if one.name.lower().startswith("sqlite_"):
        raise CommandError(f"the token makes {one.name!r}, which is SQLite's own", hint=_HINT)


def _put(connection: sqlite3.Connection, table: catalog.Table, rows: RowChanges) -> None:
    """Take rows out of a table, and put others in."""
    if (table.columns, table.key) != (rows.columns, rows.key):
        raise CommandError(
            f"the table {table.name} has other columns here than where the test failed",
            hint=_HINT,
        )
    name = quoted(table.name)
    keys = " AND ".join(f"{quoted(one)} IS ?" for one in table.columns[: table.key])
    for key in rows.removed:
        _execute(connection, f"DELETE FROM {name} WHERE {keys}", key)
    listed = ", ".join(map(quoted, table.columns))
    for row in rows.added:
        values = ", ".join("CAST(? AS TEXT)" if isinstance(v, RawText) else "?" for v in row)
        _execute(connection, f"INSERT INTO {name} ({listed}) VALUES ({values})", row)


def _execute(connection: sqlite3.Connection, statement: str, row: Sequence[Any]) -> None:
    connection.execute(statement, [bytes(v) if isinstance(v, RawText) else v for v in row])


def _count_on(connection: sqlite3.Connection, counters: Mapping[str, int]) -> None:
    if not catalog.has_counters(connection, "main"):
        return
    connection.execute(f"DELETE FROM {catalog.COUNTERS}")
    statement = f"INSERT INTO {catalog.COUNTERS} (name, seq) VALUES (?, ?)"
    connection.executemany(statement, counters.items())


def _limit(connection: sqlite3.Connection) -> None:
    """Let nothing be attached, trusted, checked against its will, or larger than it should be."""
    connection.text_factory = catalog.as_text
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LARGEST_VALUE)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    for setting in (
        "foreign_keys=OFF",
        "ignore_check_constraints=ON",
        "trusted_schema=OFF",
        "cell_size_check=ON",
        "synchronous=OFF",
    ):
        connection.execute(f"PRAGMA {setting}")
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    connection.execute(f"PRAGMA max_page_count={pages + _MOST_BYTES // size}")
    left = iter(range(_MOST_STEPS))
    connection.set_progress_handler(lambda: next(left, None) is None, 1000)


def _refuse_virtual(
    connection: sqlite3.Connection, objects: Mapping[tuple[str, str], SchemaObject], rows: Any
) -> None:
    """Refuse rows of the tables that virtual ones make for themselves.

    Where SQLite does not tell which these are, they are those whose names begin alike.
    """
    listed = connection.execute("PRAGMA main.table_list").fetchall()
    made = [row[1] for row in listed if row[2] == "shadow"]
    for name in (one.name for one in objects.values() if catalog.is_virtual(one)):
        own = [table for table in made if table.startswith(f"{name}_")]
        if any(table in own if own else table.startswith(f"{name}_") for table in rows):
            raise NotCarried(f"rows of the virtual table {name} differ")


def _all_rows(
    connection: sqlite3.Connection,
    old: Mapping[tuple[str, str], SchemaObject],
    new: Mapping[tuple[str, str], SchemaObject],
) -> tuple[dict[str, RowChanges], list[str]]:
    """The rows that differ, by table, and the tables in which none do."""
    rows, same, count = {}, [], 0
    for (kind, name), one in new.items():
        if kind != "table" or catalog.is_virtual(one):
            continue
        table = catalog.table_of(connection, "main", name)
        if old.get((kind, name)) == one:
            found = _changed_rows(connection, table)
        else:
            # It is made anew, with all that it has.
            every = connection.execute(table.select("main")).fetchmany(_MOST_ROWS + 1)
            found = RowChanges(table.columns, table.key, (), every)
        count += len(found.removed) + len(found.added)
        if count > _MOST_ROWS:
            raise NotCarried(f"more than {_MOST_ROWS:,} rows differ")
        if found.removed or found.added:
            rows[name] = found
        elif old.get((kind, name)) == one:
            same.append(name)
    return rows, same


def _changed_rows(connection: sqlite3.Connection, table: catalog.Table) -> RowChanges:
    keys = [quoted(one) for one in table.columns[: table.key]]
    others = [quoted(one) for one in table.columns[table.key :]]
    joined = " AND ".join(f"a.{one} = b.{one}" for one in keys)
    # What a key's own collation takes for the same need not be.
    same = [
        f"a.{one} IS b.{one} COLLATE BINARY AND typeof(a.{one}) = typeof(b.{one})"
        for one in [*keys, *others]
    ]
    key_list = ", ".join(f"b.{one}" for one in keys)
    name = quoted(table.name)
    added = connection.execute(
        f"{table.select('main', 'a')} LEFT JOIN before.{name} AS b ON {joined} "
        f"WHERE b.{keys[0]} IS NULL OR NOT ({' AND '.join(same)})"
    ).fetchmany(_MOST_ROWS + 1)
    removed = connection.execute(
        f"SELECT {key_list} FROM before.{name} AS b LEFT JOIN main.{name} AS a ON {joined} "
        f"WHERE a.{keys[0]} IS NULL OR NOT ({' AND '.join(same)})"
    ).fetchmany(_MOST_ROWS + 1)
    return RowChanges(table.columns, table.key, removed, added)


def _counters(connection: sqlite3.Connection) -> dict[str, tuple[int, bool]]:
    """All of the counters, if one of them differs."""
    now = catalog.counter_rows(connection, "main")
    if now == catalog.counter_rows(connection, "before"):
        return {}
    if any(not isinstance(value, int) for _, value in now) or len(dict(now)) != len(now):
        raise NotCarried("something else than SQLite wrote into sqlite_sequence")
    return {name: (value, True) for name, value in now}
