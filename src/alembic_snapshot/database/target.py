"""What can be done with a database wherever it is: a SQLite file, or one on a PostgreSQL server.

The builder migrates a target; a store seals and keeps it; a clone is a copy of one.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from alembic_snapshot.database.diff import Diff

SHOWN_ROWS = 5


class Target(Protocol):
    """A database that can be migrated, sealed and copied. As text it is what messages show."""

    @property
    def name(self) -> str:
        """What tells it from the others of its kind: a path, or a name on its server."""

    @property
    def file(self) -> Path | None:
        """The file that it is; None on a server."""

    @property
    def opening(self) -> str:
        """The command that opens it."""

    def url(self, driver: str = "") -> str:
        """The SQLAlchemy URL, for the default driver or ``driver``; ``async`` names that one."""

    def to_job(self) -> dict[str, Any]:
        """What the builder's process needs to find it, as JSON."""

    def is_there(self) -> bool:
        """Whether there is a database."""

    def start(self, source: Any | None) -> None:
        """Make it anew: a writable copy of a target of the same kind, or empty."""

    def save(self, name: str) -> None:
        """Copy it to another name of its kind, as it is at the moment."""

    def seal(self) -> None:
        """Make it compact and ready to be published; nobody else may have it open."""

    def heads(self, table: str, schema: str | None = None) -> list[str]:
        """The revisions in the version table; none if there is no such table.

        Without a ``schema``, on a server, it may be in any.
        """

    def tables(self) -> list[str]:
        """The names of its tables, without the database's own."""

    def problems(self) -> dict[str, list[str]]:
        """What is wrong inside: ``integrity`` and ``foreign_keys``, a line for each."""

    def size(self) -> int:
        """Bytes."""

    def content_hash(self) -> str:
        """The SHA-256 of its content; "" where that can't change once it is sealed."""

    def remove(self) -> None:
        """Delete it, if it is there."""

    def diff(self, before: Any | None, limit: int = SHOWN_ROWS) -> Diff:
        """How it differs from a target of the same kind, or from an empty database.

        At most ``limit`` rows of each kind of difference are listed for a table.
        """


class Workspace(Protocol):
    """Where one build works; everything in it goes with it."""

    @property
    def folder(self) -> Path:
        """An empty folder of its own."""

    @property
    def database(self) -> Any:
        """The target under construction; it is not there yet."""

    def state(self, index: int) -> Any:
        """The target for a copy of a state that is passed on the way."""

    def clear(self) -> None:
        """Delete the database and its states, to start again."""

    def close(self) -> None:
        """Delete all of it."""


def substituted(variables: Mapping[str, str], target: Target) -> dict[str, str]:
    """Environment variables with ``{url}``, ``{async_url}`` and ``{path}`` put in.

    On a server, ``{path}`` is the database's name.
    """
    places = {
        "{url}": target.url(),
        "{async_url}": target.url("async"),
        "{path}": target.name,
    }
    return {
        name: functools.reduce(lambda text, item: text.replace(*item), places.items(), value)
        for name, value in variables.items()
    }
