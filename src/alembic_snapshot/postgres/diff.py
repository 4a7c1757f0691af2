"""The differences between a database on a server and its snapshot: schema, rows by primary key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from psycopg import sql

from alembic_snapshot.database.diff import (
    Bare,
    Diff,
    TableDiff,
    table_diff,
    unknown_rows,
    value_changes,
)
from alembic_snapshot.database.schema import sides
from alembic_snapshot.postgres import catalog, particulars
from alembic_snapshot.postgres.schema import read_schema
from alembic_snapshot.postgres.server import said

if TYPE_CHECKING:
    import psycopg

# A table with more rows is said to differ, but its rows are not compared; and where more than so
# many differ, they are not listed.
_COMPARED_ROWS, _DIFFERENT_ROWS = 1_000_000, 100_000
# Settings by which a value's text is another.
_SPELLING = (
    "datestyle",
    "intervalstyle",
    "timezone",
    "bytea_output",
    "xmloption",
    "lc_monetary",
)
# Which sequences give the keys of which tables, and of those that are parts of these.
_FED = (
    "WITH fed (sequence, fed) AS (SELECT d.objid, d.refobjid FROM pg_depend d "
    "WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass "
    "AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0 UNION SELECT d.refobjid, a.adrelid "
    "FROM pg_depend d JOIN pg_attrdef a ON a.oid = d.objid "
    "WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass)"
    ", parts AS (TABLE fed UNION SELECT sequence, inhrelid FROM fed JOIN pg_inherits "
    "ON inhparent = fed) SELECT format('%I.%I', m.nspname, s.relname), "
    "format('%I.%I', n.nspname, t.relname) FROM parts JOIN pg_class s ON s.oid = sequence "
    "AND s.relkind = 'S' JOIN pg_namespace m ON m.oid = s.relnamespace "
    "JOIN pg_class t ON t.oid = fed JOIN pg_namespace n ON n.oid = t.relnamespace"
)


def compare(here: psycopg.Connection[Any], there: psycopg.Connection[Any], limit: int) -> Diff:
    """How the database there differs from the one here; ``limit`` rows of a kind are shown."""
    # A failed test may still hold a lock.
    there.execute("SET lock_timeout = '500ms'")
    _spell_alike(here, there)
    before, after = _sums(here), _sums(there)
    compared = {
        name: _rows(here, there, name, count, limit)
        for name, count in _differing(before, after).items()
    }
    compared |= {
        name: unknown_rows(_shown(name), _columns(here, name), f"not compared: {why}")
        for name, why in _unread(before, after).items()
    }
    # Where columns differ, those that both have may not.
    tables = {name: one for name, one in compared.items() if one.unknown or any(one.counts)}
    schema = [
        *_schema_changes(here, there),
        *value_changes(*(particulars.values(c.cursor()) for c in (here, there))),
        *_other_orders(here, there),
        *_counters(here, there, tables),
    ]
    return Diff(schema, list(tables.values()))


def _spell_alike(here: psycopg.Connection[Any], there: psycopg.Connection[Any]) -> None:
    """Have both spell the same value in the same way, and in no way in which others look like it.

    A test may have altered its database's settings.
    """
    for name in _SPELLING:
        value = here.execute("SELECT current_setting(%s)", (name,)).fetchone()
        there.execute("SELECT set_config(%s, %s, false)", (name, value[0] if value else ""))
    for connection in (here, there):
        # What a policy hides is an error, and not left out.
        connection.execute("SET search_path = public; SET row_security = off")
        connection.execute("SET extra_float_digits = 1")


def _schema_changes(here: psycopg.Connection[Any], there: psycopg.Connection[Any]) -> Iterator[str]:
    before, after = (
        read_schema(c.cursor()).others | particulars.facts(c.cursor()) | _views(c)
        for c in (here, there)
    )
    large = [_large_objects(c) for c in (here, there)]
    facts = [{f"{name}: {hashed}" for name, hashed in side.items() if hashed} for side in large]
    new, gone, changed = sides(before | facts[0], after | facts[1])
    yield from (f"{fact}: not in the snapshot" for fact in new)
    yield from (f"{fact}: only in the snapshot" for fact in gone)
    yield from (f"{fact}: defined differently" for fact in changed)
    unread = {name for side in large for name, hashed in side.items() if not hashed}
    yield from (f"{name}: it can't be read, nor compared" for name in sorted(unread))


def _views(connection: psycopg.Connection[Any]) -> set[str]:
    """A hash of the rows of each materialized view that has some."""
    found = set()
    query = "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'm' AND relispopulated"
    for (name,) in connection.execute(query).fetchall():
        rows: Any = (
            "SELECT md5(coalesce(string_agg(m, '' ORDER BY m), '')) "
            f"FROM (SELECT md5(v::text) AS m FROM {name} AS v) AS hashes"
        )
        for (hashed,) in connection.execute(rows):
            found.add(f"rows of materialized view {name}: {hashed}")
    return found


def _large_objects(connection: psycopg.Connection[Any]) -> dict[str, str | None]:
    """A hash of what is in each large object, by its name; None of one that may not be read."""
    import psycopg

    found: dict[str, str | None] = {}
    query = "SELECT oid, pg_get_userbyid(lomowner), lomacl::text FROM pg_largeobject_metadata"
    for number, owner, acl in connection.execute(query).fetchall():
        name = f"large object {number} of {owner}{f' for {acl}' if acl else ''}"
        try:
            row = connection.execute("SELECT md5(lo_get(%s))", (number,)).fetchone()
            found[name] = row[0] if row else None
        except psycopg.Error:
            found[name] = None
    return found


def _other_orders(here: psycopg.Connection[Any], there: psycopg.Connection[Any]) -> Iterator[str]:
    """The tables whose columns are the same, in another order."""
    before, after = (particulars.orders(c.cursor()) for c in (here, there))
    for name in sorted(before.keys() & after.keys()):
        if before[name] != after[name] and sorted(before[name]) == sorted(after[name]):
            told = (", ".join(side[name]) for side in (before, after))
            yield f"order of the columns of {name}: {' → '.join(told)}"


def _counters(
    here: psycopg.Connection[Any], there: psycopg.Connection[Any], tables: Mapping[str, TableDiff]
) -> list[str]:
    """The sequences that stand elsewhere, but for those that rows added to their tables moved."""
    before, after = catalog.counters(here), catalog.counters(there)
    grown = {name for name, table in tables.items() if table.counts[0] or table.unknown}
    moved = {sequence for sequence, table in there.execute(_FED).fetchall() if table in grown}
    told = [
        name
        for name in before.keys() & after.keys()
        if name not in moved or after[name] < before[name]
    ]
    return value_changes(
        *(
            {f"sequence {_shown(name)}": _place(side[name]) for name in told}
            for side in (before, after)
        )
    )


def _place(counter: tuple[int, bool]) -> str:
    """Where a sequence stands: before a value that nobody has had yet, or after one."""
    value, is_called = counter
    return f"{'after' if is_called else 'before'} {value}"


def _shown(name: str) -> str:
    return name.removeprefix("public.")


def _differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, int]:
    """The tables that both have and whose rows are not the same, as SQL; how many rows they are."""
    names = sorted(name for name in before.keys() & after.keys() if before[name] != after[name])
    return {
        name: max(before[name][0], after[name][0])
        for name in names
        if not _is_why(before[name]) and not _is_why(after[name])
    }


def _unread(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, str]:
    """The tables whose rows one side may not read, and why."""
    reasons = {name: why for side in (before, after) for name, why in side.items() if _is_why(why)}
    return {name: reasons[name] for name in sorted(reasons)}


def _is_why(found: Any) -> bool:
    return isinstance(found, str)


def _sums(connection: psycopg.Connection[Any]) -> dict[str, Any]:
    """How many rows each table has, and a checksum of them in any order; or why not, as text."""
    import psycopg

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
        except psycopg.errors.InsufficientPrivilege as error:
            sums[name] = said(error)
    return sums


def _rows(
    here: psycopg.Connection[Any],
    there: psycopg.Connection[Any],
    table: str,
    count: int,
    limit: int,
) -> TableDiff:
    columns = [name for name in _columns(here, table) if name in _columns(there, table)]
    keys = _key(there, table)
    key = [index for index, name in enumerate(columns) if name in keys]
    shown = _shown(table)
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
