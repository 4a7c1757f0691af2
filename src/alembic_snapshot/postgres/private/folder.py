"""The folder of a private server: where it is, that it is ours, and the locks in it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from alembic_snapshot.errors import ServerError
from alembic_snapshot.postgres.private.binaries import WHEEL, Binaries

VARIABLE = "ALEMBIC_SNAPSHOT_POSTGRES_DIR"
# Where a server listens beside its socket: other machines, and other users' names, can't get there.
LOOPBACK = "127.0.0.1"
USER = "postgres"
# The socket is called after the port, which has five digits at most.
_LONGEST_PORT = 65535
# What fits into an address of a Unix socket (unix(7)), without the zero byte that ends it.
LONGEST = 103 if sys.platform == "darwin" else 107
_HINT = f"set {VARIABLE} to a folder that is yours alone; it is made if it is not there"


class Folder:
    """The folder of one private server; what is in it has a name here and nowhere else.

    Three locks, all of the operating system's and gone with their holders:

    - ``users``: each process that uses the server shares it; who ends the server has it alone.
    - the folder itself: the supervisor's. It also keeps systemd's cleaner of temporary files away.
    - ``processes``: the server's processes inherit it, so that it is free once all are gone.
    """

    def __init__(self, path: Path):
        self.path = path
        self.data = path / "data"
        self.socket = path / "socket"
        self.log = path / "server.log"
        self.settings = path / "postgresql.conf"
        self.port_file = path / "port"
        self.password_file = self.data / "password"
        self.users = path / "users.lock"
        self.starting = path / "starting.lock"
        self.processes = path / "processes.lock"

    def address(self, port: int) -> Path:
        """The Unix socket of a server with this port."""
        return self.socket / f".s.PGSQL.{port}"

    @property
    def port(self) -> int:
        """The port that the server in here was started with last.

        Raises:
            OSError, ValueError: there is none, or it has not come so far.
        """
        return int(self.port_file.read_text())

    @property
    def password(self) -> str:
        """What the server asks those for who come by :data:`LOOPBACK`; empty if nobody can."""
        with contextlib.suppress(OSError, IndexError):
            if self._status()[5] == LOOPBACK:
                return self.password_file.read_text()
        return ""

    def is_ready(self) -> bool:
        """Whether a server says that it is ready."""
        with contextlib.suppress(OSError, IndexError):
            return self._status()[7].startswith("ready")
        return False

    def answers(self) -> bool:
        """Whether a server is ready and accepts connections."""
        if not self.is_ready():
            return False
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            return client.connect_ex(os.fspath(self.address(self.port))) == 0

    def postmaster(self) -> int | None:
        """The process id of the server that wrote it here last, if there is one."""
        with contextlib.suppress(OSError, IndexError, ValueError):
            return int(self._status()[0])
        return None

    def end_of_log(self, lines: int = 30) -> str:
        """The last lines that the server and its supervisor wrote."""
        with contextlib.suppress(OSError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        return ""

    def _status(self) -> list[str]:
        return (self.data / "postmaster.pid").read_text(errors="replace").splitlines()


def folder_for(binaries: Binaries) -> Folder:
    """The folder of this user's server with these programs, made if it is not there.

    Raises:
        ServerError: it is somebody else's, or its path is relative or does not suit a socket.
    """
    base = Path(os.path.expanduser(os.environ.get(VARIABLE) or default_base()))
    if not base.is_absolute():
        # It serves many projects, and would be another server in each working directory.
        raise ServerError(
            f"{VARIABLE} is the relative path {base}",
            hint=f"set it to a whole path, for example {base.absolute()}",
        )
    kind = f"-{WHEEL}" if binaries.origin == WHEEL else ""
    folder = Folder(base / f"postgres-{binaries.major}{kind}")
    longest = folder.address(_LONGEST_PORT)
    length = len(os.fsencode(longest))
    if length > LONGEST:
        raise ServerError(
            f"{longest} is too long for a Unix socket: {length} bytes, at most {LONGEST}",
            hint=f"set {VARIABLE} to a folder with a shorter path",
        )
    if set(os.fspath(folder.socket)) & {",", '"'}:
        # A comma separates hosts for libpq; initdb puts its own path between double quotes.
        raise ServerError(
            f"{folder.socket} has a comma or a double quote in it, which PostgreSQL can't handle",
            hint=f"set {VARIABLE} to another folder",
        )
    for path in (base, folder.path):
        _own(path)
    return folder


def default_base() -> Path:
    """The folder for everything of this user's, unless the variable names another."""
    return Path(tempfile.gettempdir(), f"alembic-snapshot-{os.geteuid()}")


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock alone, after waiting for it."""
    lock = open_lock(path)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def open_lock(path: Path) -> int:
    """A descriptor of a file (made if it is not there) or a folder, to lock."""
    if path.is_dir():
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)


def try_lock(descriptor: int) -> bool:
    """Take a lock alone, unless it is taken."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _own(path: Path) -> None:
    """Make a folder that only its owner writes to, or check that it is one."""
    # The server of root runs as somebody else, who needs to come through.
    mode = 0o711 if os.geteuid() == 0 else 0o700
    with contextlib.suppress(FileExistsError):
        path.mkdir(parents=True, mode=mode)
        path.chmod(mode)
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise ServerError(f"{path} is not a folder", hint=_HINT)
    if status.st_uid != os.geteuid():
        raise ServerError(f"{path} belongs to the user with the id {status.st_uid}", hint=_HINT)
    if status.st_mode & 0o002:
        raise ServerError(f"{path} can be written to by everybody", hint=_HINT)
