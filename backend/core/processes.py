"""Which process a run is in, and whether it still lives."""

import os
import socket
import subprocess
from functools import cache
from pathlib import Path

UNKNOWN = "?"


def this_process() -> str:
    """The process that asks, so that others can look for it: its place, number and start."""
    return _name(os.getpid(), _started(os.getpid()))


def is_dead(process: str) -> bool:
    """Whether a process that was here is gone; of one of another place nothing is known: false.

    A number is given again, to another process, which started at another time. A machine that was
    started again has none of its old processes.
    """
    place, _, rest = process.partition(" pid ")
    number, _, started = rest.partition(" since ")
    if place != _place() or not number.isdecimal():
        return False
    now = _started(int(number))
    return now is None or (UNKNOWN not in (now, started) and now != started)


def _name(pid: int, started: str | None) -> str:
    return f"{_place()} pid {pid} since {started or UNKNOWN}"


@cache
def _place() -> str:
    """The machine and, on Linux, the namespace in which its processes are numbered."""
    try:
        return f"{socket.gethostname()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def _started(pid: int) -> str | None:
    """When a process started, in the words of the system; `None` if there is none."""
    if not _exists(pid):
        return None
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        # The name of the program, in parentheses, may hold anything (proc(5), /proc/PID/stat).
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return _started_says_ps(pid)
    # A zombie has ended, and only its parent has not asked how.
    return None if state in "ZX" else f"{boot} {rest[18]}"


def _started_says_ps(pid: int) -> str:
    command = ["ps", "-o", "lstart=", "-p", str(pid)]
    # It says so in the words and the time zone of whoever asks, which are not always the same.
    asker = {**os.environ, "LC_ALL": "C", "TZ": "UTC"}
    try:
        said = subprocess.run(
            command, env=asker, capture_output=True, text=True, check=False
        ).stdout
    except OSError:
        return UNKNOWN
    return " ".join(said.split()) or UNKNOWN


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
