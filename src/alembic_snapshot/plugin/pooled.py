"""A new database and new connections for each test: ``clones = "fresh"`` on a server."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field

from alembic_snapshot.plugin.clones import Anew, Wish
from alembic_snapshot.postgres.clone import ReadOnlyServerClone, ServerClone
from alembic_snapshot.postgres.database import ServerDatabase
from alembic_snapshot.postgres.pool import Pool
from alembic_snapshot.postgres.server import Server
from alembic_snapshot.snapshot import Clone, Snapshot


@dataclass
class FromPool(Anew):
    """A clone for each test from this process's pool. ``on_make`` is told the seconds it took."""

    server: Callable[[], Server]
    on_make: Callable[[float], None]
    _pool: Pool | None = None
    _process: int = 0
    _shared: dict[str, ServerDatabase] = field(default_factory=dict)
    # A parent's, which must not be closed in its child.
    _abandoned: list[Pool] = field(default_factory=list)

    def begin(self, snapshot: Snapshot, wish: Wish) -> Clone:
        """A clone, which is taken from the pool when it is first needed."""
        pool = self._own_pool()
        clone: Clone
        if wish.readonly:
            clone = ReadOnlyServerClone(snapshot, pool)
            clone.share(self._read_only(pool, snapshot))
        else:
            clone = ServerClone(snapshot, pool, self.on_make)
        self.pointer.point(clone, durable=wish.durable)
        return clone

    def close(self) -> None:
        """Drop what is left."""
        if self._pool is not None and self._process == os.getpid():
            self._pool.close()
        self._pool = None
        self._shared.clear()

    def _own_pool(self) -> Pool:
        if self._pool is None or self._process != os.getpid():
            if self._pool is not None:
                self._abandoned.append(self._pool)
                self._shared.clear()
            self._pool, self._process = Pool(self.server()), os.getpid()
        return self._pool

    def _read_only(self, pool: Pool, snapshot: Snapshot) -> ServerDatabase:
        """The database that every test which only reads shares."""
        assert snapshot.entry is not None
        template = snapshot.entry.database.name
        if template not in self._shared:
            database = pool.take(template)
            pool.limit(database.name, [(None, "default_transaction_read_only=on")])
            self._shared[template] = database
        return self._shared[template]
