"""One database of the project: its snapshots, and the clone of one that a test is lent."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import os
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from alembic_snapshot.backend import backend_of
from alembic_snapshot.build.snapshot import Checkpoint, Snapshot
from alembic_snapshot.checks import raise_for_checks
from alembic_snapshot.database.clone import Clone
from alembic_snapshot.engines.children import Children
from alembic_snapshot.engines.notices import unused, warn
from alembic_snapshot.engines.untouched import Untouched
from alembic_snapshot.errors import CloneError, ConfigError, EngineError, SnapshotError
from alembic_snapshot.plugin.clones import NewDatabaseEachTest, Strategy
from alembic_snapshot.plugin.marker import CloneOptions
from alembic_snapshot.project.commands import alembic_command, own_command
from alembic_snapshot.store.manifest import Entry, Manifest

if TYPE_CHECKING:
    from alembic_snapshot.build.process import Listener
    from alembic_snapshot.engines.events import EngineEvents
    from alembic_snapshot.plugin.marker import Shared
    from alembic_snapshot.plugin.summary import Tally
    from alembic_snapshot.project.callsite import Site
    from alembic_snapshot.project.config import Project

_PLAIN = CloneOptions()


class Ended(NamedTuple):
    """A clone from which the engines were taken off, and the lines that still held a connection."""

    clone: Clone
    held: list[Site | None]


class Frozen(NamedTuple):
    """A clone that became a checkpoint, and the lines that still held a connection."""

    clone: Clone
    checkpoint: Checkpoint
    held: list[Site | None]


class Database:
    """One database of the project: its snapshots by what a test asks for, and the clone in use.

    Clones are made in ``folder``. ``rebuild`` is the time before which no snapshot counts as built,
    ``crowd`` how many databases the processes of the run have at once, ``all_clones`` the clones
    that are in use.
    """

    def __init__(
        self,
        project: Project,
        events: EngineEvents,
        tally: Tally,
        *,
        folder: Callable[[], Path],
        rebuild: float | None,
        all_clones: Callable[[], list[Clone]],
        crowd: int = 1,
    ):
        self.project = project
        self.redirect = events.redirect(project, self._manifests)
        self.clone: Clone | None = None
        self.children = Children(
            project,
            self.redirect.engines.name,
            lambda: [clone for clone in all_clones() if clone is not self.clone],
            refuse=lambda error: events.notices.refuse(project, error),
            unknown=tally.warn,
        )
        self._events = events
        self._tally = tally
        self._rebuild = rebuild
        self._crowd = crowd
        self._strategy = self._chosen(folder)
        self._clone_options = _PLAIN
        self._shared: Shared | None = None
        self._owner = ""
        self._process = 0
        self._snapshots: dict[tuple[str | None, str | None], Snapshot | SnapshotError] = {}
        # Those whose checks found nothing that is an error: they are asked for by each test.
        self._passed: set[tuple[str | None, str | None]] = set()
        self._in_use = contextlib.ExitStack()
        # Those that are files, which none is to write to.
        self._sealed = Untouched(math.inf)
        self._own_files: set[str] = set()
        self._looked_at = -1

    @property
    def is_shared(self) -> bool:
        """Whether the clone in use is one for several tests."""
        return self._shared is not None

    def is_over(self, nodes: Collection[Any]) -> bool:
        """Whether a clone is in use still, whose test or scope is none of these nodes of pytest's.

        Each test ends what it began; what a signal's handler raised meanwhile may have kept it
        from that, and the next test must not join it.
        """
        return self.clone is not None and (self._shared is None or self._shared.node not in nodes)

    def snapshot(
        self, clone_options: CloneOptions = _PLAIN, listener: Listener | None = None
    ) -> Snapshot:
        """The snapshot, ensured once a process; a failure is raised again without trying again.

        Raises:
            SnapshotError: it can't be built, or a check failed that is configured to be an error.
        """
        found = self.built(clone_options, listener)
        if clone_options.key not in self._passed:
            raise_for_checks(
                found.manifest.checks,
                drift=self.project.drift,
                command=functools.partial(self._status, clone_options),
                spell=functools.partial(alembic_command, self.project),
                title=self.project.title,
            )
            self._passed.add(clone_options.key)
        return found

    def built(
        self, clone_options: CloneOptions = _PLAIN, listener: Listener | None = None
    ) -> Snapshot:
        """The snapshot as :meth:`snapshot` has it, whatever its checks found.

        Raises:
            SnapshotError: it can't be built.
        """
        if clone_options.key not in self._snapshots:
            try:
                self._snapshots[clone_options.key] = self._ensure(clone_options, listener)
            except SnapshotError as error:
                self._snapshots[clone_options.key] = error
        found = self._snapshots[clone_options.key]
        if isinstance(found, SnapshotError):
            raise found
        return found

    def wanted(self, snapshot: Snapshot) -> tuple[str | None, str | None]:
        """The layer and the revision with which a snapshot was asked for."""
        found = (key for key, one in self._snapshots.items() if one is snapshot)
        return next(found, _PLAIN.key)

    def begin(
        self,
        clone_options: CloneOptions,
        *,
        shared: Shared | None = None,
        base: Checkpoint | None = None,
        making: str | None = None,
    ) -> bool:
        """Have a clone in use; whether it was begun now, and is to be ended by the caller.

        A ``shared`` one serves several tests; those that ask for nothing else join it. It begins
        with ``base`` if there is one; ``making`` is the name of what it is to become.

        Raises:
            EngineError: what the configuration names as engine and factory is not right.
            CloneError: a clone is in use that can't be joined.
            ConfigError: it can't begin with both the checkpoint and what the options say.
            SnapshotError: there is no snapshot to clone.
        """
        self.verify()
        self.look()
        if base is not None and clone_options.contents:
            raise ConfigError(
                f"a clone can't begin from {base.title} and have "
                f"{' and '.join(clone_options.contents)} at once",
                hint="give that to the checkpoint_fixture that stands on no other, or do not ask "
                "for the checkpoint",
            )
        if self.clone is not None:
            self._refuse_another(shared and shared.name, making)
            self._join(clone_options, base)
            return False
        snapshot = base or self._snapshot_for(clone_options)
        self._tally.fixtures_only |= not self.redirect.engines.configured.is_there
        begin = self._strategy.begin if making is None else self._strategy.begin_apart
        # Whose it is, is known before there is one.
        self._clone_options, self._shared = clone_options, shared
        self._process = os.getpid()
        self._owner = "the test's own"
        if shared is not None:
            self._owner = f"that of {shared.name} for several tests"
        if making is not None:
            self._owner = f"that of the checkpoint {making}, which is being made"
        self.clone = begin(snapshot, clone_options)
        self.clone.users, self.clone.recording = self.redirect, self.redirect.recording
        self.clone.processes = self.children
        return True

    def _snapshot_for(self, clone_options: CloneOptions) -> Snapshot:
        if clone_options.empty:
            return Snapshot(self.project, None)
        return self.snapshot(clone_options)

    def _refuse_another(self, shared: str | None, making: str | None) -> None:
        """See that the clone in use is not to be another one, of several tests' or a checkpoint's.

        Raises:
            CloneError: it names both, and what to do.
        """
        if shared is None and making is None:
            return
        asked = f"the checkpoint {making}" if making is not None else f"the clone {shared}"
        hint = f"ask for {asked} before the test's own clone, in an argument"
        if self._shared:
            hint = f"move the test out of the scope of that clone, or do not ask for {asked}"
        raise CloneError(
            f"{asked} can't begin while a clone is in use already, {self._owner}", hint=hint
        )

    def _join(self, clone_options: CloneOptions, base: Checkpoint | None) -> None:
        """See that the clone in use is what was asked for."""
        assert self.clone is not None
        if clone_options not in (_PLAIN, self._clone_options):
            raise CloneError(
                f"a clone is in use already, {self._owner}, and a different one was asked for",
                hint="remove the marker's arguments, or move the test out of its scope"
                if self._shared
                else "ask for the clone for several tests, or the checkpoint, before the test's "
                "own",
            )
        if base is not None and all(one is not base for one in self.clone.snapshot.checkpoints()):
            raise CloneError(
                f"a clone is in use already, {self._owner}, which does not begin from {base.title}",
                hint="move the test out of the scope of that clone, or do not ask for the "
                "checkpoint",
            )

    def see_marked(self, clone_options: CloneOptions, test: str) -> None:
        """See that the clone in use is what a test's markers say by now.

        A fixture may have marked the test after its clone had begun.

        Raises:
            CloneError: there is none, or it is another one.
        """
        if self.clone is None:
            what = "and no clone of it has begun"
        elif clone_options not in (_PLAIN, self._clone_options):
            what = "when a clone without these arguments had begun"
        else:
            return
        raise CloneError(
            f"{test} was marked with db_clone while it was set up, {what}",
            hint="mark the test, its class or its module; a fixture that adds the marker has to "
            'run before db_clone, and to ask for it: request.getfixturevalue("db_clone")',
        )

    def unfinished(self) -> list[str]:
        """What was written on the clone in use, or is about to be, and not committed."""
        lines = [*self.redirect.unflushed()]
        if self.clone is not None and self.clone.made and self.clone.has_open_writes():
            lines += self.redirect.transactions() or ["a transaction is open"]
        return lines

    def freeze(self, name: str, place: str) -> Frozen | None:
        """Take the engines off the clone in use, and make it a checkpoint.

        None if it is not this process's. One that nobody has used is what it began with.

        Raises:
            CloneError: it can't be copied.
        """
        if self.clone is not None and os.getpid() == self._process:
            self.clone.make()
        ended = self.end()
        if ended is None:
            return None
        before = ended.clone.snapshot
        target = ended.clone.freeze()
        entry = before.entry or Entry("", target, _nothing(self.project), 0.0)
        entry = dataclasses.replace(entry, name=target.name, database=target)
        self._tally.checkpoints += 1
        checkpoint = Checkpoint(self.project, entry, name=name, place=place, parent=before)
        return Frozen(ended.clone, checkpoint, ended.held)

    def verify(self) -> None:
        """See, before the first test that needs it, that the right engines will be pointed.

        Raises:
            EngineError: what the configuration names as engine and factory is not right.
        """
        self.redirect.engines.configured.verify()

    def look(self) -> None:
        """Learn which SQLite files the application and its migrations use, as far as is known."""
        count = len(self._snapshots)
        if not self._own_files or self._looked_at != count:
            self._looked_at = count
            self._own_files = self.redirect.engines.configured.files()
            found = self._own_files | self.redirect.known.files()
            self._events.untouched.learn(
                file for file in found if not self._events.is_temporary(file)
            )

    def strayed(self, test: str, *, shared: bool = True) -> EngineError | None:
        """What is wrong if the clone was not used, and another database was opened; said once.

        Of a clone for several tests that is known when it is over: ``shared`` says so. With the
        guard off it is a warning.
        """
        found = None if self._shared and not shared else self.stray(test)
        if found is None:
            return None
        error, site = found
        self.redirect.strays.clear()
        if self.redirect.is_guarding:
            return error
        warn(error, site)
        return None

    def stray(self, test: str) -> tuple[EngineError, Site | None] | None:
        """The error of a test that opened another database and not its clone, and the line."""
        if not self.redirect.strays or self.redirect.is_in_use:
            return None
        place, site = next(iter(self.redirect.strays.items()))
        who = "the tests that share a clone" if self._shared else test
        line, name = self._events.callsites.text(site), self.redirect.engines.name
        return unused(self.project, name, who, line, place, self._events.temporary), site

    def end(self) -> Ended | None:
        """Take the engines off the clone in use; None if there is none of this process."""
        clone, self.clone = self.clone, None
        if clone is None or os.getpid() != self._process:
            # A child that was forked in a test and came back to pytest must not take it down.
            return None
        started = time.perf_counter()
        self._events.held.close_unconnected(self.redirect)
        held = self._strategy.end(clone)
        self._tally.seconds += time.perf_counter() - started
        return Ended(clone, held)

    def empty_sessions(self) -> None:
        """Empty the sessions of a test that had no clone: the next one's would get their rows."""
        if self.clone is None and self.redirect.is_guarding:
            self._events.held.close_unconnected(self.redirect)

    def dispose(self, clone: Clone, kept: Path | None) -> None:
        """Delete a clone that was ended, or keep it."""
        self._tally.size += clone.size
        self._strategy.dispose(clone, kept)

    def see_sealed(self, test: str) -> None:
        """See that nobody has written to a snapshot: no file's mode keeps root from it.

        Raises:
            CloneError: somebody has, while that test ran. The next test's is built anew.
        """
        written = [file for file in self._sealed.written() if not self._is_replaced(file)]
        for key, found in list(self._snapshots.items()):
            if isinstance(found, Snapshot) and found.entry and found.database in written:
                del self._snapshots[key]
                self._passed.discard(key)
        if written:
            raise CloneError(
                f"the snapshot {written[0]} was written to while {test} ran, by it or beside it",
                hint="let a test that writes have a clone: db_clone without readonly, and not "
                "db_snapshot's own file. The next test's snapshot is built anew",
            )

    def _is_replaced(self, file: str) -> bool:
        """Whether another process has built that snapshot anew, or deleted it."""
        store = backend_of(self.project).store()
        there = [entry for entry in store.entries() if entry.database.name == file]
        return all(store.is_intact(entry) for entry in there)

    def close(self) -> None:
        """Close everything, and delete what is left."""
        self.redirect.release()
        self._strategy.close()
        self._in_use.close()

    def _chosen(self, folder: Callable[[], Path]) -> Strategy:
        tally = self._tally
        backend = backend_of(self.project)
        source = backend.clones(folder, self._made)
        if self.project.clones == "fresh":
            return NewDatabaseEachTest(self.redirect, source)
        from alembic_snapshot.plugin.reset import Reset

        tally.resets = 0
        lasting = backend.lasting(source, self.project.reset)
        return Reset(self.redirect, source, lasting, tally)

    def _ensure(self, clone_options: CloneOptions, listener: Listener | None) -> Snapshot:
        from alembic_snapshot.build.ensure import ensure

        if not any(isinstance(one, Snapshot) for one in self._snapshots.values()):
            backend_of(self.project).refuse_crowd(self._crowd)
        with self._rebuilding(clone_options, listener) as rebuild:
            snapshot = ensure(
                self.project,
                layer=clone_options.layer,
                revision=clone_options.revision,
                listener=listener,
                rebuild=rebuild,
            )
        self._in_use.enter_context(snapshot.in_use())
        if snapshot.entry is not None and snapshot.entry.database.file is not None:
            self._sealed.learn([snapshot.database])
        self._tally.note(snapshot, functools.partial(self._status, clone_options))
        return snapshot

    def _status(self, clone_options: CloneOptions) -> str:
        """The command that lists what was found in a snapshot."""
        return own_command(
            self.project, "status", layer=clone_options.layer, revision=clone_options.revision
        )

    @contextlib.contextmanager
    def _rebuilding(self, clone_options: CloneOptions, listener: Listener | None) -> Iterator[bool]:
        """Whether to build from nothing: once a run, by whichever process comes first."""
        since = self._rebuild
        if since is None:
            yield False
            return
        from alembic_snapshot.build.lookup import look_up
        from alembic_snapshot.build.waiting import telling_of_a_wait

        store = backend_of(self.project).store()
        store.prepare()
        with telling_of_a_wait(store.lock("rebuild"), listener):
            entry = look_up(
                self.project, layer=clone_options.layer, revision=clone_options.revision
            ).entry
            yield entry is None or entry.manifest.created < since

    def _manifests(self) -> list[Manifest]:
        """Those of the snapshots of this run so far."""
        found = (one for one in self._snapshots.values() if isinstance(one, Snapshot))
        return [snapshot.entry.manifest for snapshot in found if snapshot.entry]

    def _made(self, seconds: float) -> None:
        self._tally.clones += 1
        self._tally.seconds += seconds


def _nothing(project: Project) -> Manifest:
    """The record of a database to which no migration belongs."""
    return Manifest(
        digest="",
        family="",
        project=project.name,
        created=0.0,
        size=0,
        sha256="",
        heads=(),
        revisions={},
        seeds=(),
        layers={},
    )
