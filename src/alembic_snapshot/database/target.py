"""The operations on a database, wherever it is: a SQLite file, or one on a PostgreSQL server.

The builder migrates a target; a store seals and keeps it; a clone is a copy of one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from alembic_snapshot.errors import printable
from alembic_snapshot.project.table import PLACEHOLDER

if TYPE_CHECKING:
    from alembic_snapshot.database.diff import Diff

SHOWN_ROWS = 5
# How many faults of one kind inside a database are told.
SHOWN_PROBLEMS = 20


class NotForHere(Exception):
    """A database from elsewhere may be right, and can't be had here; the text says why."""

    def __init__(self, why: str):
        super().__init__(printable(why))


class Target(Protocol):
    """A database that can be migrated, sealed and copied. Its text is for messages."""

    @property
    def name(self) -> str:
        """Its name among others of its kind: a path, or a name on its server."""

    @property
    def file(self) -> Path | None:
        """Its file; None on a server."""

    @property
    def opening(self) -> str:
        """The command that opens it."""

    def url(self, driver: str = "") -> str:
        """The SQLAlchemy URL, for the default driver or ``driver``; ``async`` names that one."""

    def places(self) -> dict[str, str]:
        """The values that stand for it in variables and arguments, by their names in braces."""

    def to_job(self) -> dict[str, Any]:
        """The JSON from which the builder's process finds it."""

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

    def problems(self) -> dict[str, Any]:
        """The database's own problems: ``integrity`` and ``foreign_keys``, a line for each.

        ``integrity_error`` is there where it could not be looked at, and says why.
        """

    def size(self) -> int:
        """Bytes."""

    def content_hash(self) -> str:
        """The SHA-256 of its content; "" for a kind whose sealed content can't change."""

    def remove(self) -> None:
        """Delete it, if it is there."""

    def diff(self, before: Any | None, limit: int = SHOWN_ROWS) -> Diff:
        """How it differs from a target of the same kind, or from an empty database.

        At most ``limit`` rows of each kind of difference are listed for a table.
        """


class Workspace(Protocol):
    """The place where one build works; everything in it is deleted with it."""

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


def substituted(variables: Mapping[str, str], places: Mapping[str, str]) -> dict[str, str]:
    """Environment variables with ``{url}`` and the other names of :meth:`Target.places` put in.

    What has two braces on each side, ``{{name}}``, is ``{name}``.
    """
    return {name: with_places(value, places) for name, value in variables.items()}


def with_places(text: str, places: Mapping[str, str]) -> str:
    """One text with the names in braces replaced; what has no place stays."""
    return PLACEHOLDER.sub(
        lambda found: f"{{{found[1]}}}" if found[1] else places.get(found[2], found[0]), text
    )


def first_problems(lines: Sequence[str]) -> list[str]:
    """As many faults as are told, and a line for the rest if there are more."""
    return [*lines[:SHOWN_PROBLEMS], *(["and more"] if len(lines) > SHOWN_PROBLEMS else [])]
