"""The machine's processes; many a container has no ``ps``."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc/self/stat")


class Process(NamedTuple):
    """One of them, with its command in a line."""

    pid: int
    parent: int
    command: str


def processes() -> Iterator[Process]:
    """All that run at the moment."""
    if not PROC.exists():
        shown = ["ps", "-ww", "-eo", "pid=,ppid=,args="]
        output = subprocess.run(shown, capture_output=True, text=True, check=True).stdout
        for line in output.splitlines():
            pid, parent, *command = line.split(maxsplit=2)
            yield Process(int(pid), int(parent), "".join(command))
        return
    for folder in Path("/proc").glob("[0-9]*"):
        # One that has ended meanwhile is not listed.
        with contextlib.suppress(OSError):
            # The name of the program, in parentheses, may hold anything.
            _, parent, *_ = (folder / "stat").read_text().rpartition(")")[2].split()
            command = (folder / "cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ")
            yield Process(int(folder.name), int(parent), command.decode(errors="replace"))
