"""A process's clones on a server: one for each test, from its pool."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from alembic_snapshot.postgres.clone import PooledClone, ServerClone, SharedReader
from alembic_snapshot.postgres.database import ServerDatabase
from alembic_snapshot.postgres.pool import Pool
from alembic_snapshot.postgres.server import server_in_use

if TYPE_CHECKING:
    from alembic_snapshot.build.snapshot import Snapshot


class PooledClones:
    """Clones from a pool of this process's own. ``on_make`` is told the seconds that one took."""

    def __init__(self, on_make: Callable[[float], None]):
        self.on_make = on_make
        self._pool: Pool | None = None
        self._process = 0
        self._shared: dict[str, ServerDatabase] = {}
        # A parent's, which must not be closed in its child.
        self._abandoned: list[Pool] = []

    def pool(self) -> Pool:
        """This process's pool, made when it is first needed."""
        if self._pool is None or self._process != os.getpid():
            if self._pool is not None:
                self._abandoned.append(self._pool)
                self._shared.clear()
            self._pool, self._process = Pool(server_in_use()), os.getpid()
        return self._pool

    def take(self, snapshot: Snapshot, *, read_only: bool) -> ServerClone:
        """A clone, which is taken from the pool when it is first needed."""
        pool = self.pool()
        if read_only:
            return SharedReader(snapshot, database=self._read_only(pool, snapshot))
        return PooledClone(snapshot, pool, self.on_make)

    def close(self) -> None:
        """Drop what is left."""
        if self._pool is not None and self._process == os.getpid():
            self._pool.close()
        self._pool = None
        self._shared.clear()

    def _read_only(self, pool: Pool, snapshot: Snapshot) -> ServerDatabase:
        """The database that every test which only reads shares."""
        assert snapshot.entry is not None
        template = snapshot.entry.database.name
        if template not in self._shared:
            database = pool.take(template)
            pool.apply_settings(database.name, [(None, "default_transaction_read_only=on")])
            self._shared[template] = database
        pool.refuse_emptied(self._shared[template].name)
        return self._shared[template]
