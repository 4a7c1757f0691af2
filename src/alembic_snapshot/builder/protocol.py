"""The messages between the two halves of a build: orders one way, reports the other.

Each is a line of JSON. Nothing in here knows Alembic, so that the parent may import it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

# What is read, as files, folders, questions about files, and variables.
Seen = Mapping[str, Any]


@dataclass(frozen=True)
class Step:
    """The next thing to do with the database, and the reads to tell of afterwards.

    ``revisions`` are those to upgrade to, None for the heads as they are when ``env.py`` runs; of
    a stairway, those to take up and down on the way through ``path``, in Alembic's order, or with
    ``parents`` down from above.
    Branches run in the order that one upgrade of an empty database to ``last`` has, if it is given.
    ``function`` is the reference of ``migrate`` or of a seed. The database is copied to ``copy``.
    ``inputs`` and ``owners`` say whose reads are told: of which files not, of which revisions and
    seeds; None for all.
    """

    does: Literal["upgrade", "migrate", "seed", "stairway", "nothing"]
    index: int = 0
    copy: str | None = None
    revisions: Sequence[str] | None = None
    function: str = ""
    path: Sequence[str] = ()
    parents: Mapping[str, Sequence[str]] | None = None
    inputs: Sequence[str] | None = None
    owners: Sequence[str] | None = None
    last: Sequence[str] | None = None


@dataclass(frozen=True)
class Job:
    """The orders for one run of the builder: the project, the database, the steps, the checks.

    ``handover`` is how ``env.py`` is given the database. ``settled`` are files of applied
    revisions, of which only the first lines will run. ``asked`` are the names that revisions in
    the database had asked of what ``env.py`` leaves. ``is_continued`` says that the database has
    been made by an ``env.py`` before, ``is_copy`` that it is only to be checked, and thrown away.
    """

    target: Mapping[str, Any]
    variables: Mapping[str, str]
    root: str
    store: str
    scripts: str
    versions: Sequence[str]
    recursive: bool
    ini: str | None
    toml: str | None
    section: str
    search_path: Sequence[str]
    x: Sequence[str]
    foreign: str
    elsewhere: Sequence[str]
    inputs: Sequence[str]
    settled: Sequence[str]
    asked: Sequence[str]
    ignored: Sequence[str]
    ignored_files: Sequence[str]
    handover: str
    migrate: str | None
    context: str | None
    steps: Sequence[Step]
    check: bool
    is_continued: bool
    is_copy: bool

    def to_line(self) -> str:
        """The orders as JSON."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_line(cls, line: str) -> Job:
        """The orders that :meth:`to_line` wrote."""
        fields = json.loads(line)
        return cls(**{**fields, "steps": [Step(**step) for step in fields["steps"]]})


@dataclass(frozen=True)
class Facts:
    """The report of a builder on its run when it ends, well or not.

    ``configured`` says whether ``env.py`` came to ``context.configure()``, which was given
    ``options``; ``versions`` are the version tables and their schemas, and ``is_heard`` whether
    migrations were heard to use them. ``scripts`` is the history as Alembic has loaded it.
    ``asks_command_line`` says that the project asked for Alembic's command line. ``written`` and
    ``changed`` are files, ``unlike_before`` what the next build finds otherwise, a line each.
    ``create_all`` and ``from_models`` are those revisions and seeds, and what ran beside them, that
    make something of metadata.
    ``env_writes`` says that ``env.py`` itself may leave more in the database each time it runs.
    """

    refused: Sequence[str]
    redirected: Sequence[str]
    databases: Sequence[Mapping[str, Any]]
    create_all: Sequence[str]
    configured: bool
    options: Mapping[str, str]
    versions: Sequence[tuple[str, str | None]]
    is_heard: bool
    planned: int
    applied: Sequence[str]
    scripts: Mapping[str, Any] | None
    caught_by: str | None
    async_lacks: Sequence[str]
    asks_command_line: bool
    written: Sequence[str]
    changed: Sequence[str]
    unlike_before: Sequence[str] = ()
    from_models: Sequence[str] = ()
    env_writes: bool = False


@dataclass(frozen=True)
class Checks:
    """The findings of the models' checks; ``unchecked`` are those that could not be made."""

    drift: Sequence[str] = ()
    drift_error: str | None = None
    mappers: str | None = None
    unchecked: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def impossible(cls, reason: str) -> Checks:
        """The result where no check could be made."""
        return cls(drift_error=reason, unchecked={"mappers": reason})


@dataclass(frozen=True)
class Done:
    """The end of a run that did all of its steps; ``through_env`` is what ``env.py`` has read.

    Checks that nobody asked for, or that it did not come to, are none that found nothing.
    """

    facts: Facts
    checks: Checks = field(default_factory=lambda: Checks.impossible("the builder made none"))
    through_env: Seen | None = None


@dataclass(frozen=True)
class Failure:
    """The end of a run that failed: what raised, in whose code, and what it may have needed.

    ``current`` is the revision or seed that was running, ``who`` whose code it was, ``where`` the
    innermost line of the project, ``variable`` the environment variable that was asked for and is
    not set, ``argument`` the same of Alembic's ``-x``. ``is_context`` says that it was raised where
    ``context`` is made, ``hint`` what is known to help. ``order`` is that in which branches have to
    run, if they had run in another one on the database that was there.
    """

    facts: Facts
    current: str | None
    who: str
    where: str | None
    type: str
    text: str
    sql: str | None
    is_import: bool
    wants_async: bool
    speaks_async: bool
    variable: str | None
    argument: str | None
    traceback: str
    is_context: bool = False
    hint: str | None = None
    order: Sequence[str] = field(default_factory=list)


# Where revisions and seeds may leave something for later ones, beside modules. In a connection:
# settings, temporary tables. In the run of env.py: its configuration's values, its own names. In
# the process: variables, its folder, the next random numbers.
CONNECTION, RUN, PROCESS = "<connection>", "<run>", "<process>"
# In the database, by an env.py that leaves more there each time that it runs.
ENV = "<env.py>"
# The beginning of the name of a file that it has left.
DISK = "<disk>"


class Reached(NamedTuple):
    """A state of the database, and what was read for it: by its own code, and by ``env.py``.

    ``blind`` are libraries that may have read unheard; ``by_owner`` which files each revision read.
    ``problems`` are those in the database, where only the application's own connections can tell.
    ``left`` is where its code left what the next revision or seed would not find in another
    process: files of modules, or names in angle brackets. ``goes_on`` says that the run of
    ``env.py`` which reached it had more to do.
    """

    direct: Seen
    through_env: Seen
    blind: Sequence[str]
    by_owner: Mapping[str, Mapping[str, str]]
    problems: Mapping[str, Any] | None = None
    left: Sequence[str] = ()
    goes_on: bool = False


def done_of(event: Mapping[str, Any]) -> Done:
    """The report of an end that was reached."""
    return Done(Facts(**event["facts"]), Checks(**event["checks"]), event["through_env"])


def failure_of(event: Mapping[str, Any]) -> Failure:
    """The report of a failure."""
    return Failure(**{**event, "facts": Facts(**event["facts"])})
