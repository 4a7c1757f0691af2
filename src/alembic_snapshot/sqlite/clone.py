"""A test's own database as a file."""

from __future__ import annotations

import contextlib
import itertools
import os
import shlex
import sqlite3
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from alembic_snapshot.database.clone import Clone, whole
from alembic_snapshot.database.identity import option_of, uri_parts
from alembic_snapshot.errors import CloneError
from alembic_snapshot.sqlite import database as databases
from alembic_snapshot.sqlite import files

if TYPE_CHECKING:
    from alembic_snapshot.build.snapshot import Snapshot
    from alembic_snapshot.sqlite.replay import FileReplay

_OF_THE_FILE = ("immutable", "nolock", "vfs")


class FileClone(Clone):
    """One test's own copy of a snapshot's file.

    ``is_own_file`` says whether the file goes when the clone does.
    """

    is_own_file = True
    suffix = databases.SUFFIX

    def __init__(
        self, snapshot: Snapshot, path: Path, on_make: Callable[[float], None] | None = None
    ):
        super().__init__(snapshot, on_make)
        self._path = path
        self._numbers = itertools.count(1)

    @property
    def label(self) -> str:
        return self._path.name

    @property
    def place(self) -> Path:
        return self._path

    @property
    def path(self) -> Path:
        self.was_told = True
        self.make()
        return self._path

    @property
    def address(self) -> str:
        """The address for SQLite to open: a path, or a URI if ``is_read_only``."""
        return str(self.path)

    @property
    def target(self) -> databases.DatabaseFile:
        return databases.DatabaseFile(self.path)

    @property
    def size(self) -> int:
        try:
            return os.stat(self._path).st_size if self.is_own_file and self._made else 0
        except OSError:
            return 0

    def rewrite_connect_args(
        self, _dialect: Any, cargs: list[Any], cparams: dict[str, Any]
    ) -> None:
        options = "" if self.is_read_only else _options(cargs[0] if cargs else "")
        address = f"file:{quote(str(self.path))}?{options}" if options else self.address
        cargs[:1], cparams["uri"] = [address], bool(options) or self.is_read_only
        # Who ends the test closes its connections, whichever thread opened them.
        cparams["check_same_thread"] = False

    def other_database(self, connection: Any) -> str | None:
        file = databases.opened_file(connection)
        if file == str(self._path):
            return None
        with contextlib.suppress(OSError):
            if os.path.samefile(file, self._path):
                return None
        return file or "memory"

    def disable_fsync(self, connection: Any) -> None:
        databases.disable_fsync(connection)

    def delete(self) -> None:
        self.close()
        if self._made:
            files.remove(self._path)

    def kept_as(self, path: Path) -> list[str]:
        return [str(path), f"open it: sqlite3 {shlex.quote(str(path))}"]

    def keep(self, path: Path) -> Path:
        """Close, and move the file to ``path`` as one plain file; what was there is replaced.

        Raises:
            CloneError: somebody is at work on it, and does not end.
        """
        self.close()
        databases.checkpoint(self._path)
        path.parent.mkdir(parents=True, exist_ok=True)
        files.remove(path)
        if any(side.exists() for side in files.side_files(self._path)):
            # Somebody still has it open, and has rows beside it.
            self._copy_to(path, "keep")
            files.remove(self._path)
        else:
            self._path.rename(path)
        self._path = path
        return path

    def has_open_writes(self) -> bool:
        return databases.has_writer(self._path)

    def replays(self) -> Generator[FileReplay, None, None]:
        from alembic_snapshot.sqlite.replay import FileReplay

        beginning = self._beginning
        for foreign_keys in (True, False):
            path = self._path.with_name(f"{self._path.stem}-replay-{next(self._numbers)}.db")
            replay = FileReplay(path, foreign_keys=foreign_keys)
            try:
                if isinstance(beginning, databases.DatabaseFile):
                    files.copy(beginning.path, path)
                yield replay
            finally:
                whole(replay.close)

    def freeze(self) -> databases.DatabaseFile:
        self.make()
        # Another file: whoever has the old one open, a thread or a child, writes to nobody's.
        state = self._save()
        self.close()
        files.remove(self._path)
        self._path = state.path
        return state

    def _save(self) -> databases.DatabaseFile:
        original = self.path
        path = original.with_name(f"{original.stem}-state-{next(self._numbers)}{databases.SUFFIX}")
        self._copy_to(path, "make a checkpoint of")
        return databases.DatabaseFile(path)

    def _copy_to(self, path: Path, what: str) -> None:
        """Copy what is committed into one plain file, while somebody may have it open."""
        try:
            databases.backup(self._path, path)
        except sqlite3.Error as error:
            files.remove(path)
            raise CloneError(
                f"can't {what} {self.label}: {error}",
                hint="does a thread or a child process still write to it?",
            ) from error
        databases.checkpoint(path)

    def _restore(self, state: databases.DatabaseFile | None) -> None:
        try:
            databases.put_back(state.path if state else None, self.path)
        except sqlite3.Error as error:
            raise CloneError(
                f"can't restore {self.label}: {error}",
                hint="does a thread or a child process still use it?",
            ) from error

    def _forget(self, state: databases.DatabaseFile) -> None:
        state.remove()

    def _copy(self) -> None:
        if self.snapshot.entry is None:
            self._path.touch()
            return
        try:
            files.copy(self.snapshot.path, self._path)
        except FileNotFoundError as error:
            raise CloneError(
                f"the snapshot {self.snapshot.path} is gone",
                hint="was the store emptied while the tests ran? Run them again",
            ) from error


def _options(name: Any) -> str:
    """What a URI says beside the file: a reader's `mode=ro` stays a reader's.

    What it says of the application's own file does not hold for a clone: that it is in memory, how
    it is locked, that nobody writes to it.
    """
    if not isinstance(name, str) or not name.startswith("file:"):
        return ""
    is_memory = option_of(name, "mode") == "memory"
    left_out = {*_OF_THE_FILE, "mode"} if is_memory else _OF_THE_FILE
    return "&".join(pair for key, pair in uri_parts(name)[1].items() if key not in left_out)


class ReadOnlyFile(FileClone):
    """Not a copy, but the snapshot itself, opened so that nobody can write to it."""

    is_read_only = True
    is_own_file = False

    def __init__(self, snapshot: Snapshot):
        super().__init__(snapshot, snapshot.path)
        self._made = True

    def places(self) -> dict[str, str]:
        url = self.url
        asynchronous = url.replace("sqlite:", "sqlite+aiosqlite:", 1)
        return {**super().places(), "url": url, "async_url": asynchronous}

    @property
    def address(self) -> str:
        return databases.immutable(self._path)

    @property
    def url(self) -> str:
        self.was_told = True
        uri, _, options = self.address.partition("?")
        return f"sqlite:///{databases.in_url(uri)}?{options}&uri=true"

    def delete(self) -> None:
        """Close; the snapshot stays."""
        self.close()

    def keep(self, path: Path) -> Path:
        """Close; there is nothing to keep."""
        self.close()
        return self._path


class FileClones:
    """Clones as files in a folder, each at a path that none has had before.

    ``folder`` is asked when it is needed; the names begin with ``name``.
    """

    def __init__(self, folder: Callable[[], Path], name: str, on_make: Callable[[float], None]):
        self.folder = folder
        self.on_make = on_make
        self._name = name
        self._numbers = itertools.count(1)
        self._process = os.getpid()

    def take(self, snapshot: Snapshot, *, read_only: bool) -> FileClone:
        """A clone, which is copied when it is first needed; read-only, it is the snapshot."""
        if read_only:
            return ReadOnlyFile(snapshot)
        return FileClone(snapshot, self.next_path(), self.on_make)

    def next_path(self) -> Path:
        """A path that no clone has had."""
        # Test processes that are forked for each test count alike.
        process = "" if os.getpid() == self._process else f"-{os.getpid()}"
        return self.folder() / f"{self._name}-{next(self._numbers)}{process}{databases.SUFFIX}"

    def close(self) -> None:
        """Nothing is left to close: each test's clone was deleted with the test."""


def named_clone(snapshot: Snapshot, name: str) -> FileClone:
    """A clone at a path that one chose.

    Raises:
        CloneError: there is such a file already.
    """
    path = Path(name).absolute()
    refuse_taken(path)
    clone = FileClone(snapshot, path)
    clone.make()
    return clone


def refuse_taken(path: Path) -> None:
    """Refuse a path where there is something, or no file can be.

    Raises:
        CloneError: it says what is there.
    """
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise CloneError(f"{path} can't be: {error.strerror}", hint="choose another path") from None
    else:
        what = "folder" if path.is_dir() else "file"
        raise CloneError(f"there is already a {what} {path}", hint="choose another path")
    if not path.parent.is_dir():
        raise CloneError(f"there is no folder {path.parent}", hint="make it, or choose another")
