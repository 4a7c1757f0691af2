"""psql on the server in use, for a look at a database that was kept."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

from alembic_snapshot.errors import ServerError
from alembic_snapshot.postgres.server import server_in_use, without_password


def run_psql(name: str) -> int:
    """Run psql on a database until its user leaves it; its exit status.

    A private server lives as long as that.

    Raises:
        ServerError: there is no server or no psql.
    """
    from sqlalchemy import make_url

    server = server_in_use()
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
