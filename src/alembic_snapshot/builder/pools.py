"""The connections that the project's engines keep from one run of ``env.py`` to the next."""

from __future__ import annotations

import contextlib
import weakref
from typing import Any

import sqlalchemy as sa


class Pools:
    """Every pooled connection of this process, whichever engine it is of."""

    def __init__(self) -> None:
        self._records: weakref.WeakSet[Any] = weakref.WeakSet()

    def listen(self) -> None:
        """Hear of each connection from now on; it can't be undone."""
        sa.event.listen(sa.Pool, "connect", lambda _connection, record: self._records.add(record))

    def close_idle(self) -> None:
        """Close what nobody uses, so that the next one to ask connects anew."""
        for record in self._open():
            if not record.in_use:
                # An asynchronous one can't be closed outside its loop, but is forgotten.
                with contextlib.suppress(Exception):
                    record.invalidate()

    def roll_back(self) -> None:
        """End the transactions of what is still in use."""
        for record in self._open():
            if record.in_use:
                with contextlib.suppress(Exception):
                    record.dbapi_connection.rollback()

    def _open(self) -> list[Any]:
        return [record for record in list(self._records) if record.dbapi_connection is not None]
