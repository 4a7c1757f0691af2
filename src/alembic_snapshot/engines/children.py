"""Where a child process goes that is given the environment of a clone: looked at before it starts.

A process of our own is started as the test would start one. It imports the application, and says
where the configured engine leads; nothing is connected to.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping

# A test may put something of its own in their place.
from subprocess import DEVNULL, PIPE, Popen, TimeoutExpired
from typing import TYPE_CHECKING, Any

from alembic_snapshot.database.identity import Place, url_places
from alembic_snapshot.engines.notices import table_of
from alembic_snapshot.errors import CloneError

if TYPE_CHECKING:
    from alembic_snapshot.database.clone import Clone
    from alembic_snapshot.project.config import Project

_PATIENCE = 60.0
_TRIALS = 8
# These differ from test to test, and are pytest's own.
_PYTESTS = "PYTEST_"


class Children:
    """Child processes of tests that are given the environment of one database's clones.

    ``name`` is that of its engine, ``others`` tells the clones of the other databases that the test
    has. ``refuse`` is given the error of an environment that leads elsewhere, and raises it if it
    is one. ``unknown`` is told why it can't be known where one leads.
    """

    def __init__(
        self,
        project: Project,
        name: str,
        others: Callable[[], list[Clone]],
        *,
        refuse: Callable[[CloneError], None],
        unknown: Callable[[str], None],
    ):
        self.project = project
        self._name = name
        self._others = others
        self._refuse = refuse
        self._unknown = unknown
        self._lock = threading.Lock()
        self._answers: list[tuple[dict[str, str | None], str | None, CloneError | None]] = []

    def variables(self) -> dict[str, str]:
        """The variables for the other databases that the test has."""
        found: dict[str, str] = {}
        for clone in self._others():
            found |= clone.variables()
        return found

    def check(self, clone: Clone, environ: Mapping[str, str]) -> None:
        """See that a child process with that environment would open the clone.

        What was found is remembered, for as long as the variables are the same that the application
        asks for.

        Raises:
            CloneError: it would open another database.
        """
        with self._lock:
            error = self._answer(clone, environ)
        if error is not None:
            # Each has a traceback of its own.
            self._refuse(CloneError(error.message, hint=error.hint))

    def _answer(self, clone: Clone, environ: Mapping[str, str]) -> CloneError | None:
        folder = _folder()
        for asked, where, error in self._answers:
            if where == folder and asked == {name: environ.get(name) for name in asked}:
                return error
        report = self._ask(environ)
        projects = [self.project, *(other.snapshot.project for other in self._others())]
        own = {"DATABASE_URL", *(name for one in projects for name in one.environment)}
        names = environ if report.get("were_all") else report.get("asked", ())
        asked = {
            name: environ.get(name)
            for name in names
            if name not in own and not name.startswith(_PYTESTS)
        }
        error = self._judged(clone, environ, report)
        self._answers.append((asked, folder, error))
        return error

    def _judged(
        self, clone: Clone, environ: Mapping[str, str], report: Mapping[str, Any]
    ) -> CloneError | None:
        problem = report.get("problem")
        if problem is not None:
            self._unknown(
                f"where a child process with the clone's environ goes can't be known: {problem}"
            )
            return None
        strays = [place for place in _places(report) if not _is_at(place, clone)]
        if _places(report) and not strays:
            return None
        where = strays[0].text(self.project.root) if strays else "another kind of database"
        return CloneError(
            f"{self._name} leads to {where} in a child process with the clone's environ, and not "
            "to the test's clone",
            hint=self._hint(clone, environ, report),
        )

    def _hint(self, clone: Clone, environ: Mapping[str, str], report: Mapping[str, Any]) -> str:
        """The line that has been tried, or what it looks like."""
        table = table_of(self.project)
        for name, text in self._lines(clone, environ, report):
            return f"{self._write(name, text)}{self._unread(report)}"
        form = "async_url" if report["is_async"] else "url"
        if not report["were_all"] and not report["candidates"]:
            return self._without_variable(report, form)
        if self.project.environment:
            return (
                f"name the variable that the application reads in environment below {table}, as in "
                f'NAME = "{{{form}}}"; if it reads none for its URL, let it read one'
                f"{self._unread(report)}"
            )
        return (
            f'write environment = {{ NAME = "{{{form}}}" }} below {table}, with the variable that '
            "the application reads; if it reads none for its URL, let it read one"
        )

    def _without_variable(self, report: Mapping[str, Any], form: str) -> str:
        """The hint where the URL is a literal, or from a file: no variable would change it."""
        files = report["files"]
        source = f"a literal, or from {' or '.join(files)}" if files else "a literal"
        written = [name for name, text in self.project.environment.items() if f"{{{form}}}" in text]
        name = written[0] if written else "DATABASE_URL"
        rest = f", which environment below {table_of(self.project)} has"
        return (
            f"the application asks for no variable, so environ can't lead it: its URL is {source}; "
            f'let it ask for one first, as in os.environ.get("{name}", …)'
            f"{rest if written else f', and {self._write(name, form)}'}"
        )

    def _write(self, name: str, form: str) -> str:
        """What to write so that a variable leads to the clone."""
        entry, table = f'{name} = "{{{form}}}"', table_of(self.project)
        if self.project.environment:
            return f"write {entry} in environment below {table}"
        return f"write environment = {{ {entry} }} below {table}"

    def _lines(
        self, clone: Clone, environ: Mapping[str, str], report: Mapping[str, Any]
    ) -> Iterator[tuple[str, str]]:
        """The variables that lead to the clone, and what they are to be: each was tried."""
        own = "async_url" if report["is_async"] else "url"
        forms = {True: [own], False: ["path"], None: [own, "path"]}
        values = clone.target.places()
        trials = [(name, form) for name, is_url in report["candidates"] for form in forms[is_url]]
        trials = [(name, form) for name, form in trials if environ.get(name) != values[form]]
        for name, form in trials[:_TRIALS]:
            places = _places(self._ask({**environ, name: values[form]}))
            if places and all(_is_at(place, clone) for place in places):
                yield name, form

    def _unread(self, report: Mapping[str, Any]) -> str:
        """The variables of ``environment`` that the application did not ask for."""
        if report["were_all"]:
            return ""
        names = [name for name in self.project.environment if name not in report["asked"]]
        return f"; it does not read {', '.join(names)}" if names else ""

    def _ask(self, environ: Mapping[str, str]) -> dict[str, Any]:
        """The report of a process; or a ``problem``, why there is none."""
        project = self.project
        if not project.engine and not project.sessionmaker:
            return {"problem": "no engine is configured"}
        if "://" in (project.engine or ""):
            return {"problem": "engine is a URL, and who makes the engine is not known"}
        job = {
            "root": str(project.root),
            "engine": project.engine,
            "sessionmaker": project.sessionmaker,
            "backend": project.backend,
            "path": [path or os.getcwd() for path in sys.path],
        }
        return _report(json.dumps(job), environ)


def _report(job: str, environ: Mapping[str, str]) -> dict[str, Any]:
    with Popen(
        [sys.executable, "-P", "-m", "alembic_snapshot.engines.child"],
        stdin=PIPE,
        stdout=PIPE,
        stderr=DEVNULL,
        env=dict(environ),
    ) as process:
        try:
            answer, _ = process.communicate(job.encode(), timeout=_PATIENCE)
        except TimeoutExpired:
            process.kill()
            return {"problem": f"importing the application did not end within {_PATIENCE:g} s"}
    with contextlib.suppress(ValueError):
        found: dict[str, Any] = json.loads(answer)
        return found
    return {"problem": f"importing the application ended with status {process.returncode}"}


def _places(report: Mapping[str, Any]) -> list[Place]:
    return [Place(**place) for place in report.get("places", ())]


def _is_at(place: Place, clone: Clone) -> bool:
    """Whether a database is a test's clone, by its server's socket or its address."""
    from sqlalchemy import make_url

    url = make_url(clone.url)
    ways = [url, url.difference_update_query(["host"])] if url.host else [url]
    return any(place.is_same(url_places(way)[0]) for way in ways)


def _folder() -> str:
    try:
        return os.getcwd()
    except OSError:
        return ""
