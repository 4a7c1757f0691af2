"""The databases of a server by their names: created, dropped, renamed, listed, their settings.

Each function takes a connection to another database of that server.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from alembic_snapshot.errors import CloneError, ServerError
from alembic_snapshot.postgres.server import Server, said

if TYPE_CHECKING:
    import psycopg

# How the names of our databases begin; nothing else on a server is ever touched.
SNAPSHOT, BUILDING, FAILED = "alembic_snapshot_", "alembic_building_", "alembic_failed_"
CLONE, KEPT = "alembic_clone_", "alembic_kept_"
ALL = (SNAPSHOT, BUILDING, FAILED, CLONE, KEPT)
# What another role owns is of no use to us: its tables are that role's too.
OURS = "pg_has_role(datdba, 'USAGE')"
# A superuser may use everybody's, and a member of a role that role's: yet its tables are not his.
MINE = "pg_get_userbyid(datdba) = current_user"
# Seconds for which a database that somebody is connected to is waited for.
_PATIENCE = 20.0
# Settings whose value is a list of names: to ALTER DATABASE, one string would be one name.
_LISTS = ("search_path", "temp_tablespaces", "local_preload_libraries", "session_preload_libraries")


def create(
    connection: psycopg.Connection[Any],
    server: Server,
    name: str,
    template: str | None,
    tablespace: str | None = None,
    owner: str | None = None,
) -> None:
    """Create a database as a copy of ``template``, its settings included, or an empty one.

    It is in ``tablespace``, or where its template is; ``owner`` is a role, ours if it is None.

    Raises:
        CloneError: the template is not there, or stays in use.
    """
    import psycopg
    from psycopg import sql

    statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
    if owner is not None:
        statement += sql.SQL(" OWNER {}").format(sql.Identifier(owner))
    if template is not None:
        statement += sql.SQL(" TEMPLATE {}").format(sql.Identifier(template))
        statement += sql.SQL(server.facts.strategy)
    if tablespace is not None:
        statement += sql.SQL(" TABLESPACE {}").format(sql.Identifier(tablespace))
    # A tablespace is on another file system, in memory.
    shares = server.facts.shares_blocks and template is not None and tablespace is None
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            with _sharing_blocks(connection) if shares else contextlib.nullcontext():
                connection.execute(statement)
            break
        except psycopg.errors.ObjectInUse as error:
            # Autovacuum, or somebody who is just leaving (55006).
            if time.monotonic() > deadline:
                raise CloneError(
                    f"{template or 'template1'} on {server} stays in use: {said(error)}",
                    hint="who is connected to it? SELECT * FROM pg_stat_activity",
                ) from error
            time.sleep(0.02)
        except psycopg.errors.InvalidCatalogName as error:
            raise CloneError(
                f"the snapshot {template} on {server} is gone",
                hint="was it dropped while the tests ran? Run them again",
            ) from error
        except psycopg.errors.DiskFull as error:
            raise CloneError(
                f"can't create {name} on {server}: {said(error)}", hint="is its disk full?"
            ) from error
    if template is not None:
        alter(connection, name, settings(connection, template))


@contextlib.contextmanager
def _sharing_blocks(connection: psycopg.Connection[Any]) -> Iterator[None]:
    connection.execute("SET file_copy_method = clone")
    try:
        yield
    finally:
        with contextlib.suppress(ServerError):
            connection.execute("RESET file_copy_method")


def settings(connection: psycopg.Connection[Any], database: str) -> list[tuple[str | None, str]]:
    """The settings by ``ALTER DATABASE … SET``, as pairs of a role or None and ``name=value``."""
    rows = connection.execute(
        "SELECT rolname, unnest(setconfig) FROM pg_db_role_setting "
        "JOIN pg_database d ON d.oid = setdatabase LEFT JOIN pg_roles r ON r.oid = setrole "
        "WHERE datname = %s",
        (database,),
    )
    return rows.fetchall()


def alter(
    connection: psycopg.Connection[Any],
    database: str,
    role_settings: Iterable[tuple[str | None, str]],
) -> None:
    """Give the settings that :func:`settings` read to another database; a copy has none itself."""
    from psycopg import sql

    for role, setting in role_settings:
        name, _, value = setting.partition("=")
        whose = sql.SQL("ALTER DATABASE {}").format(sql.Identifier(database))
        if role is not None:
            whose = sql.SQL("ALTER ROLE {} IN DATABASE {}").format(
                sql.Identifier(role), sql.Identifier(database)
            )
        key = sql.SQL(".").join(map(sql.Identifier, name.split(".")))
        values = _names(value) if name in _LISTS else [value]
        written = sql.SQL(", ").join(map(sql.Literal, values))
        connection.execute(sql.SQL("{} SET {} TO {}").format(whose, key, written))


def spare_waiting(connection: psycopg.Connection[Any], server: Server, name: str) -> None:
    """Have nobody wait for the disk who commits in a database that is thrown away.

    A test's clone and the copy that it is compared with are given this alike.
    """
    if server.facts.waits_for_disk:
        alter(connection, name, [(None, "synchronous_commit=off")])


def drop(connection: psycopg.Connection[Any], name: str) -> None:
    """End whatever uses a database and drop it, if it is there.

    ``DROP DATABASE`` sleeps in steps of 100 ms while somebody is connected: so we wait first.
    """
    import psycopg
    from psycopg import sql

    statement = sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name))
    deadline = time.monotonic() + _PATIENCE
    while True:
        disconnect(connection, name)
        try:
            connection.execute(statement)
            return
        except psycopg.errors.WrongObjectType:
            # One of our templates.
            connection.execute(
                sql.SQL("ALTER DATABASE {} IS_TEMPLATE false").format(sql.Identifier(name))
            )
        except psycopg.errors.InsufficientPrivilege as error:
            raise ServerError(
                f"can't drop {name}: {said(error)}", hint="drop it as the role that owns it"
            ) from error
        except psycopg.errors.ObjectInUse:
            if time.monotonic() > deadline:
                raise
            with contextlib.suppress(psycopg.Error):
                _release(connection, name)


def _release(connection: psycopg.Connection[Any], name: str) -> None:
    """End what keeps a database although nobody is connected: it outlives whoever made it.

    Prepared transactions and subscriptions are ended from inside of it.
    """
    import psycopg
    from psycopg import sql

    connection.execute(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s",
        (name,),
    )
    prepared = connection.execute(
        "SELECT gid FROM pg_prepared_xacts WHERE database = %s", (name,)
    ).fetchall()
    subscriptions = connection.execute(
        "SELECT subname FROM pg_subscription JOIN pg_database d ON d.oid = subdbid "
        "WHERE datname = %s",
        (name,),
    ).fetchall()
    if not (prepared or subscriptions):
        return
    info = connection.info
    with psycopg.connect(
        info.dsn, dbname=name, password=info.password or None, autocommit=True
    ) as inside:
        for (identifier,) in prepared:
            inside.execute(sql.SQL("ROLLBACK PREPARED {}").format(sql.Literal(identifier)))
        for (subscription,) in subscriptions:
            # With a slot, the other server would have to be reached.
            for end in ("ALTER {} DISABLE", "ALTER {} SET (slot_name = NONE)", "DROP {}"):
                which = sql.SQL("SUBSCRIPTION {}").format(sql.Identifier(subscription))
                inside.execute(sql.SQL(end).format(which))


def drop_named(connection: psycopg.Connection[Any], prefix: str) -> None:
    """Drop every database whose name begins so."""
    for name, _ in list(named(connection, prefix)):
        drop(connection, name)


def disconnect(connection: psycopg.Connection[Any], name: str) -> None:
    """End every connection to a database, and wait until they are gone.

    Raises:
        ServerError: somebody else's connection can't be ended, and stays.
    """
    deadline = time.monotonic() + _PATIENCE
    while True:
        rows = connection.execute(
            "SELECT pid, usename, application_name FROM pg_stat_activity "
            "WHERE datname = %s AND pid <> pg_backend_pid()",
            (name,),
        ).fetchall()
        if not rows:
            return
        if time.monotonic() > deadline:
            raise ServerError(
                f"{name} is in use by {rows[0][1]} ({rows[0][2]}, pid {rows[0][0]})",
                hint="close that connection",
            )
        for row in rows:
            _terminate(connection, row[0])
        time.sleep(0.001)


def rename(connection: psycopg.Connection[Any], name: str, new: str) -> None:
    """Give a database that nobody is connected to another name."""
    from psycopg import sql

    disconnect(connection, name)
    statement = sql.SQL("ALTER DATABASE {} RENAME TO {}")
    connection.execute(statement.format(sql.Identifier(name), sql.Identifier(new)))


def exists(connection: psycopg.Connection[Any], name: str) -> bool:
    """Whether there is such a database."""
    result = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
    return result.fetchone() is not None


def named(connection: psycopg.Connection[Any], prefix: str) -> Iterator[tuple[str, str]]:
    """The databases of ours whose names begin so, and their comments."""
    rows = connection.execute(
        "SELECT datname, coalesce(shobj_description(oid, 'pg_database'), '') FROM pg_database "
        f"WHERE starts_with(datname, %s) AND {OURS} ORDER BY datname",
        (prefix,),
    )
    yield from rows.fetchall()


def last_crash(connection: psycopg.Connection[Any]) -> str:
    """When a crash of the server took its statistics, or somebody reset them.

    With these go the rows of unlogged tables, those of templates too.
    """
    row = connection.execute(
        "SELECT coalesce(extract(epoch FROM stats_reset)::text, '') FROM pg_stat_bgwriter"
    ).fetchone()
    return str(row[0]) if row else ""


def comment(connection: psycopg.Connection[Any], name: str, text: str) -> None:
    """Write a database's comment."""
    from psycopg import sql

    statement = sql.SQL("COMMENT ON DATABASE {} IS {}")
    connection.execute(statement.format(sql.Identifier(name), sql.Literal(text)))


def _terminate(connection: psycopg.Connection[Any], pid: int) -> None:
    import psycopg

    with contextlib.suppress(psycopg.errors.InsufficientPrivilege):
        connection.execute("SELECT pg_terminate_backend(%s)", (pid,))


def _names(setting: str) -> list[str]:
    """The names in a setting that is a list. They may be in double quotes, or empty."""
    parts = re.findall(r'"(?:[^"]|"")*"|[^\s,]+', setting)
    return [part[1:-1].replace('""', '"') if part[0] == '"' else part for part in parts] or [""]
