"""psql on the server in use, for a look at a database that was kept."""

from __future__ import annotations

import difflib
import os
import shutil
import signal
import subprocess
from pathlib import Path

from alembic_snapshot.errors import ServerError
from alembic_snapshot.postgres.server import Server, server_in_use, without_password


def run_psql(name: str) -> int:
    """Run psql on a database until its user leaves it; its exit status.

    A private server lives as long as that.

    Raises:
        ServerError: there is no server, no psql, or no such database to connect to.
    """
    from sqlalchemy import make_url

    server = server_in_use()
    _look_for(server, name)
    program = _program(is_private=server.is_private)
    url = make_url(server.url).set(drivername="postgresql", database=name)
    # The password goes where other users of the machine can't read it.
    password = url.password or url.query.get("password")
    environment = {**os.environ, "PGPASSWORD": str(password)} if password else dict(os.environ)
    shown = without_password(url)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return subprocess.run([program, shown], env=environment, check=False).returncode
    finally:
        signal.signal(signal.SIGINT, before)


def _look_for(server: Server, name: str) -> None:
    with server.connect() as connection:
        query = (
            "SELECT datname, datallowconn FROM pg_database WHERE NOT datistemplate OR datname = %s"
        )
        databases = dict(connection.execute(query, (name,)).fetchall())
    if name not in databases:
        near = difflib.get_close_matches(name, databases, 1) or ["postgres"]
        raise ServerError(
            f"there is no database {name} on {server}",
            hint=f"did you mean {near[0]}? \\l in alembic-snapshot psql lists them",
        )
    if not databases[name]:
        raise ServerError(
            f"nobody can connect to {name} on {server}: it is a template",
            hint="alembic-snapshot clone NAME makes a database with its content",
        )


def _program(*, is_private: bool) -> Path | str:
    program = shutil.which("psql")
    if is_private:
        from alembic_snapshot.postgres.private.binaries import find

        beside = find().folder / "psql"
        program = str(beside) if beside.exists() else program
    if program is None:
        raise ServerError(
            "there is no psql on this machine",
            hint="install PostgreSQL's client, or use the URL with another one",
        )
    return program
