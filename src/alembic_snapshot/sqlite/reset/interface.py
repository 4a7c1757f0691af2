"""What the ways to put a file back have in common: their interface, and that they are tried."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from alembic_snapshot.database.lasting import Lasting
from alembic_snapshot.errors import SnapshotError
from alembic_snapshot.sqlite.reset.connections import Watched

# The time of the last change that says that nobody has written since: any write replaces it.
UNTOUCHED = 0


class ResetFile(Lasting, Protocol):
    """A file with a snapshot's content, and the means to give it that content again.

    Connections are to be made with ``connection_factory``. ``had_log`` says that somebody left it
    in WAL mode, in which it can't be put back.
    """

    path: Path
    had_log: bool
    connection_factory: type[Watched]


# Makes one of a snapshot's path, at a path that nobody has had open.
Kind = Callable[[Path, Path], ResetFile]


def obstacle(folder: Path, kind: Kind) -> str | None:
    """Why files in ``folder`` can't be put back under open connections here; None if they can.

    Tried on databases of its own, with the ``sqlite3`` module that test processes use.
    """
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix="self-test") as place:
            snapshot = Path(place) / "snapshot.db"
            connection = sqlite3.connect(snapshot)
            connection.executescript(
                "PRAGMA synchronous=OFF; CREATE TABLE t (a); INSERT INTO t VALUES (1), (2)"
            )
            connection.close()
            for number, write in enumerate(("INSERT INTO t VALUES (4)", "SELECT 1")):
                reason = _self_test(kind(snapshot, Path(place) / f"clone-{number}.db"), write)
                if reason:
                    return f"the self-test failed: {reason}"
            return None
    except SnapshotError as error:
        return f"the self-test failed: {error.message}"
    except (OSError, sqlite3.Error) as error:
        return f"the self-test failed: {error}"


def _self_test(file: ResetFile, last: str) -> str | None:
    live = sqlite3.connect(file.path, isolation_level=None)
    try:
        live.execute("PRAGMA synchronous=OFF")
        for _ in range(2):
            live.execute("INSERT INTO t VALUES (3)")
            reason = file.put_back()
            if reason:
                return reason
            if live.execute("SELECT a FROM t").fetchall() != [(1,), (2,)]:
                return "an open connection did not see that it was put back"
        live.execute(last).fetchall()
        cursor = live.execute("SELECT a FROM t")
        cursor.fetchone()
        if file.put_back() is None:
            return "an open cursor was not noticed"
        return None
    finally:
        live.close()
        file.close()
