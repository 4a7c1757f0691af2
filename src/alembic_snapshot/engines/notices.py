"""Refusals: errors, or warnings of the same words with ``guard = "off"``."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from alembic_snapshot.engines.expected import is_expected
from alembic_snapshot.engines.letters import Letters
from alembic_snapshot.engines.nowhere import Nowhere
from alembic_snapshot.errors import DatabaseNotRequested, EngineError, SnapshotError

if TYPE_CHECKING:
    from pathlib import Path

    from alembic_snapshot.database.identity import Place
    from alembic_snapshot.project.callsite import Callsites, Site
    from alembic_snapshot.project.config import Project


class UnguardedDatabaseWarning(UserWarning):
    """With ``guard = "off"``: a test reached a database that is not its clone."""


class Ending(NamedTuple):
    """What is taken down at the moment, in words, and what its author can do."""

    what: str
    hint: str


class Notices:
    """Errors and warnings about connections to other databases; ``callsites`` finds their lines.

    ``temporary`` tells pytest's temporary folder: no configuration names what is in it.
    Each method raises, or warns once a test if the project has ``guard = "off"``. ``refused`` are
    the errors that were raised since it was cleared; ``outside`` those in threads that no test has
    started.
    ``ending`` tells what is taken down at the moment, if anything is, and ``is_asked`` whether the
    test that is set up takes a clone of a project's database; ``letters`` has what forked processes
    were refused. ``let_through`` has, by the test that ran, what was warned of and is not counted
    yet.
    """

    def __init__(self, callsites: Callsites, temporary: Callable[[], Path | None] = lambda: None):
        self.callsites = callsites
        self._temporary = temporary
        self.refused: list[SnapshotError] = []
        self.outside: list[SnapshotError] = []
        # Those of the test that were asked for already.
        self._asked_for: list[SnapshotError] = []
        self.ending: Callable[[], Ending | None] = lambda: None
        self.is_asked: Callable[[Project], bool] = lambda _project: False
        # Threads, and not their numbers: the next thread may have that of one which has ended.
        self._others: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
        # By the test that ran, if one did, and what was said.
        self._warned: set[tuple[str, str]] = set()
        self.let_through: set[tuple[str, str]] = set()
        self.letters = Letters()

    @property
    def unguarded(self) -> int:
        """How many connections were let through; those of one line in one test are one."""
        return len(self.let_through)

    @property
    def unguarded_tests(self) -> int:
        """In how many tests connections were let through."""
        return len({test for test, _ in self.let_through if test})

    def here(self) -> str:
        """The line that is running."""
        return self.callsites.text(self.callsites.here())

    def not_requested(self, project: Project, name: str, *, is_import: bool = False) -> None:
        """A connection to the application's database, in a test that did not ask for one.

        ``is_import`` says that the application is only being imported, to find its engine.
        """
        __tracebackhide__ = True
        test, what = _running(), f"{self.here()} connects to {name}"
        ending = self.ending()
        if ending is not None:
            error = DatabaseNotRequested(f"{ending.what}: {what}", hint=ending.hint)
        elif test is None or is_import:
            hint = "connect in a function that a test or a fixture calls, not at import"
            if project.guard == "on":
                hint += '; or set guard = "off" in [tool.alembic-snapshot]'
            when = "when it is imported" if is_import else "while no test is running"
            error = DatabaseNotRequested(f"{what} {when}", hint=hint)
        else:
            why, hint = self._without(project, test)
            error = DatabaseNotRequested(f"{what}, but {why}", hint=hint)
        self.refuse(project, error)

    def left_behind(self, project: Project, name: str) -> None:
        """A connection of a forked child to a clone that its parent has taken back.

        With the guard off, too: the database is gone, or another test has it.
        """
        __tracebackhide__ = True
        error = DatabaseNotRequested(
            f"{self.here()} uses {name} in a process that was forked {_when()}, and whose clone "
            "was taken back",
            hint=_forking(project),
        )
        with self.noting():
            raise error

    def left_out(self, project: Project, name: str) -> None:
        """A connection of a child that was forked when there was no clone, and now there is."""
        __tracebackhide__ = True
        error = DatabaseNotRequested(
            f"{self.here()} connects to {name} in a process that was forked {_when()}, when there "
            "was no clone",
            hint=_forking(project),
        )
        self.letters.write(error.message)
        self.refuse(project, error)

    def of_the_migrations(
        self, project: Project, place: Place, why: str, *, is_asked: bool
    ) -> None:
        """A connection to a database that the migrations are for, past the configured engine."""
        __tracebackhide__ = True
        test = _running()
        is_nowhere = Nowhere(project).is_at(place)
        shown = why if is_nowhere else f"{place.text(project.root)} ({why})"
        what = f"{self.here()} connects to {shown}"
        line = engine_line(project, place, self._temporary())
        hint = f"if it is the application's database, {line}"
        error: SnapshotError
        ending = self.ending()
        if is_asked:
            error = EngineError(f"{what}, and not to the test's clone", hint=hint)
        elif ending is not None:
            error = DatabaseNotRequested(f"{ending.what}: {what}", hint=f"{ending.hint}; {hint}")
        elif test is None:
            error = DatabaseNotRequested(f"{what} while no test is running", hint=hint)
        else:
            missing, asking = self._without(project, test)
            error = DatabaseNotRequested(f"{what}, but {missing}", hint=f"{asking}; {hint}")
        self.refuse(project, error)

    def unknown(self, project: Project, place: Place, problem: SnapshotError) -> None:
        """A connection that may be to the application's database, or not."""
        __tracebackhide__ = True
        error = EngineError(
            f"{self.here()} connects to {place.text(project.root)}, and whether it is the "
            f"application's database can't be known: {problem.message}",
            hint=problem.hint,
        )
        self.refuse(project, error)

    def attached(
        self, project: Project, place: Place | None, where: str = "the test's clone"
    ) -> None:
        """A statement that attaches a database, which would be written to, to a connection."""
        __tracebackhide__ = True
        what = place.text(project.root) if place else "a database whose name can't be told"
        error = EngineError(
            f"{self.here()} attaches {what} to {where}",
            hint="attach a file below tmp_path, or one in memory, when the application is tested",
        )
        self.refuse(project, error)

    def hidden(self, project: Project, name: str, place: Place) -> None:
        """An open connection to the application's database, whose arguments did not say so."""
        __tracebackhide__ = True
        error = EngineError(
            f"{self.here()} connects to {place.text(project.root)}, the database of {name}, under "
            "another name",
            hint="use the URL of the configured engine, or name its host, port and database as it "
            "does; a listener should leave these arguments alone",
        )
        self.refuse(project, error)

    def has_creator(self, project: Project, name: str) -> None:
        """A connection of an engine that does not ask where to connect to."""
        __tracebackhide__ = True
        error = EngineError(
            f"{self.here()} connects to {name} through a creator, which can't be pointed at a "
            "clone",
            hint="give create_engine() a URL and connect_args instead of a creator",
        )
        self.refuse(project, error)

    def _without(self, project: Project, test: str) -> tuple[str, str]:
        """Why a test has no clone of a database at the moment, and what its author can do."""
        name = test.rpartition(" ")[0]
        if not (test.endswith("(setup)") and self.is_asked(project)):
            return f"{name} did not ask for a database", _asking(project, test)
        return (
            f"the clone that {name} asks for begins later",
            f"have the fixture that uses the database take {_fixture(project)}; setUpClass, or a "
            "fixture for several tests, needs a clone_fixture()",
        )

    def refuse(self, project: Project, error: SnapshotError) -> None:
        """Raise the error, or warn."""
        __tracebackhide__ = True
        with self.noting():
            if project.guard == "on":
                raise error
        # A test's connections come from a pool again and again.
        said = str(_running() or "").rpartition(" ")[0], error.message
        if said not in self._warned:
            self._warned.add(said)
            self.let_through.add(said)
            warn(error, self.callsites.here())

    @contextlib.contextmanager
    def noting(self) -> Iterator[None]:
        """Note an error of ours that is raised meanwhile, also for a forked child's parent."""
        __tracebackhide__ = True
        try:
            yield
        except SnapshotError as error:
            is_other = threading.current_thread() in self._others
            (self.outside if is_other else self.refused).append(error)
            self.letters.write(error.message)
            raise

    def begin(self) -> None:
        """Note that a test begins or has ended: threads that run already are not the next one's."""
        self._others = weakref.WeakSet(threading.enumerate())
        self._others.discard(threading.current_thread())
        self._asked_for.clear()
        self.letters.begin()

    def _was_told(self, error: SnapshotError) -> bool:
        """Whether an error reached a testing library, or a test or ``conftest.py`` expected it."""
        if error.__traceback__ is None:
            # unittest takes it off from what it expected.
            return True
        # The outermost frame that an error came to is that of who caught it.
        frame = error.__traceback__.tb_frame
        module = str(frame.f_globals.get("__name__")).partition(".")[0]
        file = frame.f_code.co_filename
        if self.callsites.is_ours(file):
            # pytest rewrites the assertions of what tests, unless it was told not to.
            test = os.path.abspath(str(_running()).partition("::")[0])
            is_test = "@pytest_ar" in frame.f_globals or os.path.abspath(file) == test
            return is_test and is_expected(frame, error.__traceback__.tb_lineno, error)
        # SQLite turns an error in its authorizer into one of its own.
        return module in ("_pytest", "pluggy", "unittest", "alembic_snapshot")

    def behind(self, outcome: BaseException | None, *, is_expected: bool) -> list[SnapshotError]:
        """What was refused, and a test that is skipped or fails as expected does not show.

        ``outcome`` is what the test ended with. What it came from is told whoever caught it: the
        skip, or the mark, is all that there is to see. ``is_expected`` says that unittest took it.
        """
        origins = [one for one in _origins(outcome) if isinstance(one, SnapshotError)]
        others = [
            error
            for error in [*self._asked_for, *self.refused]
            if (is_expected and error.__traceback__ is not None) or not self._was_told(error)
        ]
        return [*origins, *(error for error in others if error not in origins)]

    def swallowed(self) -> SnapshotError | None:
        """The first error since the last call that no test expected, and that something caught."""
        refused, self.refused = self.refused, []
        self._asked_for += refused
        return next((error for error in refused if not self._was_told(error)), None)


def _origins(error: BaseException | None) -> Iterator[BaseException]:
    """The error, those that it came from, and those that it is a group of."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [one.__context__, one.__cause__]
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions


def warn(error: SnapshotError, site: Site | None) -> None:
    """Warn of what is not refused, at the line that does it."""
    message = UnguardedDatabaseWarning(f"{error.message}; {error.hint}")
    if site is None:
        warnings.warn(message, stacklevel=3)
    else:
        warnings.warn_explicit(message, None, *site)


def unused(
    project: Project,
    engine: str,
    test: str,
    line: str,
    place: Place,
    temporary: Path | None = None,
) -> EngineError:
    """The error of a test that asked for a database, and whose application opened another one."""
    configured = f"engine names {engine}; " if project.engine else ""
    nowhere = Nowhere(project)
    shown = nowhere.text if nowhere.is_at(place) else place.text(project.root)
    if place.kind == project.backend and place.is_memory:
        hint = (
            "name its engine in engine, or where a function makes it write "
            f'engine = "sqlite://" in {table_of(project)}'
        )
    else:
        own = engine_line(project, place, temporary)
        hint = f"if it is the application's database, {own}"
        if place.kind != project.backend or _is_passing(project, place, temporary):
            hint += "; if not, let the test use the application's engine, or ask for no database"
    return EngineError(
        f"{test} asked for a database and did not use it: {line} opened {shown}",
        hint=configured + hint,
    )


def engine_line(project: Project, place: Place, temporary: Path | None = None) -> str:
    """The line of configuration with which a database is pointed at clones.

    It names no file of this run only: one below ``temporary``, or where the system has such files.
    """
    from alembic_snapshot.database.identity import variables_for

    if place.kind != project.backend:
        return (
            f"give the application a {project.backend} URL when it is tested, by a variable that "
            "environment names"
        )
    by_name = f'write engine = "module:name" in {table_of(project)}, with the name of the engine'
    nowhere = Nowhere(project)
    names = nowhere.variables if nowhere.has(place) else []
    names = names or [name for name, _ in variables_for([place], os.environ)][:1]
    if names:
        # Another developer has another value.
        many = "variables" if names[1:] else "variable"
        url = "sqlite:///app.db" if place.kind == "sqlite" else f"{place.kind}://host/app"
        return (
            f"{by_name}, or where a function makes it a URL, as in {url!r}: its database is from "
            f"the {many} {' and '.join(names)}"
        )
    if _is_passing(project, place, temporary):
        return f"{by_name}: the database is in a temporary folder, and has no lasting name"
    return f'write engine = "{place.url(project.root)}" in {table_of(project)}'


def _is_passing(project: Project, place: Place, temporary: Path | None) -> bool:
    # There may be no folder for temporary files.
    with contextlib.suppress(OSError):
        return place.is_passing(project.root, (temporary, tempfile.gettempdir()))
    return place.is_passing(project.root, (temporary,))


def table_of(project: Project) -> str:
    """The table of one database of the project."""
    table = "tool.alembic-snapshot"
    return f"[{table}]" if project.name == "default" else f"[{table}.databases.{project.name}]"


def _asking(project: Project, test: str) -> str:
    """The hint that tells how a test asks for a clone of a database."""
    hint = f"have the test take {_fixture(project)}"
    if project.name == "default":
        hint = "add a fixture such as db_session or db_clone to the test, or mark it with "
        hint += "@pytest.mark.db_clone"
    if test.endswith("(setup)"):
        hint += "; setUpClass, or a fixture for several tests, needs a clone_fixture()"
    return hint


def _forking(project: Project) -> str:
    """The hint that tells how a forked process and its clone end together."""
    name = project.name
    taking = "db_clone" if name == "default" else f'db_clones and uses db_clones["{name}"]'
    return (
        f"start the process, or the pool of processes, in a fixture that takes {taking}, and end "
        "it after its yield; one for several tests takes their clone_fixture()"
    )


def _fixture(project: Project) -> str:
    """What a test or a fixture is to take, and to do with it, to have a clone."""
    name = project.name
    return "db_clone" if name == "default" else f'db_clones, and use db_clones["{name}"] in it'


def _when() -> str:
    """In which test a process was forked: its environment is that of then."""
    test = _running()
    return "while no test was running" if test is None else f"in {test.rpartition(' ')[0]}"


def _running() -> str | None:
    return os.environ.get("PYTEST_CURRENT_TEST")
