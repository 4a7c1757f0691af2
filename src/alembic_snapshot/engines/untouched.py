"""Files that no test may write to, compared: a child process or a raw driver may have."""

from __future__ import annotations

import os
from collections.abc import Iterable


class Untouched:
    """What SQLite files were like when they were looked at last, and before the run began.

    ``began`` is when it did, in seconds since the epoch: what was written later was written by it.
    """

    def __init__(self, began: float):
        self._began = began * 1e9
        self._seen: dict[str, list[tuple[int, int, int] | None]] = {}

    def learn(self, files: Iterable[str]) -> None:
        """Look at those that were not looked at before."""
        for file in files:
            if file not in self._seen:
                state = _state(file)
                is_new = any(facts is not None and facts[-1] > self._began for facts in state)
                self._seen[file] = [] if is_new else state

    def look_again(self, files: Iterable[str]) -> None:
        """Look at files that are told of already: a forked process has told it."""
        self._seen.update({file: _state(file) for file in files})

    def written(self) -> list[str]:
        """Those that were made, written or deleted since this was asked, or since learned."""
        now = {file: _state(file) for file in self._seen}
        found = [file for file, state in now.items() if state != self._seen[file]]
        self._seen = now
        return found


def _state(file: str) -> list[tuple[int, int, int] | None]:
    return [_facts(file), _facts(f"{file}-wal")]


def _facts(file: str) -> tuple[int, int, int] | None:
    """None if it is not there, or empty: who reads in WAL mode makes an empty one."""
    try:
        stat = os.stat(file)
    except OSError:
        return None
    return (stat.st_ino, stat.st_size, stat.st_mtime_ns) if stat.st_size else None
