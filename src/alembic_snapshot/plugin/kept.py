"""What stays of a failed test: its clone as one plain file, and a report that leads there."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from alembic_snapshot.database.clone import Clone
from alembic_snapshot.sqlite import database as files

FOLDER = "kept-databases"
_LIMIT = 10
_NAME_LENGTH = 100


class Kept:
    """The clones that stay after a run. ``whose`` is ``failed``, ``all`` or ``none``.

    ``run_folder`` tells a folder that every process of a run has. Of failed tests' clones ten stay
    at most.
    """

    def __init__(self, whose: str, run_folder: Callable[[], Path]):
        self.whose = whose
        self._run_folder = run_folder
        self.paths: dict[Clone, Path] = {}
        self._numbers = itertools.count()
        self._is_full = False

    def reserve(self, clone: Clone, test: str) -> Path | None:
        """Where a clone is going to be kept; None if it is not."""
        if clone in self.paths:
            return self.paths[clone]
        if not clone.made or clone.is_read_only or self.whose == "none" or self._is_full:
            return None
        for number in self._numbers:
            if self.whose == "failed" and number >= _LIMIT:
                self._is_full = True
                break
            slot = self._run_folder() / FOLDER / str(number)
            with contextlib.suppress(FileExistsError):
                slot.mkdir(parents=True)
                self.paths[clone] = slot / (file_name(test) + clone.suffix)
                return self.paths[clone]
        return None

    def describe(self, clone: Clone, test: str) -> str:
        """What a failed test's report says of its database, which is kept from now on."""
        if not clone.made:
            return "the test did not open its database"
        if clone.is_read_only:
            return f"the test read the snapshot itself: {clone.target}"
        lines = []
        path = self.reserve(clone, test)
        if path is not None:
            lines += clone.kept_as(path)
        elif self.whose != "none":
            lines += [f"not kept: {_LIMIT} databases of this run are kept already"]
        return "\n".join([*lines, "compared with the snapshot:", _difference(clone)])


def delete(paths: Iterable[str]) -> None:
    """Delete clones that an earlier run kept, as far as they are there."""
    for path in map(Path, paths):
        if path.parent.parent.name == FOLDER:
            files.remove(path)
            with contextlib.suppress(OSError):
                path.parent.rmdir()
                path.parent.parent.rmdir()


def file_name(test: str) -> str:
    """A test's id as a file name: at most 100 characters, no two tests' the same."""
    name = re.sub(r"[^\w.\-]+", "_", test.rpartition("/")[2]).strip("_")
    if len(name.encode()) <= _NAME_LENGTH:
        return name
    tail = hashlib.sha256(test.encode()).hexdigest()[:8]
    short = name.encode()[: _NAME_LENGTH - 9].decode(errors="ignore")
    return f"{short}-{tail}"


def _difference(clone: Clone) -> str:
    try:
        return str(clone.diff())
    except Exception as error:
        return f"it can't be shown: {error}"
