"""Who wrote each row of a file that a test changed: its SQL, run again on a copy."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import sqlite3

import pytest

from alembic_snapshot.database import writers
from alembic_snapshot.database.recording import COMMIT, EXECUTE, FAILED, ROLLBACK, Recording, Step
from alembic_snapshot.sqlite.database import DatabaseFile
from alembic_snapshot.sqlite.replay import FileReplay

ROLLED_BACK = "what wrote it seems to have been rolled back"
PAST = "its SQL gives other rows when it runs again"
TABLES = """
    CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT, made TEXT DEFAULT CURRENT_TIMESTAMP);
    CREATE TABLE pairs (a INTEGER, b INTEGER, text TEXT, PRIMARY KEY (a, b));
    CREATE TABLE log (line TEXT);
    CREATE TABLE sizes (id PRIMARY KEY, size);
    CREATE TABLE marks (mark);
    INSERT INTO sizes VALUES (1, 1), (NULL, 1);
    INSERT INTO marks VALUES (1), (1.0);
    INSERT INTO notes VALUES (1, 'one', 'then'), (2, 'two', 'then');
    INSERT INTO pairs VALUES (1, 1, 'p');
    INSERT INTO log VALUES ('hello'), ('hello'), ('bye');
"""


class Flush:
    """Objects that were flushed; ``lines`` has which line added the one with a key."""

    def __init__(self, table, lines):
        self.table, self.lines = table, lines

    def line(self, table, key):
        name = self.lines.get(tuple(key.items())) if table == self.table else None
        return name and ("it.py", 1, name)


class Story:
    """A file that is changed, and what was recorded of that."""

    def __init__(self, folder, setup):
        self.folder = folder
        self.before, self.after = folder / "before.db", folder / "after.db"
        with contextlib.closing(sqlite3.connect(self.before)) as connection:
            connection.executescript(setup)
        shutil.copy(self.before, self.after)
        self.recording = Recording()
        self.connections = {}

    def run(self, line, statement, parameters=None, *, on=1, autocommit=False, flush=None):
        """Run a statement, as a line of the project that has this name."""
        connection = self._connection(on)
        if autocommit:
            connection.isolation_level = None
        is_many = isinstance(parameters, list)
        step = Step(on, EXECUTE, statement, parameters, is_many, autocommit, (line, 1, line), flush)
        try:
            run = connection.executemany if is_many else connection.execute
            run(statement, parameters or ()).fetchall()
        except sqlite3.Error:
            step = step._replace(kind=FAILED)
        self.recording.add(step)

    def end(self, kind, on=1):
        """End a transaction."""
        connection = self._connection(on)
        connection.commit() if kind == COMMIT else connection.rollback()
        self.recording.end(on, kind)

    def past(self, statement):
        """Change the file without anything being recorded."""
        with contextlib.closing(sqlite3.connect(self.after)) as connection, connection:
            connection.execute(statement)

    def _connection(self, number):
        if number not in self.connections:
            made = self.connections[number] = sqlite3.connect(self.after)
            made.executescript("PRAGMA foreign_keys=ON; PRAGMA synchronous=OFF")
        return self.connections[number]

    def written(self, *, foreign_keys=True, limit=writers.UNLIMITED):
        """What running it again gives, and the difference that it is about."""
        for connection in self.connections.values():
            connection.close()
        diff = DatabaseFile(self.after).diff(DatabaseFile(self.before), limit=100_000)
        copy = self.folder / "copy.db"
        shutil.copy(self.before, copy)
        replay = FileReplay(copy, foreign_keys=foreign_keys)
        try:
            return writers.Written(diff, self.recording, replay, limit), diff
        finally:
            replay.close()
            assert not list(self.folder.glob("copy.db*"))

    def told(self, **options):
        """Who wrote each row of the difference."""
        written, diff = self.written(**options)
        return [
            f"{'-' if is_gone else '+'} {table.name} {row[0]}: "
            f"{_text(written.of(table, row, is_gone=is_gone))}"
            for table, row, is_gone in writers.every_row(diff)
        ]


def _text(notes):
    if isinstance(notes, str):
        return f"? {notes}"
    return ", ".join(
        f"{note.how and note.how + ' after '}{note.writer[2]}"
        f"{'' if note.added is None else f' of {note.added[2]}'}"
        for note in notes
    )


@pytest.fixture
def story(tmp_path):
    """Makes a story of tables with rows."""

    def make(setup=TABLES):
        return Story(tmp_path, setup)

    return make


ONE_STATEMENT = {
    "of one row": ("INSERT INTO notes VALUES (?, ?, 'now')", (7, "x"), ["+ notes 7: a"]),
    "of a name in quotes": ("INSERT INTO \"NOTES\" VALUES (7, 'x', 'y')", None, ["+ notes 7: a"]),
    "of a name with its schema": ("INSERT INTO main.notes (id) VALUES (7)", None, ["+ notes 7: a"]),
    "of a name in other quotes": ("INSERT INTO `notes` (id) VALUES (7)", None, ["+ notes 7: a"]),
    "with a name for its value": (
        "INSERT INTO notes (id) VALUES (:id)",
        {"id": 7},
        ["+ notes 7: a"],
    ),
    "that returns": ("INSERT INTO notes (text) VALUES ('x') RETURNING id", None, ["+ notes 3: a"]),
    "below another": ("INSERT INTO notes VALUES (-5, 'x', 'y')", None, ["+ notes -5: a"]),
    "of several": (
        "INSERT INTO notes (id) VALUES (?)",
        [(7,), (8,)],
        ["+ notes 7: a", "+ notes 8: a"],
    ),
    "of several at once": (
        "INSERT INTO notes (id) VALUES (7), (8)",
        None,
        ["+ notes 7: a", "+ notes 8: a"],
    ),
    "of a key of two columns": ("INSERT INTO pairs VALUES (1, 2, 'x')", None, ["+ pairs 1: a"]),
    "without a key": ("INSERT INTO log VALUES ('hello')", None, ["+ log hello: a"]),
    "of a value of the moment": (
        "INSERT INTO notes VALUES (7, random(), 'x')",
        None,
        ["+ notes 7: a"],
    ),
    "that changes": ("UPDATE notes SET text = 'x' WHERE id = 1", None, ["+ notes 1: a"]),
    "of an equal value": ("UPDATE sizes SET size = 1.0 WHERE id = 1", None, ["+ sizes 1: a"]),
    "of an equal key": ("UPDATE sizes SET id = 1.0 WHERE id = 1", None, ["+ sizes 1.0: a"]),
    "of an equal value without a key": (
        "UPDATE marks SET mark = 2.0 WHERE typeof(mark) = 'real'",
        None,
        ["+ marks 2.0: a", "- marks 1.0: a"],
    ),
    "of a value that another row has": (
        "UPDATE marks SET mark = 1.0 WHERE typeof(mark) = 'integer'",
        None,
        ["+ marks 1.0: a", "- marks 1: a"],
    ),
    "of a key that is NULL": (
        "INSERT INTO sizes VALUES (NULL, 2)",
        None,
        ["+ sizes None: a"],
    ),
    "that deletes": ("DELETE FROM notes WHERE id = 1", None, ["- notes 1: a"]),
    "that deletes one of two": ("DELETE FROM log WHERE rowid = 1", None, ["- log hello: a"]),
    "that deletes without a key": (
        "DELETE FROM log",
        None,
        ["- log bye: a", *["- log hello: a"] * 2],
    ),
    "that replaces": ("REPLACE INTO notes VALUES (1, 'x', 'y')", None, ["+ notes 1: a"]),
    "that inserts or replaces": (
        "INSERT OR REPLACE INTO notes VALUES (1, 'x', 'y')",
        None,
        ["+ notes 1: a"],
    ),
    "with a name for rows": (
        "WITH x AS (SELECT 7 AS id) INSERT INTO notes (id) SELECT id FROM x",
        None,
        ["+ notes 7: a"],
    ),
}


@pytest.mark.parametrize("is_alone", [False, True])
@pytest.mark.parametrize(
    ("statement", "parameters", "told"), ONE_STATEMENT.values(), ids=ONE_STATEMENT
)
def test_a_row_has_the_line_of_its_statement(story, statement, parameters, told, is_alone):
    one = story()

    one.run("a", statement, parameters, autocommit=is_alone)
    if not is_alone:
        one.end(COMMIT)

    assert one.told() == told


@pytest.mark.parametrize("comment", ["-- c\n", "/* UPDATE log */ ", "\n--\r\n/*'*/--\"\n"])
@pytest.mark.parametrize(
    ("statement", "parameters", "told"), ONE_STATEMENT.values(), ids=ONE_STATEMENT
)
def test_comments_are_no_part_of_it(story, statement, parameters, told, comment):
    one = story()

    one.run("a", f"{comment}{statement} {comment}", parameters)
    one.run("0", f"{comment}INSERT INTO notes (id) VALUES (99)")
    one.run("0", f"{comment}DELETE FROM notes WHERE id = 99")
    one.run("0", f"COMMIT {comment}")

    assert one.told() == told


def test_values_that_are_others_each_time_are_no_other_rows(story):
    one = story()
    one.run("a", "INSERT INTO notes (id, text) VALUES (7, 'x')")
    one.run("b", "UPDATE notes SET text = random() WHERE id = 1")
    one.end(COMMIT)
    one.past("UPDATE notes SET made = 'another' WHERE id = 7")

    assert one.told() == ["+ notes 7: a", "+ notes 1: b"]


def test_equal_rows_without_a_key_are_counted(story):
    one = story()
    one.run("a", "INSERT INTO log VALUES ('hello')")
    one.run("b", "DELETE FROM log WHERE line = 'bye'")
    one.end(COMMIT)
    one.past("INSERT INTO log VALUES ('hello')")

    assert one.told() == [*[f"+ log hello: ? {PAST}"] * 2, "- log bye: b"]


def test_where_equal_rows_are_all_explained_another_is_not_of_an_engine(story):
    one = story()
    one.run("a", "INSERT INTO log VALUES ('hello'), ('hello')")
    one.end(COMMIT)
    one.past("DELETE FROM log WHERE line = 'bye'")

    assert one.told() == ["+ log hello: a", "+ log hello: a", "- log bye: ? "]


def test_what_was_rolled_back_wrote_nothing(story):
    one = story()
    one.run("a", "INSERT INTO notes VALUES (7, 'x', 'y')")
    one.run("a", "INSERT INTO log VALUES ('x')")
    one.end(ROLLBACK)
    one.run("b", "INSERT INTO notes VALUES (8, 'x', 'y')")
    one.run("b", "INSERT INTO pairs VALUES (7, 7, 'y')")
    one.run("b", "  rollback ;")
    one.run("c", "BEGIN")
    one.run("c", "INSERT INTO notes VALUES (9, 'x', 'y')")
    one.run("c", "COMMIT")
    one.run("d", "BEGIN")
    one.run("d", "INSERT INTO notes VALUES (10, 'x', 'y')")
    one.run("d", "END")
    one.run("e", "INSERT INTO notes VALUES (11, 'x', 'y')", on=2)
    one._connection(2).rollback()
    for key in (7, 8, 11, 12):
        one.past(f"INSERT INTO notes VALUES ({key}, 'x', 'y')")
    one.past("INSERT INTO pairs VALUES (8, 8, 'x')")

    assert one.told() == [
        f"+ notes 7: ? {ROLLED_BACK}",
        f"+ notes 8: ? {ROLLED_BACK}",
        "+ notes 9: c",
        "+ notes 10: d",
        f"+ notes 11: ? {ROLLED_BACK}",
        "+ notes 12: ? ",
        "+ pairs 8: ? ",
    ]


def test_savepoints_are_each_connections_own(story):
    one = story()
    one.run("a", "BEGIN", on=1)
    one.run("a", "SAVEPOINT x", on=1)
    one.run("a", "SELECT 1", on=1)
    one.run("b", "INSERT INTO notes (id) VALUES (6)", on=2)
    one.run("b", "SAVEPOINT x", on=2)
    one.run("b", "INSERT INTO notes (id) VALUES (7)", on=2)
    one.run("b", "SAVEPOINT y", on=2)
    one.run("c", "INSERT INTO notes (id) VALUES (8)", on=2)
    one.run("c", "ROLLBACK TO y", on=2)
    one.run("d", "INSERT INTO notes (id) VALUES (9)", on=2)
    one.end(COMMIT, on=2)
    one.run("e", "ROLLBACK TO SAVEPOINT x", on=1)
    one.run("e", "INSERT INTO notes (id) VALUES (10)", on=1)
    one.run("f", "SAVEPOINT y", on=1)
    one.run("f", "INSERT INTO notes (id) VALUES (11)", on=1)
    one.run("g", "ROLLBACK TO SAVEPOINT x", on=1)
    one.run("g", "INSERT INTO notes (id) VALUES (12)", on=1)
    one.end(COMMIT, on=1)

    assert one.told() == [
        "+ notes 6: b",
        "+ notes 7: b",
        "+ notes 9: d",
        "+ notes 12: g",
    ]


def test_lines_are_in_their_order_until_the_row_is_another(story):
    one = story()
    one.run("a", "INSERT INTO notes (id, text) VALUES (7, 'x')")
    one.run("b", "UPDATE notes SET text = 'y' WHERE id > 6")
    one.run("c", "DELETE FROM notes WHERE id IN (1, 7)")
    one.end(COMMIT)
    one.run("d", "INSERT INTO notes (id, text) VALUES (7, 'z')")
    one.run("e", "UPDATE notes SET text = 'zz' WHERE id > 6")
    one.run("e", "UPDATE notes SET text = 'u' WHERE id = 2")
    one.run("f", "DELETE FROM notes WHERE id = 2")
    one.end(COMMIT)

    assert one.told() == ["+ notes 7: d, e", "- notes 1: c", "- notes 2: f"]


def test_a_statement_that_failed_wrote_nothing(story):
    one = story()
    one.run("a", "INSERT INTO notes (id) VALUES (1)")
    one.run("b", "INSERT INTO notes (id) VALUES (7)")
    one.run("c", "INSERT INTO nowhere VALUES (1)")
    one.end(COMMIT)

    assert one.told() == ["+ notes 7: b"]


@pytest.mark.parametrize("is_first", [True, False])
def test_what_can_not_be_run_again_is_said(story, is_first):
    one = story()
    one._connection(1).create_function("shouted", 1, str.upper)
    unknown = ("b", "INSERT INTO log VALUES (shouted('x'))")
    if is_first:
        one.run(*unknown)
    one.run("a", "INSERT INTO notes (id) VALUES (7)")
    one.end(COMMIT)
    if not is_first:
        one.run(*unknown)
        one.end(COMMIT)

    why = "its SQL can't be run again: no such function: shouted"
    assert one.told() == [f"+ log X: ? {why}", f"+ notes 7: {f'? {why}' if is_first else 'a'}"]


@pytest.mark.parametrize("again", ["the same key", "the next key", "a pair"])
@pytest.mark.parametrize("taken", ["deleted", "rolled back"])
def test_a_row_that_was_taken_away_past_the_engines_is_not_its_first_writers(story, taken, again):
    one = story()
    statement = {
        "the same key": "INSERT INTO notes (id, text) VALUES (3, 'x')",
        "the next key": "INSERT INTO notes (text) VALUES ('x')",
        "a pair": "INSERT INTO pairs VALUES (3, 3, 'x')",
    }[again]
    one.run("a", statement)
    if taken == "deleted":
        one.end(COMMIT)
        one.past("DELETE FROM notes WHERE id = 3")
        one.past("DELETE FROM pairs WHERE a = 3")
    else:
        # As a cursor of the driver does.
        one._connection(1).rollback()
        one.end(COMMIT)
    one.run("b", statement)
    one.run("c", "INSERT INTO log VALUES ('c')")
    one.end(COMMIT)

    table = "pairs" if again == "a pair" else "notes"
    told = dict(line.split(": ", 1) for line in one.told())
    assert told.keys() == {f"+ {table} 3", "+ log c"}
    assert told[f"+ {table} 3"].startswith("? ")
    if again == "the next key":
        assert told["+ log c"] == "c"


def test_a_recording_that_is_not_whole_is_not_run(story):
    one = story()
    one.run("a", "INSERT INTO notes (id) VALUES (7)")
    one.end(COMMIT)
    one.recording.obstacle = "too much was executed"

    assert one.told() == ["+ notes 7: ? too much was executed"]


def test_a_row_that_others_changed_is_not_the_lines(story):
    one = story()
    one.run("a", "INSERT INTO notes (id, text) VALUES (7, 'x')")
    one.run("a", "DELETE FROM pairs")
    one.end(COMMIT)
    one.past("UPDATE notes SET text = 'y' WHERE id = 7")
    one.past("INSERT INTO log VALUES ('z')")

    assert one.told() == [
        f"+ log z: ? {PAST}",
        f"+ notes 7: ? {PAST}",
        "- pairs 1: a",
    ]


def test_a_row_that_others_took_away_makes_the_rest_doubtful(story):
    one = story()
    one.run("a", "INSERT INTO notes (id, text) VALUES (7, 'x')")
    one.end(COMMIT)
    one.past("DELETE FROM notes WHERE id = 7")
    one.past("UPDATE notes SET text = 'z' WHERE id = 1")

    assert one.told() == [f"+ notes 1: ? {PAST}"]


def test_a_row_that_is_as_it_was_makes_nothing_doubtful(story):
    one = story()
    one.run("a", "UPDATE notes SET text = 'x' WHERE id = 1")
    one.run("a", "UPDATE notes SET text = 'one' WHERE id = 1")
    one.run("a", "UPDATE notes SET text = 'x' WHERE id = 2")
    one.end(COMMIT)
    one.past("INSERT INTO log VALUES ('z')")

    assert one.told() == ["+ log z: ? ", "+ notes 2: a"]


FOLLOWING = """
    CREATE TABLE parents (id INTEGER PRIMARY KEY, above INTEGER REFERENCES parents (id) {own});
    CREATE TABLE Children (id INTEGER PRIMARY KEY,
        parent INTEGER DEFAULT 1 REFERENCES Parents (id) {other});
    CREATE TABLE others (id INTEGER PRIMARY KEY);
    INSERT INTO parents VALUES (1, NULL), (2, NULL), (3, 2);
    INSERT INTO children VALUES (1, 2), (2, 1);
    INSERT INTO others VALUES (2);
    {trigger}
"""
DELETING = "CREATE TRIGGER gone AFTER DELETE ON parents BEGIN DELETE FROM {} WHERE id = {}; END;"
WAYS = {
    "a cascade to another table": (
        "",
        "ON DELETE CASCADE",
        "",
        ["- Children 1: a cascade after a"],
    ),
    "one that empties": ("", "ON DELETE SET NULL", "", ["+ Children 1: a cascade after a"]),
    "one that has a default": (
        "",
        "ON DELETE SET DEFAULT",
        "",
        ["+ Children 1: a cascade after a"],
    ),
    "a trigger": ("", "", DELETING.format("others", "OLD.id"), ["- others 2: a trigger after a"]),
    "a trigger or a cascade": (
        "",
        "ON DELETE CASCADE",
        DELETING.format("others", "OLD.id"),
        ["- Children 1: a trigger or a cascade after a", "- others 2: a trigger after a"],
    ),
    "a cascade within the table": (
        "ON DELETE CASCADE",
        "",
        "",
        ["- parents 2: perhaps a cascade after a", "- parents 3: perhaps a cascade after a"],
    ),
    "a trigger within the table": (
        "ON DELETE CASCADE",
        "",
        DELETING.format("parents", "OLD.id + 1"),
        ["- parents 2: perhaps a trigger after a", "- parents 3: perhaps a trigger after a"],
    ),
}


@pytest.mark.parametrize(("own", "other", "trigger", "told"), WAYS.values(), ids=WAYS)
def test_what_a_schema_writes_is_told_as_that(story, own, other, trigger, told):
    one = story(FOLLOWING.format(own=own, other=other, trigger=trigger))
    one.past("UPDATE parents SET above = NULL") if not own else None
    one.past("UPDATE children SET parent = NULL") if not other else None
    shutil.copy(one.after, one.before)

    one.run("a", "DELETE FROM parents WHERE id = 2")
    one.end(COMMIT)

    rows = [line for line in one.told() if line != "- parents 2: a"]
    assert rows == told


def test_a_flushed_object_has_the_line_that_added_it(story):
    one = story()
    flush = Flush("pairs", {(("a", 2), ("b", 3)): "adding"})
    one.run("a", "INSERT INTO pairs VALUES (2, 3, 'x')", flush=flush)
    one.run("b", "INSERT INTO pairs VALUES (2, 4, 'x')", flush=flush)
    one.run("c", "INSERT INTO log VALUES ('x')", flush=flush)
    flush = Flush("notes", {(("id", 7),): "adding", (("id", 8),): "both", (("id", 1),): "never"})
    one.run("d", "INSERT INTO notes (id) VALUES (7)", flush=flush)
    one.run("e", "INSERT INTO notes (id) VALUES (?)", [(8,), (9,)], flush=flush)
    one.run("f", "UPDATE notes SET text = 'x' WHERE id = 1", flush=flush)
    one.end(COMMIT)

    assert one.told() == [
        "+ log x: c",
        "+ notes 7: d of adding",
        "+ notes 8: e of both",
        "+ notes 9: e",
        "+ notes 1: f",
        "+ pairs 2: a of adding",
        "+ pairs 2: b",
    ]


def test_what_a_trigger_writes_for_an_object_nobody_added(story):
    one = story(
        TABLES + "CREATE TRIGGER x AFTER INSERT ON notes BEGIN "
        "INSERT INTO pairs VALUES (NEW.id, 1, 'x'); END;"
    )
    flush = Flush("pairs", {(("a", 7), ("b", 1)): "adding"})
    one.run("a", "INSERT INTO notes (id) VALUES (7)", flush=flush)
    one.end(COMMIT)

    assert one.told() == ["+ notes 7: a", "+ pairs 7: a trigger after a"]


def test_a_schema_that_changes_meanwhile_is_looked_at_anew(story):
    one = story()
    one.run("a", "INSERT INTO notes (id) VALUES (7)")
    one.end(COMMIT)
    one.run(
        "b", "CREATE TRIGGER x AFTER INSERT ON notes BEGIN INSERT INTO log VALUES (NEW.id); END"
    )
    one.run("c", "INSERT INTO notes (id) VALUES (8)")
    one.end(COMMIT)

    assert one.told() == ["+ log 8: a trigger after c", "+ notes 7: a", "+ notes 8: c"]


def test_foreign_keys_are_enforced_where_they_were(story):
    setup = FOLLOWING.format(own="", other="ON DELETE CASCADE", trigger="")
    one = story(setup.replace("(3, 2)", "(3, NULL)"))
    one.run("a", "DELETE FROM parents WHERE id = 2")
    one.end(COMMIT)

    assert one.told(foreign_keys=True) == ["- Children 1: a cascade after a", "- parents 2: a"]
    assert one.told(foreign_keys=False) == ["- Children 1: ? ", "- parents 2: a"]


def test_connections_write_one_after_the_other(story):
    one = story()
    one.run("a", "INSERT INTO notes (id) VALUES (7)", on=1)
    one.end(COMMIT, on=1)
    one.run("b", "UPDATE notes SET text = 'x' WHERE id IN (1, 7)", on=2)
    one.end(COMMIT, on=2)
    one.run("c", "UPDATE notes SET text = 'y' WHERE id IN (1, 7)", on=1)
    one.end(ROLLBACK, on=1)
    one.run("d", "UPDATE notes SET text = 'z' WHERE id = 1", on=1)
    one.end(COMMIT, on=1)

    assert one.told() == ["+ notes 7: a, b", "+ notes 1: b, d"]


@pytest.mark.parametrize(("count", "is_known"), [(49_999, True), (50_000, True), (50_001, False)])
def test_more_rows_than_anybody_waits_for_are_not_read(story, count, is_known):
    one = story("CREATE TABLE many (id INTEGER PRIMARY KEY)")
    rows = f"WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {count})"
    one.past(f"INSERT INTO many {rows} SELECT i FROM n")
    shutil.copy(one.after, one.before)
    one.run("a", "UPDATE many SET id = 0 WHERE id = 1")
    one.end(COMMIT)

    if is_known:
        assert one.told() == ["+ many 0: a", "- many 1: a"]
    else:
        with pytest.raises(
            writers.TooMuch, match=r"^running .* would read more than 200,000 rows$"
        ):
            one.told()


def test_what_was_too_much_is_said_of_each_row(story):
    one = story("CREATE TABLE many (id INTEGER PRIMARY KEY)")
    rows = "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 66670)"
    one.past(f"INSERT INTO many {rows} SELECT i FROM n")
    shutil.copy(one.after, one.before)
    one.run("a", "UPDATE many SET id = 0 WHERE id = 1")
    one.end(COMMIT)

    why = "running its SQL again would read more than 200,000 rows"
    assert one.told() == [f"+ many 0: ? {why}", f"- many 1: ? {why}"]


def test_what_is_no_sql_of_the_tests_is_not_run_again(story):
    one = story()
    other = one.folder / "other.db"
    one.run("a", f"ATTACH '{other}' AS other")
    other.unlink(missing_ok=True)
    one.run("b", "INSERT INTO notes (id) VALUES (7)")
    one.end(COMMIT)

    assert one.told() == ["+ notes 7: b"]
    assert not other.exists()


def test_a_table_of_later_has_rows_later(story):
    one = story()
    one.past("CREATE TABLE later (id INTEGER PRIMARY KEY)")
    shutil.copy(one.after, one.before)
    one.run("a", "DROP TABLE later")
    one.run("b", "CREATE TABLE later (id INTEGER PRIMARY KEY, text TEXT)")
    one.run("c", "INSERT INTO later VALUES (1, 'x')")
    one.end(COMMIT)

    assert one.told() == ["+ later 1: c"]


class TestALimit:
    """Running the SQL again ends when its time is over, by a clock that is given."""

    @pytest.fixture
    def one(self, story):
        one = story()
        one.run("a", "INSERT INTO notes (id) VALUES (7)")
        one.end(COMMIT)
        one.run("b", "SELECT 1")
        one.run("c", "INSERT INTO sizes (id) VALUES (8)")
        one.end(COMMIT)
        return one

    @pytest.mark.parametrize(
        ("seconds", "notes", "sizes"),
        [
            (3, "a", "c"),
            (2, "a", "? running its SQL again takes too long"),
            (0, *["? running its SQL again takes too long"] * 2),
        ],
    )
    def test_the_rest_is_not_known(self, one, seconds, notes, sizes):
        limit = writers.Limit(itertools.count(1).__next__, seconds)

        assert one.told(limit=limit) == [f"+ notes 7: {notes}", f"+ sizes 8: {sizes}"]

    def test_a_row_that_the_rest_may_have_written_too_is_not_known(self, one):
        one.run("d", "DELETE FROM notes WHERE id = 7")
        one.run("e", "INSERT INTO notes (id) VALUES (7)")
        one.end(COMMIT)
        why = "? running its SQL again takes too long"
        limit = writers.Limit(itertools.count(1).__next__, 3)

        assert one.told(limit=limit) == [f"+ notes 7: {why}", "+ sizes 8: c"]
        assert one.told() == ["+ notes 7: e", "+ sizes 8: c"]

    @pytest.mark.parametrize("error", [KeyboardInterrupt, TimeoutError])
    def test_what_is_no_databases_is_passed_on(self, one, error):
        def clock():
            raise error

        with pytest.raises(error):
            one.told(limit=writers.Limit(clock, 1, (KeyboardInterrupt, TimeoutError)))
