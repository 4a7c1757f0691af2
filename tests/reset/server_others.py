"""Who else is at work on the server while the campaign runs, and who comes from outside."""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import sys

import psycopg

from alembic_snapshot.postgres.database import ServerDatabase
from alembic_snapshot.postgres.server import Server

_CHILD = """
import sys, psycopg
connection = psycopg.connect(sys.argv[1], autocommit=True)
for line in sys.stdin:
    try:
        connection.execute(line)
        print("done", flush=True)
    except psycopg.Error as error:
        print(str(error).partition(chr(10))[0], flush=True)
"""


class Neighbour:
    """Another project's database on the same server, in which much happens."""

    def __init__(self, server: Server, name: str):
        self._database = ServerDatabase(server, name)
        self._database.start(None)
        self._numbers = itertools.count()
        self._connection = server.connect(name)
        self._server = server.connect()
        self._connection.execute("CREATE TABLE own (id serial PRIMARY KEY, what text)")

    def work(self) -> None:
        """All that would not do in the campaign's own database."""
        number = next(self._numbers)
        self._connection.execute("INSERT INTO own (what) VALUES ('of the neighbour')")
        self._connection.execute(f"CREATE TABLE other_{number} AS SELECT * FROM own")
        self._connection.execute("SELECT lo_from_bytea(0, 'x')")
        self._connection.execute("BEGIN")
        self._connection.execute("INSERT INTO own (what) VALUES ('in two phases')")
        self._connection.execute(f"PREPARE TRANSACTION '{self._database.name}'")
        self._connection.execute(f"ROLLBACK PREPARED '{self._database.name}'")
        self._connection.execute("VACUUM FULL pg_class")
        self._connection.execute("TRUNCATE own")
        self._server.execute(f"ALTER DATABASE {self._database.name} SET work_mem = '9MB'")

    def roll_back_prepared(self, database: str) -> None:
        """Let the database of a campaign be dropped."""
        query = "SELECT gid FROM pg_prepared_xacts WHERE database = %s"
        found = self._server.execute(query, (database,)).fetchall()
        if not found:
            return
        url = self._database.server.address(database).replace("+psycopg", "")
        with contextlib.suppress(psycopg.Error), psycopg.connect(url, autocommit=True) as own:
            for (gid,) in found:
                own.execute(f"ROLLBACK PREPARED '{gid}'")

    def close(self) -> None:
        """Drop it."""
        self._connection.close()
        self._server.close()
        self._database.remove()


class Outsider:
    """A process of its own that is connected, and works as it is told."""

    def __init__(self, url: str):
        self._process = subprocess.Popen(
            [sys.executable, "-c", _CHILD, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, statement: str) -> str:
        """Have a statement executed; what came of it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(statement, file=self._process.stdin, flush=True)
        return self._process.stdout.readline()

    def close(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
