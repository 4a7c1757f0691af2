"""The parts of the builder's work that differ for each kind of database."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import sqlalchemy as sa

from alembic_snapshot.builder.options import spelled
from alembic_snapshot.builder.own_sql import OwnSql
from alembic_snapshot.database.schema import Schema
from alembic_snapshot.database.target import Target

if TYPE_CHECKING:
    from alembic_snapshot.builder.server_guard import Refuse, ServerGuard

OwnWork = Callable[..., AbstractContextManager[None]]
# The rows that a query finds.
Rows = Callable[[str], Sequence[tuple[Any, ...]]]

# What the drivers' connections are told beside SQL.
_TOLD = ("autocommit", "isolation_level", "row_factory", "text_factory")


class BuilderTarget(Protocol):
    """The database under construction, as the process that runs Alembic has it.

    ``async_drivers`` are the modules that an async URL of it needs.
    """

    async_drivers: ClassVar[tuple[str, ...]]

    @property
    def target(self) -> Target:
        """The database."""

    @property
    def url(self) -> sa.URL:
        """Its URL, whatever characters its name has."""

    @property
    def backup(self) -> str:
        """The name of a copy of it, to which it can be put back."""

    def server_guard(self, refuse: Refuse) -> ServerGuard | None:
        """What watches the drivers of its server; None if it is on none."""

    def listen(self) -> None:
        """Hear of what statements leave that can't be asked for; it can't be undone."""

    def prepare(self, own_work: OwnWork) -> None:
        """Make the first backup, and connections quick: nobody needs the database afterwards.

        ``own_work`` lets the builder itself connect to databases of its own, by name.
        """

    def keep(self, own_work: OwnWork) -> bool:
        """Make another backup; whether one could be made while the migrations are connected."""

    def put_back(self, own_work: OwnWork) -> None:
        """Make the database what its backup is; nobody may be in a transaction in it."""

    def finish(
        self,
        name: str,
        own_sql: OwnSql,
        own_work: OwnWork,
        close_idle: Callable[[], None],
    ) -> dict[str, Any] | None:
        """Make the database of that name compact, if only the application's own SQL allows it.

        The problems in it; None if whoever seals it can do both. ``close_idle`` closes connections
        of the migrations that nobody uses.
        """

    def save_within(self, connection: sa.Connection, name: str) -> bool:
        """Copy it to ``name`` as the migrations' connection has it, in the middle of their run.

        Returns:
            Whether that could be done.
        """

    def left_in_session(self, rows: Rows) -> Any:
        """What ``rows`` of queries tell that a step left in its connection for later ones."""

    def read_schema(self, cursor: Any, version_tables: Collection[str]) -> Schema:
        """The schema, as a connection of the migrations' own sees it."""


def target_of(job: Mapping[str, Any]) -> BuilderTarget:
    """The database that a job names."""
    if job["kind"] == "sqlite":
        from alembic_snapshot.builder.file_target import FileTarget
        from alembic_snapshot.sqlite.database import DatabaseFile

        return FileTarget(DatabaseFile(Path(job["name"])))
    from alembic_snapshot.builder.server_target import ServerTarget
    from alembic_snapshot.postgres.database import ServerDatabase
    from alembic_snapshot.postgres.server import Server

    return ServerTarget(ServerDatabase(Server(job["server"], job["private"]), job["name"]))


def left_in(connection: Any, target: BuilderTarget) -> Any:
    """What steps have left in their connection, as a value that differs if they left more."""
    pooled = connection.connection
    with contextlib.closing(pooled.cursor()) as cursor:

        def rows(query: str) -> list[tuple[Any, ...]]:
            cursor.execute(query)
            found = cursor.fetchall() if cursor.description else ()
            # Rows may be what the application's own factory makes of them.
            return [tuple(one.values() if isinstance(one, dict) else one) for one in found]

        session = target.left_in_session(rows)
    told = [getattr(pooled.driver_connection, name, None) for name in _TOLD]
    info = {name: (spelled(value), id(value)) for name, value in connection.info.items()}
    return session, told, info
