"""What stays of a failed test: its clone as one plain file, and a report that leads there."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import re
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from alembic_snapshot.database.clone import Clone
from alembic_snapshot.errors import SnapshotError
from alembic_snapshot.plugin.outside import ENDS_THE_RUN, reason
from alembic_snapshot.plugin.written import with_writers
from alembic_snapshot.sqlite import files
from alembic_snapshot.tokens.token import SUFFIX

FOLDER = "kept-databases"
_LIMIT = 10
_NAME_LENGTH = 100
# How many of the models' differences a report shows.
_SHOWN = 5


class Kept:
    """The clones that stay after a run. ``whose`` is ``failed``, ``all`` or ``none``.

    ``run_folder`` tells a folder that every process of a run has. Of failed tests' clones ten stay
    at most, and each is one to which a report leads.
    """

    def __init__(self, whose: str, run_folder: Callable[[], Path]):
        self.whose = whose
        self._run_folder = run_folder
        self.paths: dict[Clone, Path] = {}
        self._tests: dict[str, list[Clone]] = {}
        self._numbers = itertools.count()

    def reserve(self, clone: Clone, test: str) -> Path | None:
        """Where a clone is going to be kept; None if it is not."""
        if clone in self.paths:
            return self.paths[clone]
        if not clone.made or clone.is_read_only or self.whose == "none":
            return None
        for number in self._numbers if self.whose == "all" else range(_LIMIT):
            slot = self._run_folder() / FOLDER / str(number)
            with contextlib.suppress(FileExistsError):
                os.makedirs(slot)
                self.paths[clone] = slot / (file_name(test) + clone.suffix)
                self._tests.setdefault(test, []).append(clone)
                return self.paths[clone]
        return None

    def give_back(self, reported: Collection[str]) -> list[Path]:
        """Delete what is kept of tests that no report says failed; where it was.

        Another attempt of the test takes its place, or somebody forgave it the failure.
        """
        if self.whose == "all":
            return []
        gone = [test for test in self._tests if test not in reported]
        clones = [clone for test in gone for clone in self._tests.pop(test)]
        paths = [self.paths.pop(clone) for clone in clones]
        for clone, path in zip(clones, paths, strict=True):
            # One for several tests may be in use still.
            if path.exists():
                # What can't be deleted is swept by the next run.
                with contextlib.suppress(SnapshotError):
                    clone.delete()
            _delete(path)
        return paths

    def describe(self, clone: Clone, test: str, uncommitted: Iterable[str] = ()) -> str:
        """What a failed test's report says of its database, which is kept from now on.

        ``uncommitted`` are lines about what was not committed.
        """
        return "\n".join([*_drift(clone), *uncommitted, self._database(clone, test)])

    def _database(self, clone: Clone, test: str) -> str:
        if not clone.made:
            return "the test did not open its database"
        if clone.is_read_only:
            entry = clone.snapshot.entry
            if entry is not None and entry.database == clone.target:
                return f"the test read {clone.snapshot.title} itself: {clone.target}"
            return f"the test read a clone of {clone.snapshot.title}, which others read, too"
        lines = []
        path = self.reserve(clone, test)
        if path is not None:
            lines += clone.kept_as(path)
        elif self.whose != "none":
            lines += [f"not kept: {_LIMIT} databases of this run are kept already"]
        return "\n".join([*lines, f"compared with {clone.snapshot.title}:", _difference(clone)])


def delete(paths: Iterable[str]) -> None:
    """Delete clones that an earlier run kept, as far as they are there."""
    for path in map(Path, paths):
        if path.parent.parent.name == FOLDER:
            _delete(path)
            with contextlib.suppress(OSError):
                path.parent.parent.rmdir()


def _delete(path: Path) -> None:
    """Delete a kept clone with its token and its place."""
    files.remove(path)
    with contextlib.suppress(OSError):
        path.with_name(path.name + SUFFIX).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        path.parent.rmdir()


def file_name(test: str) -> str:
    """A test's id as a file name: at most 100 characters, no two tests' the same."""
    name = re.sub(r"[^\w.\-]+", "_", test.rpartition("/")[2]).strip("_")
    if len(name.encode()) <= _NAME_LENGTH:
        return name
    tail = hashlib.sha256(test.encode()).hexdigest()[:8]
    short = name.encode()[: _NAME_LENGTH - 9].decode(errors="ignore")
    return f"{short}-{tail}"


def _drift(clone: Clone) -> list[str]:
    """How the models differ from the snapshot, as far as it is known: what no revision makes."""
    entry, project = clone.snapshot.entry, clone.snapshot.project
    if entry is None or project.drift == "ignore":
        return []
    found = [_in_words(line) for line in entry.manifest.checks.get("drift", ())]
    if not found:
        return []
    more = [f"and {len(found) - _SHOWN} more"] if found[_SHOWN:] else []
    from alembic_snapshot.project.commands import alembic_command

    command = alembic_command(project, "revision", "--autogenerate")
    cure = f"`{command}` writes a revision with all of it"
    return [*found[:_SHOWN], *more, cure]


def _in_words(line: str) -> str:
    """A difference between models and database as what one has and the other has not."""
    match = re.fullmatch(r"(add|remove) (column|table|index|constraint|fk) (.+)", line)
    if match is None:
        return f"the models differ from what the revisions make: {line}"
    way, kind, name = match.groups()
    thing = f"`{name}`" if kind in ("column", "table") else f"the {kind} {name}"
    if way == "add":
        return f"the models have {thing}, no revision makes it"
    return f"the revisions make {thing}, the models do not have it"


def _difference(clone: Clone) -> str:
    try:
        return with_writers(clone)
    except ENDS_THE_RUN:
        raise
    except Exception as error:
        return f"it can't be shown: {error}"
    except BaseException as error:
        return f"it can't be shown: {reason(error)}"
