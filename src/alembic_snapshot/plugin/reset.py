"""``clones = "reset"``: one database a process, put back after each test that wrote.

Connections stay open from test to test, so that neither the database nor what a driver or a server
knows of it is made anew. Whatever a test did that can't be put back costs one fresh database.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from alembic_snapshot.build.snapshot import Snapshot
from alembic_snapshot.database.clone import Clone
from alembic_snapshot.plugin.clones import NewDatabaseEachTest
from alembic_snapshot.plugin.marker import CloneOptions

if TYPE_CHECKING:
    from alembic_snapshot.backend import CloneSource
    from alembic_snapshot.database.lasting import Lasting, LastingClones, LentClone
    from alembic_snapshot.engines.redirect import EngineRedirect
    from alembic_snapshot.plugin.summary import Tally
    from alembic_snapshot.project.callsite import Site
    from alembic_snapshot.store.manifest import Entry

# After so many databases in a row that could not be put back, trying costs more than it brings.
_PATIENCE = 5


class Reset:
    """Lends the one database, and puts it back; what can't be lent so is left to ``fresh``."""

    def __init__(
        self, redirect: EngineRedirect, source: CloneSource, clones: LastingClones, tally: Tally
    ):
        self.redirect = redirect
        self.fresh = NewDatabaseEachTest(redirect, source)
        self.lasting: Lasting | None = None
        self._clones = clones
        self._tally = tally
        self._entry: Entry | None = None
        self._process = 0
        self._failures = 0
        self._lent: LentClone | None = None
        # Another process's, which must not be closed here (SQLite's "How To Corrupt").
        self._abandoned: list[Lasting] = []

    @property
    def was_used(self) -> bool:
        """Whether the test has taken a connection."""
        return self.redirect.was_used

    def begin(self, snapshot: Snapshot, clone_options: CloneOptions) -> Clone:
        """The database, with the engines' open connections to it; or a fresh clone."""
        if not self._can_lend(clone_options):
            return self.fresh.begin(snapshot, clone_options)
        if self._process != os.getpid() or self._entry is not snapshot.entry:
            self._start_again(snapshot)
        if self._tally.no_reset:
            return self.fresh.begin(snapshot, clone_options)
        self._lent = self._clones.lend(snapshot, self)
        if self.lasting is None:
            self.redirect.point(self._lent)
        else:
            self.redirect.resume(self._lent)
        return self._lent

    def begin_apart(self, snapshot: Snapshot, clone_options: CloneOptions) -> Clone:
        """A fresh clone."""
        return self.fresh.begin(snapshot, clone_options)

    def end(self, clone: Clone) -> list[Site | None]:
        """Close what is still in use, and the connections that a test left something in."""
        if clone is not self._lent:
            return self.fresh.end(clone)
        held = self.redirect.rest()
        clone.close()
        return held

    def dispose(self, clone: Clone, kept: Path | None) -> None:
        """Put the database back; or keep it, and start from another one next time."""
        if self._lent is None or clone is not self._lent:
            self.fresh.dispose(clone, kept)
            return
        try:
            self._take_back(self._lent, kept)
        except BaseException:
            # Nobody knows what is in it: the next test starts from another database.
            self._remove()
            raise
        finally:
            self._lent = None

    def _take_back(self, lent: LentClone, kept: Path | None) -> None:
        self._tally.detour = self._clones.detour
        if kept is not None and lent.made:
            self._let_go()
            lent.keep(kept)
            return
        if lent.is_known or self.redirect.was_told:
            self._renew("a test was told where its database is")
            return
        if self.redirect.is_elsewhere:
            self._renew("another thread still had a connection to it")
            return
        reason = self.redirect.unknown or self._put_back()
        self._failures = self._failures + 1 if reason else 0
        if reason:
            self._renew(reason)
            if self._failures == _PATIENCE:
                self._tally.no_reset = f"{_PATIENCE} tests in a row left what stays: {reason}"

    def start(self, lasting: Lasting) -> None:
        """Have a database, which was made now."""
        self.lasting = lasting

    def expose(self, why: str) -> None:
        """Let others use the database in every way; it is not put back any more."""
        if self.lasting is not None and self.lasting.is_guarded:
            self.redirect.close_idle(synchronous=True)
            self.lasting.expose(why)

    def close(self) -> None:
        """Close and delete the database, and what the fresh ones left."""
        if self._process == os.getpid():
            self._remove()
            self._clones.close()
        self.fresh.close()

    def _can_lend(self, clone_options: CloneOptions) -> bool:
        if self._tally.no_reset or self._lent is not None:
            return False
        return not (clone_options.durable or clone_options.readonly or clone_options.empty)

    def _put_back(self) -> str | None:
        lasting = self.lasting
        if lasting is None:
            return None
        before = lasting.resets
        reason = lasting.put_back()
        self._tally.resets = (self._tally.resets or 0) + lasting.resets - before
        return reason

    def _renew(self, reason: str) -> None:
        """Delete the database, for the next test to begin with another."""
        if self.lasting is not None:
            self._tally.renewed[reason] = self._tally.renewed.get(reason, 0) + 1
        self._remove()

    def _remove(self) -> None:
        lasting = self.lasting
        self._let_go()
        if lasting is not None:
            lasting.remove()

    def _start_again(self, snapshot: Snapshot) -> None:
        if self._process == os.getpid():
            self._remove()
        elif self.lasting is not None:
            self._abandoned.append(self.lasting)
            self.lasting = None
        if self._entry is None:
            self._tally.no_reset = self._clones.obstacle()
        self._process, self._entry = os.getpid(), snapshot.entry

    def _let_go(self) -> None:
        """Close everything that is open on the database, and then let go of it."""
        lasting = self.lasting
        try:
            self.redirect.release()
            if lasting is not None:
                lasting.close()
        finally:
            self.lasting = None
