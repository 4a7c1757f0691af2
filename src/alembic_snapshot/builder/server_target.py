"""A database under construction on a PostgreSQL server."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import sqlalchemy as sa

from alembic_snapshot.builder.server_guard import Refuse, ServerGuard
from alembic_snapshot.database.schema import Schema
from alembic_snapshot.postgres import particulars, schema
from alembic_snapshot.postgres.database import ServerDatabase

if TYPE_CHECKING:
    from alembic_snapshot.builder.own_sql import OwnSql
    from alembic_snapshot.builder.target import OwnWork


@dataclass(frozen=True)
class ServerTarget:
    """A database of which there can be no copy while the migrations are connected.

    So the one backup is made before they begin, and what a failure takes back to there is upgraded
    again.
    """

    async_drivers: ClassVar[tuple[str, ...]] = ("asyncpg", "greenlet")
    left_in_connection: ClassVar[str] = (
        "SELECT current_user,"
        " (SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema()),"
        " (SELECT string_agg(name || '=' || setting, ' ' ORDER BY name) FROM pg_settings"
        # These decide how long or how loud something is done, and not what.
        " WHERE source = 'session' AND name NOT LIKE '%timeout' AND name NOT LIKE '%work_mem' AND"
        " name NOT IN ('application_name', 'client_min_messages', 'synchronous_commit'))"
    )
    target: ServerDatabase

    @property
    def url(self) -> sa.URL:
        """Its URL."""
        return sa.make_url(self.target.url())

    @property
    def backup(self) -> str:
        """The name of a copy of it on the same server."""
        return f"{self.target.name}_backup"

    def server_guard(self, refuse: Refuse) -> ServerGuard:
        """Watch the drivers of the server, for this database."""
        return ServerGuard(self.target, refuse)

    def prepare(self, own_work: OwnWork) -> None:
        """Make the backup."""
        with own_work():
            self.target.save(self.backup)

    def keep(self, own_work: OwnWork) -> bool:
        """Make none: the migrations are connected."""
        return False

    def put_back(self, own_work: OwnWork) -> None:
        """Make the database anew, as a copy of its backup."""
        with own_work():
            self.target.start(dataclasses.replace(self.target, name=self.backup))

    def finish(
        self,
        name: str,
        own_sql: OwnSql,
        own_work: OwnWork,
        close_idle: Callable[[], None],
    ) -> None:
        """Do nothing: a server has all that its schemas use."""

    def read_schema(self, cursor: Any, version_tables: Collection[str]) -> Schema:
        """The schema with all that ``diff`` compares, but for what is in tables."""
        found = schema.read_schema(cursor, version_tables)
        return dataclasses.replace(
            found,
            others=found.others | particulars.facts(cursor),
            values=particulars.values(cursor),
        )
