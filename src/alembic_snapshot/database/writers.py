"""Who wrote each row of a difference: the recorded SQL is run again, and watched.

A line is named only where that gives the very row. What the SQL does not give was written in
another way, and what can't be run again is not known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from alembic_snapshot.database.diff import Diff, Row, TableDiff, has_key
from alembic_snapshot.database.recording import (
    COMMIT,
    EXECUTE,
    FAILED,
    Recording,
    Step,
)
from alembic_snapshot.database.statements import (
    BACK,
    BEGIN,
    END,
    MAKING,
    NAMED,
    NEW,
    OF_THE_MOMENT,
    SAVEPOINT,
    SCHEMA,
    TARGET,
    beginning,
    heading,
    is_beside,
    is_reading,
    plain,
)
from alembic_snapshot.project.callsite import Writer

_ELSE = "its SQL gives other rows when it runs again"
# Rows that are read while statements run again: more would take longer than anybody waits.
MOST_ROWS = 200_000


class Replay(Protocol):
    """A copy of what a clone began with, on which its SQL can be run again."""

    def connection(self, number: int, *, autocommit: bool) -> Any:
        """The connection of that number."""

    def runs(self, statement: str) -> bool:
        """Whether a statement, from its first word on, is one that is run again."""

    def execute(self, connection: Any, step: Step) -> int:
        """Run a statement; how many rows it says that it wrote, -1 if it does not say.

        Raises:
            Exception: the driver's own.
        """

    def end(self, connection: Any, *, commit: bool) -> None:
        """End the connection's transaction."""

    def rows(self, connection: Any, table: TableDiff, above: Any = None) -> Sequence[Row]:
        """A table's rows, as the connection sees them and the difference has them.

        Those ``above`` a key alone, if that is given.
        """

    def newest(self, connection: Any, table: TableDiff) -> Any:
        """The greatest key of a table with a key of one column, as the connection sees it."""

    def content(self, connection: Any, name: str) -> Hashable:
        """Something that is another one where the rows of a table are; ``name`` is as in SQL.

        None if it is no table, or if a name means one table wherever it is used.
        """

    def relations(self, connection: Any) -> Relations:
        """What in the schema writes rows by itself, as the connection sees it."""

    def close(self) -> None:
        """Close, and delete the copy."""


@dataclass
class Relations:
    """What in a schema writes rows by itself, by table: all names in lower case, without quotes.

    ``cascades`` are the tables whose rows follow another's, ``triggered`` the tables with triggers,
    ``ruled`` those with rules, ``generated`` the columns whose default is another one each time,
    and ``views`` the views with the tables that what is written to them goes to.
    """

    cascades: set[tuple[str, str]] = field(default_factory=set)
    triggered: set[str] = field(default_factory=set)
    ruled: set[str] = field(default_factory=set)
    generated: set[tuple[str, str]] = field(default_factory=set)
    views: set[tuple[str, str]] = field(default_factory=set)


class Limit(NamedTuple):
    """Until when SQL is run again, by that clock, and which exceptions are no database's."""

    clock: Callable[[], float]
    end: float
    passed_on: tuple[type[BaseException], ...] = (KeyboardInterrupt,)

    def check(self) -> None:
        """See that there is time left.

        Raises:
            TooMuch: there is none.
        """
        if self.clock() > self.end:
            raise TooMuch("running its SQL again takes too long")


class Note(NamedTuple):
    """Who wrote a row, and how, if not by itself.

    Whether its SQL gives other values each time, and whether it deleted the row. ``added`` is the
    line that added the object which was flushed there.
    """

    writer: Writer | None
    how: str
    is_of_the_moment: bool
    is_end: bool
    added: Writer | None = None


Rows = dict[Hashable, Any]
UNLIMITED = Limit(float, 0.0)


class Written:
    """What running the SQL again gave: who wrote which rows, and what they are in the end."""

    def __init__(self, diff: Diff, recording: Recording, replay: Replay, limit: Limit = UNLIMITED):
        self.obstacle = recording.obstacle
        self._limit = limit
        self._tables = {table.name: table for table in diff.tables if not table.unknown}
        self._by_name: dict[str, list[TableDiff]] = {}
        for name, table in self._tables.items():
            self._by_name.setdefault(plain(name), []).append(table)
        listed = Counter(table.name for table, _, _ in every_row(diff))
        # Those of which the difference has each row that differs.
        self._whole = {n for n, table in self._tables.items() if sum(table.counts) == listed[n]}
        self._replay = replay
        self._relations: Relations | None = None
        self._notes: dict[tuple[str, Hashable], list[Note]] = {}
        self._pending: dict[int, list[tuple[str, Hashable, Note]]] = {}
        self._savepoints: dict[tuple[int, str], int] = {}
        self._undone: set[tuple[str, Hashable]] = set()
        # In these, what the SQL gave may be another statement's: who wrote it is not told.
        self._astray: set[str] = set()
        self._left_out: str | None = None
        # What is in tables that are no part of the difference, and were written to.
        self._beside: dict[str, Hashable] = {}
        self._seen: tuple[int, Mapping[str, Rows]] | None = None
        self._read = 0
        self._first = self._look(replay.connection(-1, autocommit=True))
        if self.obstacle is None:
            self._run(recording.steps)
        for number in list(self._pending):
            self._end(number, commit=False)
        self._final = self._look(replay.connection(-1, autocommit=True))
        self._related(-1)
        others = list(self._other(diff))
        self._astray |= {name for name, is_another in others if is_another}
        self._is_astray = bool(others) or self._goes_beside()

    def of(self, table: TableDiff, row: Row, *, is_gone: bool) -> list[Note] | str:
        """Who wrote a row of the difference, one after the other; or why that is not known.

        The reason is empty where the SQL explains everything but rows that it never touched.
        """
        notes = self._notes.get((table.name, _key(table, row)), [])
        is_given = notes and self._gives(table, row, notes, is_gone=is_gone)
        if is_given and table.name not in self._astray:
            return notes[-1:] if is_gone else notes
        if self.obstacle is not None:
            return self.obstacle
        if (table.name, _key(table, row)) in self._undone:
            return "what wrote it seems to have been rolled back"
        if self._left_out is not None:
            return self._left_out
        return _ELSE if self._is_astray else ""

    def _gives(self, table: TableDiff, row: Row, notes: Sequence[Note], *, is_gone: bool) -> bool:
        """Whether running the SQL again gave that row, or took it away."""
        if not table.key:
            sign, listed = (-1, table.removed) if is_gone else (1, table.added)
            key = _key(table, row)
            before, after = (one[table.name].get(key, 0) for one in (self._first, self._final))
            more: int = sign * (after - before)
            return more >= [_key(table, one) for one in listed].count(key)
        now = self._final[table.name].get(_key(table, row))
        if is_gone or now is None:
            return is_gone and now is None
        if notes[-1].is_of_the_moment:
            return True
        name, generated = plain(table.name), self._related(-1).generated
        return all(
            one == other or (name, column.lower()) in generated
            for column, one, other in zip(table.columns, now, row, strict=True)
        )

    def _other(self, diff: Diff) -> Iterator[tuple[str, bool]]:
        """The tables in which running the SQL again gave something else than the difference has.

        With whether it is another row there, and not only one row less: such a row may have the
        key that another statement's has.
        """
        given = {
            (table.name, _key(table, row)): (table, row, is_gone)
            for table, row, is_gone in every_row(diff)
        }
        for (name, key), notes in self._notes.items():
            if (name, key) not in given:
                if _differ(self._first[name], self._final[name], key):
                    yield name, name in self._whole
            elif not self._gives(*given[name, key][:2], notes, is_gone=given[name, key][2]):
                yield name, bool(self._tables[name].key)

    def _goes_beside(self) -> bool:
        """Whether something was written where the difference has nothing, or not all of it."""
        if len(self._whole) < len(self._tables):
            return True
        connection = self._replay.connection(-1, autocommit=True)
        return any(
            self._replay.content(connection, name) != before
            for name, before in self._beside.items()
        )

    def _run(self, steps: Sequence[Step]) -> None:
        for number, step in enumerate(steps):
            if step.kind in (EXECUTE, FAILED):
                try:
                    self._limit.check()
                    self._execute(step)
                except TooMuch as reason:
                    self.obstacle = str(reason)
                    self._leave(steps[number:])
                    return
                except self._limit.passed_on:
                    raise
                except Exception as error:
                    self._seen = None
                    if step.kind == EXECUTE and self._left_out is not None:
                        # It needs what that made, and what was written before is what it was.
                        self.obstacle = self._left_out
                        self._leave(steps[number:])
                        return
                    if step.kind == EXECUTE:
                        first = str(error).partition("\n")[0]
                        self.obstacle = f"its SQL can't be run again: {first}"
                        self._astray |= self._named_in(beginning(step.statement))
                        return
            else:
                self._end(step.connection, commit=step.kind == COMMIT)

    def _execute(self, step: Step) -> None:
        number, statement = step.connection, beginning(step.statement)
        connection = self._replay.connection(number, autocommit=step.is_autocommit)
        end = END.match(statement)
        if end:
            self._end(number, commit=end[1].upper() != "ROLLBACK")
            return
        savepoint, back = SAVEPOINT.match(statement), BACK.match(statement)
        is_watched = not (savepoint or back or BEGIN.match(statement) or is_reading(statement))
        if is_watched:
            self._note_beside(statement)
        before = self._before(number, connection) if is_watched else {}
        table = self._inserted_into(step, statement) if is_watched else None
        above = self._replay.newest(connection, table) if table else None
        count = -1
        if self._replay.runs(statement):
            count = self._replay.execute(connection, step)
        elif step.kind == EXECUTE and not is_beside(statement):
            self._left_out = self._left_out or f"its {heading(statement)} is not run again"
        if SCHEMA.match(statement):
            self._relations = None
        pending = self._pending.setdefault(number, [])
        if savepoint:
            self._savepoints[number, savepoint[1]] = len(pending)
        elif back:
            del pending[self._savepoints.get((number, back[1]), 0) :]
            self._seen = None
        if not is_watched:
            return
        new = self._new(connection, table, above, count) if table and above is not None else None
        if table and new is not None:
            pending += [
                (table.name, key, Note(step.writer, "", False, False, _added(step, table, key)))
                for key in new
            ]
            before[table.name].update(new)
            self._seen = number, before
        else:
            after = self._look(connection)
            pending += self._changes(step, before, after, count)
            self._seen = number, after
        if step.is_autocommit:
            self._end(number, commit=True, is_done=True)

    def _leave(self, steps: Sequence[Step]) -> None:
        """Leave out the rest, which may have written the very rows that are there already."""
        for step in steps:
            statement = beginning(step.statement)
            if step.kind == EXECUTE and not (is_beside(statement) or MAKING.match(statement)):
                self._astray |= self._named_in(statement)

    def _named_in(self, statement: str) -> set[str]:
        """The tables of the difference that a statement names as its target; all if it names none.

        Where it can't be run again although it could once, they are not what they were then.
        """
        target = TARGET.match(statement)
        if target is None:
            return set(self._tables)
        return {table.name for table in self._by_name.get(plain(target[1]), ())}

    def _note_beside(self, statement: str) -> None:
        """Note what is in a table that is going to be written to, and that is as it was."""
        target = TARGET.match(statement)
        if target is None or plain(target[1]) in self._by_name or target[1] in self._beside:
            return
        content = self._replay.content(self._replay.connection(-1, autocommit=True), target[1])
        if content is not None:
            self._beside[target[1]] = content

    def _before(self, number: int, connection: Any) -> Mapping[str, Rows]:
        if self._seen is not None and self._seen[0] == number:
            return self._seen[1]
        return self._look(connection)

    def _end(self, number: int, *, commit: bool, is_done: bool = False) -> None:
        if not is_done:
            self._replay.end(self._replay.connection(number, autocommit=False), commit=commit)
        pending = self._pending.pop(number, [])
        if commit:
            for table, key, note in pending:
                notes = self._notes.setdefault((table, key), [])
                if notes and notes[-1].is_end:
                    # The row of that key is another one since.
                    notes.clear()
                notes.append(note)
        else:
            self._seen = None
            self._undone |= {(table, key) for table, key, _ in pending}

    def _inserted_into(self, step: Step, statement: str) -> TableDiff | None:
        """The table with a key of one column to which a statement adds rows, and does no more."""
        target = TARGET.match(statement)
        if step.is_many or target is None or not NEW.match(NAMED.sub("?", statement)):
            return None
        name = plain(target[1])
        found = next(iter(self._by_name.get(name, ())), None)
        if found is None or len(found.key) != 1:
            return None
        relations = self._related(step.connection)
        return None if name in relations.triggered | relations.ruled else found

    def _new(self, connection: Any, table: TableDiff, above: Any, count: int) -> Rows | None:
        """The rows that were added, if all of them are above that key."""
        rows = self._replay.rows(connection, table, above)
        if len(rows) != count:
            return None
        self._count(len(rows))
        return {_key(table, row): row for row in rows}

    def _count(self, read: int) -> None:
        self._read += read
        if self._read > MOST_ROWS and self.obstacle is None:
            raise TooMuch(f"running its SQL again would read more than {MOST_ROWS:,} rows")

    def _look(self, connection: Any) -> dict[str, Rows]:
        found: dict[str, Rows] = {}
        for name, table in self._tables.items():
            rows = self._replay.rows(connection, table)
            self._count(len(rows))
            keys = [(_key(table, row), row) for row in rows]
            found[name] = dict(keys) if table.key else dict(Counter(key for key, _ in keys))
        return found

    def _changes(
        self, step: Step, before: Mapping[str, Rows], after: Mapping[str, Rows], count: int
    ) -> Iterator[tuple[str, Hashable, Note]]:
        target = TARGET.match(beginning(step.statement))
        aim = plain(target[1]) if target else None
        is_moment = bool(OF_THE_MOMENT.search(step.statement))
        for name in self._tables:
            old, new = before[name], after[name]
            keys = [key for key in old.keys() | new.keys() if _differ(old, new, key)]
            how = self._how(step.connection, aim, plain(name), is_more=0 <= count < len(keys))
            for key in keys:
                added = None if how or key in old else _added(step, self._tables[name], key)
                yield name, key, Note(step.writer, how, is_moment, key not in new, added)

    def _related(self, number: int) -> Relations:
        if self._relations is None:
            connection = self._replay.connection(number, autocommit=False)
            self._relations = self._replay.relations(connection)
        return self._relations

    def _how(self, number: int, aim: str | None, table: str, *, is_more: bool) -> str:
        """How a statement on one table came to write to another, or to more rows than it says."""
        if aim is not None and table.endswith(f".{aim}"):
            # By the path along which the database looks for a name.
            aim = table
        if aim is None or (aim == table and not is_more):
            return ""
        related = self._related(number)
        if (aim, table) in related.views and aim not in related.triggered | related.ruled:
            return ""
        is_cascade = (table, aim) in related.cascades
        is_trigger = aim in related.triggered
        if aim == table:
            if not (is_cascade or is_trigger):
                return ""
            return "perhaps " + ("a cascade" if not is_trigger else "a trigger")
        if aim in related.ruled and not (is_cascade or is_trigger):
            return "a rule"
        if is_cascade == is_trigger:
            return "a trigger or a cascade"
        return "a cascade" if is_cascade else "a trigger"


class TooMuch(Exception):
    """It would take too long to find out."""


def every_row(diff: Diff) -> Iterator[tuple[TableDiff, Row, bool]]:
    """The rows of a difference, and whether each is gone; of a changed one, as it is now."""
    for table in diff.tables:
        yield from ((table, row, False) for row in table.added)
        yield from ((table, row, True) for row in table.removed)
        yield from ((table, after, False) for _, after in table.changed)


def _added(step: Step, table: TableDiff, key: Any) -> Writer | None:
    """The line that added the object of a new row."""
    names = [table.columns[index] for index in table.key]
    if step.flush is None or not names or len(key) != len(names):
        return None
    return step.flush.line(plain(table.name), dict(zip(names, key, strict=True)))


def _key(table: TableDiff, row: Row) -> Hashable:
    if has_key(row, table.key):
        return tuple(row[index] for index in table.key)
    return _exact(row)


def _differ(before: Rows, after: Rows, key: Hashable) -> bool:
    old, new = before.get(key), after.get(key)
    if isinstance(old, tuple) and isinstance(new, tuple):
        return _exact(old) != _exact(new)
    return bool(old != new)


def _exact(row: Row) -> tuple[tuple[bool, Any], ...]:
    """A row in which 1 and 1.0 are not the same."""
    return tuple((isinstance(value, float), value) for value in row)
