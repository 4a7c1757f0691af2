"""One test process's databases, what becomes of the clones of tests that are over, the sums."""

from __future__ import annotations

import contextlib
import os
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic_snapshot.engines.events import EngineEvents
from alembic_snapshot.engines.loops import Loop
from alembic_snapshot.errors import ConfigError
from alembic_snapshot.plugin.database import Database
from alembic_snapshot.plugin.kept import FOLDER, Kept
from alembic_snapshot.plugin.summary import Tally
from alembic_snapshot.project.config import DEFAULT, database_names, load_project

if TYPE_CHECKING:
    from alembic_snapshot.database.clone import Clone
    from alembic_snapshot.project.callsite import Callsites

# A thread that asks every second would fill the screen.
_SHOWN = 3


@dataclass(frozen=True)
class Options:
    """What the command line says. ``rebuild`` is the time before which nothing counts as built.

    ``clones`` wins over the configuration's.
    """

    store: Path | None = None
    keep: str = "failed"
    rebuild: float | None = None
    clones: str | None = None


class Runtime:
    """What the plugin's hooks and fixtures share; made when SQLAlchemy or a fixture needs it.

    ``calls`` keeps what calls in references gave. ``temporary`` tells pytest's temporary folder.
    ``shared`` is a folder that every process of the run has, ``own`` one of this process; both are
    set before the first clone begins.
    """

    def __init__(
        self, root: Path, options: Options, temporary: Callable[[], Path | None] = lambda: None
    ):
        self.options = options
        self.project = load_project(root, store=options.store)
        self.kept = Kept(options.keep)
        self.tally = Tally()
        self.own: Path | None = None
        self.loop = Loop()
        self.ended: list[tuple[Database, Clone]] = []
        self.test_failed = False
        self.resources = contextlib.ExitStack()
        self.calls: dict[str, Any] = {}
        self._events = EngineEvents(self.project.root, temporary)
        self.databases: dict[str, Database] = {}
        for name in database_names(self.project):
            project = self.project
            if name != DEFAULT:
                project = load_project(root, database=name, store=options.store)
            self.databases[name] = Database(project, self, self._events)
        _alive.add(self)

    @property
    def callsites(self) -> Callsites:
        """The project's lines, for messages."""
        return self._events.callsites

    def install(self) -> None:
        """Point and guard the engines from the moment when they exist."""
        self._events.install()

    def close(self) -> None:
        """Stop listening, and let go of everything."""
        self._events.uninstall()
        for database in self.databases.values():
            database.redirect.release()
        while self.ended:
            database, clone = self.ended.pop()
            database.dispose(clone, None)
        for database in self.databases.values():
            database.close()
        self.loop.close()
        self.resources.close()
        _alive.discard(self)
        if self.own is not None and self.own.is_dir():
            # What a thread or a child process wrote after its test was over.
            for leftover in self.own.iterdir():
                leftover.unlink(missing_ok=True)
            self.own.rmdir()

    def folders(self, own: Path, shared: Path) -> None:
        """Where clones are made, and where failed ones are kept."""
        self.own = Path(os.path.realpath(own)) / "databases"
        self.own.mkdir(exist_ok=True)
        self.kept.folder = Path(os.path.realpath(shared)) / FOLDER

    def database(self, name: str = DEFAULT) -> Database:
        """The database of that name.

        Raises:
            ConfigError: there is none.
        """
        if name not in self.databases:
            others = ", ".join(self.databases.keys() - {DEFAULT}) or "none"
            raise ConfigError(
                f"no database {name!r} in [tool.alembic-snapshot.databases]",
                hint=f"the configured ones: {others}",
            )
        return self.databases[name]

    def describe(self, test: str) -> list[str]:
        """What a failing test's report says of each of its databases, in use or just ended."""
        self.test_failed = True
        in_use = [(database, database.clone) for database in self.databases.values()]
        strays = [database.stray(test) for database, clone in in_use if clone is not None]
        return [str(stray[0]) for stray in strays if stray] + [
            (f"database {database.project.name}: " if len(self.databases) > 1 else "")
            + self.kept.describe(
                clone, test, database.redirect.uncommitted() if clone is database.clone else ()
            )
            for database, clone in [*in_use, *self.ended]
            if clone is not None
        ]

    def raise_for_strays(self, test: str) -> None:
        """Raise if the test's own clone was not used, and another database was opened.

        Raises:
            EngineError: it says which, and which line did.
        """
        for database in self.databases.values():
            error = database.clone and database.strayed(test, shared=False)
            if error:
                raise error

    def raise_for_swallowed(self, test: str) -> None:
        """Raise what was refused in a test, and did not come to it.

        Raises:
            SnapshotError: as it was raised.
        """
        error = self._events.notices.swallowed()
        if error is not None:
            raise type(error)(
                f"{test} passed, although something caught this: {error.message}",
                hint=error.hint,
            )

    def end_call(self) -> None:
        """Let go of what was refused in a test; the threads that it leaves are nobody's."""
        self._events.notices.refused.clear()
        self._events.notices.begin()

    def note_caught(self) -> None:
        """Keep what was refused outside of a test for the end of the run."""
        notices = self._events.notices
        caught, notices.outside = [notices.swallowed(), *notices.outside], []
        for error in caught:
            if error is not None and len(self.tally.refused) < _SHOWN:
                self.tally.refused.append(error.message)
            elif error is not None:
                self.tally.refused_more += 1
        notices.begin()

    def count(self) -> Tally:
        """The sums so far."""
        self.note_caught()
        self.tally.unguarded = self._events.notices.unguarded
        return self.tally

    def settle(self, test: str) -> None:
        """Delete or keep the clones of the test that is over."""
        self.test_failed = False
        started = time.perf_counter()
        while self.ended:
            database, clone = self.ended.pop()
            if self.kept.whose == "all":
                self.kept.reserve(clone, test)
            database.dispose(clone, self.kept.paths.get(clone))
        self.tally.seconds += time.perf_counter() - started

    def before_fork(self) -> None:
        """Make the clones in use, so that parent and child have the same."""
        for database in self.databases.values():
            if database.clone is not None:
                database.clone.make()
                # What the child does with it, nobody here sees.
                database.clone.was_told = True

    def after_fork(self) -> None:
        """Leave the parent's connections to the parent."""
        for database in self.databases.values():
            database.redirect.abandon()


# The runtimes that a fork concerns; a run of pytest inside a test has one of its own.
_alive: weakref.WeakSet[Runtime] = weakref.WeakSet()


def _before_fork() -> None:
    for runtime in list(_alive):
        runtime.before_fork()


def _after_fork() -> None:
    for runtime in list(_alive):
        runtime.after_fork()


os.register_at_fork(before=_before_fork, after_in_child=_after_fork)
