"""What a new database on a server begins with, and what its role's sessions do.

``CREATE DATABASE`` copies ``template1``. The server, its role and the client's variables give each
session its settings. So all of that decides what migrations make, and no file says it.
"""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING, Any

from alembic_snapshot.errors import ServerError
from alembic_snapshot.postgres.database import ServerDatabase, copied

if TYPE_CHECKING:
    from alembic_snapshot.postgres.server import Server

_TEMPLATE = "template1"
# What of a session's beginning decides what is done, and not how long or how loud; what the role
# may do; which versions CREATE EXTENSION makes.
_SESSION = (
    "SELECT (SELECT array_agg(name || '=' || reset_val ORDER BY name) FROM pg_settings WHERE "
    "category ~ '^(Client Connection Defaults|Version and Platform)' AND context <> 'internal' "
    "AND name !~ 'timeout$|^client_min_messages$'), "
    "(SELECT array_agg(s.setconfig::text ORDER BY s.setrole) FROM pg_db_role_setting s "
    "WHERE s.setdatabase = 0 AND s.setrole IN (0, r.oid)), "
    "r.rolsuper, r.rolcreaterole, r.rolbypassrls, r.rolreplication, "
    "(SELECT array_agg(name || ' ' || default_version ORDER BY name) FROM pg_available_extensions) "
    "FROM pg_roles r WHERE rolname = current_user"
)
_TEMPLATE_ROW = "SELECT oid, xmin::text, datallowconn FROM pg_database WHERE datname = %s"
# All that CREATE DATABASE copies, but for the planner's statistics.
_TABLES = (
    "SELECT c.oid::regclass::text, has_table_privilege(c.oid, 'SELECT'), pg_relation_size(c.oid) "
    "FROM pg_class c WHERE relkind IN ('r', 'm') AND NOT relisshared AND relpersistence <> 't' "
    "AND relname NOT IN ('pg_statistic', 'pg_statistic_ext_data') ORDER BY 1"
)


def surroundings(server: Server) -> str:
    """A digest that is another one as soon as something of it changed.

    Raises:
        ServerError: the server can't be reached.
    """
    with server.connect() as connection:
        parts = [
            connection.execute(_SESSION).fetchall(),
            template := connection.execute(_TEMPLATE_ROW, (_TEMPLATE,)).fetchall(),
        ]
    if template and template[0][2]:
        parts.append(_rows_of_template(server))
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _rows_of_template(server: Server) -> list[Any]:
    """Which rows there are in ``template1``, or in a copy if our role may not connect to it.

    Raises:
        ServerError: neither can be connected to.
    """
    from psycopg import sql

    template = ServerDatabase(server, _TEMPLATE)
    with contextlib.ExitStack() as stack:
        try:
            connection = stack.enter_context(server.connect(_TEMPLATE))
        except ServerError:
            connection = stack.enter_context(copied(None, template))
        tables = connection.execute(_TABLES).fetchall()
        # Of what our role may not read, the size is known. A row that is written has another xmin,
        # and VACUUM keeps it.
        unread = [(name, size) for name, is_readable, size in tables if not is_readable]
        readable = [name for name, is_readable, _ in tables if is_readable]
        queries = [
            sql.SQL("SELECT {} AS t, xmin::text AS x, count(*) AS n FROM ONLY {} GROUP BY xmin")
            .format(sql.Literal(name), sql.SQL(name))
            for name in readable
        ]  # fmt: skip
        versions = sql.SQL(
            "SELECT md5(string_agg(concat_ws(' ', t, x, n), ' ' ORDER BY t, x)) FROM ({}) AS found"
        ).format(sql.SQL(" UNION ALL ").join(queries))
        return [unread, connection.execute(versions).fetchone()]
