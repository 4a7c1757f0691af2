"""Which database a connection was opened for, when the guard sent it to the snapshot instead.

The mark stays on the connection for its life: in its pool, checked out, detached from its pool.
"""

from __future__ import annotations

from typing import Any, Self

from alembic_snapshot.database.identity import Place

_MARK = "alembic_snapshot.redirected"


class RedirectedName(str):
    """The snapshot's file as SQLite is given it, with the place that was asked for."""

    __slots__ = ("place",)
    place: Place

    def __new__(cls, name: str, place: Place) -> Self:
        redirected = super().__new__(cls, name)
        redirected.place = place
        return redirected


def mark(record: Any, place: Place | None) -> None:
    """Note on a pool's record the place that was asked for; None is the snapshot itself."""
    if place is not None:
        record.info[_MARK] = place
    else:
        record.info.pop(_MARK, None)


def place_of(connection: Any) -> Place | None:
    """The place that a connection, or a pool's record, asked for; None if it is open on that."""
    place: Place | None = connection.info.get(_MARK)
    return place
