"""Programs that write to a database, of which it is known which line wrote each row."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

# How many rows of a kind a report shows.
_ROWS = 5


@dataclass
class Program:
    """A generated test, and who wrote each customer: the names of the functions, or None.

    A function has one line that writes. Where another function added a customer, ``adders`` has it.
    """

    name: str
    functions: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    writers: dict[int, str | None] = field(default_factory=dict)
    adders: dict[int, str] = field(default_factory=dict)

    def text(self, *, is_async: bool) -> str:
        """The functions, and the test that calls them and fails."""
        word = "async def" if is_async else "def"
        marker = "@pytest.mark.asyncio\n" if is_async else ""
        fixture = "async_db_session" if is_async else "db_session"
        body = "".join(f"    {call}\n" for call in self.calls)
        return (
            "\n\n".join(self.functions)
            + f"\n\n\n{marker}{word} test_{self.name}({fixture}, db_clone):\n"
            + f"    session = {fixture}\n{body}    assert False\n"
        )


class Generator:
    """Makes programs; the same seed makes the same."""

    def __init__(self, seed: int, *, is_async: bool):
        self._random = random.Random(seed)
        self._is_async = is_async
        self._seed = seed
        # A shop has its first customer from a migration; there are no notes.
        self._table, self._column, self._model = (
            ("notes", "text", "Note") if is_async else ("customers", "name", "Customer")
        )

    def program(self) -> Program:
        """A program of some transactions."""
        made = Program(f"program_{self._seed}")
        self._made = made
        # What is committed, and what the session has done since: who wrote a customer last.
        self._there: dict[int, str | None] = {} if self._is_async else {1: None}
        self._adders: dict[int, str] = {}
        self._next = 10
        for _ in range(self._random.randint(2, 5)):
            self._transaction()
        made.writers = {key: who for key, who in self._there.items() if who or key != 1}
        made.adders = self._adders
        return made

    def _transaction(self) -> None:
        before = dict(self._there)
        for _ in range(self._random.randint(1, 3)):
            self._random.choice(
                [
                    self._add,
                    self._add,
                    self._add_later,
                    self._many,
                    self._change,
                    self._change,
                    self._remove,
                    self._nested,
                ]
            )()
        if self._random.random() < 0.25:
            self._call("session.rollback()")
            self._there = before
        else:
            self._call("session.commit()")
            if self._random.random() < 0.3:
                self._raw()

    def _function(self, line: str) -> str:
        name = f"w{self._seed}_{len(self._made.functions)}"
        word, wait = ("async def", "await ") if self._is_async else ("def", "")
        line = line.replace("WAIT ", wait)
        self._made.functions.append(f"{word} {name}(session):\n    {line}")
        self._made.calls.append(f"{wait}{name}(session)")
        return name

    def _call(self, line: str) -> None:
        self._made.calls.append(("await " if self._is_async else "") + line)

    def _is_full(self) -> bool:
        return len(self._there) > _ROWS - 2

    def _key(self) -> int:
        self._next += 1
        return self._next

    def _execute(self, statement: str) -> str:
        return self._function(f'WAIT session.execute(text("{statement}"))')

    def _add(self) -> None:
        if not self._is_full():
            key = self._key()
            statement = f"INSERT INTO {self._table} (id, {self._column}) VALUES ({key}, 'n{key}')"
            self._there[key] = self._execute(statement)

    def _add_later(self) -> None:
        if not self._is_full():
            # One of them is a statement for itself, and two are one with many rows.
            keys = [self._key() for _ in range(self._random.randint(1, 2))]
            for key in keys:
                self._adders[key] = self._function(
                    f"session.add({self._model}(id={key}, {self._column}='n{key}'))"
                )
            self._there.update(dict.fromkeys(keys, self._function("WAIT session.flush()")))

    def _many(self) -> None:
        if len(self._there) < _ROWS - 1:
            keys = [self._key(), self._key()]
            rows = [{"id": key, self._column: f"n{key}"} for key in keys]
            name = self._function(f"WAIT session.execute(insert({self._model}), {rows})")
            self._there.update(dict.fromkeys(keys, name))

    def _change(self) -> None:
        keys = [key for key in self._there if key < 100]
        if keys:
            key = self._random.choice(keys)
            value = f"c{self._key()}"
            self._there[key] = self._execute(
                f"UPDATE {self._table} SET {self._column} = '{value}' WHERE id = {key}"
            )

    def _remove(self) -> None:
        keys = [key for key in self._there if 1 < key < 100]
        if keys:
            key = self._random.choice(keys)
            self._execute(f"DELETE FROM {self._table} WHERE id = {key}")
            del self._there[key]

    def _nested(self) -> None:
        key = self._key()
        statement = f"INSERT INTO {self._table} (id, {self._column}) VALUES ({key}, 'n{key}')"
        name = f"savepoint_{key}"
        self._call(f"session.execute(text('SAVEPOINT {name}'))")
        self._execute(statement)
        self._call(f"session.execute(text('ROLLBACK TO SAVEPOINT {name}'))")

    def _raw(self) -> None:
        if not self._is_full():
            key = 100 + self._key()
            self._made.calls.append(f"raw(db_clone, {key})")
            self._there[key] = None
