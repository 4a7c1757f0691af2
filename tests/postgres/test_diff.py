"""How two databases of a server differ in rows: all of them are compared, or it is said."""

from __future__ import annotations

import contextlib

import pytest

from alembic_snapshot.database.schema import Schema, differences
from alembic_snapshot.postgres import databases
from alembic_snapshot.postgres import diff as differing
from alembic_snapshot.postgres.database import ServerDatabase
from alembic_snapshot.postgres.diff import compare
from alembic_snapshot.postgres.pool import Pool

SCHEMA = """
    CREATE TABLE orders (id int PRIMARY KEY, what text);
    INSERT INTO orders SELECT n, 'tea ' || n FROM generate_series(1, 45000) AS n;
    CREATE TABLE marks (what text, n numeric);
    INSERT INTO marks VALUES ('a', 1), ('a', 1), ('b', 2), (NULL, NULL);
"""


@pytest.fixture
def compared(postgres):
    """Compares two databases that began alike, after statements in the second."""
    before, after = (ServerDatabase(postgres, f"alembic_diff_{n}") for n in (1, 2))
    before.start(None)
    with postgres.connect(before.name) as connection:
        connection.execute(SCHEMA)
    after.start(before)

    def compared(*statements, limit=5):
        with postgres.connect(before.name) as here, postgres.connect(after.name) as there:
            for statement in statements:
                there.execute(statement)
            return compare(here, there, limit)

    yield compared
    after.remove()
    before.remove()


@pytest.mark.parametrize(
    ("statement", "lines"),
    [
        (
            "UPDATE orders SET what = 'milk' WHERE id = 44999",
            ["orders: 1 changed", "  ~ id=44999, what='tea 44999' → 'milk'"],
        ),
        (
            "INSERT INTO orders VALUES (50000, 'milk')",
            ["orders: 1 added", "  + id=50000, what='milk'"],
        ),
        ("DELETE FROM orders WHERE id = 1", ["orders: 1 removed", "  - id=1, what='tea 1'"]),
        (
            "INSERT INTO marks VALUES ('a', 1), (NULL, 3)",
            ["marks: 2 added", "  + what='a', n=1", "  + n=3"],
        ),
        (
            "DELETE FROM marks WHERE ctid = (SELECT min(ctid) FROM marks WHERE what = 'a')",
            ["marks: 1 removed", "  - what='a', n=1"],
        ),
        ("DELETE FROM marks WHERE what IS NULL", ["marks: 1 removed", "  - nothing but NULL"]),
        ("UPDATE marks SET n = 1.0 WHERE what = 'b'", ["marks: 1 added, 1 removed"]),
    ],
)
def test_each_row_that_differs_is_told_in_a_table_of_any_size(compared, statement, lines):
    found = str(compared(statement)).splitlines()

    assert found[: len(lines)] == lines


@pytest.mark.parametrize(
    ("kind", "value", "shown"),
    [
        ("bigint", "-7", "-7"),
        ("numeric", "1.50", "1.50"),
        ("numeric", "'NaN'", "'NaN'"),
        ("double precision", "1e300", "1e+300"),
        ("boolean", "true", "true"),
        ("text", "'1'", "'1'"),
        ("text", "'true'", "'true'"),
        ("text", "'it''s \"so\"'", "'it''s \"so\"'"),
        ("money", "1", "'$1.00'"),
        ("regclass", "'orders'", "'orders'"),
        ("integer[]", "'{1,2}'", "'{1,2}'"),
        ("positive", "3", "3"),
        ("date", "'2026-11-30'", "'2026-11-30'"),
    ],
)
def test_a_value_looks_as_in_sql(compared, postgres, kind, value, shown):
    with postgres.connect("alembic_diff_1") as here:
        here.execute("CREATE DOMAIN positive AS int CHECK (value > 0)")
        here.execute(f"CREATE TABLE kinds (id int PRIMARY KEY, value {kind})")

    found = compared(
        "CREATE DOMAIN positive AS int CHECK (value > 0)",
        f"CREATE TABLE kinds (id int PRIMARY KEY, value {kind})",
        f"INSERT INTO kinds VALUES (1, {value})",
    )

    assert str(found).splitlines()[-1] == f"  + id=1, value={shown}"


def test_what_became_null_and_rows_in_the_order_of_their_keys(compared):
    found = compared(
        "INSERT INTO orders SELECT n, 'x' FROM generate_series(99999, 100001) n",
        "UPDATE orders SET what = NULL WHERE id = 2",
    )

    assert str(found).splitlines() == [
        "orders: 3 added, 1 changed",
        "  + id=99999, what='x'",
        "  + id=100000, what='x'",
        "  + id=100001, what='x'",
        "  ~ id=2, what='tea 2' → NULL",
    ]


MADE = "CREATE FUNCTION {}(a int) RETURNS int LANGUAGE sql AS 'SELECT {}'"


def test_a_function_is_told_by_its_name(compared, postgres):
    with postgres.connect("alembic_diff_1") as here:
        for name in ("same", "other", "gone"):
            here.execute(MADE.format(name, 1))

    found = compared(*(MADE.format(name, n) for name, n in [("same", 1), ("other", 2), ("new", 3)]))

    assert list(found.schema) == [
        "function new(a integer): not in the snapshot",
        "function gone(a integer): only in the snapshot",
        "function other(a integer): defined differently",
    ]


def test_labels_of_an_enumeration_are_compared(compared, postgres):
    with postgres.connect("alembic_diff_1") as here:
        here.execute("CREATE TYPE mood AS ENUM ('sad', 'glad')")

    found = compared("CREATE TYPE mood AS ENUM ('sad', 'glad', 'angry')")

    assert list(found.schema) == [
        "enum mood (sad, glad, angry): not in the snapshot",
        "enum mood (sad, glad): only in the snapshot",
    ]


def test_a_function_that_a_downgrade_leaves_is_told_by_its_name():
    before = Schema(frozenset({f"function f(): {'0' * 32}", "table t"}))
    after = Schema(frozenset({f"function f(): {'1' * 32}", f"function g(): {'2' * 32}"}))

    assert differences(before, after) == [
        "left behind: function g()",
        "missing: table t",
        "defined differently: function f()",
    ]


def test_all_rows_are_counted_and_some_are_listed(compared):
    (table,) = compared(
        "INSERT INTO orders SELECT n, 'x' FROM generate_series(50001, 90000) n"
    ).tables

    assert table.counts == (40_000, 0, 0)
    assert len(table.added) == 5
    assert list(table.lines())[-1] == "  … 39995 more"


@pytest.mark.parametrize(
    ("most", "says"),
    [
        ("_COMPARED_ROWS", "it differs, and has 45001 rows: none is compared"),
        ("_DIFFERENT_ROWS", "1 rows differ from the snapshot's or are gone, too many to be listed"),
    ],
)
def test_what_is_not_compared_is_said_and_nothing_is_made_up(compared, monkeypatch, most, says):
    monkeypatch.setattr(differing, most, 0)

    found = compared("INSERT INTO orders VALUES (50000, 'milk')")

    assert str(found) == f"orders: {says}"
    assert found
    told = found.to_record()["tables"]["orders"]
    assert (told["added"], told["removed"], told["changed"]) == (None, None, None)
    assert told["unknown"] == says
    assert told["rows"] == {"added": [], "removed": [], "changed": []}


@pytest.mark.parametrize("of_snapshot", [None, "on"])
def test_what_a_clone_is_given_by_us_is_a_difference_to_nobody(patient, of_snapshot):
    with patient.connect() as connection, contextlib.ExitStack() as stack:
        made = [ServerDatabase(patient, f"alembic_{name}") for name in ("snapshot_1", "building_1")]
        named = ServerDatabase(patient, "named")
        for database in (*made, named):
            database.start(None)
            stack.callback(database.remove)
            if of_snapshot:
                setting = [(None, f"synchronous_commit={of_snapshot}")]
                databases.alter(connection, database.name, setting)
        snapshot, building = made
        snapshot.seal()
        connection.execute(f"ALTER DATABASE {snapshot.name} ALLOW_CONNECTIONS false")
        pool = stack.enter_context(contextlib.closing(Pool(patient)))
        clone = pool.take(snapshot.name)

        pairs = [(snapshot, building), (named, snapshot), (building, named), (clone, snapshot)]
        assert [bool(one.diff(other)) for one, other in pairs] == [False] * 4
        connection.execute(f"ALTER DATABASE {clone.name} SET synchronous_commit = local")
        connection.execute(f"ALTER DATABASE {named.name} SET synchronous_commit = off")
        assert [bool(one.diff(snapshot)) for one in (clone, named)] == [True, True]
