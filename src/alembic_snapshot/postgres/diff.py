"""The differences between a database on a server and its snapshot: schema, rows by primary key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from psycopg import errors, sql

from alembic_snapshot.database.diff import Bare, Diff, TableDiff, table_diff, unknown_rows
from alembic_snapshot.database.schema import sides
from alembic_snapshot.postgres.schema import read_schema
from alembic_snapshot.postgres.server import said

if TYPE_CHECKING:
    import psycopg

# A table with more rows is said to differ, but its rows are not compared; and where more than so
# many differ, they are not listed.
_COMPARED_ROWS, _DIFFERENT_ROWS = 1_000_000, 100_000


def compare(here: psycopg.Connection[Any], there: psycopg.Connection[Any], limit: int) -> Diff:
    """How the database there differs from the one here; ``limit`` rows of a kind are shown."""
    # A failed test may still hold a lock.
    there.execute("SET lock_timeout = '500ms'")
    schema = list(_schema_changes(here, there))
    tables = [
        _rows(here, there, name, count, limit) for name, count in _differing(here, there).items()
    ]
    return Diff(schema, tables)


def _schema_changes(here: psycopg.Connection[Any], there: psycopg.Connection[Any]) -> Iterator[str]:
    before, after = (read_schema(c.cursor()).others for c in (here, there))
    new, gone, changed = sides(before, after)
    yield from (f"{fact}: not in the snapshot" for fact in new)
    yield from (f"{fact}: only in the snapshot" for fact in gone)
    yield from (f"{fact}: defined differently" for fact in changed)


def _differing(
    here: psycopg.Connection[Any], there: psycopg.Connection[Any]
) -> dict[str, int | str]:
    """The tables that both have and whose rows are not the same, as SQL; how many rows they are.

    Those that can't be read are not the same either: why they can't stands instead of the number.
    """
    before, after = _sums(here), _sums(there)
    found: dict[str, int | str] = {}
    for name in sorted(before.keys() & after.keys()):
        was, now = before[name], after[name]
        unread = next((one for one in (was, now) if isinstance(one, str)), None)
        if unread is not None or was != now:
            found[name] = unread or max(was[0], now[0])
    return found


def _sums(connection: psycopg.Connection[Any]) -> dict[str, Any]:
    """How many rows each table has, and a checksum of them in any order, or why that is unknown."""
    names = connection.execute(
        "SELECT format('%I.%I', nspname, relname) FROM pg_class c "
        "JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind = 'r' "
        "AND nspname !~ '^pg_' AND nspname <> 'information_schema'"
    ).fetchall()
    sums: dict[str, Any] = {}
    for (name,) in names:
        query: Any = (
            "SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric), 0) "
            f"FROM {name} AS t"
        )
        try:
            sums[name] = connection.execute(query).fetchone()
        except errors.InsufficientPrivilege as error:
            sums[name] = f"not compared: {said(error)}"
    return sums


def _rows(
    here: psycopg.Connection[Any],
    there: psycopg.Connection[Any],
    table: str,
    count: int | str,
    limit: int,
) -> TableDiff:
    columns = [name for name in _columns(here, table) if name in _columns(there, table)]
    keys = _key(there, table)
    key = [index for index, name in enumerate(columns) if name in keys]
    shown = table.removeprefix("public.")
    if isinstance(count, str):
        return unknown_rows(shown, columns, count)
    if count > _COMPARED_ROWS:
        return unknown_rows(shown, columns, f"it differs, and has {count} rows: none is compared")
    before, after = (Counter(_hashes(c, table, columns)) for c in (here, there))
    new, gone = after - before, before - after
    different = new.total() + gone.total()
    if different > _DIFFERENT_ROWS:
        what = f"{different} rows differ from the snapshot's or are gone, too many to be listed"
        return unknown_rows(shown, columns, what)
    added, removed = _taken(there, table, columns, new), _taken(here, table, columns, gone)
    return table_diff(shown, columns, key, added, removed, limit)


def _hash(columns: Sequence[str]) -> sql.Composable:
    row = sql.SQL(", ").join(map(sql.Identifier, columns))
    return sql.SQL("hashtextextended(ROW({})::text, 0)").format(row)


def _hashes(
    connection: psycopg.Connection[Any], table: str, columns: Sequence[str]
) -> Iterator[int]:
    """A hash of each row; of a table of any size, that is little to send."""
    query = sql.SQL("SELECT {} FROM {}").format(_hash(columns), sql.SQL(table))
    for (value,) in connection.execute(query):
        yield value


def _taken(
    connection: psycopg.Connection[Any],
    table: str,
    columns: Sequence[str],
    wanted: Mapping[int, int],
) -> list[tuple[Any, ...]]:
    """The rows with these hashes, as text: as many of each as are wanted."""
    listed = sql.SQL(", ").join(
        sql.SQL("{}::text").format(sql.Identifier(name)) for name in columns
    )
    text = "SELECT {hash}, {listed} FROM {table} AS rows WHERE {hash} = ANY(%s) ORDER BY {order}"
    keys = _key(connection, table)
    # Without the table's name it would be the text that is ordered.
    order = sql.SQL(", ").join(sql.Identifier("rows", name) for name in columns if name in keys)
    names = {"hash": _hash(columns), "listed": listed, "table": sql.SQL(table)}
    query = sql.SQL(text).format(**names, order=order if keys else sql.SQL("2"))
    bare = _bare(connection, table)
    kinds = [Bare if name in bare else str for name in columns]
    left, rows = Counter(wanted), []
    for value, *row in connection.execute(query, (list(wanted),)):
        if left[value] > 0:
            left[value] -= 1
            cells = zip(kinds, row, strict=True)
            rows.append(tuple(None if cell is None else kind(cell) for kind, cell in cells))
    return rows


def _bare(connection: psycopg.Connection[Any], table: str) -> set[str]:
    """The columns of numbers and booleans, which SQL has without quotes."""
    rows = connection.execute(
        "SELECT attname FROM pg_attribute JOIN pg_type ON pg_type.oid = atttypid "
        "WHERE attrelid = %s::regclass AND attnum > 0 AND typcategory IN ('N', 'B')",
        (table,),
    )
    return {row[0] for row in rows}


def _columns(connection: psycopg.Connection[Any], table: str) -> list[str]:
    rows = connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 "
        "AND NOT attisdropped ORDER BY attnum",
        (table,),
    )
    return [row[0] for row in rows]


def _key(connection: psycopg.Connection[Any], table: str) -> set[str]:
    rows = connection.execute(
        "SELECT attname FROM pg_index JOIN pg_attribute ON attrelid = indrelid "
        "AND attnum = ANY(indkey) WHERE indrelid = %s::regclass AND indisprimary",
        (table,),
    )
    return {row[0] for row in rows}
