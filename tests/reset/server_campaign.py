"""Random work on a database on a server, and the proof after each round that it was put back.

Connections live from round to round, as an application's do: each is what the library keeps, or
it is closed. The seed repeats what a round did.
"""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import Mapping
from typing import Any

import psycopg

from alembic_snapshot.errors import SnapshotError
from alembic_snapshot.postgres import databases
from alembic_snapshot.postgres.database import ServerDatabase
from alembic_snapshot.postgres.pool import Pool
from alembic_snapshot.postgres.reset.database import LastingDatabase
from alembic_snapshot.postgres.reset.log import Log
from alembic_snapshot.postgres.reset.pristine import Pristine
from alembic_snapshot.postgres.server import Server

from .others import Difference
from .server_facts import FACTS, SCHEMA, VARIANTS
from .server_others import Neighbour
from .server_work import ACTIONS, Action

Connection = psycopg.Connection[Any]
# Nobody waits long for whoever holds a lock.
_PATIENCE = "-c lock_timeout=50 -c statement_timeout=20000"


class ServerCampaign:
    """Rounds of random work on one clone after another.

    ``counts`` has how often the content was put back, how often nothing had to be done, and for
    which reasons a fresh clone was needed instead; ``kept`` counts connections that went on.
    """

    def __init__(
        self,
        server: Server,
        seed: int,
        kind: type[LastingDatabase] = LastingDatabase,
        actions: Mapping[Action, float] = ACTIONS,
    ):
        self.random = random.Random(seed)
        self.seed = seed
        self.server = server
        self.counts: Counter[str] = Counter()
        self.kept = 0
        self.connections: list[Connection] = []
        self.others: list[Any] = []
        self.done: list[str] = []
        self._kind = kind
        self._actions = actions
        self._known: dict[str, Pristine] = {}
        self._states: dict[Connection, Any] = {}
        self._pool = Pool(server)
        self._log = Log(server)
        self.neighbour = Neighbour(server, f"neighbour_{seed}")
        self._template = ServerDatabase(server, f"alembic_campaign_{seed}")
        self._make_snapshot()
        self._expected: dict[str, str] = {}
        self._start()
        self._question = _question(self.connections[0])
        self._expected = self._content(self.connections[0])

    @property
    def name(self) -> str:
        """The database that is worked on."""
        return self.lasting.database.name

    def run(self, rounds: int) -> None:
        """So many rounds.

        Raises:
            Difference: the database was not its snapshot's content after one of them.
        """
        for number in range(rounds):
            try:
                self._round()
            except (psycopg.Error, SnapshotError, Difference) as error:
                where = f"seed {self.seed}, round {number}, after {', '.join(self.done)}"
                raise Difference(f"{where}: {error}") from error

    def close(self) -> None:
        """Close and drop everything."""
        self._finish()
        self.neighbour.close()
        self._log.close()
        self._pool.close()
        self._template.remove()

    def connect(self) -> Connection:
        """One more connection, as an engine makes it."""
        found = self.connect_aside()
        self.lasting.sessions.note(found)
        self._states[found] = self.lasting.sessions.state_of(found, None)
        return found

    def connect_aside(self) -> Connection:
        """A connection of which the library knows nothing."""
        return psycopg.connect(self.url, options=_PATIENCE)

    @property
    def url(self) -> str:
        """Where that is, as libpq reads it."""
        return self.server.address(self.name).replace("postgresql+psycopg", "postgresql")

    def _round(self) -> None:
        self.done.clear()
        self.lasting.sessions.begin()
        for _ in range(self.random.randint(0, 4)):
            (action,) = self.random.choices(list(self._actions), list(self._actions.values()))
            self.done.append(action.__name__)
            connection = self.random.choice(self.connections)
            # A lock that somebody holds and a missing table are part of the game.
            with contextlib.suppress(psycopg.Error):
                action(self, connection)
            if self.random.random() < 0.5:
                self._end_transactions(commit=True)
        self._rest()
        before = self.lasting.resets
        reason = self.lasting.put_back()
        if reason:
            self.counts[reason] += 1
            self._finish()
            self._start()
        else:
            put_back = self.lasting.resets > before
            self.counts["put back" if put_back else "nothing to do"] += 1
        self._verify()

    def _end_transactions(self, *, commit: bool) -> None:
        for connection in self.connections:
            with contextlib.suppress(psycopg.Error):
                connection.commit() if commit else connection.rollback()

    def _rest(self) -> None:
        """What the end of a test does with connections: cleaned, or closed."""
        if self.random.random() < 0.95:
            self._end_transactions(commit=False)
        for connection in list(self.connections):
            if not self.lasting.sessions.is_as_it_was(connection, self._states[connection]):
                self._forget(connection)
        self.kept += len(self.connections)

    def _forget(self, connection: Connection) -> None:
        self.connections.remove(connection)
        self._states.pop(connection)
        connection.close()

    def _verify(self) -> None:
        self.connections += [self.connect() for _ in range(3 - len(self.connections))]
        connection = self.random.choice(self.connections)
        seen = self._content(connection)
        if seen != self._expected:
            names = [name for name in self._expected if seen.get(name) != self._expected[name]]
            raise Difference(f"a connection sees something else in {names}")

    def _content(self, connection: Connection) -> dict[str, str]:
        """What is to be the same after each round, as a connection sees it."""
        found = connection.execute(self._question, prepare=True).fetchall()
        connection.rollback()
        return dict(found)

    def _start(self) -> None:
        database = self._pool.take(self._template.name)
        self.lasting = self._kind(
            self._log, database, self._template.name, self._known, self._pool.drop
        )
        self.connections = [self.connect() for _ in range(3)]

    def _finish(self) -> None:
        for other in self.others:
            other.close()
        self.others.clear()
        for connection in list(self.connections):
            self._forget(connection)
        self.neighbour.roll_back_prepared(self.name)
        self.lasting.close()
        self.lasting.remove()

    def _make_snapshot(self) -> None:
        self._template.start(None)
        with self.server.connect(self._template.name) as connection:
            connection.execute(SCHEMA)
            for variant, chance in VARIANTS.items():
                if self.random.random() < chance:
                    connection.execute(variant)
        self._template.seal()
        with self.server.connect() as connection:
            databases.disconnect(connection, self._template.name)


def _question(connection: Connection) -> str:
    """One query for every table's rows in their order, the sequences, and the catalogs."""
    parts = dict(FACTS)
    for table, kind in connection.execute(FACTS["relations"]).fetchall():
        if kind in "rm":
            parts[table] = f"SELECT * FROM ONLY {table}"
        elif kind == "S":
            parts[table] = f"SELECT last_value, is_called FROM {table}"
    connection.rollback()
    return " UNION ALL ".join(
        f"SELECT '{name.replace(chr(39), chr(39) * 2)}', md5(string_agg(found::text, chr(10))) "
        f"FROM ({query}) AS found"
        for name, query in parts.items()
    )
