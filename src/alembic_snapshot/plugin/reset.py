"""``clones = "reset"`` and ``"rewind"``: one file a process, put back after each test that wrote.

Connections stay open from test to test, so that neither the file nor the schema in their memory
is made anew. Whatever a test did that can't be put back costs one fresh file at a new path.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic_snapshot.build.snapshot import Snapshot
from alembic_snapshot.database.clone import Clone
from alembic_snapshot.plugin.clones import NewDatabaseEachTest
from alembic_snapshot.plugin.marker import CloneOptions
from alembic_snapshot.sqlite import database as files
from alembic_snapshot.sqlite.clone import FileClone, FileClones
from alembic_snapshot.sqlite.reset import connections
from alembic_snapshot.sqlite.reset.interface import obstacle

if TYPE_CHECKING:
    from alembic_snapshot.engines.redirect import EngineRedirect
    from alembic_snapshot.plugin.summary import Tally
    from alembic_snapshot.project.callsite import Site
    from alembic_snapshot.sqlite.reset.interface import Kind, ResetFile
    from alembic_snapshot.store.manifest import Entry

# After so many files in a row that could not be put back, trying costs more than it brings.
_PATIENCE = 5


class ReusedClone(FileClone):
    """One test's turn on the file that is put back afterwards.

    Whoever is told where the file is may come back to it when the test is over: ``is_known`` says
    that somebody was, and that the file has to go.
    """

    is_own_file = False
    connection_factory: type[Any] | None = connections.Watched

    def __init__(self, snapshot: Snapshot, path: Path, strategy: Reset):
        super().__init__(snapshot, path, strategy.source.on_make)
        self.is_known = False
        self._strategy = strategy

    @property
    def made(self) -> bool:
        return self._made or self._strategy.redirect.was_used

    @property
    def path(self) -> Path:
        self.is_known = True
        path = super().path
        self._strategy.expose("a test was told where its file is")
        return path

    @property
    def address(self) -> str:
        self.make()
        return str(self.place)

    def rewrite_connect_args(self, dialect: Any, cargs: list[Any], cparams: dict[str, Any]) -> None:
        super().rewrite_connect_args(dialect, cargs, cparams)
        factory = self._strategy.connection_factory
        if connections.is_watchable(dialect):
            cparams.setdefault("factory", factory)
        if cparams.get("factory") is not factory:
            self._strategy.expose("a connection can't be watched")

    def make(self) -> None:
        if self._strategy.file is None:
            super().make()
        else:
            self._made = True

    def _copy(self) -> None:
        self._strategy.start(self.snapshot.path, self.place)


class Reset:
    """Lends the one file, and puts it back; what can't be lent so is left to ``fresh``.

    ``kind`` is how: the file is rewritten, or its log emptied.
    """

    def __init__(self, redirect: EngineRedirect, source: FileClones, tally: Tally, kind: Kind):
        self.redirect = redirect
        self.source = source
        self.fresh = NewDatabaseEachTest(redirect, source)
        self.file: ResetFile | None = None
        self._kind = kind
        self._tally = tally
        self._entry: Entry | None = None
        self._process = 0
        self._failures = 0
        self._lent: ReusedClone | None = None
        # Another process's files, which must not be closed here (SQLite's "How To Corrupt").
        self._abandoned: list[ResetFile] = []

    def begin(self, snapshot: Snapshot, clone_options: CloneOptions) -> Clone:
        """The file, with the engines' open connections to it; or a fresh clone."""
        if not self._can_lend(clone_options):
            return self.fresh.begin(snapshot, clone_options)
        if self._process != os.getpid() or self._entry is not snapshot.entry:
            self._start_again(snapshot)
        if self._tally.no_reset:
            return self.fresh.begin(snapshot, clone_options)
        if self.file is None:
            self._lent = ReusedClone(snapshot, self.source.next_path(), self)
            self.redirect.point(self._lent)
        else:
            self._lent = ReusedClone(snapshot, self.file.path, self)
            self.redirect.resume(self._lent)
        return self._lent

    def end(self, clone: Clone) -> list[Site | None]:
        """Close what is still in use, and the connections that a test left something in."""
        if clone is not self._lent:
            return self.fresh.end(clone)
        held = self.redirect.rest()
        clone.close()
        return held

    def dispose(self, clone: Clone, kept: Path | None) -> None:
        """Put the file back; or keep it, and start from another one next time."""
        if not isinstance(clone, ReusedClone) or clone is not self._lent:
            self.fresh.dispose(clone, kept)
            return
        self._lent = None
        if kept is not None and clone.made:
            self._let_go()
            clone.keep(kept)
            return
        if clone.is_known or self.redirect.was_told:
            self._abandon(clone)
            return
        reason = self._put_back()
        self._failures = self._failures + 1 if reason else 0
        if reason:
            self._abandon(clone)
            if self._failures == _PATIENCE:
                self._tally.no_reset = f"{_PATIENCE} tests in a row left what stays: {reason}"

    def start(self, snapshot: Path, path: Path) -> None:
        """Make the file."""
        self.file = self._kind(snapshot, path)

    @property
    def connection_factory(self) -> type[connections.Watched]:
        """What connections to the file are made with."""
        return self.file.connection_factory if self.file else connections.Watched

    def expose(self, why: str) -> None:
        """Let others use the file in every way; it is not put back any more."""
        if self.file is not None and self.file.is_guarded:
            self.redirect.close_idle(synchronous=True)
            self.file.expose(why)

    def close(self) -> None:
        """Close and delete the file."""
        if self.file is not None and self._process == os.getpid():
            path = self.file.path
            self._let_go()
            files.remove(path)

    def _can_lend(self, clone_options: CloneOptions) -> bool:
        if self._tally.no_reset or self._lent is not None:
            return False
        return not (clone_options.durable or clone_options.readonly or clone_options.empty)

    def _put_back(self) -> str | None:
        if self.redirect.was_unwatched:
            return "the connections are not those of Python's sqlite3"
        if self.file is None:
            return None
        # If this is interrupted, the next test starts from another file.
        file, self.file = self.file, None
        before = file.resets
        reason = file.put_back()
        self._tally.resets = (self._tally.resets or 0) + file.resets - before
        self.file = file
        return reason

    def _abandon(self, clone: Clone) -> None:
        """Delete the file, for the next test to begin with another."""
        self._let_go()
        clone.delete()

    def _start_again(self, snapshot: Snapshot) -> None:
        if self._process == os.getpid():
            self.close()
        elif self.file is not None:
            self._abandoned.append(self.file)
            self.file = None
        if self._entry is None:
            self._tally.no_reset = obstacle(self.source.folder(), self._kind)
        self._process, self._entry = os.getpid(), snapshot.entry

    def _let_go(self) -> None:
        """Close everything that is open on the file, and then the file."""
        self.redirect.release()
        if self.file is not None:
            self.file.close()
            self.file = None
