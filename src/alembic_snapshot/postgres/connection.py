"""Our own connections to a server: what the driver raises on them is an error of ours, too."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import errors

from alembic_snapshot.errors import ServerError

# What a server says that has no room for one more.
TOO_MANY = (errors.TooManyConnections, errors.ConfigurationLimitExceeded)


class OwnCursor(psycopg.Cursor[Any]):
    """A cursor whose errors are errors of ours, too."""

    def execute(self, *arguments: Any, **options: Any) -> Any:
        """As psycopg's.

        Raises:
            ServerError: it is the driver's error, too, for whoever expects that.
        """
        with _told(self.connection):
            return super().execute(*arguments, **options)

    @contextmanager
    def copy(self, *arguments: Any, **options: Any) -> Iterator[psycopg.Copy]:
        """As psycopg's.

        Raises:
            ServerError: as :meth:`execute` does.
        """
        with _told(self.connection), super().copy(*arguments, **options) as copy:
            yield copy


class OwnConnection(psycopg.Connection[Any]):
    """A connection that commits by itself. ``server`` is what messages call its server."""

    server = "this address"

    def execute(self, *arguments: Any, **options: Any) -> Any:
        """As psycopg's.

        Raises:
            ServerError: it is the driver's error, too, for whoever expects that.
        """
        with _told(self):
            return super().execute(*arguments, **options)

    def __exit__(self, *_error: Any) -> None:
        # Nothing is left to be committed, and a lost connection can't be.
        self.close()


@contextmanager
def _told(connection: Any) -> Iterator[None]:
    try:
        yield
    except ServerError:
        raise
    except psycopg.Error as error:
        name = connection.server
        is_lost = connection.closed or isinstance(error, errors.AdminShutdown)
        said = " ".join(str(error).split())
        if is_lost:
            message, hint = (f"the connection to the server at {name} was lost: {said}", _LOST)
        else:
            message, hint = (f"the server at {name} refused: {said}", _hint(error))
        kind: Any = type(error)
        raise _both(kind)(message, hint=hint) from error


_LOST = "did the server end, or did somebody end its connections? Run the tests again"


def _hint(error: psycopg.Error) -> str:
    if isinstance(error, errors.DiskFull):
        return "make room on the server's disk"
    if isinstance(error, errors.InsufficientPrivilege):
        return "let the role do that, or use another one's URL"
    if isinstance(error, errors.InvalidCatalogName):
        return "did somebody drop it while the tests ran?"
    if isinstance(error, TOO_MANY):
        return "raise max_connections there, or run fewer workers"
    if isinstance(error, errors.InsufficientResources):
        return "see what the server lacks: memory, locks, connections"
    return "see the server's log"


@functools.cache
def _both(kind: Any) -> type[ServerError]:
    """A class of errors that are the driver's of that kind, and ours."""
    # Whoever waits for such a driver's error gets it; what nobody waits for is told as ours.
    return type("ServerError", (ServerError, kind), {"__module__": ServerError.__module__})
