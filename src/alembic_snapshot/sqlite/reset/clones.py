"""One file a process, lent to one test after another."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic_snapshot.database.clone import Connections
from alembic_snapshot.database.lasting import LentClone
from alembic_snapshot.sqlite.clone import FileClone, FileClones
from alembic_snapshot.sqlite.reset.connections import FileConnections, Watched, is_watchable
from alembic_snapshot.sqlite.reset.interface import obstacle

if TYPE_CHECKING:
    from alembic_snapshot.build.snapshot import Snapshot
    from alembic_snapshot.database.lasting import Lender
    from alembic_snapshot.sqlite.reset.interface import Kind, ResetFile

# Bytes from which on a file is not read after each test: see "The threshold" in docs/performance.md
# and benchmarks/reset_threshold.py.
LARGE = 1_000_000
# The system's own, whatever a test puts in its place.
_stat = os.stat
# After so many tests in a row that left WAL mode, it is the application's.
_LOGS = 2


class LentFile(LentClone, FileClone):
    """One test's turn on the file."""

    is_own_file = False
    connections: Connections | None = FileConnections()

    def __init__(self, snapshot: Snapshot, path: Path, clones: LastingFiles, lender: Lender):
        super().__init__(snapshot, path, clones.source.on_make)
        self._clones = clones
        self._lender = lender

    @property
    def made(self) -> bool:
        return self._made or self._lender.was_used

    @property
    def path(self) -> Path:
        self.is_known = True
        path = super().path
        self._lender.expose("a test was told where its file is")
        return path

    @property
    def address(self) -> str:
        self.make()
        return str(self.place)

    def rewrite_connect_args(self, dialect: Any, cargs: list[Any], cparams: dict[str, Any]) -> None:
        super().rewrite_connect_args(dialect, cargs, cparams)
        factory = self._clones.connection_factory
        if is_watchable(dialect):
            cparams.setdefault("factory", factory)
        if cparams.get("factory") is not factory:
            self._lender.expose("a connection can't be watched")

    def make(self) -> None:
        if self._lender.lasting is None:
            super().make()
        else:
            self._made = True

    def _copy(self) -> None:
        self._lender.start(self._clones.start(self.snapshot.path, self.place))


class LastingFiles:
    """Files that are put back in the way of ``kind``.

    In that of ``for_large``, where there is one and it works, from so many bytes on that to read
    the file costs a tenth of a test, and where one test after another left WAL mode, as those
    of an application do that sets it whenever it connects.
    """

    def __init__(self, source: FileClones, kind: Kind, for_large: Kind | None = None):
        self.source = source
        self._kind = kind
        self._for_large = for_large
        self._file: ResetFile | None = None
        self._logs = 0
        self.detour: str | None = None

    def obstacle(self) -> str | None:
        """As :func:`alembic_snapshot.sqlite.reset.interface.obstacle`."""
        return obstacle(self.source.folder(), self._kind)

    def lend(self, snapshot: Snapshot, lender: Lender) -> LentFile:
        """The file for one test, or one at a path that none has had."""
        if lender.lasting is None:
            self._logs = self._logs + 1 if self._was_log_ahead() else 0
            if self._logs >= _LOGS:
                self._kind = self._kind_for_large()
            self._file = None
        path = self._file.path if self._file else self.source.next_path()
        return LentFile(snapshot, path, self, lender)

    def close(self) -> None:
        """Nothing is shared."""

    def start(self, snapshot: Path, path: Path) -> ResetFile:
        """Make the file."""
        is_large = _stat(snapshot).st_size >= LARGE
        kind = self._kind_for_large() if is_large else self._kind
        self._file = kind(snapshot, path)
        return self._file

    def _was_log_ahead(self) -> bool:
        """Whether the first test on the last file left WAL mode."""
        return self._file is not None and self._file.had_log and self._file.resets == 0

    def _kind_for_large(self) -> Kind:
        """What does not read the file, if there is such a way and it works here."""
        why = self._for_large and obstacle(self.source.folder(), self._for_large)
        if why:
            self._for_large = None
            self.detour = f"files are rewritten and not rewound: {why}"
        return self._for_large or self._kind

    @property
    def connection_factory(self) -> type[Watched]:
        """What connections to the file are made with."""
        return self._file.connection_factory if self._file else Watched
