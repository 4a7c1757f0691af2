"""Who else uses a database while it is worked on: another process, a thread that reads."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from pathlib import Path


class Difference(AssertionError):
    """A round after which the database was not what its snapshot is."""


class Child:
    """Another process with a connection of its own; ``ask`` waits for it, ``tell`` does not."""

    _PROGRAM = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=0)
def read_on():
    print("reads", flush=True)
    while True:
        try:
            connection.execute("BEGIN")
            query = "SELECT count(*), sum(id), max(name) FROM plain"
            seen = {connection.execute(query).fetchone() for _ in range(2)}
            connection.execute("COMMIT")
            if len(seen) > 1:
                print("torn: a transaction saw", *seen, flush=True)
        except sqlite3.OperationalError as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.DatabaseError as error:
            print("torn:", error, flush=True)
for line in sys.stdin:
    try:
        connection.execute("PRAGMA synchronous=OFF")
        if line == "churn\\n":
            while True:
                connection.execute("INSERT INTO plain (name) VALUES (hex(randomblob(200)))")
        if line == "read\\n":
            read_on()
        rows = connection.execute(line)
        if not line.startswith("SELECT"):
            rows.fetchall()
        else:
            rows.fetchone()
    except sqlite3.Error as error:
        pass
    print("done", flush=True)
"""

    def __init__(self, path: Path):
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-c", self._PROGRAM, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, statement: str) -> None:
        """Have a statement executed."""
        assert self._process.stdout
        self.tell(statement)
        self._process.stdout.readline()

    def tell(self, statement: str) -> None:
        """Have a statement executed without waiting for its end."""
        assert self._process.stdin
        self._process.stdin.write(statement + "\n")
        self._process.stdin.flush()

    def kill(self, *, damage_is_known: bool = False) -> None:
        """SIGKILL, wherever it is.

        Raises:
            Difference: it had read something that was neither before nor after, or found a
                damaged file where none was to be found.
        """
        assert self._process.stdin
        assert self._process.stdout
        self._process.kill()
        self._process.wait()
        said = self._process.stdout.read()
        for stream in (self._process.stdin, self._process.stdout):
            stream.close()
        _judge("child", [line for line in said.splitlines() if "torn" in line], damage_is_known)


class Reader:
    """A thread that reads again and again, until it is told to stop."""

    def __init__(self, connection: sqlite3.Connection):
        self._connection = connection
        self._over = threading.Event()
        self._torn: list[str] = []
        self._thread = threading.Thread(target=self._read_on)
        self._thread.start()

    def kill(self, *, damage_is_known: bool = False) -> None:
        """Stop.

        Raises:
            Difference: it had read something that was neither before nor after, or found a
                damaged file where none was to be found.
        """
        self._over.set()
        self._thread.join()
        self._connection.close()
        _judge("thread", self._torn, damage_is_known)

    def _read_on(self) -> None:
        while not self._over.wait(0.0001):
            try:
                self._connection.execute("BEGIN")
                query = "SELECT count(*), sum(id), max(name) FROM plain"
                seen = {self._connection.execute(query).fetchone() for _ in range(2)}
                self._connection.execute("COMMIT")
                if len(seen) > 1:
                    self._torn.append(str(seen))
            except sqlite3.OperationalError:
                self._connection.rollback()
            except sqlite3.DatabaseError as error:
                self._torn.append(str(error))


def _judge(who: str, torn: list[str], damage_is_known: bool) -> None:
    seen = [each for each in torn if not (damage_is_known and "malformed" in each)]
    if seen:
        raise Difference(f"a {who} read what never was: {seen[0]} ({len(seen)} times)")
