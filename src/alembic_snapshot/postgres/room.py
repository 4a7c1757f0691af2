"""Whether a server has room for the connections of a run, told before its first test."""

from __future__ import annotations

from alembic_snapshot.errors import ServerError
from alembic_snapshot.postgres.server import APPLICATION, Server

# Each process of tests holds, for each database of the project: one connection that makes clones,
# one behind the tests' back, one that keeps the snapshot from being pruned, and up to three for a
# moment, when a failing test's database is compared. One that has just been closed counts on the
# server until its process there has ended.
_OWN = 7
# With reset: one to the log and one to the database that is put back.
_FOR_RESET = 2
# The application needs one at least.
_APPLICATION = 1
_ROOM = """
    SELECT current_setting('max_connections')::int - CASE WHEN rolsuper THEN 0 ELSE
            current_setting('superuser_reserved_connections')::int
            + coalesce(nullif(current_setting('reserved_connections', true), '')::int, 0) END,
        CASE WHEN rolsuper OR rolconnlimit < 0 THEN NULL ELSE rolconnlimit END,
        (SELECT count(*) FROM others), (SELECT count(*) FROM others WHERE usename = current_user)
    FROM pg_roles WHERE rolname = current_user
"""
# What this run's other processes and their tests hold is in what they need.
_OTHERS = """
    WITH others AS (SELECT usename FROM pg_stat_activity WHERE datid IS NOT NULL
        AND coalesce(backend_type, 'client backend') = 'client backend'
        AND application_name <> %s AND NOT starts_with(datname, 'alembic_'))
"""


def needed(processes: int, *, resets: bool) -> int:
    """The connections that so many processes of tests need at least."""
    return processes * (_OWN + (_FOR_RESET if resets else 0) + _APPLICATION)


def refuse_crowd(server: Server, processes: int, *, resets: bool) -> None:
    """Refuse a run of so many processes on a server that has no room for their connections.

    Raises:
        ServerError: it says how many they need, and how many there can be.
    """
    with server.connect() as connection:
        row = connection.execute(_OTHERS + _ROOM, (APPLICATION,)).fetchone()
    assert row is not None
    usable, of_role, others, of_ours = row
    what, room = "max_connections", usable - others
    if of_role is not None and of_role - of_ours < room:
        what, room = "the role's CONNECTION LIMIT", of_role - of_ours
    wanted = needed(processes, resets=resets)
    if wanted <= room:
        return
    fewer = room // needed(1, resets=resets)
    workers = f", or run {fewer} of them: -n {fewer}" if fewer else ""
    raise ServerError(
        f"the server at {server} has room for {max(room, 0)} more connections, and the tests' "
        f"{processes} processes need {wanted} at least",
        hint=f"raise {what} there by {wanted - room}{workers}",
    )
