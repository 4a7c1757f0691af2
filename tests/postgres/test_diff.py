"""How two databases of a server differ in rows: all of them are compared, or it is said."""

from __future__ import annotations

import pytest

from alembic_snapshot.postgres import diff as differing
from alembic_snapshot.postgres.database import ServerDatabase
from alembic_snapshot.postgres.diff import compare

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
            ["orders: 1 changed", "  ~ id='44999', what='tea 44999' → 'milk'"],
        ),
        (
            "INSERT INTO orders VALUES (50000, 'milk')",
            ["orders: 1 added", "  + id='50000', what='milk'"],
        ),
        ("DELETE FROM orders WHERE id = 1", ["orders: 1 removed", "  - id='1', what='tea 1'"]),
        (
            "INSERT INTO marks VALUES ('a', 1), (NULL, 3)",
            ["marks: 2 added", "  + what='a', n='1'", "  + n='3'"],
        ),
        (
            "DELETE FROM marks WHERE ctid = (SELECT min(ctid) FROM marks WHERE what = 'a')",
            ["marks: 1 removed", "  - what='a', n='1'"],
        ),
        ("DELETE FROM marks WHERE what IS NULL", ["marks: 1 removed", "  - nothing but NULL"]),
        ("UPDATE marks SET n = 1.0 WHERE what = 'b'", ["marks: 1 added, 1 removed"]),
    ],
)
def test_each_row_that_differs_is_told_in_a_table_of_any_size(compared, statement, lines):
    found = str(compared(statement)).splitlines()

    assert found[: len(lines)] == lines


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
