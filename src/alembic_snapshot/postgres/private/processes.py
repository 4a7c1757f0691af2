"""PostgreSQL's programs are run as the right user, with a lock, and end with this process."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from alembic_snapshot.errors import ServerError
from alembic_snapshot.postgres.private.account import Account
from alembic_snapshot.postgres.private.folder import Folder, open_lock, try_lock

ORPHAN_SECONDS = 30.0
STEP = 0.005
_PR_SET_PDEATHSIG = 1
_KEPT = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


class Launcher:
    """Starts programs that hold the lock ``processes`` until they and their children are gone.

    On Linux they end when this process does, however it does. Elsewhere they outlive one that was
    killed, until the next one ends them.
    """

    def __init__(self, folder: Folder, user: Account):
        """Wait until no process of an earlier server is left, ending them if need be.

        Raises:
            ServerError: they don't end.
        """
        self._folder = folder
        self._user = user
        self._lock = open_lock(folder.processes)
        self._end_earlier()

    def start(
        self, command: Sequence[str | os.PathLike[str]], output: IO[bytes] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start one, which writes to ``output``, or to the log that this process writes to."""
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=None if output is None else subprocess.STDOUT,
            pass_fds=(self._lock,),
            preexec_fn=_ends_with_us(),
            env=_environment(),
            **self._user.popen(),
        )

    def close(self) -> None:
        """Leave the lock to those who were started."""
        os.close(self._lock)

    def _end_earlier(self) -> None:
        deadline = time.monotonic() + ORPHAN_SECONDS
        asked = False
        while not try_lock(self._lock):
            server = self._folder.postmaster()
            if not asked and server and self._runs(server):
                asked = True
                with contextlib.suppress(ProcessLookupError):
                    os.kill(server, signal.SIGQUIT)
            if time.monotonic() > deadline:
                raise ServerError(
                    f"processes of an earlier server in {self._folder.path} don't end",
                    hint=f"see which have {self._folder.processes} open, and end them",
                )
            time.sleep(STEP)

    def _runs(self, process: int) -> bool:
        """Whether this process is the server in the folder, and not another with its number."""
        return os.fspath(self._folder.data) in _command(process)


def _command(process: int) -> str:
    """The command of a process, in a line; empty if the system does not tell."""
    with contextlib.suppress(OSError):
        return os.fsdecode(Path(f"/proc/{process}/cmdline").read_bytes())
    # Not every container has it.
    with contextlib.suppress(OSError):
        command = ["ps", "-ww", "-o", "command=", "-p", str(process)]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return ""


def _environment() -> dict[str, str]:
    """The environment: without PGDATA and its like, and with messages in plain English."""
    return {name: os.environ[name] for name in _KEPT if name in os.environ} | {"LC_ALL": "C"}


def _ends_with_us() -> Callable[[], None] | None:
    """On Linux, the function that makes a child end when this process is killed (prctl(2)).

    It is called in the child after it has become another user, which would undo it.
    """
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return ask
