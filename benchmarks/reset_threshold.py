"""From which size on rewinding a file is cheaper than rewriting it: where ``reset`` changes ways.

    python benchmarks/reset_threshold.py [--rounds 200]

Both put back the same small change, in turn, on files that grow; the medians are printed.
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from alembic_snapshot.sqlite.reset.clones import LARGE
from alembic_snapshot.sqlite.reset.interface import ResetFile
from alembic_snapshot.sqlite.reset.rewind import Rewindable
from alembic_snapshot.sqlite.reset.rewrite import Reusable

_KILOBYTES = (100, 250, 500, 1_000, 2_000, 4_000, 16_000)


def main() -> None:
    """Measure each size, and say where ``reset`` changes ways now."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    rounds = parser.parse_args().rounds
    print("kB       rewrite    rewind, microseconds: a row is inserted, and the file put back")
    for kilobytes in _KILOBYTES:
        with tempfile.TemporaryDirectory(prefix="threshold-") as folder:
            taken = _measure(Path(folder), kilobytes, rounds)
        print(f"{kilobytes:<8} {taken[Reusable]:8.0f}  {taken[Rewindable]:8.0f}")
    print(f"reset rewinds from {LARGE // 1000} kB on")


def _measure(
    folder: Path, kilobytes: int, rounds: int
) -> dict[Callable[[Path, Path], ResetFile], float]:
    snapshot = folder / "snapshot.db"
    with sqlite3.connect(snapshot) as made:
        made.executescript("PRAGMA synchronous=OFF; PRAGMA page_size=512; CREATE TABLE t (a)")
        made.executemany("INSERT INTO t VALUES (zeroblob(950))", [()] * kilobytes)
    made.close()
    kinds: tuple[Callable[[Path, Path], ResetFile], ...] = (Reusable, Rewindable)
    files = {kind: kind(snapshot, folder / f"{number}.db") for number, kind in enumerate(kinds)}
    live = {kind: sqlite3.connect(file.path, isolation_level=None) for kind, file in files.items()}
    taken: dict[Callable[[Path, Path], ResetFile], list[float]] = {kind: [] for kind in kinds}
    for connection in live.values():
        connection.execute("PRAGMA synchronous=OFF")
    for _ in range(rounds):
        for kind in kinds:
            started = time.perf_counter()
            live[kind].execute("INSERT INTO t VALUES (1)")
            reason = files[kind].put_back()
            taken[kind].append(time.perf_counter() - started)
            assert reason is None, reason
    for kind in kinds:
        live[kind].close()
        files[kind].close()
    return {kind: 1e6 * statistics.median(values) for kind, values in taken.items()}


if __name__ == "__main__":
    main()
