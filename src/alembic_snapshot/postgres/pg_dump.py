"""PostgreSQL's own program for writing down a schema: found, and asked."""

from __future__ import annotations

import functools
import glob
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from alembic_snapshot.errors import StoreError
from alembic_snapshot.postgres.private.binaries import PLACES, wheel
from alembic_snapshot.postgres.server import without_password

if TYPE_CHECKING:
    from alembic_snapshot.postgres.server import Server

PROGRAM = "pg_dump"
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")
_OPTIONS = ("--schema-only", "--no-tablespaces", "--quote-all-identifiers", "--encoding=UTF8")
_PATIENCE = 300.0
_HINT = "the snapshot is there all the same; only its file is not"


def sections(server: Server, database: str) -> tuple[str, str]:
    """The scripts that make a database's schema before its rows are there, and after.

    Raises:
        StoreError: there is no such program, or it fails.
    """
    program = find(server.facts.version // 10_000)
    before, after = (_start(program, server, database, name) for name in ("pre-data", "post-data"))
    try:
        return _output(before), _output(after)
    finally:
        for process in (before, after):
            process.kill()
            process.communicate()


def find(major: int, path: str | None = None) -> Path:
    """The program of the server's major version, or of the next newer one that there is.

    ``path`` stands for the variable PATH.

    Raises:
        StoreError: there is none.
    """
    path = os.environ.get("PATH", os.defpath) if path is None else path
    usable = [(has, program) for program in _programs(path) if (has := _major(program)) >= major]
    if not usable:
        raise StoreError(
            f"there is no {PROGRAM} for PostgreSQL {major} on this machine",
            hint=f"install the client of PostgreSQL {major}, for example postgresql-client-{major}",
        )
    return min(usable, key=lambda one: one[0])[1]


def _programs(path: str) -> Iterator[Path]:
    """Every one on this machine: in packages' own folders, on the PATH, in the wheel."""
    # What is on Debian's PATH looks for the others.
    folders = [Path(folder) for place in PLACES for folder in glob.iglob(place)]
    folders += [Path(folder) for folder in path.split(os.pathsep) if folder]
    embedded = wheel()
    folders += [embedded.folder] if embedded else []
    for folder in folders:
        program = folder / PROGRAM
        if os.access(program, os.X_OK):
            yield program


@functools.cache
def _major(program: Path) -> int:
    """The program's major version; 0 if it does not say."""
    try:
        said = subprocess.run(
            [program, "--version"], capture_output=True, text=True, check=False, timeout=60
        )
    except (OSError, subprocess.SubprocessError):
        return 0
    match = _VERSION.search(said.stdout)
    return int(match[1]) if match else 0


def _start(program: Path, server: Server, database: str, section: str) -> subprocess.Popen[str]:
    from sqlalchemy import make_url

    url = make_url(server.url).set(drivername="postgresql", database=database)
    # The password goes where other users of the machine can't read it.
    password = url.password or url.query.get("password")
    environment = {**os.environ, "LC_ALL": "C"}
    if password:
        environment["PGPASSWORD"] = str(password)
    command = [str(program), *_OPTIONS, f"--section={section}", f"--dbname={without_password(url)}"]
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=environment,
        )
    except OSError as error:
        raise StoreError(
            f"{program} can't be started: {error.strerror or error}", hint=_HINT
        ) from error


def _output(process: subprocess.Popen[str]) -> str:
    try:
        output, said = process.communicate(timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        raise StoreError(f"{PROGRAM} did not end within {_PATIENCE:.0f} s", hint=_HINT) from None
    if process.returncode != 0:
        lines = [line for line in said.splitlines() if line.strip()] or ["it does not say why"]
        said_first = lines[0].removeprefix(f"{PROGRAM}: ")
        raise StoreError(f"{PROGRAM} failed: {said_first}", hint=_HINT)
    return output
