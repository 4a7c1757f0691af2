"""The role that restores a database from a file: one without any right elsewhere.

What a file has is code, and is not run with the rights of a superuser. Where ours is one, a role is
made that has one database and no more, and that is gone when it is done. ::

    alembic_restorer_ID  its lock is held for as long as somebody restores with it
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from alembic_snapshot.database.target import NotForHere
from alembic_snapshot.errors import SnapshotError
from alembic_snapshot.postgres import databases
from alembic_snapshot.postgres.server import Server, lock_key, said, spelled

if TYPE_CHECKING:
    import psycopg

    from alembic_snapshot.postgres.database import ServerDatabase

_NAME = "alembic_restorer_"
_PATTERN = f"^{_NAME}[0-9a-f]{{16}}$"
# Who has one of these can leave the database although he is no superuser.
_RIGHTS = (
    "SELECT current_setting('is_superuser')::bool, ARRAY(SELECT rolname::text FROM pg_roles "
    "WHERE rolname IN ('pg_execute_server_program', 'pg_read_server_files', "
    "'pg_write_server_files') AND pg_has_role(oid, 'MEMBER')), current_user::text"
)


@contextlib.contextmanager
def restoring(database: ServerDatabase) -> Iterator[Server]:
    """An empty database in the place of this one, and its server as who fills it reaches it.

    At the end the database and all that is in it are ours. After an error it is gone.

    Raises:
        NotForHere: there can be no role that is harmless.
    """
    server = database.server
    with server.connect() as connection:
        row = connection.execute(_RIGHTS).fetchone()
        assert row is not None
        is_superuser, rights, role = row
        if not is_superuser and rights:
            raise NotForHere(
                f"role {role!r} is a member of {rights[0]}, and may not restore what others wrote"
            )
        with _owner(connection, server) if is_superuser else _nobody(server) as (owner, restorer):
            databases.drop(connection, database.name)
            try:
                databases.create(connection, server, database.name, None, owner=owner)
                yield restorer
                if owner is not None:
                    _take_over(database, owner)
            except BaseException:
                with contextlib.suppress(SnapshotError):
                    databases.drop(connection, database.name)
                raise


def sweep(connection: psycopg.Connection[Any]) -> None:
    """Drop the roles of those who were killed while they restored, with what they owned."""
    if connection.execute("SHOW is_superuser").fetchone() != ("on",):
        return
    query = "SELECT rolname FROM pg_roles WHERE rolname ~ %s"
    for (name,) in connection.execute(query, (_PATTERN,)).fetchall():
        row = connection.execute("SELECT pg_try_advisory_lock(%s)", (lock_key(name),)).fetchone()
        if row and row[0]:
            _drop(connection, name)
            connection.execute("SELECT pg_advisory_unlock(%s)", (lock_key(name),))


@contextlib.contextmanager
def _nobody(server: Server) -> Iterator[tuple[None, Server]]:
    yield None, server


@contextlib.contextmanager
def _owner(connection: psycopg.Connection[Any], server: Server) -> Iterator[tuple[str, Server]]:
    """A role that may log in and nothing else, and the server as it reaches it."""
    from psycopg import sql
    from sqlalchemy import make_url

    sweep(connection)
    name, password = f"{_NAME}{secrets.token_hex(8)}", secrets.token_hex(16)
    # The server's log has statements, and no password is in this one.
    encrypted = connection.pgconn.encrypt_password(
        password.encode(), name.encode(), b"scram-sha-256"
    )
    statement = sql.SQL(
        "CREATE ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS "
        "PASSWORD {}"
    )
    connection.execute("SELECT pg_advisory_lock(%s)", (lock_key(name),))
    try:
        _make(connection, statement.format(sql.Identifier(name), sql.Literal(encrypted.decode())))
        url = make_url(server.url).set(username=name, password=password)
        url = url.difference_update_query(["user", "password"])
        yield name, Server(spelled(url), is_private=server.is_private)
    finally:
        with contextlib.suppress(SnapshotError):
            _drop(connection, name)


def _make(connection: psycopg.Connection[Any], statement: Any) -> None:
    import psycopg

    try:
        connection.execute(statement)
    except psycopg.Error as error:
        raise NotForHere(f"no role can be made to restore it with: {said(error)}") from error


def _take_over(database: ServerDatabase, owner: str) -> None:
    """Make all that a role owns in its database ours, and the database."""
    from psycopg import sql

    with database.server.connect(database.name) as connection:
        for statement in ("REASSIGN OWNED BY {} TO CURRENT_USER", "DROP OWNED BY {}"):
            connection.execute(sql.SQL(statement).format(sql.Identifier(owner)))


def _drop(connection: psycopg.Connection[Any], name: str) -> None:
    from psycopg import sql

    query = "SELECT datname FROM pg_database JOIN pg_roles r ON r.oid = datdba WHERE rolname = %s"
    for (database,) in connection.execute(query, (name,)).fetchall():
        databases.drop(connection, database)
    connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))
