"""Generated tests that change their database's rows and schema, on SQLite and on PostgreSQL."""

from __future__ import annotations

import random
from typing import Any

REVISION = """
op.execute("CREATE TABLE customers (id INTEGER PRIMARY KEY, name VARCHAR(40) UNIQUE, "
           "score NUMERIC)")
op.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER NOT NULL REFERENCES "
           "customers (id) ON DELETE CASCADE, note TEXT, price DOUBLE PRECISION DEFAULT 1.5, "
           "CHECK (price >= 0))")
op.execute("CREATE TABLE log (line TEXT, at INTEGER)")
op.execute("CREATE TABLE pairs (a INTEGER, b TEXT, c TEXT, PRIMARY KEY (a, b))" + WITHOUT)
op.execute("CREATE INDEX orders_note ON orders (note)")
op.execute("CREATE VIEW named AS SELECT id, name FROM customers WHERE name IS NOT NULL")
for number in range(12):
    op.execute(f"INSERT INTO customers VALUES ({number}, 'customer {number}', {number} / 2.0)")
    op.execute(f"INSERT INTO orders VALUES ({number}, {number}, 'note {number}', {number})")
    op.execute(f"INSERT INTO log VALUES ('line {number % 3}', {number % 2})")
    op.execute(f"INSERT INTO pairs VALUES ({number}, 'b', 'c')")
"""
ON_SQLITE = """
op.execute("CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT, x BLOB)")
op.execute("INSERT INTO counted (x) VALUES (x'00ff')")
op.execute("CREATE TRIGGER written AFTER INSERT ON orders BEGIN "
           "INSERT INTO log VALUES ('trigger', new.id); END")
"""
ON_SERVER = """
op.execute("CREATE TABLE counted (id BIGSERIAL PRIMARY KEY, x BYTEA)")
op.execute("CREATE TABLE parts (id INTEGER GENERATED ALWAYS AS IDENTITY, tags TEXT[], j JSONB, "
           "at TIMESTAMPTZ DEFAULT now(), doubled INTEGER GENERATED ALWAYS AS (2) STORED)")
op.execute("CREATE TYPE mood AS ENUM ('glad', 'sad')")
op.execute("ALTER TABLE parts ADD COLUMN mood mood DEFAULT 'glad'")
op.execute("INSERT INTO counted (x) VALUES ('\\\\\\\\x00ff')")
op.execute("INSERT INTO parts (tags, j) VALUES ('{a,b}', '{\\"k\\": 1}')")
op.execute("CREATE FUNCTION written() RETURNS trigger LANGUAGE plpgsql AS "
           "$$ BEGIN INSERT INTO log VALUES ('trigger', new.id); RETURN new; END $$")
op.execute("CREATE TRIGGER written AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION written()")
"""
_TEXTS = ("", "x", "ü€😀", "it's", 'a "quoted" one', "line\nbreak", "NULL", "\\x00", "{}", "%s %")


def statements(seed: int, *, is_server: bool) -> list[tuple[str, tuple[Any, ...]]]:
    """SQL with question marks for its values; each is run and committed, or fails alone."""
    chance = random.Random(seed)
    makers = [_insert, _insert, _update, _delete, _log, _pair, _count]
    if chance.random() < 0.4:
        makers.append(_schema)
    if is_server:
        makers.append(_part)
    return [chance.choice(makers)(chance, is_server) for _ in range(chance.randrange(1, 12))]


def _text(chance: random.Random) -> str | None:
    return chance.choice((*_TEXTS, None, "long " * chance.randrange(40)))


def _insert(chance: random.Random, _: bool) -> tuple[str, tuple[Any, ...]]:
    number = chance.randrange(100, 200)
    if chance.random() < 0.5:
        return "INSERT INTO customers VALUES (?, ?, ?)", (number, f"new {number}", number / 7)
    price = chance.choice((0.1, 1e300, 5.0, None, 1 / 3))
    return "INSERT INTO orders VALUES (?, ?, ?, ?)", (
        number,
        chance.randrange(12),
        _text(chance),
        price,
    )


def _update(chance: random.Random, _: bool) -> tuple[str, tuple[Any, ...]]:
    number = chance.randrange(12)
    return chance.choice(
        (
            ("UPDATE customers SET name = ? WHERE id = ?", (_text(chance), number)),
            # The one before has the name that the next one gets.
            ("UPDATE customers SET id = id + 1000 WHERE id > ?", (number,)),
            ("UPDATE orders SET note = ? WHERE customer >= ?", (_text(chance), number)),
            ("UPDATE pairs SET c = ?, b = 'B' WHERE a = ?", (_text(chance), number)),
            ("UPDATE log SET at = NULL WHERE at = ?", (number % 2,)),
        )
    )


def _delete(chance: random.Random, _: bool) -> tuple[str, tuple[Any, ...]]:
    table, column = chance.choice(
        (("customers", "id"), ("orders", "id"), ("log", "at"), ("pairs", "a"))
    )
    return f"DELETE FROM {table} WHERE {column} = ?", (chance.randrange(12),)


def _log(chance: random.Random, _: bool) -> tuple[str, tuple[Any, ...]]:
    return "INSERT INTO log VALUES (?, ?)", (f"line {chance.randrange(3)}", chance.randrange(2))


def _pair(chance: random.Random, _: bool) -> tuple[str, tuple[Any, ...]]:
    row = (chance.randrange(20), chance.choice("bcd"), _text(chance))
    return "INSERT INTO pairs VALUES (?, ?, ?)", row


def _count(chance: random.Random, _: bool) -> tuple[str, tuple[Any, ...]]:
    if chance.random() < 0.3:
        return "DELETE FROM counted", ()
    return "INSERT INTO counted (x) VALUES (?)", (chance.randbytes(chance.randrange(20)),)


def _part(chance: random.Random, _: bool) -> tuple[str, tuple[Any, ...]]:
    return chance.choice(
        (
            ("INSERT INTO parts (tags, mood) VALUES (?, 'sad')", (["a'b", 'c"d', "ü"],)),
            ("UPDATE parts SET j = NULL, tags = '{}'", ()),
            ("INSERT INTO parts (j) VALUES (?)", ('{"a": [1, null, "x"]}',)),
        )
    )


def _schema(chance: random.Random, is_server: bool) -> tuple[str, tuple[Any, ...]]:
    # On SQLite a default of the moment can't be added to a table.
    number = chance.randrange(3)
    made = [
        f"CREATE TABLE made_{number} (id INTEGER PRIMARY KEY, t TEXT DEFAULT 'x', "
        "c INTEGER REFERENCES customers (id), CHECK (length(t) < 9))",
        f"INSERT INTO made_{number} (id, t) VALUES ({chance.randrange(9)}, 'abc')",
        f"CREATE UNIQUE INDEX made_index_{number} ON customers (lower(name)) WHERE id > 3",
        f"CREATE VIEW made_view_{number} AS SELECT count(*) AS n FROM orders WHERE id > {number}",
        f"ALTER TABLE pairs ADD COLUMN added_{number} VARCHAR(20) DEFAULT 'added'",
        "DROP VIEW named",
        "DROP INDEX orders_note",
        "DROP TABLE log",
        "ALTER TABLE counted RENAME TO renamed",
    ]
    if not is_server:
        made += [
            "CREATE TRIGGER made_trigger AFTER DELETE ON log BEGIN DELETE FROM pairs; END",
            "DROP TRIGGER written",
            "PRAGMA user_version = 7",
        ]
    else:
        made += [
            "CREATE TYPE made_type AS ENUM ('a', 'b')",
            "CREATE TABLE made_typed (m made_type, at TIMESTAMP DEFAULT now(), n BIGSERIAL)",
            "ALTER TABLE customers ALTER COLUMN score SET NOT NULL",
            "ALTER TABLE orders ADD CONSTRAINT made_check CHECK (price < 1e301)",
        ]
    return chance.choice(made), ()
