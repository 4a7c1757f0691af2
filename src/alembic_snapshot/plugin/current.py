"""The end of a test: what it left is said, and what it was lent is taken back, in pytest's order.

pytest runs a test's call, its fixtures' ends, and a report after each. So the steps are
:meth:`~CurrentTest.after_call`, :meth:`~CurrentTest.before_teardown`, then for each database that
the test was lent :meth:`~CurrentTest.take_back`, :meth:`~CurrentTest.after_teardown` and
:meth:`~CurrentTest.settle`. A phase that failed is described before its databases go.
"""

from __future__ import annotations

import contextlib
import functools
import time
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from alembic_snapshot.database.clone import whole
from alembic_snapshot.engines.notices import Ending
from alembic_snapshot.engines.untouched import Untouched
from alembic_snapshot.errors import CloneError, SnapshotError
from alembic_snapshot.plugin.endings import ending_now
from alembic_snapshot.plugin.outside import ENDS_THE_RUN, details, reason

if TYPE_CHECKING:
    from alembic_snapshot.database.clone import Clone
    from alembic_snapshot.engines.notices import Notices
    from alembic_snapshot.plugin.database import Database, Ended
    from alembic_snapshot.plugin.kept import Kept
    from alembic_snapshot.plugin.summary import Tally
    from alembic_snapshot.project.callsite import Site

# A thread that asks every second would fill the screen.
_SHOWN = 3


class OpenConnectionWarning(pytest.PytestWarning):
    """A test left a connection to its database open; it was closed."""


class CurrentTest:
    """The test that is set up, runs or is taken down. ``test`` is its id, in each method."""

    def __init__(
        self,
        databases: Mapping[str, Database],
        notices: Notices,
        tally: Tally,
        kept: Kept,
        untouched: Untouched,
    ):
        self.kept = kept
        self._databases = databases
        self._notices = notices
        self._tally = tally
        self._untouched = untouched
        self._ended: list[tuple[Database, Clone]] = []
        self._own: list[Clone] = []
        self._states: list[Clone] = []
        self._failed = False
        # What stands for a refusal that was caught.
        self._as_raised: SnapshotError | None = None
        notices.ending = self._ending
        # Of the phase that failed last, for JUnit's file.
        self.properties: list[tuple[str, str]] = []

    def begin(self, test: str, nodes: Collection[Any], reported: Collection[str]) -> None:
        """Before its set-up: what was refused until now was not refused to it.

        ``nodes`` are pytest's, the test with all that it is in. ``reported`` are the tests that a
        report says failed.

        Raises:
            SnapshotError: what a test before it left can't be deleted.
        """
        self._note_caught()
        left = [one for one in self._databases.values() if one.is_over(nodes)]
        for database in left:
            self.put_aside(database)
        if left:
            self.settle(test)
        self.give_back(reported)
        for database in self._databases.values():
            database.look()
            database.redirect.lost.clear()

    def give_back(self, reported: Collection[str]) -> None:
        """Keep nothing of earlier tests, or attempts, that no report says failed."""
        for path in map(str, self.kept.give_back(reported)):
            self._tally.lose(path)

    def after_call(self, test: str) -> None:
        """See that what it was refused came to it, and that it used its own clone.

        Raises:
            SnapshotError: what was refused, as it was raised, or which database it opened.
        """
        self._raise_for_swallowed(test)
        for database in self._databases.values():
            error = database.clone and database.strayed(test, shared=False)
            if error:
                raise error

    def before_teardown(self) -> None:
        """Let go of what it was refused; the threads that it leaves are nobody's."""
        self.let_go_of_refused()
        self._notices.begin()

    def let_go_of_refused(self) -> None:
        """Ask no more who caught what was refused: a phase that failed says that itself."""
        self._notices.refused.clear()

    def take_back(self, database: Database, test: str) -> None:
        """Take the engines off a clone that it was lent, and warn of connections that are open.

        Raises:
            EngineError: the clone was not used, and another database was opened.
        """
        __tracebackhide__ = True
        is_shared = database.is_shared
        try:
            strayed = database.strayed(test)
        finally:
            ended = self.put_aside(database)
            if ended is not None and not is_shared:
                self._own.append(ended.clone)
        if ended is None:
            return
        # The traceback of a test that failed holds on to whatever it had.
        if not self._failed:
            for site in ended.held:
                self._warn(site)
            if strayed is not None:
                raise strayed

    def put_aside(self, database: Database) -> Ended | None:
        """Take the engines off the clone in use, which the next report describes; None if none."""
        ended = database.end()
        if ended is not None:
            self._ended.append((database, ended.clone))
        return ended

    def delete_later(self, state: Clone) -> None:
        """Delete a checkpoint's state when the test is over: its report may compare with it."""
        self._states.append(state)

    def warn(self, site: Site | None) -> None:
        """Warn of a connection that was still open."""
        self._warn(site)

    def refused_behind(
        self, outcome: BaseException | None, item: pytest.Item
    ) -> list[SnapshotError]:
        """What was refused before a phase ended with this, should that be no failure.

        A mark that names a class of ours expects it.
        """
        function = getattr(item, "obj", None)
        is_expected = bool(getattr(function, "__unittest_expecting_failure__", False))
        found = self._notices.behind(outcome, is_expected=is_expected)
        if not found:
            return []
        named = [one for mark in item.iter_markers("xfail") for one in _raised_by(mark)]
        return [
            error
            for error in found
            if error is not self._as_raised and not isinstance(error, tuple(named))
        ]

    def see_hidden(self, test: str, errors: Sequence[SnapshotError]) -> None:
        """Keep for the end of the run what a skip, or a failure that is expected, does not show."""
        for error in errors:
            self._tally.see_hidden(test, f"{type(error).__name__}: {error.message}")

    def see_failed(self, test: str, errors: Sequence[SnapshotError]) -> None:
        """Keep what was refused in a phase that failed, if no report says so in the end."""
        for error in errors:
            self._tally.see_failed(test, f"{type(error).__name__}: {error.message}")

    def after_teardown(self, test: str) -> None:
        """See that what was refused while it was taken down came to it.

        Raises:
            SnapshotError: as it was raised.
        """
        self._raise_for_swallowed(test)

    def describe(self, test: str, *, is_own: bool = True) -> list[str]:
        """What the report of a phase that failed says of each database, in use or just ended.

        With ``is_own`` false, what failed is not the test's, and its own databases are left out.
        """
        self._failed = True
        self.properties.clear()
        ended = [one for one in self._ended if is_own or one[1] not in self._own]
        in_use = [(database, database.clone) for database in self._databases.values()]
        strays = [database.stray(test) for database, clone in in_use if clone is not None]
        return [str(stray[0]) for stray in strays if stray] + [
            (f"database {database.project.name}: " if len(self._databases) > 1 else "")
            + self._described(database, clone, test)
            for database, clone in [*in_use, *ended]
            if clone is not None
        ]

    def _described(self, database: Database, clone: Clone, test: str) -> str:
        """What is said of one database; of the others, whatever ends that."""
        try:
            uncommitted = database.redirect.uncommitted() if clone is database.clone else ()
            return self.kept.describe(clone, test, uncommitted) + self._token(database, clone, test)
        except ENDS_THE_RUN:
            raise
        except BaseException as error:
            return f"not known: {reason(error)}"

    def _token(self, database: Database, clone: Clone, test: str) -> str:
        """The line about the token of a database, which is noted as a property, too."""
        from alembic_snapshot.plugin.tokens import note_of

        note = note_of(clone, test, database.wanted, self.kept.paths.get(clone))
        if note is None:
            return ""
        if note.property is not None:
            name, value = note.property
            suffix = f"[{database.project.name}]" if len(self._databases) > 1 else ""
            self.properties.append((f"{name}{suffix}", value))
        return f"\n{note.line}"

    def sql(self) -> list[str]:
        """The SQL that was run on each database, in use or just ended."""
        from alembic_snapshot.plugin import written

        in_use = [(one, one.clone) for one in self._databases.values()]
        return [
            written.sql(clone.recording, database.project.root)
            for database, clone in [*in_use, *self._ended]
            if clone is not None and clone.recording is not None and clone.recording.steps
        ]

    def settle(self, test: str) -> None:
        """Delete its clones, put them back, or keep them; what it never sent is not the next one's.

        Raises:
            SnapshotError: one of them can't be; the others have been.
        """
        self._failed, self._as_raised = False, None
        started = time.perf_counter()
        for database in self._databases.values():
            database.empty_sessions()
        errors: list[SnapshotError] = []
        while self._ended:
            with self._going_on(errors, test):
                whole(functools.partial(self._dispose, *self._ended.pop(), test))
        self._own.clear()
        while self._states:
            with self._going_on(errors, test):
                whole(self._states.pop().delete)
        self._tally.seconds += time.perf_counter() - started
        for database in self._databases.values():
            with self._going_on(errors, test):
                database.see_sealed(test)
        for file in self._untouched.written():
            self._tally.see_written(file, test)
        if errors:
            raise errors[0]

    def _dispose(self, database: Database, clone: Clone, test: str) -> None:
        if self.kept.whose == "all":
            self.kept.reserve(clone, test)
        path = self.kept.paths.get(clone)
        database.dispose(clone, path)
        if path is not None and path.exists():
            self._tally.kept.append(str(path))

    @contextlib.contextmanager
    def _going_on(self, errors: list[SnapshotError], test: str) -> Iterator[None]:
        """Note what is raised meanwhile, whatever but the end of the run, to go on."""
        try:
            yield
        except ENDS_THE_RUN:
            raise
        except SnapshotError as error:
            errors.append(error)
        except BaseException as error:
            found = CloneError(
                f"the end of {test} was {reason(error)}",
                hint="what comes from a signal's handler, such as a time limit, came after the "
                "test: give it more time",
                details=details(error) or None,
            )
            found.__cause__ = error
            errors.append(found)

    def count(self) -> Tally:
        """The sums, since :meth:`take` took them last."""
        self._note_caught()
        self._count_unguarded()
        return self._tally

    def take(self) -> dict[str, Any]:
        """What is new since the last time, as a record that another process adds."""
        self._count_unguarded()
        self._notices.let_through.clear()
        return self._tally.take()

    def _count_unguarded(self) -> None:
        self._tally.unguarded = self._notices.unguarded
        self._tally.unguarded_tests = self._notices.unguarded_tests

    def close(self) -> None:
        """Let go of everything, at the end of the run.

        What can't be deleted any more is swept by the next run.
        """
        for database in self._databases.values():
            database.redirect.release()
        while self._ended:
            database, clone = self._ended.pop()
            with contextlib.suppress(SnapshotError):
                database.dispose(clone, None)
        while self._states:
            with contextlib.suppress(SnapshotError):
                self._states.pop().delete()
        for database in self._databases.values():
            with contextlib.suppress(SnapshotError):
                database.close()

    def _ending(self) -> Ending | None:
        """What is taken down at the moment, or goes on after the test's clone was taken back."""
        found = ending_now()
        if found is None and self._own:
            found = Ending(
                "a hook, a finalizer or a thread uses the database after the test's clone was "
                "taken back",
                "do it in a fixture that takes db_clone, after its yield",
            )
        return found

    def _raise_for_swallowed(self, test: str) -> None:
        error = self._notices.swallowed()
        if error is not None:
            self._as_raised = type(error)(
                f"{test} passed, although something caught this: {error.message}",
                hint=f"{error.hint}; a test that expects it says so: "
                f"pytest.raises({type(error).__name__})",
            )
            raise self._as_raised

    def _note_caught(self) -> None:
        """Keep what was refused outside of a test for the end of the run."""
        notices = self._notices
        caught, notices.outside = [notices.swallowed(), *notices.outside], []
        for error in caught:
            if error is not None and len(self._tally.refused) < _SHOWN:
                self._tally.refused.append(error.message)
            elif error is not None:
                self._tally.refused_more += 1
        for message in notices.letters.read():
            self._tally.see_forked(message)
        notices.begin()

    def _warn(self, site: Site | None) -> None:
        message = OpenConnectionWarning(
            "a connection to the test's database was still open: "
            f"{self._notices.callsites.text(site)} took it"
        )
        if site is None:
            warnings.warn(message, stacklevel=2)
        else:
            warnings.warn_explicit(message, None, *site)


def _raised_by(mark: pytest.Mark) -> Iterator[type[SnapshotError]]:
    """The classes of ours that a mark says a test raises."""
    raises = mark.kwargs.get("raises") or ()
    for one in raises if isinstance(raises, tuple) else (raises,):
        if isinstance(one, type) and issubclass(one, SnapshotError):
            yield one
