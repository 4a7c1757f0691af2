"""The process that starts the private server, and ends it when nobody uses it any more.

``python -m alembic_snapshot.postgres.supervisor ORDER``, with a JSON object in ``ORDER``. It leaves
the session of whoever started it, so that Ctrl-C and the end of a run don't reach it.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alembic_snapshot.errors import ServerError, SnapshotError
from alembic_snapshot.postgres.account import Account, account, reachable
from alembic_snapshot.postgres.binaries import Binaries
from alembic_snapshot.postgres.cluster import Cluster, environment, failure
from alembic_snapshot.postgres.folder import Folder, open_lock, try_lock

# Replaying a long log after a crash takes a while.
READY_SECONDS = 120.0
ORPHAN_SECONDS = 30.0
_STEP = 0.005
_PR_SET_PDEATHSIG = 1


def main(order: str) -> int:
    """Run a server until its last user is gone; tell the starter how it began."""
    told = json.loads(order)
    folder = Folder(Path(told["folder"]))
    binaries = Binaries(**{**told["binaries"], "folder": Path(told["binaries"]["folder"])})
    if os.fork():
        # Whoever started us waits for this process, and has no child to look after.
        os._exit(0)
    os.chdir("/")
    try:
        try:
            user = account()
            binaries = reachable(binaries, user, folder.path)
            end_orphans(folder)
            cluster = Cluster(folder, binaries, user)
            cluster.prepare()
            server = _start(folder, binaries, user)
        except (OSError, subprocess.SubprocessError) as error:
            raise failure(f"the server in {folder.path} could not be started", str(error)) from None
    except SnapshotError as error:
        _report(told["report"], error.to_record())
        return 1
    unused = threading.Event()
    users = open_lock(folder.users)
    signal.signal(signal.SIGTERM, lambda *_: server.send_signal(signal.SIGINT))
    _report(told["report"], {})
    threading.Thread(target=_end_when_unused, args=(users, server, unused), daemon=True).start()
    if server.wait() == 0 and unused.is_set():
        os.close(users)
        os.close(told["lock"])
        cluster.settle()
    return 0


def end_orphans(folder: Folder) -> None:
    """Wait until no process of an earlier server is left; end the server itself if need be.

    Its processes are left over when its supervisor was killed. On Linux the server ends then.

    Raises:
        ServerError: they don't end.
    """
    lock = open_lock(folder.processes)
    deadline = time.monotonic() + ORPHAN_SECONDS
    asked = False
    while not try_lock(lock):
        server = folder.postmaster()
        if not asked and server and _runs(server, folder):
            asked = True
            with contextlib.suppress(ProcessLookupError):
                os.kill(server, signal.SIGQUIT)
        if time.monotonic() > deadline:
            raise ServerError(
                f"processes of an earlier server in {folder.path} don't end",
                hint=f"see which have {folder.processes} open, and end them",
            )
        time.sleep(_STEP)
    os.close(lock)


def _start(folder: Folder, binaries: Binaries, user: Account) -> subprocess.Popen[bytes]:
    """The server, ready.

    Raises:
        ServerError: it ended, or was not ready in time.
    """
    processes = open_lock(folder.processes)
    fcntl.flock(processes, fcntl.LOCK_EX)
    server = subprocess.Popen(
        [
            *(binaries.folder / "postgres", "-D", folder.data),
            *("-c", f"config_file={folder.settings}"),
        ],
        stdin=subprocess.DEVNULL,
        pass_fds=(processes,),
        preexec_fn=_ends_with_us(),
        env=environment(),
        **user.popen(),
    )
    os.close(processes)
    deadline = time.monotonic() + READY_SECONDS
    while not folder.is_ready():
        if server.poll() is not None:
            raise failure(f"{binaries} did not start in {folder.path}", folder.end_of_log())
        if time.monotonic() > deadline:
            server.send_signal(signal.SIGQUIT)
            server.wait()
            raise failure(f"{binaries} was not ready in {READY_SECONDS:.0f} s", folder.end_of_log())
        time.sleep(_STEP)
    return server


def _end_when_unused(users: int, server: subprocess.Popen[bytes], unused: threading.Event) -> None:
    """Wait for the lock that every user shares, then shut the server down while holding it."""
    fcntl.flock(users, fcntl.LOCK_EX)
    unused.set()
    server.send_signal(signal.SIGINT)


def _ends_with_us() -> Callable[[], None] | None:
    """On Linux, what makes a child end when this process is killed (prctl(2)).

    It is called in the child after it has become another user, which would undo it.
    """
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl
    supervisor = os.getpid()

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT, 0, 0, 0)
        if os.getppid() != supervisor:
            os._exit(1)

    return ask


def _runs(process: int, folder: Folder) -> bool:
    """Whether this process is the server in this folder, and not another with its number."""
    command = ["ps", "-o", "command=", "-p", str(process)]
    shown = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return os.fspath(folder.data) in shown


def _report(pipe: int, record: dict[str, Any]) -> None:
    # The starter may have been killed; the server is then for those who wait behind it.
    with contextlib.suppress(BrokenPipeError):
        os.write(pipe, json.dumps(record).encode())
    os.close(pipe)


if __name__ == "__main__":
    code = main(sys.argv[1])
    sys.stdout.flush()
    # Without waiting for the thread that waits for users.
    os._exit(code)
