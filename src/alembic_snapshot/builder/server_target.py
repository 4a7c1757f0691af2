"""A database under construction on a PostgreSQL server."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import sqlalchemy as sa

from alembic_snapshot.builder.server_guard import Refuse, ServerGuard
from alembic_snapshot.database.schema import Schema
from alembic_snapshot.database.statements import without_comments
from alembic_snapshot.postgres import particulars, schema
from alembic_snapshot.postgres.database import ServerDatabase

if TYPE_CHECKING:
    from alembic_snapshot.builder.own_sql import OwnSql
    from alembic_snapshot.builder.target import OwnWork, Rows


_LEFT = (
    "SELECT current_user, session_user,"
    " (SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema()),"
    " (SELECT string_agg(name || '=' || setting, ' ' ORDER BY name) FROM pg_settings"
    # These decide how long or how loud something is done, and not what.
    " WHERE source = 'session' AND name NOT LIKE '%timeout' AND name NOT LIKE '%work_mem' AND"
    " name NOT IN ('application_name', 'client_min_messages', 'synchronous_commit')),"
    " (SELECT string_agg(name, ' ' ORDER BY name) FROM pg_prepared_statements WHERE from_sql),"
    " (SELECT string_agg(one, ' ' ORDER BY one) FROM pg_listening_channels() AS one),"
    " (SELECT string_agg(concat_ws(' ', classid, objid, objsubid), ',' ORDER BY classid, objid)"
    " FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())"
)
# Settings with a name of somebody's own are listed nowhere. These statements name one.
_OWN_SETTING = re.compile(
    r"(?:\bset\s+(?:(?:session|local)\s+)?|\bset_config\s*\(\s*')([a-z_]\w*\.\w+)",
    re.IGNORECASE,
)
_IS_NAME = re.compile(r"[A-Za-z_]\w*\.\w+")


@dataclass(frozen=True)
class ServerTarget:
    """A database of which there can be no copy while the migrations are connected.

    So the one backup is made before they begin, and what a failure takes back to there is upgraded
    again.
    """

    async_drivers: ClassVar[tuple[str, ...]] = ("asyncpg", "greenlet")
    target: ServerDatabase
    own_settings: set[str] = field(default_factory=set, compare=False)

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

    def listen(self) -> None:
        """Hear which settings of somebody's own statements name; it can't be undone."""
        sa.event.listen(sa.Engine, "before_cursor_execute", self._on_statement)

    def _on_statement(
        self, _conn: Any, _cursor: Any, statement: str, parameters: Any, *_context: Any
    ) -> None:
        self.own_settings.update(_OWN_SETTING.findall(without_comments(statement)))
        if "set_config" in statement.lower():
            given = parameters.values() if isinstance(parameters, Mapping) else parameters or ()
            names = (one for one in given if isinstance(one, str))
            self.own_settings.update(name for name in names if _IS_NAME.fullmatch(name))

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

    def save_within(self, connection: sa.Connection, name: str) -> bool:
        """Do nothing: the migrations are connected."""
        return False

    def left_in_session(self, rows: Rows) -> Any:
        """Settings, roles, what is temporary, prepared, listened to or locked."""
        own = {name: rows(f"SELECT current_setting('{name}', true)") for name in self.own_settings}
        # One that was never set, and one that was reset, are empty.
        return rows(_LEFT), {name: found for name, found in own.items() if found[0][0]}

    def read_schema(self, cursor: Any, version_tables: Collection[str]) -> Schema:
        """The schema with all that ``diff`` compares, but for what is in tables."""
        found = schema.read_schema(cursor, version_tables)
        return dataclasses.replace(
            found,
            others=found.others | particulars.facts(cursor),
            values=particulars.values(cursor),
        )
