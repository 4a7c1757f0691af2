"""What the stairway sees of a SQLite schema: each thing that a downgrade leaves or loses."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations

from alembic_snapshot.database.schema import differences
from alembic_snapshot.sqlite.schema import read_schema, table_facts

BEFORE = (
    "create table p (x integer primary key); create table v (id integer primary key, name text)"
)
# A column or a constraint of a table, another one in its place, and what is told of it.
CHANGES = {
    "autoincrement": ("id integer primary key", "id integer primary key autoincrement",
                      "primary key of t: id autoincrement"),
    "autoincrement in a list": ("id integer, primary key (id)",
                                "id integer, primary key (id autoincrement)",
                                "primary key of t: id autoincrement"),
    "a key in descending order": ("id integer primary key", "id integer primary key desc",
                                  "primary key of t: id desc"),
    "a key that numbers no rows": ("id integer primary key", "id int primary key",
                                   "primary key of t is an index"),
    "a key in another order": ("a, b, primary key (a, b)", "a, b, primary key (b, a)",
                               "primary key of t: b, a"),
    "a key's collation": ("a text, primary key (a)", "a text, primary key (a collate nocase)",
                          "primary key of t: a collate nocase"),
    "a key's conflict": ("a text primary key", "a text primary key on conflict replace",
                         "primary key of t: a on conflict replace"),
    "a key's name": ("a text, primary key (a)", "a text, constraint k primary key (a)",
                     "primary key k of t: a"),
    "a foreign key's MATCH": ("a references p (x)", "a references p (x) match full",
                              "foreign key of t (a) to p(x) match full"),
    "a foreign key's time": ("a references p (x)",
                             "a references p (x) deferrable initially deferred",
                             "foreign key of t (a) to p(x) deferrable initially deferred"),
    "a foreign key's deletion": ("a, foreign key (a) references p (x)",
                                 "a, foreign key (a) references p (x) on delete set null",
                                 "foreign key of t (a) to p(x) on delete set null"),
    "a foreign key's update": ("a, foreign key (a) references p (x)",
                               "a, foreign key (a) references p (x) on update set default",
                               "foreign key of t (a) to p(x) on update set default"),
    "a foreign key's name": ("a, foreign key (a) references p (x)",
                             "a, constraint f foreign key (a) references p (x)",
                             "foreign key f of t (a) to p(x)"),
    "a unique constraint": ("a int", "a int unique", "unique of t (a)"),
    "what a unique constraint does": ("a int unique", "a int unique on conflict ignore",
                                      "unique of t (a) on conflict ignore"),
    "a unique constraint's collation": ("a text, unique (a)", "a text, unique (a collate nocase)",
                                        "unique of t (a collate nocase)"),
    "a check": ("a int", "a int check (a > 0)", "check of t: (a > 0)"),
    "a check of another number": ("a int check (a > 0)", "a int check (a > 1)",
                                  "check of t: (a > 1)"),
    "a check with other spaces in its text": ("a check (a <> '( x')", "a check (a <> '(x')",
                                              "check of t: (a <> '(x')"),
    "a check behind a check": ("a int check (a > 0)", "a int check (a > 0) check (a < 9)",
                               "check of t: (a < 9)"),
    "a check without a comma": ("a int, check (a > 0)",
                                "a int, check (a > 0) constraint c check (a < 9)",
                                "check c of t: (a < 9)"),
    "not null": ("a int", "a int not null", "column t.a INTEGER not null"),
    "what not null does": ("a int not null", "a int not null on conflict fail",
                           "column t.a: not null on conflict fail"),
    "not null's name": ("a int not null", "a int constraint n not null",
                        "column t.a: not null named n"),
    "a default": ("a int", "a int default 3", "column t.a INTEGER default 3"),
    "a default's name": ("a int default 3", "a int constraint d default 3",
                         "column t.a: default named d"),
    "a collation": ("a text", "a text collate nocase", "column t.a collate nocase"),
    "a type": ("a varchar(10)", "a varchar(11)", "column t.a VARCHAR(11)"),
    "a type that SQLAlchemy has not": ("a numeric", "a money", "column t.a MONEY"),
    "a generated column": ("a int, b int as (a + 1)", "a int, b int as (a + 2)",
                           "column t.b INTEGER as (a + 2)"),
    "a generated column's place": ("a int, b int as (a)", "a int, b int as (a) stored",
                                   "column t.b INTEGER as (a) stored"),
    "a type of a generated column's words": ("a", "a generated always",
                                             "column t.a: generated always"),
    "a key with a parenthesis in its name": ("a int", 'a int, constraint "k (" unique (`a`)',
                                             "unique k ( of t (a)"),
    "without a rowid": ("a text primary key)", "a text primary key) without rowid",
                        "table t is without rowid"),
}  # fmt: skip
# The same thing, spelled in another way.
SAME = {
    "quotes": ('id integer primary key, "b" text', "id integer primary key, [b] text"),
    "spaces": ("a int check (a>0 and length(a)<9)", "a int  check( a > 0\n and length (a) < 9 )"),
    "comments": ("a int unique", "a int /* it's, a */ unique -- one\n"),
    "a key behind the columns": ("id integer primary key", "id integer, primary key (id asc)"),
    "a key that counts": (
        "id integer primary key autoincrement", "id integer, primary key (id autoincrement)"
    ),
    "unique behind the columns": ("a int unique", "a int, unique (a)"),
    "a check behind the columns": ("a int check (a > 0)", "a int, check (a > 0)"),
    "a reference behind the columns": (
        "a int references p(x) on delete cascade",
        "a int, foreign key(a) references p (x) on update no action match simple ON DELETE CASCADE",
    ),
    "the order of constraints": (
        "a int, b int, unique (a), constraint c check (a > 0), foreign key (b) references p (x)",
        "a int, b int, foreign key (b) references p (x), unique (a), constraint c check (a > 0)",
    ),
    "the order of columns": ("a int, b text not null", "b text not null, a int"),
    "what is so anyway": ("a int not null, b", "a int not null on conflict abort, b null"),
    "a word for a type": ("a int, b varchar", "a INTEGER, b VARCHAR"),
}  # fmt: skip
# What is made or changed, how it is undone, and what is told of it where it is not.
OBJECTS = {
    "user_version": (
        "pragma user_version = 3", "pragma user_version = 0",
        "defined differently: PRAGMA user_version: 0 → 3",
    ),
    "application_id": (
        "pragma application_id = 3", "pragma application_id = 0",
        "defined differently: PRAGMA application_id: 0 → 3",
    ),
    "an index": ("create index i on v (name)", "drop index i", "left behind: index i on v (name)"),
    "a unique index": (
        "create unique index i on v (name collate nocase desc)", "drop index i",
        "left behind: unique index i on v (name collate nocase desc)",
    ),
    "an index with a condition": (
        "create index i on v (name) where id > 1", "drop index i",
        "left behind: CREATE INDEX i on v (name) where id > 1",
    ),
    "an index on an expression": (
        "create index i on v (lower(name))", "drop index i",
        "left behind: CREATE INDEX i on v (lower(name))",
    ),
    "a view": (
        "create view w as select 1", "drop view w", "left behind: view w: CREATE VIEW w as select 1"
    ),
    "a trigger": (
        "create trigger r after insert on v begin select 1; end", "drop trigger r",
        "left behind: trigger r: CREATE TRIGGER r after insert on v begin select 1; end",
    ),
    "a virtual table": (
        "create virtual table f using fts5(a)", "drop table f",
        "left behind: CREATE VIRTUAL TABLE f using fts5(a)",
    ),
    "a column": (
        "alter table v add column more text", "alter table v drop column more",
        "left behind: column v.more TEXT",
    ),
}  # fmt: skip


@pytest.fixture
def connection():
    with contextlib.closing(sqlite3.connect(":memory:")) as found:
        found.executescript(BEFORE)
        yield found


def _schema(connection):
    return read_schema(connection.cursor(), ())


def _made(connection, columns):
    connection.execute("drop table if exists t")
    closed = columns if columns.count(")") > columns.count("(") else f"{columns})"
    connection.execute(f"create table t ({closed}")
    return _schema(connection)


@pytest.mark.parametrize(("before", "after", "told"), CHANGES.values(), ids=CHANGES)
def test_what_a_table_s_statement_says_is_seen_and_undone(connection, before, after, told):
    schema, changed, back = (_made(connection, one) for one in (before, after, before))

    assert f"left behind: {told}" in differences(schema, changed)
    assert f"missing: {told}" in differences(changed, back)
    assert differences(schema, back) == []


@pytest.mark.parametrize(("before", "after"), SAME.values(), ids=SAME)
def test_another_spelling_is_no_difference(connection, before, after):
    assert differences(_made(connection, before), _made(connection, after)) == []


@pytest.mark.parametrize(("change", "undone", "told"), OBJECTS.values(), ids=OBJECTS)
def test_what_is_made_is_seen_and_undone(connection, change, undone, told):
    before = _schema(connection)
    connection.execute(change)
    left = _schema(connection)
    connection.execute(undone)

    assert told in differences(before, left)
    assert differences(before, _schema(connection)) == []


@pytest.mark.parametrize("option", ["tokenize = 'porter'", "content = ''", "prefix = 2"])
def test_what_a_virtual_table_is_given_is_seen(option):
    plain, other = (
        table_facts("f", (f"CREATE VIRTUAL TABLE f USING fts5(a{more})",))
        for more in ("", f", {option}")
    )

    assert plain != other


TABLE = (
    "create table t (id integer not null, a integer default 3, b text collate nocase not null, "
    "constraint pk primary key (id), constraint u unique (a, b), "
    "constraint c check (a > 0 and b <> 'x, y'), constraint f foreign key (a) references p (x) "
    "on delete cascade deferrable initially deferred)"
)


def _with_batch_mode(path, table, keywords, *works):
    """The schemas before each of these pieces of work in batch mode, and at the end."""
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        for statement in (*BEFORE.split(";"), table):
            connection.exec_driver_sql(statement)
        operations = Operations(MigrationContext.configure(connection))
        schemas = [_schema(connection.connection)]
        for work in works:
            with operations.batch_alter_table("t", recreate="always", **keywords) as batch:
                work(batch)
            schemas.append(_schema(connection.connection))
    engine.dispose()
    return schemas


def _add(batch):
    batch.add_column(sa.Column("n", sa.Integer))


def _drop(batch):
    batch.drop_column("n")


@pytest.mark.parametrize(
    ("table", "keywords"),
    [
        pytest.param(
            TABLE.replace("collate nocase ", ""),
            {"table_args": [sa.CheckConstraint("a > 0 and b <> 'x, y'", name="c")]},
            id="constraints",
        ),
        pytest.param(
            "create table t (id integer not null primary key autoincrement)",
            {"table_kwargs": {"sqlite_autoincrement": True}},
            id="a key that counts",
        ),
        pytest.param(
            "create table t (id integer not null, primary key (id))", {}, id="a plain table"
        ),
    ],
)
def test_a_table_that_batch_mode_writes_anew_is_the_same(tmp_path, table, keywords):
    before, left, after = _with_batch_mode(tmp_path / "a.db", table, keywords, _add, _drop)

    assert differences(before, left) == ["left behind: column t.n INTEGER"]
    assert differences(before, after) == []


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("id integer not null primary key autoincrement", "primary key of t: id autoincrement"),
        ("id integer not null primary key, a text collate nocase", "column t.a collate nocase"),
        ("id integer not null primary key, a int unique on conflict ignore",
         "unique of t (a) on conflict ignore"),
        ("id integer not null primary key, a int references p (x) match full",
         "foreign key of t (a) to p(x) match full"),
    ],
    ids=["autoincrement", "a collation", "a conflict", "match"],
)  # fmt: skip
def test_what_batch_mode_loses_is_missing(tmp_path, table, told):
    before, _, after = _with_batch_mode(
        tmp_path / "a.db", f"create table t ({table})", {}, _add, _drop
    )

    assert f"missing: {told}" in differences(before, after)
