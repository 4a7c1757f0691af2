"""Runs a test's SQL again in a copy of what its database was in the beginning."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any

from alembic_snapshot.database.clone import whole
from alembic_snapshot.database.diff import Row, TableDiff
from alembic_snapshot.database.recording import Step
from alembic_snapshot.database.statements import calls, is_reading, plain
from alembic_snapshot.database.writers import MOST_ROWS, Relations
from alembic_snapshot.postgres.database import ServerDatabase

if TYPE_CHECKING:
    import psycopg
    from psycopg import sql

# Of the schema, what is this database's alone.
_RUN = re.compile(
    r"(?:INSERT|UPDATE|DELETE|MERGE|WITH|TRUNCATE|BEGIN|START|SAVEPOINT|RELEASE|ROLLBACK|REFRESH|"
    r"SELECT\b.*\bINTO|SET\b(?!\s+ROLE)|"
    r"(?:CREATE|ALTER|DROP)\s+(?:OR\s+REPLACE\s+)?(?:(?:UNIQUE|UNLOGGED|GLOBAL|LOCAL|TEMP|TEMPORARY|"
    r"MATERIALIZED|RECURSIVE|CONSTRAINT)\s+)*(?:TABLE|INDEX|VIEW|SEQUENCE|TYPE|TRIGGER|SCHEMA|"
    r"FUNCTION|PROCEDURE|DOMAIN|RULE|POLICY|AGGREGATE|STATISTICS))\b",
    re.IGNORECASE | re.DOTALL,
)
# What reaches out of the database from inside of it.
_REACHING = (
    "SELECT (SELECT count(*) FROM pg_foreign_server) + (SELECT count(*) FROM pg_extension "
    "WHERE extname IN ('dblink', 'http', 'pg_net', 'pg_cron', 'file_fdw')) + (SELECT count(*) "
    "FROM pg_language WHERE NOT lanpltrusted AND lanname NOT IN ('internal', 'c'))"
)
_CASCADES = (
    "SELECT conrelid::regclass::text, confrelid::regclass::text FROM pg_constraint "
    "WHERE contype = 'f' AND (confdeltype IN ('c', 'n', 'd') OR confupdtype IN ('c', 'n', 'd'))"
)
_TRIGGERED = "SELECT DISTINCT tgrelid::regclass::text FROM pg_trigger WHERE NOT tgisinternal"
_RULED = "SELECT DISTINCT ev_class::regclass::text FROM pg_rewrite WHERE ev_type <> '1'"
_VIEWS = (
    "SELECT DISTINCT ev_class::regclass::text, refobjid::regclass::text FROM pg_rewrite "
    "JOIN pg_depend ON classid = 'pg_rewrite'::regclass AND objid = pg_rewrite.oid "
    "WHERE ev_type = '1' AND refclassid = 'pg_class'::regclass AND refobjid <> ev_class"
)
_GENERATED = (
    "SELECT attrelid::regclass::text, attname FROM pg_attrdef JOIN pg_attribute "
    "ON attrelid = adrelid AND attnum = adnum WHERE pg_get_expr(adbin, adrelid) ~* "
    r"'current_|\(' AND pg_get_expr(adbin, adrelid) !~* '^nextval'"
)


class ServerReplay:
    """The copy, which ``drop`` drops when it is closed.

    Raises:
        Exception: its SQL might reach out of the database, or the server can't be asked.
    """

    def __init__(self, database: ServerDatabase, drop: Callable[[], None]):
        self._database = database
        self._drop = drop
        self._connections: dict[int, psycopg.Connection[Any]] = {}
        try:
            row = self.connection(-1, autocommit=True).execute(_REACHING).fetchone()
            if row and row[0]:
                raise RuntimeError("what is written may reach other databases")
        except BaseException:
            whole(self.close)
            raise

    def connection(self, number: int, *, autocommit: bool) -> psycopg.Connection[Any]:
        if number not in self._connections:
            made = self._database.server.connect(self._database.name)
            # What the test wrote is read and written as by the test.
            made.execute("RESET row_security")
            made.execute("SET lock_timeout = '500ms'")
            made.execute("SET statement_timeout = '10s'")
            made.autocommit = autocommit or number == -1
            self._connections[number] = made
        found = self._connections[number]
        if autocommit and not found.autocommit:
            found.rollback()
            found.autocommit = True
        return found

    def runs(self, statement: str) -> bool:
        if is_reading(statement):
            return calls(statement)
        return _RUN.match(statement) is not None

    def execute(self, connection: psycopg.Connection[Any], step: Step) -> int:
        import psycopg

        statement: Any = step.statement
        raw = re.search(r"\$\d", statement) is not None
        cursor = psycopg.RawCursor(connection) if raw else connection.cursor()
        with cursor:
            if step.is_many:
                cursor.executemany(statement, step.parameters)
            else:
                cursor.execute(statement, step.parameters or None)
            return int(cursor.rowcount)

    def end(self, connection: psycopg.Connection[Any], *, commit: bool) -> None:
        import psycopg

        with contextlib.suppress(psycopg.Error):
            if commit:
                connection.commit()
                return
        connection.rollback()

    def rows(
        self, connection: psycopg.Connection[Any], table: TableDiff, above: Any = None
    ) -> Sequence[Row]:
        import psycopg
        from psycopg import sql

        listed = sql.SQL(", ").join(
            sql.SQL("{}::text").format(sql.Identifier(name)) for name in table.columns
        )
        limit = sql.SQL(" LIMIT {}").format(sql.Literal(MOST_ROWS + 1))
        given = () if above is None else (above,)
        if given:
            limit = sql.SQL(" WHERE {} > %s").format(_key(table)) + limit
        try:
            with connection.transaction():
                query = sql.SQL("SELECT {} FROM {}").format(listed, _name(table)) + limit
                return connection.execute(query, given).fetchall()
        except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn):
            return ()

    def newest(self, connection: psycopg.Connection[Any], table: TableDiff) -> Any:
        import psycopg
        from psycopg import sql

        query = sql.SQL("SELECT max({}) FROM {}").format(_key(table), _name(table))
        with contextlib.suppress(psycopg.errors.ProgrammingError), connection.transaction():
            row = connection.execute(query).fetchone()
            return row[0] if row else None
        return None

    def content(self, connection: psycopg.Connection[Any], name: str) -> Hashable:
        import psycopg

        kind = "SELECT relkind = 'r' FROM pg_class WHERE oid = to_regclass(%s)"
        with contextlib.suppress(psycopg.Error):
            row = connection.execute(kind, (name,)).fetchone()
            if row and row[0]:
                listed: Any = (
                    "SELECT count(*), sum(hashtextextended(listed::text, 0)) "
                    f"FROM ONLY {name} AS listed"
                )
                return connection.execute(listed).fetchone()
        return None

    def relations(self, connection: psycopg.Connection[Any]) -> Relations:
        ask = connection.execute
        return Relations(
            cascades={(plain(a), plain(b)) for a, b in ask(_CASCADES)},
            triggered={plain(name) for (name,) in ask(_TRIGGERED)},
            ruled={plain(name) for (name,) in ask(_RULED)},
            views={(plain(view), plain(table)) for view, table in ask(_VIEWS)},
            generated={(plain(table), name.lower()) for table, name in ask(_GENERATED)},
        )

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()
        self._drop()


def _name(table: TableDiff) -> sql.SQL:
    from psycopg import sql

    name: Any = table.name if "." in table.name else f"public.{table.name}"
    return sql.SQL(name)


def _key(table: TableDiff) -> sql.Identifier:
    from psycopg import sql

    return sql.Identifier(table.columns[table.key[0]])
