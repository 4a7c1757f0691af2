"""The process that starts the private server, and ends it when nobody uses it any more.

It is run with ``python -m`` and an order, a JSON object. It leaves the session of whoever started
it, so that Ctrl-C and the end of a run don't reach it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from alembic_snapshot.errors import SnapshotError
from alembic_snapshot.postgres.private.account import account, reachable
from alembic_snapshot.postgres.private.binaries import Binaries
from alembic_snapshot.postgres.private.cluster import Cluster, failure
from alembic_snapshot.postgres.private.folder import Folder, open_lock
from alembic_snapshot.postgres.private.processes import STEP, Launcher

# Replaying a long log after a crash takes a while.
READY_SECONDS = 120.0


def main(order: str) -> None:
    """Run a server until its last user is gone; tell the starter how it began."""
    told = json.loads(order)
    folder = Folder(Path(told["folder"]))
    binaries = Binaries(**{**told["binaries"], "folder": Path(told["binaries"]["folder"])})
    if os.fork():
        # Whoever started us waits for this process, and has no child to look after.
        os._exit(0)
    os.chdir("/")
    try:
        cluster, server = _start(folder, binaries)
    except SnapshotError as error:
        _report(told["report"], error.to_record())
        return
    signal.signal(signal.SIGTERM, lambda *_: server.send_signal(signal.SIGINT))
    users = open_lock(folder.users)
    unused = threading.Event()
    threading.Thread(target=_end_when_unused, args=(users, server, unused), daemon=True).start()
    _report(told["report"], {})
    if server.wait() == 0 and unused.is_set():

        def release() -> None:
            os.close(users)
            os.close(told["lock"])

        cluster.release_and_sync(release)


def _start(folder: Folder, binaries: Binaries) -> tuple[Cluster, subprocess.Popen[bytes]]:
    """The data directory and the server on it, ready.

    Raises:
        ServerError: it could not be made, it ended, or it was not ready in time.
    """
    try:
        user = account()
        binaries = reachable(binaries, user, folder.path)
        launcher = Launcher(folder, user)
        cluster = Cluster(folder, binaries, user)
        cluster.prepare(launcher)
        server = launcher.start(
            [binaries.folder / "postgres", "-D", folder.data, f"--config_file={folder.settings}"]
        )
        launcher.close()
    except (OSError, subprocess.SubprocessError) as error:
        raise failure(folder, f"the server in {folder.path} can't be started", str(error)) from None
    deadline = time.monotonic() + READY_SECONDS
    while not folder.is_ready():
        if server.poll() is not None:
            message = f"{binaries} did not start in {folder.path}"
            raise failure(folder, message, folder.end_of_log())
        if time.monotonic() > deadline:
            server.kill()
            message = f"{binaries} was not ready in {folder.path} after {READY_SECONDS:.0f} s"
            raise failure(folder, message, folder.end_of_log())
        time.sleep(STEP)
    return cluster, server


def _end_when_unused(users: int, server: subprocess.Popen[bytes], unused: threading.Event) -> None:
    """Wait for the lock that every user shares, then shut the server down while holding it."""
    fcntl.flock(users, fcntl.LOCK_EX)
    unused.set()
    server.send_signal(signal.SIGINT)


def _report(pipe: int, record: dict[str, Any]) -> None:
    # The starter may have been killed; the server is then for those who wait behind it.
    with contextlib.suppress(BrokenPipeError):
        os.write(pipe, json.dumps(record).encode())
    os.close(pipe)


if __name__ == "__main__":
    main(sys.argv[1])
    # Without waiting for the thread that waits for users.
    os._exit(0)
