"""Rows that refer to none on PostgreSQL: who puts them in while triggers are off hears of them."""

from __future__ import annotations

import pytest

from alembic_snapshot.postgres.database import ServerDatabase

# What each pair of tables is like, the rows of the second, put in unchecked, and what is found.
KINDS = {
    "one column": (
        "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (a int REFERENCES a)",
        "INSERT INTO a VALUES (1); INSERT INTO b VALUES (1), (NULL), (77), (78)",
        [
            "b (a) = (77) refers to a row of a that is not there",
            "b (a) = (78) refers to a row of a that is not there",
        ],
    ),
    "itself": (
        "CREATE TABLE a (id int PRIMARY KEY, above int REFERENCES a)",
        "INSERT INTO a VALUES (1, NULL), (2, 1), (3, 9)",
        ["a (above) = (9) refers to a row of a that is not there"],
    ),
    "two columns": (
        "CREATE TABLE a (x int, y int, PRIMARY KEY (x, y)); "
        "CREATE TABLE b (s int, t int, FOREIGN KEY (t, s) REFERENCES a)",
        "INSERT INTO a VALUES (1, 2); INSERT INTO b VALUES (2, 1), (1, 2), (NULL, 9)",
        ["b (t, s) = (2, 1) refers to a row of a that is not there"],
    ),
    "match full": (
        "CREATE TABLE a (x int, y int, PRIMARY KEY (x, y)); "
        "CREATE TABLE b (s int, t int, FOREIGN KEY (s, t) REFERENCES a MATCH FULL)",
        "INSERT INTO a VALUES (1, 2); INSERT INTO b VALUES (1, 2), (NULL, NULL), (NULL, 2)",
        ["b (s, t) = (2) refers to a row of a that is not there"],
    ),
    "other names and another schema": (
        'CREATE SCHEMA "S %s"; CREATE TABLE "S %s"."A ""a" ("I d" int PRIMARY KEY); '
        'CREATE TABLE "B{}" ("X\'" int REFERENCES "S %s"."A ""a")',
        'INSERT INTO "B{}" VALUES (5)',
        [
            '"B{}" ("X\'") = (5) refers to a row of "S %s"."A ""a" that is not there',
        ],
    ),
    "partitions on both sides": (
        "CREATE TABLE a (id int PRIMARY KEY) PARTITION BY RANGE (id); "
        "CREATE TABLE a1 PARTITION OF a FOR VALUES FROM (0) TO (10); "
        "CREATE TABLE a2 PARTITION OF a FOR VALUES FROM (10) TO (20); "
        "CREATE TABLE b (a int REFERENCES a) PARTITION BY RANGE (a); "
        "CREATE TABLE b1 PARTITION OF b FOR VALUES FROM (0) TO (20)",
        "INSERT INTO a VALUES (1), (11); INSERT INTO b VALUES (1), (11), (12)",
        ["b (a) = (12) refers to a row of a that is not there"],
    ),
    "a row that only a child by inheritance has": (
        "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE below () INHERITS (a); "
        "CREATE TABLE b (a int REFERENCES a); CREATE TABLE c () INHERITS (b)",
        "INSERT INTO below VALUES (3); INSERT INTO b VALUES (3); INSERT INTO c VALUES (99)",
        ["b (a) = (3) refers to a row of a that is not there"],
    ),
    "types and collations that differ": (
        "CREATE DOMAIN word AS text; CREATE TYPE mood AS ENUM ('sad', 'glad'); "
        'CREATE TABLE a (n bigint UNIQUE, t text COLLATE "C" UNIQUE, p char(5) UNIQUE, '
        "w word UNIQUE, m mood UNIQUE, r int[] UNIQUE, v varchar(9) UNIQUE); "
        "CREATE TABLE b (n smallint REFERENCES a (n), t varchar(9) REFERENCES a (t), "
        'p char(9) REFERENCES a (p), w text COLLATE "POSIX" REFERENCES a (w), '
        "m mood REFERENCES a (m), r int[] REFERENCES a (r), v text REFERENCES a (v))",
        "INSERT INTO a VALUES (1, 'x', 'y', 'z', 'sad', '{1}', 'v'); "
        "INSERT INTO b VALUES (1, 'x', 'y', 'z', 'sad', '{1}', 'v'); "
        "INSERT INTO b (n, p, m) VALUES (2, 'x', 'glad')",
        [
            "b (m) = (glad) refers to a row of a that is not there",
            "b (n) = (2) refers to a row of a that is not there",
            "b (p) = (x        ) refers to a row of a that is not there",
        ],
    ),
    "many": (
        "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (a int REFERENCES a); "
        "CREATE TABLE c (a int REFERENCES a)",
        "INSERT INTO b SELECT 10 + n FROM generate_series(1, 19) n; "
        "INSERT INTO c SELECT 10 + n FROM generate_series(1, 9) n",
        [
            *(f"b (a) = ({n}) refers to a row of a that is not there" for n in range(11, 30)),
            "c (a) = (11) refers to a row of a that is not there",
        ],
    ),
}


@pytest.fixture
def database(postgres):
    database = ServerDatabase(postgres, "orphans")
    database.start(None)
    return database


@pytest.mark.parametrize(("tables", "rows", "found"), KINDS.values(), ids=KINDS)
def test_a_row_that_refers_to_none_is_found(database, tables, rows, found):
    with database.server.connect(database.name) as connection:
        connection.execute(tables)
        connection.execute("SET session_replication_role = replica")
        connection.execute(rows)

    assert database.problems() == {"integrity": [], "foreign_keys": found}


@pytest.mark.parametrize(("count", "more"), [(20, []), (21, ["and more"]), (30, ["and more"])])
def test_twenty_are_told_and_a_word_for_the_rest(database, count, more):
    with database.server.connect(database.name) as connection:
        connection.execute("CREATE TABLE a (id int PRIMARY KEY)")
        connection.execute("CREATE TABLE b (a int REFERENCES a); CREATE TABLE c () INHERITS (b)")
        connection.execute("ALTER TABLE c ADD FOREIGN KEY (a) REFERENCES a")
        connection.execute("SET session_replication_role = replica")
        connection.execute("INSERT INTO b SELECT generate_series(1, 10)")
        connection.execute(f"INSERT INTO c SELECT generate_series(11, {count})")

    found = database.problems()["foreign_keys"]

    assert len(found) == 20 + len(more)
    assert found[20:] == more


def test_rows_that_cannot_be_read_are_no_sound_data(tenant):
    database = ServerDatabase(tenant, "orphans")
    database.start(None)
    with tenant.connect(database.name) as connection:
        connection.execute("CREATE TABLE a (id int PRIMARY KEY)")
        connection.execute("CREATE TABLE b (a int REFERENCES a)")
        assert database.problems() == {"integrity": [], "foreign_keys": []}
        connection.execute("ALTER TABLE b ENABLE ROW LEVEL SECURITY")
        connection.execute("ALTER TABLE b FORCE ROW LEVEL SECURITY")

    assert database.problems()["integrity_error"] == (
        "the rows of b that refer to a can't be read: query would be affected by row-level "
        'security policy for table "b"'
    )
